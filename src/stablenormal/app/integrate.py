"""The jobs behind `stablenormal integrate` and `stablenormal mesh`: normals to depth, meshes and pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch

from stablenormal.app.previews import problem_of
from stablenormal.applications.foreground import foreground
from stablenormal.applications.mesh_preview import render_row
from stablenormal.applications.normal_integration import Integration, IntegrationSettings, integrate_normals
from stablenormal.applications.relief import FAR, check_far, relief_mesh
from stablenormal.applications.surface_mesh import surface_mesh
from stablenormal.errors import OutputError, SettingError, StableNormalError, argument
from stablenormal.geometry.camera import Intrinsics
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.mesh import TriangleMesh
from stablenormal.io.camera_file import read_camera_matrix
from stablenormal.io.choice import UNSAID, Choice
from stablenormal.io.depth_map import read_depth_map, write_depth_map
from stablenormal.io.image import (
    Photograph,
    read_image,
    read_mask,
    require_pixels,
    require_size,
    write_image,
)
from stablenormal.io.mesh import MESH_SUFFIXES, mesh_files, write_mesh
from stablenormal.io.normal_map import read_normal_map
from stablenormal.io.output_folder import OutputFolder
from stablenormal.models.modes import Mode
from stablenormal.pipelines import StableNormal

SIDES_DEG = (-50.0, 0.0, 50.0)
"""Views of a preview."""

TURNTABLE_DEG = (-75.0, -50.0, -25.0, 0.0, 25.0, 50.0, 75.0)
"""Views of a turntable picture; a photograph shows no back."""

DEPTH_ENDINGS = {"exr": "_depth.exr", "npy": "_depth.npy", "png": "_depth.png"}
FORMATS = (*DEPTH_ENDINGS, *(suffix[1:] for suffix in MESH_SUFFIXES))

DEFAULT_FOV_DEG = 45.0
"""Horizontal field of view of a photograph that does not say; those of phones and cameras are 35 to 70."""

MESH_ITERATIONS = 15
"""Reweightings of predicted normals, which never agree: on renders, 20 gave the error that 50 gave."""

SMALLEST_RESOLUTION = 16
"""Below, there is nothing to see."""

RESOLUTION = 768
"""Longer side in pixels at which a photograph becomes a mesh; the bundled model's normals are no finer."""


_UNKNOWN_CAMERA = "the camera is unknown; give --intrinsics, --fov or --orthographic, or a --photo with EXIF"


@dataclass(frozen=True)
class CameraChoice:
    """Where the camera comes from: at most one of these; none means the photograph's EXIF.

    Raises:
        SettingError: if more than one is given.
    """

    matrix: Path | None = None
    """File with a 3 x 3 camera matrix."""
    pixel_centre: float = 0.5
    """Coordinate of the centre of the top left pixel in `matrix`."""
    fov_deg: float | None = None
    """Horizontal field of view."""
    orthographic: bool = False
    """No perspective."""

    def __post_init__(self) -> None:
        if sum((self.matrix is not None, self.fov_deg is not None, self.orthographic)) > 1:
            raise SettingError("--intrinsics, --fov and --orthographic exclude each other; give one")

    def camera(self, width: int, height: int, exif: Intrinsics | None) -> Intrinsics | None:
        """The intrinsics of a picture; None is orthographic.

        Raises:
            SettingError: if nothing says.
        """
        if self.orthographic:
            return None
        if self.matrix is not None:
            return read_camera_matrix(self.matrix, width, height, self.pixel_centre)
        if self.fov_deg is not None:
            return Intrinsics.from_fov(self.fov_deg, width, height)
        if exif is not None:
            return exif
        raise SettingError(_UNKNOWN_CAMERA)


@dataclass(frozen=True)
class SurfaceReport:
    """What was made."""

    files: tuple[Path, ...]
    integration: Integration
    intrinsics: Intrinsics | None
    """The camera that was used; None is orthographic."""
    guess: Literal["assumed", "estimated"] | None = None
    """How the field of view was come by if nothing said it."""
    problem: str | None = None
    """Why there is no preview, in one line."""


def camera_line(report: SurfaceReport) -> str:
    """What a user should know of the camera: the horizontal field of view, and whether it was assumed."""
    if report.intrinsics is None:
        return "camera: orthographic"
    fov_deg = report.intrinsics.fov_deg[0]
    if report.guess is not None:
        return (
            f"the photograph does not say its field of view; {fov_deg:.0f} degrees {report.guess}, "
            f"{argument('fov')} sets it"
        )
    return f"camera: field of view {fov_deg:.1f} degrees"


