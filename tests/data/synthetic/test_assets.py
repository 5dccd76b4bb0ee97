"""Models prepared once: in metres, on the floor, faces about, light enough, kept in one file."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import trimesh

from stablenormal.data.sample import CLASSES
from stablenormal.data.synthetic import assets, model_files
from stablenormal.data.synthetic.assets import AssetBank, load_bank, prepared_bank
from stablenormal.data.synthetic.materials import ROLES
from stablenormal.errors import DataError


def one(path: Path, cache: Path) -> tuple[assets.Asset, assets.Report]:
    file, report = prepared_bank([path], cache)
    (asset,) = load_bank(file).assets
    return asset, report


def write_model(folder: Path, name: str, text: str, **files: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    for key, data in files.items():
        (folder / key.replace("__", ".")).write_bytes(data)
    return folder


def test_models_stand_on_the_floor_in_the_size_of_the_catalogue(models: AssetBank) -> None:
    table = next(asset for asset in models.assets if asset.name == "Table")
    np.testing.assert_allclose(table.low, [-0.6, -0.4, 0], atol=1e-4)
    np.testing.assert_allclose(table.high, [0.6, 0.4, 0.74], atol=1e-4)
    for asset in models.assets:
        assert asset.label in CLASSES and asset.low[2] == pytest.approx(0, abs=1e-4)
        for part in asset.parts:
            assert part.role in ROLES
            np.testing.assert_allclose(np.linalg.norm(part.mesh.vertices[:, 3:6], axis=1), 1, atol=1e-4)
            corners = part.mesh.positions[part.mesh.faces].astype(float)
            flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            stored = part.mesh.vertices[part.mesh.faces[:, 0], 3:6]
            assert (np.einsum("ij,ij->i", flat, stored) / np.linalg.norm(flat, axis=1) > 0.99).all()


def test_names_and_sizes_tell_where_a_model_belongs(models: AssetBank) -> None:
    told = {asset.name: (asset.label, asset.place) for asset in models.assets}
    assert told["Lower cabinet"] == ("cabinet", "floor") and told["Upper cabinet"] == ("cabinet", "wall")
    assert told["Bookcase"] == ("shelf", "floor") and told["Sofa"] == ("sofa", "floor")
    assert told["Bottle"] == ("object", "small") and told["Book"] == ("book", "small")
    assert told["Hanging lamp"] == ("lamp", "ceiling") and told["Door"] == ("door", "opening")
    assert told["Car"] == ("object", "outdoors") and told["Dog"] == ("object", "floor")


def test_things_can_stand_on_a_table_and_inside_a_bookcase(handmade: ModuleType, tmp_path: Path) -> None:
    boards = [trimesh.creation.box((0.8, 0.02, 0.3)) for _ in range(3)]
    for board, height in zip(boards, (0.01, 0.5, 0.99), strict=True):
        board.apply_translation([0, height, 0])
    trimesh.util.concatenate(boards).export(tmp_path / "shelf.glb")
    folder = tmp_path / "m"
    folder.mkdir()
    (tmp_path / "shelf.glb").rename(folder / "shelf.glb")
    asset, _ = one(folder, tmp_path)
    heights, above = asset.tops[:, 4], asset.tops[:, 5]
    np.testing.assert_allclose(heights, [0.51, 1.0], atol=0.005)  # the lowest one is the floor
    np.testing.assert_allclose(above, [0.47, 1.0], atol=0.01)
    assert (asset.tops[:, 2] < 0.4).all() and (asset.tops[:, 3] < 0.15).all()


def test_y_up_becomes_z_up_and_the_front_faces_the_viewer(tmp_path: Path) -> None:
    """A wedge whose mark lies at the top (y) of its front (z)."""
    text = "v 0 0 0\nv 2 0 0\nv 0 1 0\nv 2 1 0.5\nf 1 2 4\nf 1 4 3\n"
    asset, _ = one(write_model(tmp_path / "m", "wedge.obj", text), tmp_path)
    np.testing.assert_allclose(asset.size, [2, 0.5, 1], atol=1e-3)
    top = asset.parts[0].mesh.positions[asset.parts[0].mesh.positions[:, 2] > 0.99]
    assert top[top[:, 1].argmin()] == pytest.approx([1, -0.25, 1], abs=1e-3)  # the front is at -y


def test_a_large_file_without_a_size_is_in_centimetres(handmade: ModuleType, tmp_path: Path) -> None:
    text = handmade.cube_obj().replace("v 1", "v 80").replace(" 1 ", " 80 ").replace(" 1\n", " 80\n")
    asset, _ = one(
        write_model(tmp_path / "m", "box.obj", text.split("vt")[0] + "f 1 2 3\nf 5 6 7\n"), tmp_path
    )
    assert asset.size.max() == pytest.approx(0.8, abs=1e-3)


def test_faces_that_face_inward_are_turned_and_counted(handmade: ModuleType, tmp_path: Path) -> None:
    inward = tuple(" ".join(reversed(side.split())) for side in handmade.SIDES)
    mixed = (inward[0], *handmade.SIDES[1:])
    for name, sides, turned in (("in", inward, 1), ("mixed", mixed, 1), ("out", handmade.SIDES, 0)):
        text = handmade.cube_obj(sides=sides, library=None)
        asset, report = one(write_model(tmp_path / name, "c.obj", text), tmp_path)
        assert report.turned == turned
        mesh = asset.parts[0].mesh
        outward = np.einsum("ij,ij->i", mesh.positions - [0, 0, 0.5], mesh.vertices[:, 3:6])
        assert (outward > 0.4).all()


def test_a_picture_keeps_its_place_on_the_model(handmade: ModuleType, tmp_path: Path) -> None:
    library = handmade.mtl(lines="Kd 1 1 1\nmap_Kd wood.png").encode()
    folder = write_model(
        tmp_path / "m", "c.obj", handmade.cube_obj(), model__mtl=library, wood__png=handmade.picture_png()
    )
    bank = load_bank(prepared_bank([folder], tmp_path)[0])
    (part,) = bank.assets[0].parts
    assert part.own_texture and bank.pictures.shape == (1, assets.SIZE, assets.SIZE, 4)
    picture = bank.pictures[0]
    front = part.mesh.vertices[part.mesh.vertices[:, 4] < -0.9]  # faces -y
    top_left = front[(front[:, 2] > 0.9) & (front[:, 0] < 0)][0]
    u, v = top_left[6:]
    row, column = int(np.clip(v, 0.1, 0.9) * assets.SIZE), int(np.clip(u, 0.1, 0.9) * assets.SIZE)
    assert picture[row, column, 0] > 200 and picture[row, column, 2] < 50  # red: the picture's upper left
    bottom_right = front[(front[:, 2] < 0.1) & (front[:, 0] > 0)][0]
    u, v = bottom_right[6:]
    row, column = int(np.clip(v, 0.1, 0.9) * assets.SIZE), int(np.clip(u, 0.1, 0.9) * assets.SIZE)
    assert 100 < picture[row, column, 2] < 150 and picture[row, column, 0] < 50  # dark blue


def test_every_bad_model_gets_one_line_and_the_rest_is_used(handmade: ModuleType, tmp_path: Path) -> None:
    folder = write_model(
        tmp_path / "m", "good.obj", handmade.cube_obj(library=None), box__glb=handmade.cube_glb()
    )
    write_model(folder, "faceless.obj", "v 0 0 0\n")
    write_model(folder, "flat.obj", "v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    write_model(folder, "lost.obj", handmade.cube_obj(library="gone.mtl"))
    write_model(folder, "noise.glb", "not a model")
    file, report = prepared_bank([folder], tmp_path)
    assert report.read == 3 and len(load_bank(file).assets) == 3
    assert len(report.skipped) == 3 and len(report.plain) == 1
    told = "\n".join(report.skipped)
    assert "faceless.obj: holds no triangles" in told and "flat.obj: all its triangles are without" in told
    assert "noise.glb: cannot be read" in told
    assert report.plain == ["m: lost.obj: gone.mtl is missing; used in plain colours"]
    assert "3 models read, 3 skipped, 1 without" in report.summary()


def test_a_model_of_a_catalogue_that_is_not_there_is_skipped(handmade: ModuleType, tmp_path: Path) -> None:
    said = {"model": "/a.obj", "width": "10", "depth": "10", "height": "10"}
    both = {"Here": said, "Gone": {**said, "model": "/gone.obj"}}
    path = handmade.write_catalogue(
        tmp_path / "c.sh3f", both, {"a.obj": handmade.cube_obj(library=None).encode()}
    )
    _, report = prepared_bank([path], tmp_path)
    assert report.read == 1 and report.skipped[0].startswith("c.sh3f: gone.obj: cannot be read")


def test_nothing_usable_is_an_error_that_says_why(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", "faceless.obj", "v 0 0 0\n")
    with pytest.raises(DataError, match="no model can be used; m: faceless.obj: holds no triangles"):
        prepared_bank([folder], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_heavy_models_are_simplified_and_keep_their_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    trimesh.creation.icosphere(4, 0.5).export(folder / "ball.glb")  # 5120 faces
    monkeypatch.setattr(assets, "MOST_TRIANGLES", 800)
    asset, _ = one(folder, tmp_path)
    assert 500 < asset.triangles < 900
    mesh = asset.parts[0].mesh
    away = np.linalg.norm(mesh.positions - [0, 0, 0.5], axis=1)
    np.testing.assert_allclose(away, 0.5, atol=0.02)
    outward = np.einsum("ij,ij->i", mesh.positions - [0, 0, 0.5], mesh.vertices[:, 3:6]) / away
    assert outward.min() > 0.95


def test_the_picture_of_a_simplified_model_stays_where_it_was(
    handmade: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 40
    points = [f"v {x / n} {y / n} {0.02 * np.sin(9 * x / n)}" for y in range(n + 1) for x in range(n + 1)]
    uv = [f"vt {x / n} {y / n}" for y in range(n + 1) for x in range(n + 1)]
    corner = lambda x, y: f"{y * (n + 1) + x + 1}/{y * (n + 1) + x + 1}"  # noqa: E731
    faces = [
        f"f {corner(x, y)} {corner(x + 1, y)} {corner(x + 1, y + 1)} {corner(x, y + 1)}"
        for y in range(n) for x in range(n)
    ]  # fmt: skip
    text = "mtllib model.mtl\n" + "\n".join([*points, *uv, "usemtl paint", *faces]) + "\n"
    files = {
        "model__mtl": handmade.mtl(lines="Kd 1 1 1\nmap_Kd wood.png").encode(),
        "wood__png": handmade.picture_png(),
    }
    monkeypatch.setattr(assets, "MOST_TRIANGLES", 600)
    asset, _ = one(write_model(tmp_path / "m", "sheet.obj", text, **files), tmp_path)
    vertices = asset.parts[0].mesh.vertices
    assert asset.triangles < 800
    off = vertices[:, 6:] - np.stack([vertices[:, 0] + 0.5, 1 - vertices[:, 2]], 1)
    assert (
        np.abs(off - np.round(off[0])).max() < 0.04
    )  # less than two old squares; whole pictures farther is the same place


def test_leaves_are_thinned_out_and_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, faces = [], []
    for k in range(400):
        x, y = k % 20, k // 20
        lines += [f"v {x} {y} 0", f"v {x + 0.2} {y} 0", f"v {x} {y + 0.2} 0"]
        faces.append(f"f {3 * k + 1} {3 * k + 2} {3 * k + 3}")
    folder = write_model(tmp_path / "m", "tree.obj", "\n".join([*lines, *faces]))
    monkeypatch.setattr(assets, "MOST_TRIANGLES", 100)
    asset, _ = one(folder, tmp_path)
    assert asset.triangles == 100
    corners = asset.parts[0].mesh.positions[asset.parts[0].mesh.faces].astype(float)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    np.testing.assert_allclose(area, 4 * 0.02, rtol=0.05)  # four times the area of each of the 400


def test_shapes_cut_out_of_pictures_are_not_taken_for_squares(handmade: ModuleType, tmp_path: Path) -> None:
    import cv2

    pixels = np.full((16, 16, 4), 255, np.uint8)
    pixels[:, 6:, 3] = 0
    half = cv2.imencode(".png", pixels)[1].tobytes()
    library = handmade.mtl(lines="Kd 1 1 1\nmap_Kd wood.png").encode()
    folder = write_model(tmp_path / "m", "c.obj", handmade.cube_obj(), model__mtl=library, wood__png=half)
    with pytest.raises(DataError, match="c.obj: its pictures cut shapes out of its faces"):
        prepared_bank([folder], tmp_path)


def test_a_prepared_file_is_made_once_and_read_by_itself(
    handmade: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = handmade.furnished_catalogue(tmp_path / "test.sh3f")
    file, report = prepared_bank([path], tmp_path)
    monkeypatch.setattr(assets, "read_model", lambda *_: pytest.fail("was read again"))
    assert prepared_bank([path], tmp_path) == (file, report)
    assert prepared_bank([file]) == (file, report)
    again = load_bank(file)
    for one_asset, two in zip(load_bank(file).assets, again.assets, strict=True):
        for part, other in zip(one_asset.parts, two.parts, strict=True):
            np.testing.assert_array_equal(part.mesh.vertices, other.mesh.vertices)


def test_the_same_models_are_prepared_to_the_same_bytes(handmade: ModuleType, tmp_path: Path) -> None:
    path = handmade.furnished_catalogue(tmp_path / "test.sh3f")
    one_file, two_file = (prepared_bank([path], tmp_path / name)[0] for name in "ab")
    assert one_file.read_bytes() == two_file.read_bytes()


def test_a_file_keeps_shapes_and_textures(
    handmade: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[assets.Asset] = []
    whole = assets._encoded
    monkeypatch.setattr(assets, "_encoded", lambda found, *rest: made.extend(found) or whole(found, *rest))
    path = handmade.furnished_catalogue(tmp_path / "test.sh3f")
    stored = load_bank(prepared_bank([path], tmp_path)[0]).assets
    for before, after in zip(made, stored, strict=True):
        for part, other in zip(before.parts, after.parts, strict=True):
            np.testing.assert_array_equal(part.mesh.faces, other.mesh.faces)
            size = float(before.size.max())
            np.testing.assert_allclose(
                part.mesh.vertices[:, :3], other.mesh.vertices[:, :3], atol=size / 8000
            )
            np.testing.assert_allclose(part.mesh.vertices[:, 3:6], other.mesh.vertices[:, 3:6], atol=0.003)
            np.testing.assert_allclose(
                part.mesh.vertices[:, 6:], other.mesh.vertices[:, 6:], atol=size / 8000
            )
            assert part.paint == other.paint and part.role == other.role


def test_broken_prepared_files_get_one_line(prepared: Path, tmp_path: Path) -> None:
    broken = tmp_path / "x.assets"
    broken.write_bytes(prepared.read_bytes()[:500])
    with pytest.raises(DataError, match="x.assets: cannot be read as prepared models"):
        load_bank(broken)
    with np.load(prepared) as stored:
        np.savez_compressed(tmp_path / "half", **{name: stored[name] for name in stored if name != "axes"})
    (tmp_path / "half.npz").rename(tmp_path / "half.assets")
    with pytest.raises(DataError, match="half.assets: cannot be read as prepared models .*axes.*delete it"):
        load_bank(tmp_path / "half.assets")
    with pytest.raises(DataError, match=r"gone.assets: cannot be read|does not exist"):
        prepared_bank([tmp_path / "gone.assets"])


def test_another_version_is_named(
    handmade: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = handmade.furnished_catalogue(tmp_path / "test.sh3f")
    file, _ = prepared_bank([path], tmp_path)
    monkeypatch.setattr(assets, "FORMAT", assets.FORMAT + 1)
    with pytest.raises(DataError, match=f"another version .format {assets.FORMAT - 1}, not {assets.FORMAT}"):
        load_bank(file)


def test_a_million_faces_are_skipped_in_one_line(
    handmade: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "MOST_FACES", 20)
    folder = write_model(tmp_path / "m", "small.obj", handmade.cube_obj(library=None))
    write_model(folder, "huge.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n" + "f 1 2 3\n" * 30)
    _, report = prepared_bank([folder], tmp_path)
    assert report.skipped == ["m: huge.obj: has 30 faces, more than 20; simplify it first"]
