"""The job behind `stablenormal priors`: a scene in; normals, masks, confidence and a score out."""

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from stablenormal.app.model_settings import ModelSettings
from stablenormal.app.run_record import (
    FileResult,
    RunStatus,
    earlier_results,
    keep_record,
    settled,
    write_record,
)
from stablenormal.app.view_masks import BY_ALPHA, MaskChoice, masked_view
from stablenormal.applications.multi_view_consistency import Consistency, ViewNormals, consistency
from stablenormal.errors import SettingError, StableNormalError
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.posed import PosedCamera
from stablenormal.io.atomic import write_bytes
from stablenormal.io.depth_map import read_depth_map
from stablenormal.io.fingerprint import MadeFrom, made_from
from stablenormal.io.image import Photograph, write_image
from stablenormal.io.normal_map import read_normal_map, write_normal_map
from stablenormal.io.output_folder import OutputFolder
from stablenormal.io.prior_layout import (
    LAYOUTS,
    check_layout,
    check_one_size,
    index_files,
    prior_files,
    write_index,
    write_prior,
)
from stablenormal.io.scene import PosedScene, SceneView
from stablenormal.io.scene_formats import read_scene
from stablenormal.io.transforms_json import write_transforms
from stablenormal.models.spec import Quality
from stablenormal.pipelines import StableNormal

HALF_SURE_DEG = 10.0
"""Spread of the ensemble at which a normal has confidence one half."""

_MILLIMETRE = 0.001

RECORD, SCORE, CACHE = "run.json", "consistency.json", ".views"


@dataclass(frozen=True)
class PriorSettings(ModelSettings):
    """The options of a run; saved in its `run.json`.

    Raises:
        SettingError: when made with an option that does not exist or is out of range.
    """

    layout: str = "plain"
    """Whose files to write, a key of `LAYOUTS`."""
    space: str | None = None
    """`camera` or `world`; None: the layout's own."""
    seed: int = 0
    """Of the first member of each view's ensemble."""
    ensemble: int = 3
    """Predictions per view; their mean is the prior, their spread gives the confidence. 1: no confidence."""
    skip_existing: bool = False
    """Keep views that an earlier run finished."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layout(self.layout, self.space)


@dataclass(frozen=True)
class PriorReport:
    """What a run did."""

    results: tuple[FileResult, ...]
    score: Consistency
    record: Path
    interrupted: bool

    @property
    def failed(self) -> int:
        """Views without a prior."""
        return sum(result.status == "failed" for result in self.results)


def confidence_of(spread_deg: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Confidence in (0, 1] of a spread in degrees: 1 / (1 + (spread / HALF_SURE_DEG)^2)."""
    sure: npt.NDArray[np.float32] = (1 / (1 + (spread_deg / HALF_SURE_DEG) ** 2)).astype(np.float32)
    return sure