def integrate(
    normal_map: Path,
    output: Path,
    settings: IntegrationSettings,
    camera: CameraChoice,
    *,
    frame: str | None = None,
    mask: Path | None = None,
    photo: Path | None = None,
    prior: Path | None = None,
    prior_scale: float | None = None,
    formats: tuple[str, ...] = ("exr", "ply"),
    choice: Choice = UNSAID,
    estimate_fov: Callable[[Photograph], float] | None = None,
) -> SurfaceReport:
    """Write depth, meshes, the discontinuity map and a preview of one normal map.

    Args:
        normal_map: any file that `read_normal_map` reads.
        output: folder of the results; they are named after the normal map.
        settings: how to integrate.
        camera: where the camera comes from.
        frame: of normal maps that do not say theirs.
        mask: a picture of the same size; dark pixels are left out.
        photo: the photograph, for EXIF and as texture.
        prior: a coarse depth map.
        prior_scale: unit of its values.
        formats: names in `FORMATS`.
        choice: which layer or part of an EXR normal map.
        estimate_fov: horizontal field of view in degrees, in (0, 180), of a photograph without EXIF, where
            `camera` leaves it open; without, that is an error.

    Raises:
        StableNormalError: if anything does not fit; nothing is written then.
    """
    if not formats or set(formats) - set(FORMATS):
        raise SettingError(f"--format: {', '.join(formats) or 'empty'}; choose from {', '.join(FORMATS)}")
    folder = OutputFolder(output, [normal_map, mask, photo, prior, camera.matrix])
    base = folder.path(normal_map.stem.removesuffix("_normal") or normal_map.stem)
    folder.check(_surface_files(base, formats, photo is not None))
    inside = None if mask is None else read_mask(mask)
    normals = read_normal_map(normal_map, frame, inside, choice=choice).normals
    height, width = normals.shape[:2]
    photograph = None if photo is None else _fitting_photo(photo, width, height)
    guess: Literal["estimated"] | None = None
    unknown = camera == CameraChoice() and photograph is not None and photograph.intrinsics is None
    if unknown and photograph is not None and estimate_fov is not None:
        guess, camera = "estimated", CameraChoice(fov_deg=estimate_fov(photograph))
    intrinsics = camera.camera(width, height, None if photograph is None else photograph.intrinsics)
    if photograph is not None:
        inside = photograph.valid if inside is None else inside & photograph.valid
    coarse = None if prior is None else read_depth_map(prior, prior_scale)
    try:
        result = integrate_normals(normals, intrinsics, inside, settings, coarse)
        mesh = _mesh_if_needed(result, normals, intrinsics, formats)
    except StableNormalError as error:
        raise type(error)(f"{normal_map}: {error}") from error
    texture = None if photograph is None else photograph.rgb
    problem = None if mesh else f"{normal_map}: no three neighbouring pixels are valid, so no preview is made"
    *files, preview = _surface_files(base, formats, photograph is not None)
    with folder.writing([*files, preview]):
        for name in formats:
            if name in DEPTH_ENDINGS:
                write_depth_map(base.with_name(base.name + DEPTH_ENDINGS[name]), result.depth)
            elif mesh is not None:
                write_mesh(base.with_name(f"{base.name}.{name}"), mesh, texture)
        write_image(base.with_name(f"{base.name}_discontinuity.png"), result.discontinuity)
        if mesh is not None:
            problem = _write_preview(preview, mesh, texture, SIDES_DEG)
    return SurfaceReport((*files, *([] if problem else [preview])), result, intrinsics, guess, problem)


def bundled_fov_deg(photograph: Photograph) -> float:
    """The bundled model's estimate of the horizontal field of view in degrees.

    Raises:
        SettingError: if it has none.
    """
    estimate = fov_estimator(StableNormal.from_pretrained())
    if estimate is None:
        raise SettingError(_UNKNOWN_CAMERA)
    return estimate(photograph)


def fov_estimator(pipeline: StableNormal) -> Callable[[Photograph], float] | None:
    """A model's estimate of the horizontal field of view in degrees, if it has one."""
    if not pipeline.estimates_field_of_view:
        return None
    return lambda photograph: pipeline.field_of_view_deg(photograph)[0]


def _surface_files(base: Path, formats: Sequence[str], textured: bool) -> list[Path]:
    """Every file of a result, the preview last."""
    files: list[Path] = []
    for name in formats:
        if name in DEPTH_ENDINGS:
            files.append(base.with_name(base.name + DEPTH_ENDINGS[name]))
        else:
            files += mesh_files(base.with_name(f"{base.name}.{name}"), textured)
    return [*files, *(base.with_name(f"{base.name}_{kind}.png") for kind in ("discontinuity", "preview"))]


def _mesh_if_needed(
    result: Integration,
    normals: npt.NDArray[np.float32],
    intrinsics: Intrinsics | None,
    formats: Sequence[str],
) -> TriangleMesh | None:
    """The surface; None where depth alone was asked for and there is no triangle.

    Raises:
        SettingError: if a mesh was asked for and there is no triangle.
    """
    try:
        return surface_mesh(result, normals, intrinsics)
    except SettingError:
        if set(formats) - DEPTH_ENDINGS.keys():
            raise
        return None


def _write_preview(
    path: Path, mesh: TriangleMesh, texture: npt.NDArray[np.float32] | None, angles_deg: tuple[float, ...]
) -> str | None:
    """Write a picture of a mesh, or say why there is none."""
    return problem_of(lambda: write_image(path, _preview(mesh, texture, angles_deg)), str(path))


