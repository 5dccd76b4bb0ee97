"""What a straightforward port of the released code does: float32, eager, everything anew in every step.

The benchmark's measure: on the library's blocks in their usual memory layout, with its own attention, its own
decoder, and the condition encoder in every step, for a whole batch at once.
"""

import torch
from torch import Tensor
from torch.nn import functional

from stablenormal.models.autoencoder import patch_size
from stablenormal.models.building import ModelComponents
from stablenormal.models.denoiser import GuidedDenoiser
from stablenormal.models.image_encoder import EncodedImage
from stablenormal.models.modes import Mode
from stablenormal.pipelines.noise import seeded_noise
from stablenormal.pipelines.processing import prepare, restore, unpad
from stablenormal.pipelines.two_stage import RefinementPlan
from stablenormal.sampling.noise_schedule import NoiseSchedule
from stablenormal.sampling.one_step import one_step
from stablenormal.sampling.refine import run_steps


@torch.no_grad()
def reference_normals(
    components: ModelComponents, images: list[Tensor], mode: Mode, plan: RefinementPlan, resolution: int
) -> list[Tensor]:
    """Unit normals (3, H, W) of images (3, H, W) in [0, 1] of one size, OpenGL camera.

    Args:
        components: in float32, as `load_components` gives them.
        images: a batch.
        mode: `turbo` or `full`.
        plan: of the refinement.
        resolution: pixels of the longer side.
    """
    frames = [prepare(image, resolution, 8) for image in images]
    batch = torch.cat([frame.image for frame in frames])
    encoded = port_encode(components, batch)
    noise = seeded_noise(0, encoded.latent)
    spec, yoso = components.spec, components.yoso
    initial, schedule = noise(), NoiseSchedule()

    def start(level: int) -> Tensor:
        return one_step(_port(yoso, encoded.condition), encoded.latent, initial, spec.start, level)

    if mode == "turbo":
        latent = start(spec.turbo_t)
    else:
        level = plan.t_plus if plan.yoso_t is None else plan.yoso_t
        if spec.start == "noise":
            x = start(level)
        else:
            x = schedule.add_noise(start(spec.turbo_t), noise(), plan.t_plus)
        refine = _port(components.refiner, encoded.condition, components.semantic_features(batch, encoded))
        latent = run_steps(refine, x, plan.table, noise, plan.tau)
    decoded = port_decode(components, latent, encoded)
    maps = [unpad(decoded[index : index + 1], frame) for index, frame in enumerate(frames)]
    return [restore(one, frame, spec.native_frame) for one, frame in zip(maps, frames, strict=True)]


def port_encode(components: ModelComponents, batch: Tensor) -> EncodedImage:
    """Images (B, 3, H, W) in [-1, 1] as the library encodes them."""
    if components.image_encoder is not None:
        return components.encode_image(batch)
    autoencoder = components.autoencoder
    mode = autoencoder.encode(functional.pixel_unshuffle(batch, patch_size(autoencoder))).latent_dist.mode()
    latent = mode * float(autoencoder.config.scaling_factor)
    return EncodedImage(latent, latent)


def _port(pair: GuidedDenoiser, condition: Tensor, semantic: Tensor | None = None):  # type: ignore[no-untyped-def]
    """The denoiser with its condition encoder, both in every call."""

    def denoise(x_t: Tensor, timestep: int) -> Tensor:
        return pair.predict(x_t, timestep, condition, semantic)

    return denoise


def port_decode(components: ModelComponents, latent: Tensor, encoded: EncodedImage) -> Tensor:
    """A latent (B, c, h, w) as the library decodes it, to (B, 3, H, W)."""
    autoencoder = components.autoencoder
    decoder, latent = autoencoder.decoder, latent / float(autoencoder.config.scaling_factor)
    if not encoded.guides:
        blocks = autoencoder.decode(latent).sample
    else:
        mixed = latent if autoencoder.post_quant_conv is None else autoencoder.post_quant_conv(latent)
        hidden = decoder.mid_block(decoder.conv_in(mixed))
        for block, guide in zip(decoder.up_blocks, reversed(encoded.guides), strict=True):
            hidden = block(hidden + guide)
        blocks = decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(hidden)))
    return functional.pixel_shuffle(blocks, patch_size(autoencoder))
