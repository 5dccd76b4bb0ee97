"""The job behind `stablenormal reconstruct`: a scene and, if there are any, its priors in; a mesh out."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stablenormal.app.previews import problem_of
from stablenormal.app.run_record import versions
from stablenormal.app.view_masks import BY_ALPHA, MaskChoice, masked_view
from stablenormal.applications.mesh_preview import render_row
from stablenormal.applications.mesh_reconstruction.extraction import extract_mesh, require_marching_cubes
from stablenormal.applications.mesh_reconstruction.fitting import Progress, SurfaceFit
from stablenormal.applications.mesh_reconstruction.settings import ReconstructionSettings
from stablenormal.applications.mesh_reconstruction.views import ReconstructionView
from stablenormal.errors import OutputError, SceneError, SettingError, StableNormalError
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.mesh import TriangleMesh
from stablenormal.geometry.normals import encode_8bit
from stablenormal.io.atomic import write_bytes
from stablenormal.io.image import write_image
from stablenormal.io.interruption import Interruption
from stablenormal.io.mesh import MESH_SUFFIXES, write_mesh
from stablenormal.io.normal_map import read_normal_map
from stablenormal.io.output_folder import OutputFolder
from stablenormal.io.prior_layout import read_confidence
from stablenormal.io.scene import PosedScene, SceneView
from stablenormal.io.scene_formats import read_scene
from stablenormal.pipelines.placement import choose_device

TURN_DEG = (0.0, 90.0, 180.0, 270.0)
"""Views of the finished mesh."""

MOST_PIXELS = 50_000_000
"""Of all photographs as they are used; about 9 GB."""

PRIOR_ENDINGS = ("_normal.png", "_normal.exr", "_normal.npy")


@dataclass(frozen=True)
class ReconstructionReport:
    """What was made."""

    files: tuple[Path, ...]
    views: int
    views_with_prior: int
    problems: tuple[str, ...]
    """One line for each view that was left out."""
    interrupted: bool
    """Whether the user stopped it; the checkpoint then holds all that was done."""


def reconstruct(
    scene: Path,
    output: Path,
    settings: ReconstructionSettings,
    *,
    priors: Path | None = None,
    images: Path | None = None,
    masks: MaskChoice = BY_ALPHA,
    device: str | None = None,
    resume: bool = False,
    save_every: int = 200,
    interruption: Interruption | None = None,
    on_problem: Callable[[str], None] = lambda line: None,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> ReconstructionReport:
    """Write a mesh in the scene's world, with colours, a record and pictures.

    Beside `NAME.ply`: `NAME_preview.png` (a photograph, its rendering, normals; renewed while it runs),
    `NAME_turntable.png` and `NAME.json`; `NAME.checkpoint.pt` until it is finished.

    Args:
        scene: what `read_scene` reads.
        output: .ply, .obj or .glb.
        settings: how to reconstruct.
        priors: output of `stablenormal priors` in layout `plain`, or any folder of NAME_normal maps.
        images: folder of the photographs, where the scene does not say it right.
        masks: where masks come from; the object must have one.
        device: "cpu" or "cuda"; None: the best there is.
        resume: go on from the checkpoint if there is one.
        save_every: steps between two checkpoints and previews.
        interruption: stops it with a checkpoint after the step in which a signal came.
        on_problem: is told of each view that is left out, in one line.
        on_step: is told of each step.

    Raises:
        StableNormalError: if it cannot work; no mesh is written then.
    """
    if output.suffix.lower() not in MESH_SUFFIXES:
        raise OutputError(f"{output}: meshes are written as {', '.join(MESH_SUFFIXES)}; change the ending")
    if save_every < 1:
        raise SettingError(f"save_every = {save_every}; choose 1 or more")
    if priors is not None and not priors.is_dir():
        raise SettingError(f"{priors}: no such folder; make it with `stablenormal priors`")
    require_marching_cubes()
    interruption = interruption or Interruption()
    posed = read_scene(scene, images)
    folder = OutputFolder(output.parent, [*posed.files(), *masks.files(posed.views)])
    checkpoint, record = output.with_suffix(".checkpoint.pt"), output.with_suffix(".json")
    preview, turntable = (output.with_name(f"{output.stem}_{kind}.png") for kind in ("preview", "turntable"))
    folder.reads(_prior_files(posed, priors))
    folder.check([preview, turntable, record, output, checkpoint])
    views, problems = _read_views(scene, posed, masks, priors, settings.image_size, on_problem)
    fit = SurfaceFit(views, settings, choose_device(device))
    if resume and checkpoint.is_file():
        fit.load(checkpoint)
    started, clock = datetime.now(UTC), time.perf_counter()
    with_prior = sum(view.normals is not None for view in views)
    progress: Progress | None = None
    try:
        while not fit.finished and interruption.signal is None:
            with interruption.held():
                progress = fit.step()
            on_step(progress)
            if progress.done % save_every == 0 and not fit.finished:
                with folder.writing([checkpoint, preview]):
                    fit.save(checkpoint)
                    problem_of(lambda: write_image(preview, preview_picture(fit)), str(preview))
    except KeyboardInterrupt:
        stopped = True
    else:
        stopped = not fit.finished
    if progress is not None and fit.consistent:
        with folder.writing([checkpoint]):
            fit.save(checkpoint)  # of the finished state too, as extracting or writing may still fail
    if stopped:
        return ReconstructionReport((), len(views), with_prior, tuple(problems), interrupted=True)
    mesh, colours = extract_mesh(fit)
    content = {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        "scene": str(scene),
        "priors": None if priors is None else str(priors),
        "masks": str(masks),
        "views": len(views),
        "views_with_prior": with_prior,
        "problems": problems,
        "settings": asdict(settings),
        "cube": asdict(fit.cube),
        "vertices": len(mesh.positions),
        "faces": len(mesh.faces),
        "losses": None if progress is None else dict(progress.losses),
        "device": str(fit.device),
        "versions": versions(),
    }
    with folder.writing([preview, turntable, record, output]):
        unmade = [
            problem_of(lambda: write_image(preview, preview_picture(fit)), str(preview)),
            problem_of(lambda: write_image(turntable, render_row(_upright(mesh), TURN_DEG)), str(turntable)),
        ]
        write_bytes(record, (json.dumps(content, indent=1) + "\n").encode())
        files = [preview, turntable, record, *write_mesh(output, mesh, vertex_colours=colours)]
    for line in filter(None, unmade):
        on_problem(line)
    checkpoint.unlink(missing_ok=True)
    return ReconstructionReport(tuple(files), len(views), with_prior, tuple(problems), interrupted=False)


def preview_picture(fit: SurfaceFit, view: int = 0) -> npt.NDArray[np.uint8]:
    """A photograph, its rendering, and the surface's normals in that camera, side by side."""
    rgb, normals = fit.picture(view)
    own = normals @ fit.views[view].camera.rotation.astype(np.float32)
    coded = channels_last(encode_8bit(channels_first(own)[None])[0])
    seen = np.clip(np.concatenate([fit.views[view].rgb, rgb], axis=1), 0, 1)
    return np.concatenate([np.rint(seen * 255).astype(np.uint8), coded], axis=1)


