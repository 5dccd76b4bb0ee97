"""`stablenormal priors` and `stablenormal reconstruct`, from the command line, on a ball."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from stablenormal.cli.main import main
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.posed import PosedCamera
from stablenormal.io import png
from stablenormal.io.image import write_image
from stablenormal.io.normal_map import read_normal_map, write_normal_map
from stablenormal.io.output_folder import RECORD_NAME
from stablenormal.io.scene_formats import read_scene
from stablenormal.io.transforms_json import write_transforms

SIDE, VIEWS = 24, 6
FAST = ("--resolutions", "12,16", "--iterations", "12,12", "--device", "cpu", "--save-every", "10")


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    seen = capsys.readouterr()
    return int(ended.value.code or 0), seen.out, seen.err


def errors(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("error: ")]


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A ball of radius 0.8 about the origin: images with alpha, true normals, transforms.json."""
    root, cameras = tmp_path / "scene", {}
    for place in range(VIEWS):
        turn, rise = 2.4 * place, -0.6 + 1.2 * place / VIEWS
        back = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
        right = np.cross([0, 0, 1], back) / np.cos(rise)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = np.stack([right, np.cross(back, right), back], 1), 3 * back
        camera = PosedCamera(Intrinsics.from_fov(42, SIDE, SIDE), pose)
        directions = camera.directions()
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        b = directions @ camera.centre
        discriminant = b * b - (9 - 0.64)
        hit = discriminant > 0
        distance = -b - np.sqrt(np.maximum(discriminant, 0))
        normals = np.where(hit[..., None], (camera.centre + directions * distance[..., None]) / 0.8, 0)
        rgba = np.full((SIDE, SIDE, 4), 255, np.uint8)
        rgba[..., :3] = 120 + 100 * normals
        rgba[..., 3] = 255 * hit
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / f"images/{place}.png").write_bytes(png.encode(rgba, {}))
        own = (normals @ camera.rotation).astype(np.float32)
        write_normal_map(root / f"normals/{place}_normal.png", own)
        cameras[f"images/{place}.png"] = camera
    write_transforms(root / "transforms.json", cameras)
    return root


def test_priors_of_a_scene(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path, toy_model: Path
) -> None:
    out = tmp_path / "out"
    words = (
        "priors",
        scene,
        "-o",
        out,
        "--model",
        toy_model,
        "--ensemble",
        "2",
        "--device",
        "cpu",
        "--mode",
        "turbo",
    )
    code, printed, err = run(capsys, *words, "--space", "world")
    assert code == 0, err
    assert printed.strip() == str(out / "run.json")
    found = read_normal_map(out / "normals/3_normal.png")
    assert found.stored_frame == "world"
    assert np.array_equal(found.valid, read_normal_map(scene / "normals/3_normal.png").valid)
    assert (out / "masks/3_mask.png").is_file() and (out / "confidence/3_confidence.png").is_file()
    score = json.loads((out / "consistency.json").read_text())
    assert score["points_from"] == "nothing" and score["overall"] is None
    before = (out / "normals/3_normal.png").stat().st_mtime_ns
    (out / "normals/2_normal.png").unlink()
    code, _, err = run(capsys, *words, "--space", "world", "--skip-existing")
    assert code == 0, err
    assert (out / "normals/2_normal.png").is_file()
    assert (out / "normals/3_normal.png").stat().st_mtime_ns == before
    statuses = {
        entry["name"]: entry["status"] for entry in json.loads((out / "run.json").read_text())["files"]
    }
    assert statuses == {**dict.fromkeys("01345", "skipped"), "2": "done"}
    code, _, err = run(capsys, *words, "--space", "camera", "--skip-existing")
    assert code == 0, err
    assert err.count("computed again, as its earlier result is of another space") == 6
    assert read_normal_map(out / "normals/3_normal.png").stored_frame != "world"


