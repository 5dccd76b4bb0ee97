"""Rivals of the method at equal compute: other networks and objectives on the same latents.

    rival          image enters by       what is learnt                                         after
    diffusion      condition encoder     noise, at every level                                  the start
    marigold       concatenation         velocity, at every level                               2312.02145
    genpercept     condition encoder     x0 in one step from zeros at t+ = 0, latent error      2403.06090
    end_to_end     condition encoder     x0 in one step from zeros, angle of decoded normals    2409.11355
    feed_forward   alone                 x0 from the image latent, angle of decoded normals     -

`After` is an arXiv number; "the start" is what StableNormal's authors start from. Only what distinguishes the
rivals is kept: all have the method's denoiser, or a U-Net with as many parameters (within a tenth), begin
with fresh weights, and see the same samples in the same order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stablenormal.sampling.refine import Step, plain_ddim
from stablenormal.training.parts.angular import AngularSettings
from stablenormal.training.parts.denoiser import DenoiserSettings
from stablenormal.training.parts.yoso import YosoSettings
from studies.claims.networks import NetworkKind
from studies.claims.predictions import Prediction
from studies.claims.sampling import trailing_ddim


@dataclass(frozen=True)
class Rival:
    """What distinguishes a rival."""

    network: NetworkKind
    """How the image reaches its U-Net."""
    part: type[DenoiserSettings]
    """The part whose settings it takes."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of them that make it what it is."""
    predicts: Prediction | None = None
    """What it gives at every noise level; None for one-step networks."""
    trailing: bool = False
    """Whether its steps are spaced from t = 999 down ("trailing"), instead of down to t = 1 ("leading")."""

    def table(self, steps: int) -> tuple[Step, ...]:
        """Its DDIM steps."""
        return trailing_ddim(steps) if self.trailing else plain_ddim(steps)


_WHOLE_ANGLE = {"decode_cells": 0, "latent_weight": 0.0}
"""The angle of all decoded pixels and nothing else, as E2E-FT has it."""

RIVALS: dict[str, Rival] = {
    "diffusion": Rival("guided", YosoSettings, predicts="epsilon"),
    "marigold": Rival("beside", YosoSettings, predicts="velocity", trailing=True),
    "genpercept": Rival("guided", YosoSettings, {"shrinkage": 1.0, "clean_fraction": 1.0}),
    "end_to_end": Rival("guided", AngularSettings, {"start": "zeros", **_WHOLE_ANGLE}),
    "feed_forward": Rival("alone", AngularSettings, {"start": "image_latent", **_WHOLE_ANGLE}),
}
