from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

import stablenormal as stablenormal_package
from stablenormal.app.integrate import (
    CameraChoice,
    bundled_fov_deg,
    camera_line,
    integrate,
    photograph_to_mesh,
)
from stablenormal.applications.normal_integration import IntegrationSettings
from stablenormal.cli.main import main
from stablenormal.io.depth_map import read_depth_map
from stablenormal.io.image import write_image
from stablenormal.io.normal_map import write_normal_map
from stablenormal.io.output_folder import RECORD_NAME
from stablenormal.models.field_of_view import FieldOfViewHead
from stablenormal.models.semantic_encoder import SemanticEncoder
from stablenormal.pipelines.stable_normal import StableNormal

SIDE = 24


class Command:
    """`stablenormal` and what the user saw of it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        seen = self.capsys.readouterr()
        return int(ended.value.code or 0), seen.out, seen.err


@pytest.fixture
def stablenormal(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def normal_map(tmp_path: Path) -> Path:
    """A ball, with grey around it in the file, in the OpenCV frame."""
    v, u = (np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2) / 10
    z = np.sqrt(np.maximum(1 - u * u - v * v, 0))
    normals = np.where((z > 0.3)[..., None], np.stack([u, -v, z], axis=-1), 0).astype(np.float32)
    write_normal_map(tmp_path / "ball_normal.png", normals, frame="opencv")
    write_image(tmp_path / "mask.png", (z > 0.5).astype(np.float32))
    write_image(tmp_path / "photo.png", np.full((SIDE, SIDE, 3), [1, 0, 0], np.float32))
    return tmp_path / "ball_normal.png"


def test_everything_is_written_and_named(stablenormal: Command, normal_map: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, _ = stablenormal(
        "integrate", normal_map, "-o", out, "--orthographic", "--format", "exr,npy,png,ply,obj,glb",
        "--photo", tmp_path / "photo.png", "--mask", tmp_path / "mask.png",
    )  # fmt: skip
    assert code == 0
    expected = {
        "ball_depth.exr", "ball_depth.npy", "ball_depth.png", "ball.ply", "ball.obj", "ball.mtl",
        "ball_texture.png", "ball.glb", "ball_discontinuity.png", "ball_preview.png",
    }  # fmt: skip
    assert {path.name for path in out.iterdir()} == {*expected, RECORD_NAME}
    assert {Path(line).name for line in printed.split()} == expected
    depth = read_depth_map(out / "ball_depth.exr")
    mask = cv2.imread(str(tmp_path / "mask.png"), 0) > 128
    assert np.array_equal(depth > 0, mask)
    assert depth[mask].argmin() == pytest.approx(depth[mask].size / 2, abs=SIDE)  # the middle is nearest
    assert np.asarray(trimesh.load_mesh(out / "ball.ply").visual.vertex_colors)[0, :3].tolist() == [255, 0, 0]
    preview = cv2.imread(str(out / "ball_preview.png"))
    assert preview.shape == (2 * 384, 3 * 384, 3)


@pytest.mark.parametrize("method", ["bilateral", "poisson"])
def test_cameras_and_priors(stablenormal: Command, normal_map: Path, tmp_path: Path, method: str) -> None:
    np.savetxt(tmp_path / "k.txt", [[30, 0, 12], [0, 30, 12], [0, 0, 1]])
    np.save(tmp_path / "prior.npy", np.full((SIDE, SIDE), 5000.0))
    options = [
        "--format",
        "npy",
        "--method",
        method,
        "--prior",
        tmp_path / "prior.npy",
        "--prior-scale",
        "0.001",
    ]
    medians = []
    for name, camera in (("k", ["--intrinsics", tmp_path / "k.txt"]), ("fov", ["--fov", "43.6028"])):
        code, _, err = stablenormal("integrate", normal_map, "-o", tmp_path / name, *camera, *options)
        assert code == 0, err
        depth = read_depth_map(tmp_path / name / "ball_depth.npy")
        medians.append(np.median(depth[depth > 0]))
    assert medians[0] == pytest.approx(5, rel=0.05)
    assert medians[1] == pytest.approx(medians[0], rel=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "camera is unknown"),
        (["--fov", "200"], "field of view"),
        (["--fov", "40", "--orthographic"], "exclude each other"),
        (["--orthographic", "--format", "stl"], "choose from"),
        (["--orthographic", "--method", "magic"], "--method: there is no 'magic'"),
        (["--orthographic", "--k", "-1"], "k = -1"),
        (["--orthographic", "--frame", "dsine"], "records frame"),
        (["--orthographic", "--mask", "{}/black.png"], "no normal lies inside"),
        (["--orthographic", "--mask", "{}/small.png"], "same size"),
        (["--orthographic", "--photo", "{}/small.png"], "its own photograph"),
        (["--intrinsics", "{}/k2.txt"], "3 x 3"),
        (["--orthographic", "--prior", "{}/none.npy"], "no such file"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    stablenormal: Command, normal_map: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    write_image(tmp_path / "black.png", np.zeros((SIDE, SIDE), np.float32))
    write_image(tmp_path / "small.png", np.ones((12, 12), np.float32))
    np.savetxt(tmp_path / "k2.txt", np.eye(2))
    options = [word.format(tmp_path) for word in words]
    code, _, err = stablenormal("integrate", normal_map, "-o", tmp_path / "out", *options)
    assert code == 1
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A bright disc on a dark ground."""
    v, u = np.mgrid[:64, :64] - 31.5
    rgb = np.full((64, 64, 3), 0.1, np.float32)
    rgb[u * u + v * v < 400] = (0.9, 0.6, 0.2)
    rgb += np.random.default_rng(0).normal(0, 0.01, rgb.shape).astype(np.float32)
    write_image(tmp_path / "disc.png", rgb)
    return tmp_path / "disc.png"