@pytest.mark.parametrize("layout", ["2dgs", "nerfstudio", "dn-splatter"])
def test_priors_for_a_trainer_with_a_missing_image(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path, toy_model: Path, layout: str
) -> None:
    (scene / "images/4.png").unlink()
    out = tmp_path / "out"
    words = (
        "--model",
        toy_model,
        "--ensemble",
        "1",
        "--device",
        "cpu",
        "--mode",
        "turbo",
        "--layout",
        layout,
    )
    code, _, err = run(capsys, "priors", scene, "-o", out, *words)
    assert code == 1
    assert len(errors(err)) == 1 and "4.png: no such image" in errors(err)[0]
    places = {
        "2dgs": "normals/3.npy",
        "nerfstudio": "3_normal.npy",
        "dn-splatter": "normals_from_pretrain/3.png",
    }
    assert (out / places[layout]).is_file()
    assert (out / "meta_data.json").is_file() == (layout == "nerfstudio")
    assert not (out / "confidence").exists()


def test_a_scene_becomes_a_mesh(capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "made/ball.ply"
    code, printed, err = run(capsys, "reconstruct", scene, "-o", out, "--priors", scene / "normals", *FAST)
    assert code == 0, err
    assert "6 views, 6 with normals" in err
    made = {path.name for path in out.parent.iterdir()}
    made.remove(RECORD_NAME)
    assert made == {"ball.ply", "ball.json", "ball_preview.png", "ball_turntable.png"}
    assert {Path(line).name for line in printed.split()} == made
    mesh = trimesh.load_mesh(out)
    assert mesh.is_watertight and mesh.volume > 0
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.8).mean() < 0.06
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["settings"]["resolutions"] == [12, 16] and record["views_with_prior"] == 6


def test_an_interrupted_reconstruction_goes_on(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stablenormal.applications.mesh_reconstruction.fitting import SurfaceFit

    whole, parts = tmp_path / "whole.ply", tmp_path / "parts.ply"
    assert run(capsys, "reconstruct", scene, "-o", whole, *FAST)[0] == 0
    step = SurfaceFit.step

    def interrupted(self: SurfaceFit) -> object:
        if self.done == 15:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(SurfaceFit, "step", interrupted)
    code, _, err = run(capsys, "reconstruct", scene, "-o", parts, *FAST)
    assert code == 130 and "--resume" in err
    assert (tmp_path / "parts.checkpoint.pt").is_file() and not parts.exists()
    monkeypatch.setattr(SurfaceFit, "step", step)
    assert run(capsys, "reconstruct", scene, "-o", parts, *FAST, "--resume")[0] == 0
    assert parts.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "parts.checkpoint.pt").exists()


