import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from stablenormal.app.interface.handlers import (
    FORMATS,
    Shown,
    archive,
    make_mesh,
    run,
    surface_png,
    viewer_html,
)
from stablenormal.app.predict_settings import PredictSettings
from stablenormal.io.normal_map import read_normal_map
from stablenormal.pipelines import StableNormal

SAMPLE = Path(__file__).parents[3] / "src/stablenormal/samples/cushion.jpg"


@pytest.fixture(scope="module")
def pipeline(toy_model: Path) -> StableNormal:
    return StableNormal.from_pretrained(toy_model)


@pytest.fixture
def uploads(tmp_path: Path) -> list[Path]:
    """Two photographs with a broken one between them, each in a folder of its own as uploads are."""
    paths = [
        tmp_path / "uploads" / folder / name
        for folder, name in (("1", "a.jpg"), ("2", "b.jpg"), ("3", "c.jpg"))
    ]
    for path in paths:
        path.parent.mkdir(parents=True)
        Image.open(SAMPLE).resize((48, 40)).save(path)
    paths[1].write_bytes(b"no picture")
    return paths


def settings(**options: object) -> PredictSettings:
    return PredictSettings(formats=FORMATS, **options)  # type: ignore[arg-type]


def test_a_step_comes_after_each_photograph_and_a_broken_one_does_not_end_the_run(
    pipeline: StableNormal, uploads: list[Path], tmp_path: Path
) -> None:
    steps = list(run(pipeline, uploads, settings(frame="directx", seed=3), tmp_path / "run"))
    assert [(step.done, step.total, len(step.shown)) for step in steps] == [
        (0, 3, 0), (1, 3, 1), (2, 3, 1), (3, 3, 2), (3, 3, 2),
    ]  # fmt: skip
    assert [step.complete for step in steps] == [False] * 4 + [True]
    assert [one.name for one in steps[-1].shown] == ["a", "c"]
    (problem,) = steps[-1].problems
    assert problem.startswith("b.jpg: not an image")  # and no word of where the page keeps uploads
    assert str(tmp_path) not in problem
    for one in steps[-1].shown:
        assert read_normal_map(one.png).stored_frame == "directx"
        assert read_normal_map(one.exr).normals.shape == (40, 48, 3)


def test_a_run_that_nobody_waits_for_ends_after_its_photograph(
    pipeline: StableNormal, uploads: list[Path], tmp_path: Path
) -> None:
    for number in range(6):
        shutil.copy(uploads[0], tmp_path / f"{number}.jpg")
    steps = run(pipeline, sorted(tmp_path.glob("*.jpg")), settings(), tmp_path / "run")
    next(steps), next(steps)
    steps.close()
    assert (tmp_path / "run/0_normal.png").is_file()
    assert not (tmp_path / "run/5_normal.png").exists()
    assert '"interrupted"' in (tmp_path / "run/run.json").read_text()


def test_the_viewer_gets_opengl_normals_whatever_the_frame_and_the_uncertainty_where_there_is_one(
    pipeline: StableNormal, uploads: list[Path], tmp_path: Path
) -> None:
    several = settings(frame="opencv", ensemble=2, uncertainty=True)
    *_, last = run(pipeline, uploads[:1], several, tmp_path / "run")
    (one,) = last.shown
    html = viewer_html(one)
    assert html.count("uncertainty=") == 1 and "frame opencv" in html
    assert str(tmp_path) not in html
    *_, last = run(pipeline, uploads[:1], settings(), tmp_path / "other")
    assert "uncertainty=" not in viewer_html(last.shown[0])


def test_names_cannot_break_the_page(pipeline: StableNormal, uploads: list[Path], tmp_path: Path) -> None:
    bad = uploads[0].with_name("<img src=x onerror=1>'\".jpg")
    uploads[0].rename(bad)
    *_, last = run(pipeline, [bad], settings(), tmp_path / "run")
    html = viewer_html(last.shown[0])
    assert "<img src=x" not in html and "&lt;img src=x onerror=1&gt;" in html


def test_the_picture_that_is_lit_holds_the_normals_and_nothing_where_there_is_none() -> None:
    normals = np.zeros((4, 6, 3), np.float32)
    normals[:, :3] = np.array([0.6, -0.48, 0.64])
    rgba = cv2.imdecode(np.frombuffer(surface_png(normals), np.uint8), cv2.IMREAD_UNCHANGED)[
        ..., [2, 1, 0, 3]
    ]
    assert np.abs(rgba[:, :3, :3] / 127.5 - 1 - normals[:, :3]).max() < 0.005
    assert (rgba[:, :3, 3] == 255).all() and (rgba[:, 3:, 3] == 0).all()


def test_a_mesh_and_an_archive_of_everything(
    pipeline: StableNormal, uploads: list[Path], tmp_path: Path
) -> None:
    *_, last = run(pipeline, [uploads[0], uploads[2]], settings(), tmp_path / "run")
    one: Shown = last.shown[0]
    said = make_mesh(pipeline, one, fov_deg=40)
    assert said == "camera: field of view 40.0 degrees"
    assert one.glb.read_bytes()[:4] == b"glTF"
    with zipfile.ZipFile(archive(last.shown)) as held:
        names = {name.partition("/")[2] for name in held.namelist()}
    wanted = {
        "a_normal.png",
        "a_normal.exr",
        "c_normal.png",
        "c_normal.exr",
        "a.glb",
        "index.html",
        "run.json",
    }
    assert wanted <= names
    assert not any(name.startswith(".") for name in names)