def make_priors(
    scene: Path,
    output: Path,
    settings: PriorSettings,
    *,
    images: Path | None = None,
    masks: MaskChoice = BY_ALPHA,
    on_start: Callable[[int], None] = lambda total: None,
    on_result: Callable[[FileResult], None] = lambda result: None,
) -> PriorReport:
    """Write the priors of a scene, `consistency.json` and `run.json`.

    A view that fails is reported and the rest goes on. An interrupt ends the run early, with complete files.

    Args:
        scene: what `read_scene` reads.
        output: folder of the results.
        settings: what to compute and write.
        images: folder of the photographs, where the scene does not say it right.
        masks: where masks come from.
        on_start: is told the number of views.
        on_result: is told about each view when it is finished.

    Raises:
        StableNormalError: if no view could work.
    """
    posed = read_scene(scene, images)
    folder = OutputFolder(output, [*posed.files(), *masks.files(posed.views)])
    planned = _planned(folder, posed, settings)
    if LAYOUTS[settings.layout].index:
        check_one_size([view.camera for view in posed.views], settings.layout)
    pipeline = settings.load()
    computed_with = _computed_with(pipeline, settings, settings.asked(pipeline.spec))
    record = output / RECORD
    with_what = settled(computed_with)
    earlier = earlier_results(record) if settings.skip_existing else {}
    folder.check(planned)
    keep_record(folder, record)
    started, clock = datetime.now(UTC), time.perf_counter()
    results = [FileResult(line.split(": ")[0], "", "failed", error=line) for line in posed.missing]

    def note(status: RunStatus) -> None:
        reached = {result.name for result in results}
        kept = [result for result in earlier.values() if status != "complete" and result.name not in reached]
        with folder.writing([record]):
            write_record(
                record,
                status=status,
                started=started.isoformat(timespec="seconds"),
                seconds=time.perf_counter() - clock,
                computed_with=computed_with,
                settings={**asdict(settings), "scene": str(scene), "masks": str(masks)},
                spec=asdict(pipeline.spec),
                device=str(pipeline.device),
                results=[*results, *kept],
            )

    on_start(len(posed.views) + len(results))
    for result in results:
        on_result(result)
    note("running")
    interrupted = False
    cameras: dict[str, tuple[PosedCamera, str]] = {}
    known: list[tuple[SceneView, ViewNormals]] = []
    try:
        for view in posed.views:
            result, made = _one_view(pipeline, view, folder, settings, masks, earlier, with_what)
            results.append(result)
            note("running")
            on_result(result)
            if made is not None:
                known.append((view, made[0]))
                cameras[view.name] = (made[0].camera, made[1])
    except KeyboardInterrupt:
        interrupted = True
    except BaseException:
        note("stopped")
        raise
    try:
        score = consistency([normals for _, normals in known], posed.points)
        with folder.writing([output / SCORE]):
            _write_score(output / SCORE, posed, [view.name for view, _ in known], score)
        if cameras:
            with folder.writing(_camera_files(output, settings, cameras)):
                _write_cameras(output, settings, posed, cameras)
    except BaseException:
        note("stopped")
        raise
    note("interrupted" if interrupted else "complete")
    return PriorReport(tuple(results), score, record, interrupted)


def _one_view(
    pipeline: StableNormal,
    view: SceneView,
    folder: OutputFolder,
    settings: PriorSettings,
    masks: MaskChoice,
    earlier: dict[str, FileResult],
    with_what: MadeFrom,
) -> tuple[FileResult, tuple[ViewNormals, str] | None]:
    """The result of a view; its normals and the photograph that belongs to them, unless it failed."""
    start, output = time.perf_counter(), folder.root
    files = prior_files(output, settings.layout, view.name, settings.ensemble > 1)
    kept_map = output / CACHE / f"{view.name}.png"
    relative = tuple(path.relative_to(output).as_posix() for path in files)
    try:
        picture, valid = masked_view(view, masks)
        depth = _depth_of(view, valid.shape)
        made = _made_from(view, masks) | with_what
        known = earlier.get(view.name)
        there = known is not None and all(path.is_file() for path in (*files, kept_map))
        done = known is not None and there and known.unchanged(made)
        image = _pinhole_image(folder, view, picture.photograph, done)
        if known is not None and done:
            normals = read_normal_map(kept_map).normals
            result = replace(known, source=str(view.image), status="skipped", note=None)
        else:
            normals, confidence = _predict(pipeline, picture.photograph, valid, settings)
            space = check_layout(settings.layout, settings.space)
            with folder.writing([kept_map, *files]):
                write_normal_map(kept_map, normals)
                write_prior(
                    output, settings.layout, view.name, normals, picture.camera, valid, confidence, space
                )
            height, width = valid.shape
            again = known.why_again(view.image, made) if known is not None and there else None
            result = FileResult(
                str(view.image),
                view.name,
                "done",
                relative,
                width,
                height,
                time.perf_counter() - start,
                note=again,
                made_from=made,
            )
    except StableNormalError as error:
        return FileResult(str(view.image), view.name, "failed", error=str(error)), None
    return result, (ViewNormals(picture.camera, normals, depth, view.points), image)


def _made_from(view: SceneView, masks: MaskChoice) -> MadeFrom:
    """What a view's prior depends on, besides settings and weights."""
    lens = [*asdict(view.camera.intrinsics).values(), *view.distortion.coefficients]
    facts = {"camera": lens, "pose": view.camera.camera_to_world.tolist(), "kind of mask": masks.rule()}
    return made_from({"photograph": view.image, "mask": masks.used(view)}, facts)


