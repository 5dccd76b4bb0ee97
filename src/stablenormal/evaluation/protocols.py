"""The rules by which the field turns normal maps into a number; numbers of different rules do not compare.

name           per pixel                                                     over images
dsine          angle between normalised vectors                              all valid pixels pooled
marigold       the same                                                      metrics per image, then their
mean stablenormal   both maps in 8 bits, ground truth not normalised, arc cosine  all valid pixels pooled
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stablenormal.errors import SettingError
from stablenormal.geometry.normals import angular_error_deg, decode_8bit, dequantise, encode_8bit, valid_mask


@dataclass(frozen=True)
class Protocol:
    """One rule."""

    name: str
    pooled: bool
    """Whether pixels of all images are pooled; otherwise metrics are averaged over images."""
    eight_bit: bool
    """Whether both maps pass through 8-bit codes, as in StableNormal's own script."""


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("dsine", pooled=True, eight_bit=False),
        Protocol("marigold", pooled=False, eight_bit=False),
        Protocol("stablenormal", pooled=True, eight_bit=True),
    )
}


def choose_protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        SettingError: naming those that exist.
    """
    if name not in PROTOCOLS:
        raise SettingError(f"no protocol '{name}'; choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def angles_deg(
    protocol: Protocol, prediction: Tensor, truth: Tensor, stored_8bit: bool
) -> tuple[Tensor, Tensor]:
    """Errors of one image by a protocol.

    Args:
        protocol: the rule.
        prediction: normals (3, H, W), unit length or zero (an error of 90 degrees).
        truth: normals (3, H, W) as long as stored, zero where invalid, same frame.
        stored_8bit: whether `truth` are 8-bit codes already; matters to the 8-bit rule only.

    Returns:
        Angles (H, W) in degrees, and bool (H, W): where they count.
    """
    if not protocol.eight_bit:
        return angular_error_deg(prediction[None], truth[None])[0], valid_mask(truth)
    predicted = decode_8bit(encode_8bit(prediction[None]))[0]
    coded = truth if stored_8bit else dequantise(encode_8bit(truth[None]), 255)[0]
    length = torch.linalg.vector_norm(coded, dim=0)
    # Lengths up to 1 % off one are not undone: that is why a perfect prediction has about 1.6 degrees here.
    angles = (predicted * coded).sum(dim=0).clamp(-1, 1).acos() * (180 / math.pi)
    return angles, (length > 0.5) & (length < 1.5)
