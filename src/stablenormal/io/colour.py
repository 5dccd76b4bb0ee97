"""Colours of any space as sRGB: ICC profiles by what they do, primaries and gammas by their numbers.

A profile's name is never asked: one that is called sRGB may be linear, and one of another name may be sRGB.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]

_SPACES = {b"RGB ": "rgb", b"GRAY": "gray", b"CMYK": "cmyk"}
_LINES = {"RGB": "rgb", "L": "gray", "CMYK": "cmyk"}

SAME = 1.5 / 255
"""A profile that moves no colour by more is sRGB written by another program; its pixels stay as they are."""

REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
"""x and y of red, green, blue and white of sRGB."""

SRGB_GAMMA = 0.45455
"""What a PNG says that is coded as sRGB."""

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def profile_to_srgb(
    pixels: npt.NDArray[Any], mode: str, profile: bytes | None, path: Path
) -> npt.NDArray[Any] | None:
    """Colours by an ICC profile, (H, W, 3); None where there is no usable profile or it is sRGB.

    A profile that is damaged or made for other channels is ignored, as browsers do, and that is said.

    Args:
        pixels: uint8, uint16 or float32, (H, W, 3), grey (H, W) or CMYK (H, W, 4); floats of full range 1.
        mode: `RGB`, `L` or `CMYK`.
        profile: the file's.
        path: for messages.
    """
    if not profile:
        return None
    space = _SPACES.get(profile[16:20])
    try:
        if space != _LINES[mode]:
            raise ValueError(f"it is made for {(space or 'other').upper()}, the picture is {mode}")
        if mode != "CMYK" and _changes_nothing(profile, mode):
            return None
        return _transformed(pixels, profile, mode)
    except (RuntimeError, ValueError) as error:
        logger.warning("%s: its colour profile cannot be used and is ignored: %s", path, error)
        return None


def _transformed(pixels: npt.NDArray[Any], profile: bytes, mode: str) -> npt.NDArray[Any]:
    converted: npt.NDArray[Any] = imagecodecs.cms_transform(
        np.ascontiguousarray(pixels),
        profile,
        imagecodecs.cms_profile("srgb"),
        colorspace=_LINES[mode],
        outcolorspace="rgb",
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
    )
    return converted


def _changes_nothing(profile: bytes, mode: str) -> bool:
    """Whether a profile is sRGB, by a grid of colours."""
    steps = np.linspace(0, 1, 33 if mode == "RGB" else 256, dtype=np.float32)
    if mode == "RGB":
        coarse = steps[::4]
        grid = np.stack(np.meshgrid(coarse, coarse, coarse), axis=-1).reshape(1, -1, 3)
        grid = np.concatenate([grid, np.repeat(steps[None, :, None], 3, axis=-1)], axis=1)
        return bool(np.abs(_transformed(grid, profile, mode) - grid).max() <= SAME)
    codes = np.rint(steps * 65535).astype(np.uint16)[None]
    out = _transformed(codes, profile, mode).astype(np.float32) / 65535
    return bool(np.abs(out - steps[None, :, None]).max() <= SAME)


def srgb_coded(linear: Floats) -> Floats:
    """Linear light in [0, 1] as sRGB codes (IEC 61966-2-1)."""
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)
    result: Floats = coded.astype(np.float32)
    return result


def primaries_to_rec709(linear: Floats, chromaticities: Sequence[float]) -> Floats:
    """Linear light (H, W, 3) of other primaries and white as that of sRGB; white stays white (Bradford).

    Args:
        linear: the picture.
        chromaticities: x and y of red, green, blue and white, as `REC709`.
    """
    if np.allclose(chromaticities, REC709, atol=2e-3):
        return linear
    here, there = _to_xyz(chromaticities), _to_xyz(REC709)
    cones = (_BRADFORD @ there.sum(axis=1)) / (_BRADFORD @ here.sum(axis=1))
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ here
    turned: Floats = (linear @ (np.linalg.inv(there) @ adapted).T).astype(np.float32)
    return turned


def _to_xyz(chromaticities: Sequence[float]) -> npt.NDArray[np.float64]:
    """Matrix (3, 3) from linear RGB to XYZ, white of luminance one."""
    places = np.asarray(chromaticities, np.float64).reshape(4, 2)
    xyz = np.stack([places[:, 0], places[:, 1], 1 - places.sum(axis=1)]) / places[:, 1]
    matrix: npt.NDArray[np.float64] = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    return matrix


def png_to_srgb(colours: Floats, info: Mapping[Any, Any]) -> Floats:
    """Colours (H, W, 3) in [0, 1] of a PNG by its gamma and primaries, where no profile and no sRGB say more.

    Args:
        colours: as the file codes them.
        info: what Pillow read of the file's chunks.
    """
    if "icc_profile" in info or "srgb" in info:
        return colours
    gamma = float(info.get("gamma") or SRGB_GAMMA)
    white_first = info.get("chromaticity")
    places = REC709 if white_first is None else (*white_first[2:], *white_first[:2])
    usual = abs(gamma - SRGB_GAMMA) < 0.02
    if not min(places) > 0 or (usual and np.allclose(places, REC709, atol=2e-3)):
        return colours
    linear = _decoded(colours) if usual else colours ** np.float32(1 / gamma)
    return srgb_coded(np.clip(primaries_to_rec709(linear.astype(np.float32), places), 0, 1))


def _decoded(coded: Floats) -> Floats:
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)