def _planned(folder: OutputFolder, posed: PosedScene, settings: PriorSettings) -> list[Path]:
    """Every file that the run will write, to be refused before the work."""
    output, files = folder.root, [folder.root / RECORD, folder.root / SCORE]
    for view in posed.views:
        files.append(folder.path(f"{CACHE}/{view.name}.png"))
        files += prior_files(output, settings.layout, view.name, settings.ensemble > 1)
        if view.distortion:
            files.append(_straight(output, view))
    names = dict.fromkeys(view.name for view in posed.views)
    return files + _camera_files(output, settings, names)


def _camera_files(output: Path, settings: PriorSettings, names: Iterable[str]) -> list[Path]:
    index = LAYOUTS[settings.layout].index
    return [output / "transforms.json", *(index_files(output, names) if index else ())]


def _straight(output: Path, view: SceneView) -> Path:
    """Where the photograph goes that has its distortion undone."""
    return output / "images" / f"{view.name}.png"


def _depth_of(view: SceneView, shape: tuple[int, ...]) -> npt.NDArray[np.float32] | None:
    """The view's depth where it lies over the photograph; it serves the score alone, so others do without.

    PNGs that do not say their unit are in millimetres, as nerfstudio has it.
    """
    if view.depth is None or view.distortion or not view.depth.is_file():
        return None
    for scale in (None, _MILLIMETRE):
        try:
            depth = read_depth_map(view.depth, scale)
        except SettingError:
            continue
        except StableNormalError:
            return None
        return depth if depth.shape == shape else None
    return None


def _predict(
    pipeline: StableNormal, photograph: Photograph, valid: npt.NDArray[np.bool_], settings: PriorSettings
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    output = pipeline(
        [channels_first(photograph.rgb)],  # (3, H, W)
        valid=[torch.from_numpy(valid)],
        seed=settings.seed,
        uncertainty=settings.ensemble > 1,
        **settings.call,
    )
    normals = channels_last(output.normals[0])
    if output.uncertainty_deg is None:
        return normals, None
    return normals, np.where(valid, confidence_of(output.uncertainty_deg[0].numpy()), 0).astype(np.float32)


def _pinhole_image(folder: OutputFolder, view: SceneView, photograph: Photograph, done: bool) -> str:
    """The photograph that the priors lie over: the scene's own, or one without distortion, written here."""
    if not view.distortion:
        return os.path.abspath(view.image)
    path = _straight(folder.root, view)
    if not (done and path.is_file()):
        with folder.writing([path]):
            write_image(path, photograph.rgb)
    return path.relative_to(folder.root).as_posix()


def _write_cameras(
    output: Path, settings: PriorSettings, posed: PosedScene, cameras: dict[str, tuple[PosedCamera, str]]
) -> None:
    """Pinhole cameras of the photographs as they are now, and the index that the layout wants."""
    write_transforms(output / "transforms.json", {image: camera for camera, image in cameras.values()})
    if LAYOUTS[settings.layout].index:
        centres = np.stack([camera.centre for camera, _ in cameras.values()])
        around = centres if posed.points is None else np.concatenate([centres, posed.points])
        write_index(
            output,
            {name: camera for name, (camera, _) in cameras.items()},
            {name: image for name, (_, image) in cameras.items()},
            [around.min(axis=0).tolist(), around.max(axis=0).tolist()],
        )


def _write_score(path: Path, posed: PosedScene, names: list[str], score: Consistency) -> None:
    content: dict[str, Any] = {
        "definition": "angle in degrees between the world normals that two views give to one surface point",
        "points_from": score.by,
        "overall": None if score.overall is None else asdict(score.overall),
        "views": {
            name: None if agreement is None else asdict(agreement)
            for name, agreement in zip(names, score.views, strict=True)
        },
        "scene": str(posed.path),
    }
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())


def _computed_with(pipeline: StableNormal, settings: PriorSettings, asked: Quality) -> dict[str, Any]:
    return {
        "weight_hash": pipeline.weight_hash,
        "layout": settings.layout,
        "space": check_layout(settings.layout, settings.space),
        "mode": asked.mode,
        "seed": settings.seed,
        "ensemble": settings.ensemble,
        "resolution": asked.sizes or None,
        "mirrored": asked.mirrored,
        "steps": settings.steps,
        "t_plus": settings.t_plus,
    }
