"""A ball is recovered to a fraction of the grid's spacing; stopped and resumed is never stopped."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from stablenormal.applications.mesh_reconstruction.extraction import extract_mesh
from stablenormal.applications.mesh_reconstruction.fitting import SurfaceFit
from stablenormal.applications.mesh_reconstruction.settings import ReconstructionSettings, chosen_settings
from stablenormal.errors import SceneError, SettingError
from stablenormal.geometry.posed import PosedCamera

QUICK = ReconstructionSettings(
    resolutions=(16, 24), iterations=(40, 70), patches=64, image_size=32, normal_weight=0.8, prior_detail=0
)


def finish(fit: SurfaceFit) -> SurfaceFit:
    while not fit.finished:
        fit.step()
    return fit


def errors(fit: SurfaceFit) -> np.ndarray:
    """Distances of the mesh's vertices from the ball, in grid spacings."""
    mesh, _ = extract_mesh(fit)
    away = np.linalg.norm(mesh.positions - [0.3, -0.2, 0.1], axis=1)
    return np.abs(away - 0.8) / (fit.cube.half * fit.field.grid.spacing)


def test_a_ball_to_a_fraction_of_a_voxel(ball) -> None:
    fit = finish(SurfaceFit(ball(), QUICK))
    off = errors(fit)
    assert off.mean() < 0.2
    assert off.max() < 0.8
    mesh, colours = extract_mesh(fit)
    outward = (mesh.positions - [0.3, -0.2, 0.1]) / 0.8
    assert (mesh.normals * outward).sum(1).mean() > 0.97
    corners = mesh.positions[mesh.faces]
    wound = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((wound * outward[mesh.faces[:, 0]]).sum(1) > 0).mean() > 0.99
    lit = outward @ [0.5, 0.3, 0.8] > 0.5
    assert colours[lit, 0].mean() > colours[~lit, 0].mean() + 0.1


def test_true_normals_help(ball) -> None:
    few = ball(4)
    with_prior = errors(finish(SurfaceFit(few, QUICK))).mean()
    without = errors(finish(SurfaceFit(few, replace(QUICK, normal_weight=0)))).mean()
    assert with_prior < 0.7 * without


def test_the_detail_of_a_leaning_prior_does_no_harm(ball) -> None:
    views = [replace(view, normals=leaning(view.normals, place)) for place, view in enumerate(ball(6))]
    without = errors(finish(SurfaceFit(views, replace(QUICK, normal_weight=0)))).mean()
    whole = errors(finish(SurfaceFit(views, QUICK))).mean()
    detail = errors(finish(SurfaceFit(views, replace(QUICK, prior_detail=0.05)))).mean()
    assert whole > 2 * without
    assert detail < 1.1 * without


def leaning(normals: np.ndarray, place: int) -> np.ndarray:
    """Normals all turned by 30 degrees, in each view to another side."""
    axis = np.array([np.cos(2.4 * place), np.sin(2.4 * place), 0])
    turn, _ = cv2.Rodrigues(np.radians(30) * axis)
    return (normals @ turn.T).astype(np.float32)


def test_pictures_show_the_ball(ball) -> None:
    views = ball()
    fit = finish(SurfaceFit(views, replace(QUICK, iterations=(60, 20))))
    rgb, normals = fit.picture(2)
    inside = views[2].mask > 0.99
    assert np.abs(rgb - views[2].rgb)[inside].mean() < 0.06
    truth = views[2].normals @ views[2].camera.rotation.T
    assert (normals * truth)[inside].sum(-1).mean() > 0.97
    assert np.abs(rgb[views[2].mask == 0]).mean() < 0.05


