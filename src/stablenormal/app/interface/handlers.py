"""What happens behind the page, as plain functions: runs of `predict`, pictures, meshes, archives."""

import os
import queue
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stablenormal.app.html_page import fill_part
from stablenormal.app.integrate import MESH_ITERATIONS, CameraChoice, camera_line, photograph_to_mesh
from stablenormal.app.naming import result_files
from stablenormal.app.predict import predict
from stablenormal.app.predict_settings import PredictSettings
from stablenormal.app.previews import UNCERTAINTY_TOP_DEG, angle_bar, frame_legend, small_normals
from stablenormal.app.run_record import FileResult
from stablenormal.applications.normal_integration import IntegrationSettings
from stablenormal.errors import StableNormalError
from stablenormal.io.atomic import atomic_path
from stablenormal.io.normal_map import read_normal_map
from stablenormal.pipelines import StableNormal

FORMATS = ("png16", "exr")
"""What the page offers to take away."""


@dataclass(frozen=True)
class Shown:
    """One photograph with its normals, on the page."""

    name: str
    """Of the result."""
    source: Path
    """The photograph, as it was uploaded."""
    folder: Path
    """Of the run."""
    settings: PredictSettings
    size: tuple[int, int]
    """Width and height of the photograph in pixels."""
    seconds: float
    uncertainty_deg: float | None
    """Mean over the photograph, where several seeds were run."""

    @property
    def png(self) -> Path:
        """The 16-bit normal map."""
        return result_files(self.folder, self.name, FORMATS, False).maps["png16"]

    @property
    def exr(self) -> Path:
        """The floating-point normal map."""
        return result_files(self.folder, self.name, FORMATS, False).maps["exr"]

    @property
    def glb(self) -> Path:
        """Where its mesh is, or would be."""
        return self.folder / f"{self.name}.glb"


@dataclass(frozen=True)
class Step:
    """How far a run is."""

    done: int
    """Photographs that are finished, failed ones too."""
    total: int
    shown: tuple[Shown, ...]
    problems: tuple[str, ...]
    """One line for each photograph without a result, and for each note."""
    complete: bool = False
    """Whether nothing comes after it: the record and the page of the run are written too."""


def run(
    pipeline: StableNormal, photographs: Sequence[Path], settings: PredictSettings, folder: Path
) -> Iterator[Step]:
    """Run `predict` on photographs; a step comes first, one when each is finished, and a complete one.

    A run that nobody goes on asking for ends after the photograph that it is at.

    Args:
        pipeline: the loaded model.
        photographs: files; of equal names, only the first is run.
        settings: what to compute; its formats are `FORMATS`.
        folder: new, for the results.

    Raises:
        StableNormalError: if no photograph could work.
    """
    # Holds one: the run is never far ahead of who looks at it.
    finished: queue.Queue[FileResult | BaseException | None] = queue.Queue(maxsize=1)
    abandoned = threading.Event()

    def note(result: FileResult) -> None:
        finished.put(result)
        if abandoned.is_set():
            raise KeyboardInterrupt  # which `predict` takes for the user's: complete files, an honest record

    def work() -> None:
        try:
            predict([str(path) for path in photographs], folder, settings, pipeline=pipeline, on_result=note)
            finished.put(None)
        except BaseException as error:
            finished.put(error)

    worker = threading.Thread(target=work, name="photographs", daemon=True)
    step = Step(0, len(photographs), (), ())
    yield step
    worker.start()
    try:
        while (result := finished.get()) is not None:
            if isinstance(result, BaseException):
                raise result
            step = _after(step, result, folder, settings, photographs)
            yield step
        yield replace(step, complete=True)
    finally:
        abandoned.set()
        while worker.is_alive():
            with suppress(queue.Empty):
                finished.get(timeout=0.05)


def _after(
    step: Step, result: FileResult, folder: Path, settings: PredictSettings, photographs: Sequence[Path]
) -> Step:
    source = Path(result.source)
    lines = [as_uploaded(line, photographs) for line in (result.error, result.note) if line is not None]
    shown = step.shown
    if result.status == "done":
        size = (result.width, result.height)
        one = Shown(result.name, source, folder, settings, size, result.seconds, result.uncertainty_deg)
        shown = (*shown, one)
    return Step(step.done + 1, step.total, shown, (*step.problems, *lines))


def as_uploaded(line: str, photographs: Sequence[Path]) -> str:
    """A message without the folders into which uploads were put, which say nothing to who sent them."""
    for photograph in photographs:
        line = line.replace(f"{photograph.parent}{os.sep}", "")
    return line


def viewer_html(shown: Shown) -> str:
    """What shows one photograph: the element of `viewer.js` with its pictures, and a legend."""
    spread = shown.settings.uncertainty
    files = result_files(shown.folder, shown.name, FORMATS, spread)
    pictures = {
        "photo": files.photo_preview.read_bytes(),
        "normals": files.normals_preview.read_bytes(),
        "surface": surface_png(read_normal_map(shown.png).normals),
    }
    if files.uncertainty_preview is not None:
        pictures["uncertainty"] = files.uncertainty_preview.read_bytes()
    width, height = shown.size
    facts = [f"{width} × {height} px", f"{shown.seconds:.1f} s", f"seed {shown.settings.seed}"]
    if shown.uncertainty_deg is not None:
        facts.append(f"mean uncertainty {shown.uncertainty_deg:.1f}°")
    return fill_part(
        "viewer.html",
        name=shown.name,
        facts=facts,
        pictures=pictures,
        legend=frame_legend(shown.settings.frame),
        bar=angle_bar(),
        top_deg=round(UNCERTAINTY_TOP_DEG),
    )


def surface_png(normals: NDArray[np.float32]) -> bytes:
    """OpenGL normals (H, W, 3) as the picture that the viewer lights: transparent where there is none."""
    vectors, valid = small_normals(normals)
    codes = np.rint((vectors + 1) * 127.5).astype(np.uint8)
    rgba = np.dstack([codes, np.where(valid, 255, 0).astype(np.uint8)])
    return cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))[1].tobytes()


def make_mesh(pipeline: StableNormal, shown: Shown, fov_deg: float | None = None) -> str:
    """Write the mesh of a photograph at `Shown.glb`, as `stablenormal mesh` does.

    Args:
        pipeline: the loaded model.
        shown: of which.
        fov_deg: horizontal field of view; None: what the photograph says, or a guess.

    Returns:
        A line about its camera.

    Raises:
        StableNormalError: if there is no surface in it.
    """
    try:
        report = photograph_to_mesh(
            shown.source,
            shown.glb,
            IntegrationSettings(iterations=MESH_ITERATIONS),
            CameraChoice(fov_deg=fov_deg),
            model=pipeline,
            mode=shown.settings.mode,
            seed=shown.settings.seed,
        )
    except StableNormalError as error:
        raise type(error)(as_uploaded(str(error), [shown.source])) from error
    return camera_line(report)


def archive(shown: Sequence[Shown]) -> Path:
    """Everything of a run in one ZIP file beside its folder: maps, meshes, its page and its record.

    Raises:
        OutputError: if it cannot be written.
    """
    folder = shown[0].folder
    path = folder.with_name(f"{folder.name}.zip")
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.name.startswith("."):
                archive.write(file, Path(folder.name) / file.relative_to(folder))
    return path