@pytest.mark.parametrize("camera", [[], ["--fov", "60"], ["--orthographic"]])
def test_a_photograph_becomes_a_mesh(
    stablenormal: Command, photo: Path, tmp_path: Path, camera: list[str]
) -> None:
    out = tmp_path / "out" / "disc.glb"
    code, printed, err = stablenormal(
        "mesh", photo, "-o", out, "--mask", "auto", "--model", "small", "--mode", "turbo",
        "--device", "cpu", *camera,
    )  # fmt: skip
    assert code == 0, err
    assert ("45 degrees assumed" in err) == (not camera)
    assert {path.name for path in out.parent.iterdir()} == {"disc.glb", "disc_turntable.png", RECORD_NAME}
    assert 0.6 * 1257 < len(trimesh.load_mesh(out).vertices) < 1.3 * 1257
    assert len(printed.split()) == 2


@pytest.mark.parametrize("name", ["figurine", "kitchen", "street"])
def test_a_photograph_without_a_mask_is_a_mesh_of_few_whole_parts(
    stablenormal: Command, tmp_path: Path, name: str
) -> None:
    sample = Path(stablenormal_package.__file__).parent / "samples" / f"{name}.jpg"
    out = tmp_path / f"{name}.ply"
    code, _, err = stablenormal("mesh", sample, "-o", out, "--device", "cpu", "--resolution", "160")
    assert code == 0, err
    mesh = trimesh.load_mesh(out, process=False)
    assert len(mesh.vertices) > 0.6 * 160 * 160
    assert mesh.body_count <= 4
    depth = -mesh.vertices[:, 2]
    assert depth.max() < 3 * np.median(depth)
    assert np.ptp(mesh.vertices, axis=0).max() < 6 * np.median(depth)
    turned = cv2.imread(str(tmp_path / f"{name}_turntable.png"))[:384, 3 * 384 : 4 * 384]
    assert (turned < 250).any(axis=-1).mean() > 0.05


def test_the_camera_of_a_photograph_is_said_and_whole_photographs_are_estimated(
    stablenormal: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, err = stablenormal("mesh", photo, "-o", tmp_path / "a.ply", "--fov", "60", "--device", "cpu")
    assert "field of view 60.0 degrees" in err
    _, _, err = stablenormal("mesh", photo, "-o", tmp_path / "b.ply", "--orthographic", "--device", "cpu")
    assert "orthographic" in err
    monkeypatch.setattr(StableNormal, "estimates_field_of_view", True)
    monkeypatch.setattr(
        StableNormal, "field_of_view_deg", lambda _, photograph: [20.0 + photograph.valid.shape[0] / 64]
    )
    report = photograph_to_mesh(
        photo, tmp_path / "c.ply", IntegrationSettings(iterations=2), CameraChoice(), device="cpu"
    )
    assert report.intrinsics is not None
    assert report.intrinsics.fov_deg[0] == pytest.approx(21)
    assert "21 degrees estimated" in camera_line(report)


def test_a_model_that_can_estimates_the_field_of_view(
    photo: Path, normal_map: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = StableNormal.from_pretrained("small", device="cpu", dtype="float32")
    encoder = pipeline.components.semantic_encoder
    assert isinstance(encoder, SemanticEncoder)
    pipeline.components.field_of_view = FieldOfViewHead(encoder.channels)  # a fresh one says 53.1 degrees
    monkeypatch.setattr(StableNormal, "from_pretrained", lambda *_, **__: pipeline)
    report = photograph_to_mesh(
        photo, tmp_path / "a.ply", IntegrationSettings(iterations=2), CameraChoice(), device="cpu"
    )
    assert report.intrinsics is not None
    assert report.intrinsics.fov_deg[0] == pytest.approx(53.13, abs=0.01)
    assert "53 degrees estimated" in camera_line(report)
    report = integrate(
        normal_map, tmp_path / "b", IntegrationSettings(iterations=2), CameraChoice(),
        photo=tmp_path / "photo.png",
        estimate_fov=bundled_fov_deg,
    )  # fmt: skip
    assert "53 degrees estimated" in camera_line(report)


def test_a_large_photograph_becomes_a_mesh_of_the_resolution_asked_for(
    stablenormal: Command, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "small.ply"
    code, _, err = stablenormal("mesh", photo, "-o", out, "--resolution", "32", "--device", "cpu")
    assert code == 0, err
    assert 0.7 * 32 * 32 < len(trimesh.load_mesh(out).vertices) <= 32 * 32
    for wrong, words in ((["--resolution", "2"], "--resolution = 2"), (["--far", "0.5"], "--far = 0.5")):
        code, _, err = stablenormal("mesh", photo, "-o", tmp_path / "c.ply", "--device", "cpu", *wrong)
        assert code == 1
        assert words in err
        assert not (tmp_path / "c.ply").exists()


def test_the_kind_of_mesh_is_checked_before_the_work(
    stablenormal: Command, photo: Path, tmp_path: Path
) -> None:
    code, _, err = stablenormal("mesh", photo, "-o", tmp_path / "a.stl", "--model", "no-such-model")
    assert code == 1
    assert "ending" in err
