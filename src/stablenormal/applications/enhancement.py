"""Sharper normals from coarse or generated ones: encoded, noised to t+, refined with their photograph.

StableNormal's third application (Wonder3D); its mechanism is not published. Here the coarse map takes the
place of the one-step start: x_{t+} = add_noise(En(coarse), t+), then the refinement. What the latents cannot
hold of the coarse map is added again in the share in which x_{t+} holds the map, and the broad shape stays
that of the coarse map: broad against the blur that it seems to have, the more so the higher t+. Views of one
set share their noise.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stablenormal.errors import ImageShapeError, SettingError, argument
from stablenormal.geometry.coarse_normals import blur_width_px
from stablenormal.geometry.normal_detail import detail_on
from stablenormal.geometry.normals import unit_length, valid_mask
from stablenormal.models.spec import TRAIN_TIMESTEPS
from stablenormal.pipelines import NormalsOutput, StableNormal
from stablenormal.pipelines.two_stage import Steps
from stablenormal.sampling.noise_schedule import NoiseSchedule

AZIMUTHS_DEG = {"front": 0, "front_right": 45, "right": 90, "back": 180, "left": -90, "front_left": -45}
"""Where Wonder3D's six cameras stand around the upright axis, seen from the front one."""

_COSINES = {0: 1.0, 45: math.sqrt(0.5), 90: 0.0, 180: -1.0}
_SINES = {0: 0.0, 45: math.sqrt(0.5), 90: 1.0, 180: 0.0}
"""Exact, so that a quarter turn moves numbers and does not round them."""

_SHARPEST_PX = 0.3
"""Blur that a map has at least, from its pixels."""


def t_plus_of_strength(strength: float) -> int:
    """Noise level, 1 to 999, of a strength from 0 (stay near the coarse map) to 1 (forget it).

    Raises:
        SettingError: if the strength is out of range.
    """
    if not 0 <= strength <= 1:
        raise SettingError(f"{argument('strength')}: {strength} is out of range; choose one from 0 to 1")
    return 1 + round(strength * (TRAIN_TIMESTEPS - 2))


def enhance(
    pipeline: StableNormal,
    images: Sequence[Tensor],
    coarse: Sequence[Tensor],
    *,
    t_plus: int | None = None,
    steps: Steps | None = None,
    seed: int = 0,
    processing_resolution: int | None = None,
) -> NormalsOutput:
    """Refine coarse normal maps with their photographs.

    Args:
        pipeline: the model; its refinement rule is used.
        images: (3, H, W) in [0, 1] each.
        coarse: (3, H, W) each, OpenGL camera of the image, zero vectors where invalid; they stay zero.
        t_plus: noise level that the coarse maps are brought to; None is the model's own.
        steps: network calls, or `auto`: until the prediction has settled; None is the model's own.
        seed: of the noise; images of one size get the same noise.
        processing_resolution: as in `StableNormal.__call__`.

    Raises:
        ImageShapeError: if a map and its image differ in size.
        SettingError: if an option is out of range, or a map is zero everywhere.
    """
    if len(images) != len(coarse):
        raise ImageShapeError(f"{len(coarse)} normal maps for {len(images)} images; give one for each")
    for index, (image, normals) in enumerate(zip(images, coarse, strict=True)):
        if image.shape != normals.shape:
            raise ImageShapeError(
                f"normal map {index} is {tuple(normals.shape)}, its image {tuple(image.shape)}; "
                "resize one to the other first"
            )
        if not bool(valid_mask(normals).any()):
            raise SettingError(f"normal map {index} has no valid pixel; check its mask")
    refined = pipeline(
        images,
        start=coarse,
        valid=[valid_mask(normals) for normals in coarse],  # (H, W)
        t_plus=t_plus,
        steps=steps,
        seed=seed,
        processing_resolution=processing_resolution,
    )
    kept = float(NoiseSchedule().alphas_cumprod[refined.t_plus]) ** 0.5
    held = pipeline.autoencode(coarse, images, processing_resolution)
    detailed = [
        _with_detail(new, normals.to(new), autoencoded, kept)
        for new, normals, autoencoded in zip(refined.normals, coarse, held, strict=True)
    ]
    return replace(refined, normals=detailed)


def _with_detail(refined: Tensor, coarse: Tensor, autoencoded: Tensor, share: float) -> Tensor:
    """The detail of a refined map (3, H, W), and what the autoencoder lost, on the coarse map's shape."""
    valid = valid_mask(coarse)
    coarse = torch.where(valid, unit_length(coarse[None])[0], 0.0)
    lost = torch.where(valid, coarse - autoencoded, 0.0)
    fine = torch.where(valid, unit_length((refined + share * lost)[None])[0], 0.0)
    width = max(_SHARPEST_PX, blur_width_px(coarse)) / share
    found = detail_on(fine, coarse, width)
    return torch.where(valid_mask(found), found, coarse)


def front_to_view(view: str, side: int = 1) -> Tensor:
    """Rotation (3, 3), float64, from the front camera's OpenGL frame to that of another view.

    Args:
        view: a key of `AZIMUTHS_DEG`.
        side: 1 if the view `right` stands on the x axis of the front one, -1 if opposite; see `right_side`.

    Raises:
        SettingError: if the view does not exist.
    """
    if view not in AZIMUTHS_DEG:
        raise SettingError(f"unknown view '{view}'; choose one of {', '.join(AZIMUTHS_DEG)}")
    angle = side * AZIMUTHS_DEG[view]
    cosine = _COSINES[abs(angle)]
    sine = math.copysign(_SINES[abs(angle)], angle)
    return torch.tensor([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]], dtype=torch.float64)


def turn(normals: Tensor, rotation: Tensor) -> Tensor:
    """Rotate the vectors (3, H, W) of a map by (3, 3); pixels stay."""
    return torch.einsum("ij,jhw->ihw", rotation, normals.double()).to(normals.dtype)


def right_side(maps: dict[str, Tensor]) -> int:
    """On which side the view `right` stands, from maps (3, H, W) in the front view's frame.

    What a camera sees faces it, so the side with more normals toward the cameras is the true one.

    Returns:
        1 or -1; 1 where only front and back are there.

    Raises:
        SettingError: if on neither side most normals face their cameras: they are in another frame.
    """
    shares = {side: _facing_share(maps, side) for side in (1, -1)}
    best = max(shares, key=lambda side: shares[side])
    if shares[best] < 0.5:
        raise SettingError(
            "most normals face away from their cameras; they are not in the front view's frame: try "
            f"{argument('wonder3d')} self, or another {argument('frame')}"
        )
    return best


def _facing_share(maps: dict[str, Tensor], side: int) -> float:
    """Share of valid normals that face the camera of their own view."""
    facing = total = 0
    for view, normals in maps.items():
        valid = valid_mask(normals)
        facing += int((turn(normals, front_to_view(view, side))[2][valid] > 0).sum())
        total += int(valid.sum())
    return facing / max(total, 1)
