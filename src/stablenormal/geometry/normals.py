"""Normal maps: length, integer coding, coordinate frames, mirroring, resizing, angular error.

A normal map is a float tensor (B, 3, H, W) of unit vectors x, y, z. The zero vector marks an invalid pixel.
Unless a name says otherwise the frame is the OpenGL camera: x right, y up, z toward the viewer.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import cast, overload

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stablenormal.errors import FrameError, ImageShapeError
from stablenormal.geometry.camera import check_rotation
from stablenormal.geometry.frames import FRAMES, check_frame
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.normal_map import NormalMap

HALF_COVERED = 0.5
"""A resampled pixel is valid if at least this share of its interpolation weight comes from valid pixels."""


def unit_length(normals: Tensor, eps: float = 1e-6) -> Tensor:
    """Scale every vector to length one; vectors no longer than `eps` become exactly zero.

    Args:
        normals: vectors (B, 3, H, W) of any length. NaN stays NaN: a broken network is not hidden.
        eps: length up to which a vector counts as having no direction.

    Returns:
        Unit or zero vectors (B, 3, H, W); the gradient at zero vectors is zero, not NaN.

    Raises:
        ImageShapeError: if the shape is not (B, 3, H, W).
    """
    _check_shape(normals)
    length = vector_length(normals)  # (B, 1, H, W)
    directionless = length <= eps
    return (normals / length.masked_fill(directionless, 1)).masked_fill_(directionless, 0)


def vector_length(vectors: Tensor) -> Tensor:
    """The length of every vector; the gradient at zero vectors is zero, not NaN.

    Adding the channels' squares takes a twentieth of the time of `torch.linalg.vector_norm` over a dimension
    that does not lie together in memory.

    Args:
        vectors: (B, 3, H, W), any length.

    Returns:
        (B, 1, H, W) in the dtype of the vectors; NaN where a component is.
    """
    wide = vectors if vectors.dtype == torch.float64 else vectors.float()  # squares of halves underflow
    x, y, z = wide.unbind(dim=1)
    squared = torch.addcmul(torch.addcmul(x * x, y, y), z, z)[:, None]
    if squared.requires_grad:
        zero = squared == 0
        return squared.masked_fill(zero, 1).sqrt().masked_fill(zero, 0).to(vectors.dtype)
    return squared.sqrt_().to(vectors.dtype)


def valid_mask(normals: Tensor) -> Tensor:
    """Pixels that carry a normal: the one rule of what is valid.

    Args:
        normals: (B, 3, H, W) or (3, H, W), zero vectors where invalid.

    Returns:
        Boolean (B, H, W) or (H, W).

    Raises:
        ImageShapeError: if the shape is another.
    """
    if normals.ndim == 3:
        return valid_mask(normals[None])[0]
    _check_shape(normals)
    return (normals != 0).any(dim=1)


def valid_pixels(normals: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """`valid_mask` of arrays: which of the vectors (..., 3) are not the zero vector, (...)."""
    return np.asarray((normals != 0).any(axis=-1))


def encode_8bit(normals: Tensor) -> Tensor:
    """Code normals as 8-bit colours, round((n + 1) / 2 * 255), invalid pixels as (0, 0, 0).

    Args:
        normals: (B, 3, H, W), normalised first. A unit vector never codes to (0, 0, 0): its smallest
            component would have to be below -0.99 on all three axes.

    Returns:
        uint8 (B, 3, H, W). After decoding the direction is off by at most 0.4 degrees.

    Raises:
        ImageShapeError: if the shape is not (B, 3, H, W).
    """
    return _quantise(normals, 255).to(torch.uint8)


def encode_16bit(normals: Tensor) -> Tensor:
    """Code normals as 16-bit colours, round((n + 1) / 2 * 65535), invalid pixels as (0, 0, 0).

    Args:
        normals: (B, 3, H, W), normalised first.

    Returns:
        uint16 (B, 3, H, W). After decoding the direction is off by at most 0.0016 degrees.

    Raises:
        ImageShapeError: if the shape is not (B, 3, H, W).
    """
    return _quantise(normals, 65535).to(torch.uint16)


def decode_8bit(codes: Tensor) -> Tensor:
    """Read normals from 8-bit colours; (0, 0, 0) is the zero vector.

    Args:
        codes: uint8 (B, 3, H, W).

    Returns:
        float32 unit or zero vectors (B, 3, H, W).

    Raises:
        ImageShapeError: if the shape is not (B, 3, H, W).
    """
    return unit_length(dequantise(codes, 255))


def dequantise(codes: Tensor, highest: int) -> Tensor:
    """Colours to vectors as they were stored, not normalised: a length far from one shows a damaged map.

    Args:
        codes: integers (B, 3, H, W) in [0, highest].
        highest: 255 or 65535.

    Returns:
        float32 (B, 3, H, W), zero where the code is (0, 0, 0).

    Raises:
        ImageShapeError: if the shape is not (B, 3, H, W).
    """
    _check_shape(codes)
    values = codes.to(torch.float32)
    coded = (values != 0).any(dim=1, keepdim=True)
    return torch.where(coded, values / highest * 2 - 1, torch.zeros_like(values))


@overload
def convert_frame(
    normals: Tensor, source: str, target: str, camera_to_world: Tensor | None = None
) -> Tensor: ...


@overload
def convert_frame(
    normals: npt.NDArray[np.floating],
    source: str,
    target: str,
    camera_to_world: Tensor | npt.NDArray[np.floating] | None = None,
) -> npt.NDArray[np.float32]: ...


@overload
def convert_frame(
    normals: NormalMap,
    source: str,
    target: str,
    camera_to_world: Tensor | npt.NDArray[np.floating] | None = None,
) -> NormalMap: ...


def convert_frame(
    normals: Tensor | npt.NDArray[np.floating] | NormalMap,
    source: str,
    target: str,
    camera_to_world: Tensor | npt.NDArray[np.floating] | None = None,
) -> Tensor | npt.NDArray[np.float32] | NormalMap:
    """Express normals in another coordinate frame; pixels stay where they are.

    Args:
        normals: in frame `source`: a tensor (B, 3, H, W), an array (H, W, 3), or a `NormalMap`.
        source: a name in `FRAMES`.
        target: a name in `FRAMES`.
        camera_to_world: rotation (3, 3) or (B, 3, 3) from the OpenGL camera to the world; only for `world`.

    Returns:
        The same kind, in frame `target`.

    Raises:
        FrameError: if a name is unknown, `world` is asked for without a rotation, or a map says that it is
            in another frame than `source`.
        ImageShapeError: if the shape is another.
    """
    if isinstance(normals, NormalMap):
        if normals.frame != source:
            raise FrameError(
                f"the map's vectors are in frame '{normals.frame}', not '{source}'; give the one they are in"
            )
        turned = convert_frame(normals.normals, source, target, camera_to_world)
        return replace(normals, normals=turned, frame=target)
    if isinstance(camera_to_world, np.ndarray):
        camera_to_world = torch.from_numpy(camera_to_world)
    if isinstance(normals, np.ndarray):
        planes = convert_frame(_planes(normals), source, target, camera_to_world)
        return cast(npt.NDArray[np.float32], channels_last(planes[0]))
    _check_shape(normals)
    check_frame(source)
    check_frame(target)
    if source == target:
        return normals
    return _from_opengl(_to_opengl(normals, source, camera_to_world), target, camera_to_world)


def flip_horizontal(normals: Tensor) -> Tensor:
    """Mirror left and right: pixels move and x changes its sign.

    Args:
        normals: (B, 3, H, W), OpenGL camera.

    Returns:
        Normals (B, 3, H, W) of the mirrored scene.

    Raises:
        ImageShapeError: if the shape is not (B, 3, H, W).
    """
    _check_shape(normals)
    return _scale_components(normals.flip(-1), (-1, 1, 1))


def resize_normals(normals: Tensor, size: tuple[int, int], valid: Tensor | None = None) -> Tensor:
    """Resize a normal map (bilinear, antialiased when shrinking) without mixing invalid pixels in.

    Args:
        normals: (B, 3, H, W); what invalid pixels hold does not matter, not even NaN.
        size: (height, width) of the result.
        valid: boolean (B, H, W); by default the non-zero pixels.

    Returns:
        Unit vectors (B, 3, *size), zero where less than half of a pixel's weight is valid.

    Raises:
        ImageShapeError: if shapes do not fit or the size is not positive.
    """
    _check_shape(normals)
    if min(size) < 1:
        raise ImageShapeError(f"cannot resize to height, width = {tuple(size)}; both must be at least 1")
    valid = valid_mask(normals) if valid is None else valid
    if valid.shape != normals[:, 0].shape:
        raise ImageShapeError(
            f"the valid mask has shape {tuple(valid.shape)}, expected "
            f"{tuple(normals[:, 0].shape)}; one flag per pixel"
        )

    def sample(maps: Tensor) -> Tensor:
        return F.interpolate(maps, size=size, mode="bilinear", align_corners=False, antialias=True)

    return _interpolate_valid(normals, valid, sample)


@overload
def angular_error_deg(prediction: Tensor, target: Tensor) -> Tensor: ...


@overload
def angular_error_deg(
    prediction: npt.NDArray[np.floating] | NormalMap, target: npt.NDArray[np.floating] | NormalMap
) -> npt.NDArray[np.float32]: ...


def angular_error_deg(
    prediction: Tensor | npt.NDArray[np.floating] | NormalMap,
    target: Tensor | npt.NDArray[np.floating] | NormalMap,
) -> Tensor | npt.NDArray[np.float32]:
    """Angle between two normal maps, per pixel, by `atan2(|a x b|, a . b)`: exact near 0 and 180 degrees.

    Args:
        prediction: normals of any length: a tensor (B, 3, H, W), an array (H, W, 3), or a `NormalMap`.
        target: normals in the same camera frame; a tensor with a tensor, an array or a map with either.

    Returns:
        Angles, a tensor (B, H, W) or an array (H, W), in degrees, in [0, 180], in float32 or better. A zero
        vector has no direction: its angle counts as 90 with no gradient, so that an empty prediction is not a
        perfect one; mask with `valid_mask`. The gradient is finite everywhere, also at 0 and 180 degrees.

    Raises:
        FrameError: if two maps are in different frames.
        ImageShapeError: if the shapes differ, the channel count is not 3, or one alone is a tensor.
    """
    if not isinstance(prediction, Tensor) and not isinstance(target, Tensor):
        _check_one_frame(prediction, target)
        one, other = (_planes(np.asarray(normals)) for normals in (prediction, target))
        return cast(npt.NDArray[np.float32], angular_error_deg(one, other)[0].numpy())
    if not (isinstance(prediction, Tensor) and isinstance(target, Tensor)):
        raise ImageShapeError(
            "expected two tensors (B, 3, H, W), or two of arrays (H, W, 3) and maps; got one of each: turn "
            "the tensor into an array with .permute(0, 2, 3, 1)[0].numpy()"
        )
    if prediction.shape != target.shape:
        raise ImageShapeError(
            f"expected two (B, 3, H, W) maps of one shape, got {tuple(prediction.shape)} and "
            f"{tuple(target.shape)}; resize the prediction to the target first"
        )
    _check_shape(prediction)
    precise = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    a, b = prediction.to(precise), target.to(precise)
    sine = torch.linalg.vector_norm(torch.linalg.cross(a, b, dim=1), dim=1)  # (B, H, W)
    cosine = (a * b).sum(dim=1)
    directionless = (sine == 0) & (cosine == 0)
    sine = torch.where(directionless, torch.ones_like(sine), sine)
    return torch.atan2(sine, cosine) * (180 / math.pi)


def _quantise(normals: Tensor, highest: int) -> Tensor:
    unit = unit_length(normals.to(torch.float32))
    codes = unit.add(1).mul_(highest / 2).round_().clamp_(0, highest)
    return codes.masked_fill_(~valid_mask(unit)[:, None], 0)


def _interpolate_valid(normals: Tensor, valid: Tensor, sample: Callable[[Tensor], Tensor]) -> Tensor:
    """Interpolate valid pixels only: zeros add nothing to the sum, and the length is restored after it."""
    weight = valid[:, None].to(normals.dtype)
    clean = torch.where(valid[:, None], normals, torch.zeros_like(normals))
    covered = sample(weight) >= HALF_COVERED - 1e-5  # rounding of weights that are one half exactly
    sampled = sample(clean)
    return unit_length(torch.where(covered, sampled, torch.zeros_like(sampled)))


def _to_opengl(normals: Tensor, source: str, camera_to_world: Tensor | None) -> Tensor:
    signs = FRAMES[source]
    if signs is None:
        return _rotate_vectors(normals, _needed_rotation(camera_to_world).transpose(-1, -2))
    return _scale_components(normals, signs)


def _from_opengl(normals: Tensor, target: str, camera_to_world: Tensor | None) -> Tensor:
    signs = FRAMES[target]
    if signs is None:
        return _rotate_vectors(normals, _needed_rotation(camera_to_world))
    return _scale_components(normals, signs)


def _needed_rotation(camera_to_world: Tensor | None) -> Tensor:
    if camera_to_world is None:
        raise FrameError(
            f"frame 'world' needs camera_to_world, a (3, 3) rotation; give it, or choose one of "
            f"{', '.join(name for name, signs in FRAMES.items() if signs)}"
        )
    check_rotation(camera_to_world)
    return camera_to_world


def _rotate_vectors(normals: Tensor, rotation: Tensor) -> Tensor:
    matrix = rotation.to(normals).expand(len(normals), 3, 3)
    return torch.einsum("bij,bjhw->bihw", matrix, normals)


def _scale_components(normals: Tensor, signs: tuple[int, int, int]) -> Tensor:
    return normals * normals.new_tensor(signs)[None, :, None, None]


def _planes(normals: npt.NDArray[np.floating]) -> Tensor:
    """(1, 3, H, W) of an array (H, W, 3)."""
    if normals.dtype.kind != "f":
        raise ImageShapeError(f"expected floats, got an array of {normals.dtype}; decode colours first")
    if normals.ndim != 3 or normals.shape[2] != 3:
        hint = "; channels come last: array.transpose(1, 2, 0)" if normals.shape[:1] == (3,) else ""
        raise ImageShapeError(f"expected normals (H, W, 3), got an array {normals.shape}{hint}")
    return channels_first(normals)[None]


def _check_one_frame(*maps: npt.NDArray[np.floating] | NormalMap) -> None:
    """Maps that say their frames must agree; of an array nobody knows."""
    frames = list(dict.fromkeys(one.frame for one in maps if isinstance(one, NormalMap)))
    if len(frames) > 1:
        raise FrameError(
            f"the maps are in frames '{frames[0]}' and '{frames[1]}'; convert one with convert_frame first"
        )


def _check_shape(normals: Tensor) -> None:
    if normals.ndim != 4 or normals.shape[1] != 3:
        raise ImageShapeError(
            f"expected a normal map (B, 3, H, W), got shape {tuple(normals.shape)}; "
            "numpy maps (H, W, 3) need .transpose(2, 0, 1)[None]"
        )