@pytest.mark.parametrize(("stop", "detail"), [(40, 0.0), (63, 0.0), (55, 0.05)])
def test_resumed_is_never_stopped(ball, tmp_path: Path, stop: int, detail: float) -> None:
    settings = replace(QUICK, iterations=(40, 30), prior_detail=detail)
    views = ball(4, 24)
    whole = finish(SurfaceFit(views, settings))
    first = SurfaceFit(views, settings)
    for _ in range(stop):
        first.step()
    first.save(tmp_path / "a.pt")
    second = SurfaceFit(views, settings)
    second.load(tmp_path / "a.pt")
    assert second.done == stop
    finish(second)
    assert np.array_equal(second.dense_distances(), whole.dense_distances())
    assert torch.equal(second.field.colours, whole.field.colours)


def test_the_seed_chooses_the_rays(ball) -> None:
    views = ball(3, 24)
    made = []
    for seed in (0, 0, 1):
        fit = SurfaceFit(views, replace(QUICK, seed=seed))
        for _ in range(3):
            fit.step()
        made.append(fit.dense_distances())
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_checkpoints_of_something_else(ball, tmp_path: Path) -> None:
    views = ball(3, 24)
    SurfaceFit(views, QUICK).save(tmp_path / "a.pt")
    with pytest.raises(SettingError, match="other settings"):
        SurfaceFit(views, replace(QUICK, seed=4)).load(tmp_path / "a.pt")
    with pytest.raises(SettingError, match="other views"):
        SurfaceFit(ball(4, 24), QUICK).load(tmp_path / "a.pt")
    moved = [replace(view, camera=_moved(view.camera)) for view in views]
    with pytest.raises(SettingError, match="other views"):
        SurfaceFit(moved, QUICK).load(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(b"no checkpoint")
    with pytest.raises(SettingError, match="not a checkpoint"):
        SurfaceFit(views, QUICK).load(tmp_path / "b.pt")


def _moved(camera: PosedCamera) -> PosedCamera:
    pose = camera.camera_to_world.copy()
    pose[:3, 3] += 5
    return PosedCamera(camera.intrinsics, pose)


def test_a_step_that_broke_off_says_so(ball, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = SurfaceFit(ball(3, 24), QUICK)

    def broken(self: SurfaceFit, *unused: object) -> None:
        raise KeyboardInterrupt

    assert fit.consistent
    monkeypatch.setattr(SurfaceFit, "_set_rates", broken)
    with pytest.raises(KeyboardInterrupt):
        fit.step()
    assert not fit.consistent


def test_nothing_is_left_to_do(ball) -> None:
    fit = finish(SurfaceFit(ball(3, 24), replace(QUICK, resolutions=(12,), iterations=(2,))))
    with pytest.raises(SettingError, match="finished"):
        fit.step()


def test_an_empty_reconstruction_has_no_mesh(ball) -> None:
    fit = SurfaceFit(ball(3, 24), QUICK)
    fit._distances = torch.ones_like(fit._distances)
    fit._dense = torch.ones_like(fit._dense)
    with pytest.raises(SceneError, match="no surface"):
        extract_mesh(fit)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolutions": (32, 16), "iterations": (1, 1)}, "grow"),
        ({"resolutions": (4,), "iterations": (1,)}, "8 to 512"),
        ({"iterations": (1,)}, "number of iterations"),
        ({"image_size": 4}, "image_size"),
        ({"colour_degree": 2}, "colour_degree"),
        ({"step": 0.0}, "step"),
        ({"step": 1.0}, "step"),
        ({"normal_weight": -1.0}, "normal_weight"),
        ({"mask_weight": float("nan")}, "mask_weight"),
    ],
)
def test_settings_out_of_range(change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        replace(ReconstructionSettings(), **change)


def test_what_a_user_chooses() -> None:
    assert chosen_settings() == ReconstructionSettings()
    default = ReconstructionSettings().iterations
    assert chosen_settings(resolutions="16,32,64,128").iterations == (*default, default[-1])
    assert chosen_settings(resolutions="16", iterations="5", seed=2).iterations == (5,)
    with pytest.raises(SettingError, match="`iterations` a,b"):
        chosen_settings(iterations="a,b")