def test_a_step_that_broke_off_is_not_saved(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stablenormal.applications.mesh_reconstruction.fitting import SurfaceFit

    whole, parts = tmp_path / "whole.ply", tmp_path / "parts.ply"
    assert run(capsys, "reconstruct", scene, "-o", whole, *FAST)[0] == 0
    refine = SurfaceFit._refine

    def broken(self: SurfaceFit, resolution: int) -> None:
        refine(self, resolution)
        raise KeyboardInterrupt

    monkeypatch.setattr(SurfaceFit, "_refine", broken)
    assert run(capsys, "reconstruct", scene, "-o", parts, *FAST)[0] == 130
    monkeypatch.setattr(SurfaceFit, "_refine", refine)
    assert run(capsys, "reconstruct", scene, "-o", parts, *FAST, "--resume")[0] == 0
    assert parts.read_bytes() == whole.read_bytes()


def test_a_mesh_that_cannot_be_extracted_loses_no_step(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stablenormal.app import reconstruct
    from stablenormal.errors import SceneError

    def failing(*unused: object) -> None:
        raise SceneError("no surface")

    with monkeypatch.context() as patched:
        patched.setattr(reconstruct, "extract_mesh", failing)
        assert run(capsys, "reconstruct", scene, "-o", tmp_path / "a.ply", *FAST)[0] == 1
    assert (tmp_path / "a.checkpoint.pt").is_file()
    assert run(capsys, "reconstruct", scene, "-o", tmp_path / "a.ply", *FAST, "--resume")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("{scene}", "-o", "{out}/a.stl"), "change the ending"),
        (("{scene}/none", "-o", "{out}/a.ply"), "no such scene"),
        (("{scene}", "-o", "{out}/a.ply", "--priors", "{scene}/none"), "no such folder"),
        (("{scene}", "-o", "{out}/a.ply", "--priors", "{scene}/images"), "holds no normals"),
        (("{scene}", "-o", "{out}/a.ply", "--mask", "none"), "no photograph has a mask"),
        (("{scene}", "-o", "{out}/a.ply", "--mask", "{scene}/nowhere"), "no such folder"),
        (("{scene}", "-o", "{out}/a.ply", "--resolutions", "9,x"), "expected numbers"),
        (("{scene}", "-o", "{out}/a.ply", "--normal-weight", "-1"), "normal_weight"),
        (("{scene}", "-o", "{out}/a.ply", "--save-every", "0"), "save_every"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "out"
    code, _, err = run(capsys, "reconstruct", *(word.format(scene=scene, out=out) for word in words))
    assert code == 1
    assert len(errors(err)) == 1 and message in errors(err)[0]
    assert not out.exists()


def test_more_photographs_than_fit_in_memory_are_refused_before_they_are_read(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path
) -> None:
    content = json.loads((scene / "transforms.json").read_text())
    for frame in content["frames"]:
        frame |= {"w": 8000, "h": 4000}
    (scene / "transforms.json").write_text(json.dumps(content))
    words = ("reconstruct", scene, "-o", tmp_path / "out/a.ply", "--image-size")
    code, _, err = run(capsys, *words, "6000")
    assert code == 1 and not (tmp_path / "out").exists()
    assert (
        len(errors(err)) == 1 and "108 megapixels" in errors(err)[0] and "--image-size 4082" in errors(err)[0]
    )
    code, _, err = run(capsys, *words, "4082")  # then only their true size is wrong
    assert code == 1 and "megapixels" not in err


def test_a_view_that_cannot_be_used_is_said_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path
) -> None:
    (scene / "images/1.png").unlink()
    write_image(scene / "images/2.png", np.zeros((SIDE, 2 * SIDE, 3), np.float32))
    code, _, err = run(capsys, "reconstruct", scene, "-o", tmp_path / "a.ply", *FAST)
    assert code == 1
    assert len(errors(err)) == 2
    assert (tmp_path / "a.ply").is_file()


def test_priors_refuse_wrong_options_once_and_before_any_view(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path, toy_model: Path
) -> None:
    out = tmp_path / "out"
    words = ("priors", scene, "-o", out, "--model", toy_model, "--device", "cpu")
    code, _, err = run(capsys, *words, "--mode", "turob")
    assert code == 1 and len(errors(err)) == 1 and "turob" in errors(err)[0]
    content = json.loads((scene / "transforms.json").read_text())
    content["frames"][0] |= {"w": 2 * SIDE, "h": 2 * SIDE}
    (scene / "transforms.json").write_text(json.dumps(content))
    code, _, err = run(capsys, *words, "--mode", "turbo", "--layout", "nerfstudio")
    assert code == 1 and len(errors(err)) == 1 and "one size" in errors(err)[0]
    assert not out.exists()


def test_depth_in_millimetres_scores_and_damaged_depth_costs_no_view(
    capsys: pytest.CaptureFixture[str], scene: Path, tmp_path: Path, toy_model: Path
) -> None:
    content = json.loads((scene / "transforms.json").read_text())
    for place, entry in enumerate(content["frames"]):
        entry["depth_file_path"] = f"depth/{place}.png"
        (scene / "depth").mkdir(exist_ok=True)
        depth = png.encode(np.full((SIDE, SIDE), 2200, np.uint16), {})
        (scene / f"depth/{place}.png").write_bytes(depth if place else depth[:40])
    (scene / "transforms.json").write_text(json.dumps(content))
    out = tmp_path / "out"
    words = ("--model", toy_model, "--device", "cpu", "--mode", "turbo", "--ensemble", "1")
    code, _, err = run(capsys, "priors", scene, "-o", out, *words)
    assert code == 0, err
    assert json.loads((out / "consistency.json").read_text())["points_from"] == "depth"


def test_no_mask_means_every_pixel_that_the_lens_saw(scene: Path) -> None:
    from stablenormal.app.view_masks import MaskChoice, masked_view

    content = json.loads((scene / "transforms.json").read_text())
    for entry in content["frames"]:
        entry["mask_path"] = "nowhere.png"
    for k1 in (0.0, 0.05):
        content["k1"] = k1
        (scene / "transforms.json").write_text(json.dumps(content))
        picture, valid = masked_view(read_scene(scene).views[0], MaskChoice("none"))
        assert valid.mean() > 0.9 > picture.photograph.valid.mean()
