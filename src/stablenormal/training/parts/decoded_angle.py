"""The angle of decoded normals as a loss, which the angular tuning and the refiner share."""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from stablenormal.models.autoencoder import decode
from stablenormal.training.base import frozen_copy
from stablenormal.training.latent_cache import LatentBatch
from stablenormal.training.objectives import angular_loss, pixel_weights
from stablenormal.training.parts.denoiser import DenoiserSettings
from stablenormal.training.samples import StepSamples
from stablenormal.training.settings import refuse_negative


@dataclass(frozen=True)
class DecodedAngleSettings(DenoiserSettings):
    """What trainings with an angle of decoded normals share."""

    edge_weight: float = 0.0
    """How much more an angle counts within 3 px of an edge of the true normals, which is where `stablenormal
    evaluate` measures sharpness: 1 doubles it, 0 treats all pixels alike."""
    decode_cells: int = 8
    """Side of the random window of latent cells that is decoded for the angle, as decoding costs more than
    the denoiser; 0 decodes everything."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_negative(self, "edge_weight", "decode_cells")


def decoding(autoencoder: AutoencoderKL, settings: DecodedAngleSettings) -> AutoencoderKL:
    """The autoencoder that decodes for the angle: a copy where it is to keep few features for gradients."""
    if not settings.gradient_checkpointing:
        return autoencoder
    copied = frozen_copy(autoencoder)
    copied.enable_gradient_checkpointing()
    return copied


def decoded_angle(
    autoencoder: AutoencoderKL,
    prediction: Tensor,
    batch: LatentBatch,
    samples: StepSamples,
    settings: DecodedAngleSettings,
) -> Tensor:
    """Mean angles (B,) in radians of decoded latents, in random windows of `decode_cells`.

    Args:
        autoencoder: its decoder is run, with gradients.
        prediction: latents (B, c, h, w).
        batch: has the true normals (B, 3, H, W) in the model's frame, and De's guides.
        samples: draw the windows.
        settings: how large they are, and what edges count.
    """
    if batch.normals is None:
        raise RuntimeError("the latent cache holds no normals")
    cells = prediction.shape[-1]
    window = min(settings.decode_cells or cells, cells)
    corners = [samples.integers(0, cells - window + 1).tolist() for _ in range(2)]

    def windows(maps: Tensor) -> Tensor:
        """The same window of each map, at the map's own resolution."""
        side = maps.shape[-1] // cells
        return torch.stack(
            [
                one[:, top * side : (top + window) * side, left * side : (left + window) * side]
                for one, top, left in zip(maps, *corners, strict=True)
            ]
        )

    guides = [windows(guide) for guide in batch.encoded.guides]
    decoded, truth = decode(autoencoder, windows(prediction), guides), windows(batch.normals)
    return angular_loss(decoded.float(), truth, pixel_weights(truth, settings.edge_weight))