def photograph_to_mesh(
    photo: Path,
    output: Path,
    settings: IntegrationSettings,
    camera: CameraChoice,
    *,
    mask: str | None = None,
    model: str | StableNormal = "small",
    quality: str | None = None,
    mode: Mode | None = None,
    seed: int = 0,
    device: str | None = None,
    offline: bool = False,
    choice: Choice = UNSAID,
    far: float = FAR,
    resolution: int = RESOLUTION,
) -> SurfaceReport:
    """Write a textured mesh of a photograph and a turntable picture of it, NAME_turntable.png.

    Args:
        photo: the photograph.
        output: .glb, .obj or .ply.
        settings: how to integrate.
        camera: where the camera comes from; of a photograph that does not say, the field of view is the
            model's estimate, or `DEFAULT_FOV_DEG` of a model that has none.
        mask: a picture of the same size, or "auto" to find the object in the middle; None: the photograph's
            own transparency, or all of it.
        model: "small", a model folder, a hub id, or a model that is loaded already.
        quality: "fast", "normal" or "best", as in a call of `StableNormal`.
        mode: "full" or "turbo", as there.
        seed: of the normals.
        device: "cpu", "cuda" or "mps", where the model is to be loaded.
        offline: never use the network.
        choice: which layer, part or page of the photograph's file.
        far: pixels at more than this many times the median depth are left out.
        resolution: longer side of the mesh in pixels, at most; the texture has all of the photograph's.

    Raises:
        StableNormalError: if anything does not fit; nothing is written then.
    """
    if resolution < SMALLEST_RESOLUTION:
        raise SettingError(
            f"{argument('resolution')} = {resolution} px is too few; choose {SMALLEST_RESOLUTION} or more"
        )
    check_far(far)
    if output.suffix.lower() not in MESH_SUFFIXES:
        raise OutputError(f"{output}: meshes are written as {', '.join(MESH_SUFFIXES)}; change the ending")
    mask_file = None if mask in (None, "auto") else Path(mask or "")
    folder = OutputFolder(output.parent, [photo, mask_file, camera.matrix])
    turntable = output.with_name(f"{output.stem}_turntable.png")
    planned = mesh_files(output, textured=True)
    folder.check([*planned, turntable])
    photograph = read_image(photo, mask_file, choice)
    height, width = photograph.valid.shape
    if isinstance(model, StableNormal):
        pipeline = model
    else:
        pipeline = StableNormal.from_pretrained(model, device=device, offline=offline)
    guess: Literal["assumed", "estimated"] | None = None
    if camera == CameraChoice() and photograph.intrinsics is None:
        estimate_fov = fov_estimator(pipeline)
        guess = "assumed" if estimate_fov is None else "estimated"
        camera = CameraChoice(fov_deg=DEFAULT_FOV_DEG if estimate_fov is None else estimate_fov(photograph))
    intrinsics = camera.camera(width, height, photograph.intrinsics)
    valid = photograph.valid & foreground(photograph.rgb) if mask == "auto" else photograph.valid
    require_pixels(valid, photo)
    rgb, valid, intrinsics = _reduced(photograph.rgb, valid, intrinsics, resolution)
    predicted = pipeline(
        [channels_first(rgb)],  # (3, H, W)
        valid=[torch.from_numpy(valid)],
        quality=quality,
        mode=mode,
        seed=seed,
    )
    normals = channels_last(predicted.normals[0])  # (H, W, 3)
    guide = rgb if valid.all() else None  # a cut-out brings its outline; inside, edges are often patterns
    result = integrate_normals(normals, intrinsics, valid, settings, photograph=guide)
    mesh = relief_mesh(result, normals, intrinsics, far)
    with folder.writing([*planned, turntable]):
        files = write_mesh(output, mesh, photograph.rgb)
        problem = _write_preview(turntable, mesh, photograph.rgb, TURNTABLE_DEG)
    return SurfaceReport((*files, *([] if problem else [turntable])), result, intrinsics, guess, problem)


def _reduced(
    rgb: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    intrinsics: Intrinsics | None,
    resolution: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], Intrinsics | None]:
    """The photograph (h, w, 3), its mask (h, w) and camera with a longer side of `resolution` at most."""
    height, width = valid.shape
    scale = resolution / max(height, width)
    if scale >= 1:
        return rgb, valid, intrinsics
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.clip(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), 0, 1).astype(np.float32)
    inside = cv2.resize(valid.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
    return small, inside, None if intrinsics is None else intrinsics.resize(*size)


def _fitting_photo(photo: Path, width: int, height: int) -> Photograph:
    photograph = read_image(photo)
    require_size(photo, photograph.valid.shape, "the normal map", (height, width), "use its own photograph")
    return photograph


def _preview(
    mesh: TriangleMesh, texture: npt.NDArray[np.float32] | None, angles_deg: tuple[float, ...]
) -> npt.NDArray[np.uint8]:
    """Views in clay, and below them the same with the photograph if there is one."""
    rows = [render_row(mesh, angles_deg)]
    if texture is not None:
        rows.append(render_row(mesh, angles_deg, photograph=texture))
    return np.concatenate(rows)