def _read_views(
    scene: Path,
    posed: PosedScene,
    masks: MaskChoice,
    priors: Path | None,
    image_size: int,
    on_problem: Callable[[str], None],
) -> tuple[list[ReconstructionView], list[str]]:
    """All views that can be used, already shrunk: large photographs do not fit in memory at once."""
    pixels = sum(_used_pixels(view, image_size) for view in posed.views)
    if pixels > MOST_PIXELS:
        fitting = int(image_size * math.sqrt(MOST_PIXELS / pixels))
        raise SettingError(
            f"{scene}: {len(posed.views)} photographs at {image_size} px are {pixels / 1e6:.0f} megapixels, "
            f"more than the {MOST_PIXELS / 1e6:.0f} that fit in memory; choose --image-size {fitting} or less"
        )
    problems = list(posed.missing)
    for line in problems:
        on_problem(line)
    views = []
    for view in posed.views:
        try:
            views.append(_read_view(view, masks, priors).shrunk(image_size))
        except StableNormalError as error:
            problems.append(str(error))
            on_problem(str(error))
    if len(views) < 2:
        raise SceneError(f"{scene}: {len(views)} of {len(posed.views)} views can be used, two are needed")
    if all((view.mask > 0.5).all() for view in views):
        raise SceneError(
            f"{scene}: no photograph has a mask of the object; give --mask a folder, or auto for one object "
            "on a calm ground"
        )
    if priors is not None and all(view.normals is None for view in views):
        raise SettingError(
            f"{priors}: holds no normals of these views, such as normals/{views[0].name}_normal.png; "
            "make them with `stablenormal priors`"
        )
    return views, problems


def _used_pixels(view: SceneView, image_size: int) -> float:
    """Pixels of a photograph, shrunk to this longer side."""
    camera = view.camera.intrinsics
    return camera.width * camera.height * min(1, image_size / max(camera.width, camera.height)) ** 2


def _read_view(view: SceneView, masks: MaskChoice, priors: Path | None) -> ReconstructionView:
    picture, valid = masked_view(view, masks)
    normals = confidence = None
    if priors is not None:
        path, sure = _prior_of(priors, view)
        normals = None if path is None else read_normal_map(path).normals
        confidence = None if sure is None else read_confidence(sure)
    return ReconstructionView(
        view.name, picture.camera, picture.photograph.rgb, valid.astype(np.float32), normals, confidence
    )


def _prior_of(priors: Path, view: SceneView) -> tuple[Path | None, Path | None]:
    """The files of a view's normals and their confidence."""
    return (
        _first_file(priors, "normals", view.name, PRIOR_ENDINGS),
        _first_file(priors, "confidence", view.name, ("_confidence.png",)),
    )


def _prior_files(posed: PosedScene, priors: Path | None) -> list[Path | None]:
    return [] if priors is None else [file for view in posed.views for file in _prior_of(priors, view)]


def _first_file(folder: Path, below: str, name: str, endings: tuple[str, ...]) -> Path | None:
    places = (root / f"{name}{ending}" for root in (folder / below, folder) for ending in endings)
    return next((path for path in places if path.is_file()), None)


def _upright(mesh: TriangleMesh) -> TriangleMesh:
    """With the world's z up, as most scenes have it, instead of y; COLMAP's worlds stand anyhow."""
    turn = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)
    return replace(mesh, positions=mesh.positions @ turn.T, normals=mesh.normals @ turn.T)
