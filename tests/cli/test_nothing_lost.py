"""Every command: what it reads or did not make stays; what changed is computed again; checks are shared."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stablenormal.cli.main import main
from stablenormal.data.sample import Sample
from stablenormal.data.shards import shard_path, write_shard
from stablenormal.geometry.camera import Intrinsics
from stablenormal.io.depth_map import write_depth_map
from stablenormal.io.image import write_image
from stablenormal.io.normal_map import read_normal_map, write_normal_map

SIDE = 24
THEIRS = b"somebody's work"

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], toy_model: Path) -> Command:
    """Runs `stablenormal` with the toy model where it takes one; gives the exit code and stderr."""

    def run(name: str, *words: str | Path) -> tuple[int, str]:
        model = ["--model", toy_model, "--device", "cpu"]
        needs_model = name in ("predict", "mesh", "enhance", "priors", "variance")
        with pytest.raises(SystemExit) as ended:
            main([name, *(str(word) for word in (*words, *(model if needs_model else ())))])
        return int(ended.value.code or 0), capfd.readouterr().err

    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photograph, its normals and depth, and a scene; the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    normals = np.zeros((SIDE, SIDE, 3), np.float32)
    normals[..., 2] = 1
    for name in ("a.png", "b.png", "scene/images/a.png", "scene/images/b.png", "set/x_rgb.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write_image(name, rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    write_normal_map("n_normal.png", normals)
    write_normal_map("set/x_normal.png", normals)
    write_normal_map("predictions/x_normal.png", normals)
    write_depth_map("n_depth.exr", np.full((SIDE, SIDE), 3, np.float32))
    shared = {"fl_x": 30, "fl_y": 30, "cx": 12, "cy": 12, "w": SIDE, "h": SIDE}
    frames = [
        {"file_path": f"images/{name}.png", "transform_matrix": np.eye(4).tolist()} for name in ("a", "b")
    ]
    Path("scene/transforms.json").write_text(json.dumps({**shared, "frames": frames}))
    Path("shards").mkdir()
    write_shard(shard_path(Path("shards"), 0), [a_sample()])
    return tmp_path


def a_sample() -> Sample:
    flat = np.zeros((SIDE, SIDE))
    return Sample(
        image=np.zeros((SIDE, SIDE, 3), np.uint8),
        normals=np.tile(np.array([0, 0, 1], np.float32), (SIDE, SIDE, 1)),
        depth=flat.astype(np.float32),
        labels=flat.astype(np.uint8),
        instances=flat.astype(np.uint16),
        intrinsics=Intrinsics.centred(SIDE, SIDE, SIDE),
        meta={"key": "0", "kind": "object"},
    )


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


EVALUATE = ("--benchmark", "folder", "--root", "set", "--predictions", "predictions", "-o")
PRIORS = ("--ensemble", "1", "--mode", "turbo", "--mask", "none", "-o")

WRITES = {
    "predict": (("a.png", "--mode", "turbo", "-o", "out"), "a_normal.png"),
    "predict page": (("a.png", "--mode", "turbo", "-o", "out"), "index.html"),
    "predict npy": (("a.png", "--mode", "turbo", "--format", "npy", "-o", "out"), "a_normal.json"),
    "integrate": (("n_normal.png", "--fov", "50", "-o", "out"), "n.ply"),
    "mesh": (("a.png", "--mode", "turbo", "-o", "out/a.glb"), "a.glb"),
    "mesh obj": (("a.png", "--mode", "turbo", "-o", "out/a b.obj"), "a_b.mtl"),
    "enhance": (("n_normal.png", "--image", "a.png", "--steps", "1", "-o", "out"), "n_normal.png"),
    "priors": (("scene", *PRIORS, "out"), "masks/b_mask.png"),
    "priors cameras": (("scene", *PRIORS, "out"), "transforms.json"),
    "reconstruct": (("scene", "-o", "out/a.ply"), "a.json"),
    "evaluate": ((*EVALUATE, "out"), "error-maps/x.png"),
    "evaluate table": ((*EVALUATE, "out"), "images.csv"),
    "variance": (("a.png", "--seeds", "2", "--mode", "turbo", "-o", "out"), "spread/a.png.png"),
    "data": (("check", "folder", "set", "-o", "out"), "keep.txt"),
    "synth": (("--count", "2", "--size", "32", "--contact-sheet", "-o", "out"), "contact-sheet.png"),
    "pack": (("shards", "--count", "1", "-o", "out"), "images.npy"),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_file_of_somebody_else_stays_in_every_command(command: Command, folder: Path, name: str) -> None:
    words, place = WRITES[name]
    theirs = folder / "out" / place
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(THEIRS)
    code, err = command(name.split()[0], *words)
    assert code == 1
    option = "--out" if name == "pack" else "--output"
    assert place in err and "was not made by this program" in err and f"give {option} another" in err
    assert theirs.read_bytes() == THEIRS


@pytest.mark.parametrize(
    "name", ["predict", "integrate", "mesh", "mesh obj", "enhance", "priors", "evaluate"]
)
def test_the_same_command_twice_replaces_its_own(command: Command, folder: Path, name: str) -> None:
    words, place = WRITES[name]
    for _ in range(2):
        code, err = command(name.split()[0], *words)
        assert code == 0, err
    assert (folder / "out" / place).is_file()


INPUTS = {
    "predict": ("a.png", "a_normal.png", "--mode", "turbo", "-o", "."),
    "integrate": ("n_normal.png", "--fov", "50", "--prior", "n_depth.exr", "-o", "."),
    "mesh": ("a_texture.png", "--mode", "turbo", "-o", "a.obj"),
    "enhance": ("n_normal.png", "--image", "a.png", "--steps", "1", "-o", "."),
    "priors": ("scene", *PRIORS, "scene"),
    "reconstruct": ("scene", "-o", "scene/transforms.ply"),
    "evaluate": ("--benchmark", "folder", "--root", "set", "--predictions", "set/error-maps", "-o", "set"),
}


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_stays_in_every_command(command: Command, folder: Path, name: str) -> None:
    shutil.copy("a.png", "a_normal.png")
    shutil.copy("a.png", "a_texture.png")
    Path("set/error-maps").mkdir()
    shutil.copy("predictions/x_normal.png", "set/error-maps/x.png")
    before = everything(folder)
    code, err = command(name, *INPUTS[name])
    assert code == 1 and "is an input of this run" in err and "--output" in err
    after = everything(folder)
    assert {path: after.get(path) for path in before} == before


def test_absolute_names_in_a_scene_touch_no_photograph(command: Command, folder: Path) -> None:
    content = json.loads(Path("scene/transforms.json").read_text())
    content["frames"][0]["file_path"] = str(folder / "scene/images/a.png")
    content["frames"][1]["file_path"] = "../scene/images/b.png"
    Path("scene/transforms.json").write_text(json.dumps(content))
    before = everything(folder)
    code, err = command("priors", "scene", *PRIORS, "out")
    assert code == 0, err
    made = {path for path in everything(folder) if path not in before}
    assert made and all(Path(path).is_relative_to(folder / "out") for path in made)
    assert {path: data for path, data in everything(folder).items() if path in before} == before


def statuses(record: str) -> dict[str, str]:
    return {entry["name"]: entry["status"] for entry in json.loads(Path(record).read_text())["files"]}


def test_predict_computes_again_what_changed(command: Command, folder: Path) -> None:
    words = ("a.png", "b.png", "--mode", "turbo", "--mask", "masks", "--skip-existing", "-o", "out")
    for name in "ab":
        Path("masks").mkdir(exist_ok=True)
        write_image(f"masks/{name}.png", np.ones((SIDE, SIDE), np.float32))
    assert command("predict", *words)[0] == 0
    assert command("predict", *words)[0] == 0 and statuses("out/run.json") == {"a": "skipped", "b": "skipped"}
    half = np.ones((SIDE, SIDE), np.float32)
    half[:, :12] = 0
    write_image("masks/a.png", half)
    code, err = command("predict", *words)
    assert code == 0 and statuses("out/run.json") == {"a": "done", "b": "skipped"}
    assert "computed again, as its earlier result is of another mask" in " ".join(err.split())
    assert read_normal_map("out/a_normal.png").valid.mean() == 0.5
    shutil.copy("a.png", "b.png")
    code, err = command("predict", *words)
    assert statuses("out/run.json") == {"a": "skipped", "b": "done"} and "of another photograph" in err


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [("fl_x", 31, "camera"), ("k1", 0.01, "camera"), ("transform_matrix", np.diag([-1, -1, 1, 1]), "pose")],
)
def test_priors_compute_again_what_changed(
    command: Command, folder: Path, key: str, value: object, what: str
) -> None:
    words = ("scene", "--skip-existing", *PRIORS, "out")
    assert command("priors", *words)[0] == 0
    assert command("priors", *words)[0] == 0 and set(statuses("out/run.json").values()) == {"skipped"}
    content = json.loads(Path("scene/transforms.json").read_text())
    content["frames"][1][key] = value.tolist() if isinstance(value, np.ndarray) else value
    Path("scene/transforms.json").write_text(json.dumps(content))
    code, err = command("priors", *words)
    assert code == 0 and statuses("out/run.json") == {"a": "skipped", "b": "done"}
    assert f"of another {what}" in err


def test_enhance_refuses_maps_that_share_a_result(command: Command, folder: Path) -> None:
    for name in ("a", "sub/a"):
        Path("photos", name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("a.png", f"photos/{name}.png")
        normals = read_normal_map("n_normal.png").normals
        write_normal_map(f"maps/{name}_normal.png", normals)
        write_normal_map(f"maps/{name}_normal_8bit.png", normals, format="png8")
    words = ("maps", "--image", "photos", "--steps", "1", "-o", "out")
    code, err = command("enhance", *words)
    assert code == 1 and not Path("out").exists()
    assert err.count("all would become") == 2 and "--kind" in err
    assert command("enhance", *words, "--kind", "png8")[0] == 0
    assert Path("out/a_normal.png").is_file() and Path("out/sub/a_normal.png").is_file()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("predict", ("t.png", "-o", "out")),
        ("predict", ("a.png", "--mask", "zero-one.png", "-o", "out")),
        ("mesh", ("a.png", "--mask", "zero-one.png", "-o", "out/a.glb")),
        ("mesh", ("t.png", "-o", "out/a.glb")),
        ("enhance", ("n_normal.png", "--image", "t.png", "-o", "out")),
        ("enhance", ("n_normal.png", "--image", "a.png", "--mask", "zero-one.png", "-o", "out")),
        ("variance", ("t.png", "--seeds", "2", "-o", "out")),
        ("priors", ("scene", "--ensemble", "1", "--mask", "masks", "-o", "out")),
        ("reconstruct", ("scene", "--mask", "masks", "-o", "out/a.ply")),
    ],
)
def test_a_mask_that_leaves_nothing_is_said_in_every_command(
    command: Command, folder: Path, name: str, words: tuple[str, ...]
) -> None:
    Image.new("RGBA", (SIDE, SIDE), (9, 9, 9, 0)).save("t.png")
    Path("masks").mkdir()
    for mask in ("zero-one.png", "masks/a.png", "masks/b.png"):
        Image.new("L", (SIDE, SIDE), 1).save(mask)
    code, err = command(name, *words)
    assert code == 1 and "the mask leaves no pixel" in err


def test_posed_photographs_are_read_as_stored(command: Command, folder: Path) -> None:
    assert command("priors", "scene", *PRIORS, "out")[0] == 0
    for name in "ab":
        exif = Image.Exif()
        exif[0x112] = 6
        picture = Image.open(f"scene/images/{name}.png")
        picture.save(f"scene/images/{name}.png", exif=exif)
    assert command("priors", "scene", *PRIORS, "turned")[0] == 0
    one, two = (read_normal_map(f"{place}/normals/a_normal.png").normals for place in ("out", "turned"))
    assert np.array_equal(one, two)


def test_good_input_is_not_refused(command: Command, folder: Path) -> None:
    """A name that is not UTF-8, one with blanks, a strip, a linked folder; a page that cannot be made."""
    strange = os.fsdecode(b"photos/caf\xe9.png")
    Path("photos").mkdir()
    shutil.copy("a.png", strange)
    shutil.copy("a.png", "photos/my photo.png")
    Image.new("RGB", (2000, 8), "red").save("photos/strip.png")
    Path("linked").symlink_to(folder / "photos")
    words = ("linked", "--mode", "turbo", "--resolution", "64", "--format", "png16,exr", "-o", "out")
    code, err = command("predict", *words)
    assert code == 0, err
    for ending in (b"png", b"exr"):
        assert os.path.isfile(b"out/caf\xe9_normal." + ending)
    assert "caf%E9_normal.png" in Path("out/index.html").read_text()


def test_a_page_that_cannot_be_made_does_not_end_the_run(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stablenormal.app import evaluate, predict, variance

    def broken(*unused: object, **options: object) -> None:
        raise ValueError("no page today")

    monkeypatch.setattr(predict, "write_gallery", broken)
    monkeypatch.setattr(evaluate, "write_report_page", broken)
    monkeypatch.setattr(variance, "write_report_page", broken)
    for name, record in (
        ("predict", "run.json"),
        ("evaluate", "evaluation.json"),
        ("variance", "variance.json"),
    ):
        shutil.rmtree("out", ignore_errors=True)
        code, err = command(name, *WRITES[name][0])
        assert code == 0, err
        assert json.loads(Path("out", record).read_text()) and not Path("out/index.html").exists()


def test_depth_needs_no_mesh(command: Command, folder: Path) -> None:
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[:, 5] = 1
    write_image("line.png", mask)
    words = ("n_normal.png", "--fov", "50", "--mask", "line.png", "-o", "out", "--format")
    code, err = command("integrate", *words, "exr")
    assert code == 0 and "no preview" in err and Path("out/n_depth.exr").is_file()
    assert not Path("out/n_preview.png").exists()
    assert command("integrate", *words, "ply")[0] == 1
