"""`StableNormal`: from photographs to normal maps."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.normals import flip_horizontal
from stablenormal.io.hub import resolve_model
from stablenormal.models.autoencoder import decode, encode, reduction
from stablenormal.models.building import ModelComponents
from stablenormal.models.loading import load_components, save_components, weight_hash
from stablenormal.models.spec import ModelSpec
from stablenormal.pipelines.ensemble import average_normals, spread_deg
from stablenormal.pipelines.inputs import ImageLike, as_inputs
from stablenormal.pipelines.noise import seeded_noise
from stablenormal.pipelines.one_step import OneStepSampler
from stablenormal.pipelines.output import NormalsOutput
from stablenormal.pipelines.placement import choose_device, choose_dtype
from stablenormal.pipelines.processing import (
    Prepared,
    check_image,
    mirrored,
    mirrored_start,
    prepare,
    prepare_start,
    resize_to_input,
    restore,
    unpad,
)
from stablenormal.pipelines.two_stage import Refinement, RefinementPlan, TwoStageSampler, plan_refinement
from stablenormal.sampling.modes import MODES, Mode

BUNDLED = "small"


@dataclass(frozen=True)
class _Request:
    """A checked call."""

    mode: Mode
    seed: int
    plan: RefinementPlan
    ensemble: int
    uncertainty: bool
    processing_resolution: int
    batch_size: int

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingError(f"mode: {self.mode!r} does not exist; choose one of {', '.join(MODES)}")
        if self.ensemble < 1:
            raise SettingError(f"ensemble: expected at least 1 member, got {self.ensemble}")
        if self.uncertainty and self.ensemble < 2:
            raise SettingError("uncertainty: needs an ensemble of at least 2 members; set ensemble too")
        if self.batch_size < 1:
            raise SettingError(f"batch_size: expected at least 1, got {self.batch_size}")
        if not 0 <= self.seed < 2**63 - self.ensemble:
            raise SettingError(f"seed: expected a number from 0 to 2^63, got {self.seed}")
        if self.processing_resolution < 0:
            raise SettingError(
                "processing_resolution: expected 0 (the image's own size) or more, "
                f"got {self.processing_resolution}"
            )


@dataclass(frozen=True)
class _Input:
    """One image of a call, ready for the networks."""

    prepared: Prepared
    valid: Tensor | None
    start: Tensor | None


class StableNormal:
    """Estimates one unit normal per pixel of a photograph (StableNormal, arXiv 2406.16864).

    Args:
        components: the model's parts, where and in what dtype they are.
        weights: where the weights came from, if from a folder.
    """

    def __init__(self, components: ModelComponents, weights: Path | None = None) -> None:
        self.components = components
        self.weights = weights

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path = BUNDLED,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        offline: bool = False,
        trust_remote_code: bool = False,
    ) -> Self:
        """Load a model.

        Args:
            path_or_id: `small` (comes with the package), a model folder, or a hub id.
            device: `cpu`, `cuda`, `cuda:1`, `mps`; by default the fastest one present.
            dtype: `float32`, `bfloat16`, `float16`; by default bfloat16 where the device has it in hardware.
            offline: never open a socket; a hub id must then be in the local cache.
            trust_remote_code: run Python files that came with the weights.

        Raises:
            SettingError: if device or dtype do not exist or are not there.
            ModelError: if the model is missing, incomplete, damaged, or of another architecture.
            OfflineError: if a hub id is not in the cache and `offline` is set.
        """
        target = choose_device(device)
        kind = choose_dtype(dtype, target)
        with ExitStack() as stack:
            if str(path_or_id) == BUNDLED:
                bundled = resources.files("stablenormal").joinpath("weights", BUNDLED)
                folder = stack.enter_context(resources.as_file(bundled))
            else:
                code = ("*.py",) if trust_remote_code else ()
                folder = resolve_model(path_or_id, offline, allow_patterns=code)
            components = load_components(folder, target, kind, trust_remote_code)
        # Half the time of an encoding on a CPU (0.041 s to 0.021 s at 192 x 256); denoisers gain nothing.
        components.arrange_encoders(torch.channels_last)
        return cls(components, folder)

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float16) -> Path:
        """Write a model folder that `from_pretrained` reads; see `models.loading.save_components`."""
        return save_components(self.components, folder, dtype)

    @property
    def spec(self) -> ModelSpec:
        """How the weights must be run."""
        return self.components.spec

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.components.refiner.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are computed in."""
        return next(self.components.refiner.parameters()).dtype

    def to(self, device: str | torch.device | None = None, dtype: str | torch.dtype | None = None) -> Self:
        """Move this pipeline; what is None stays.

        Raises:
            SettingError: if device or dtype do not exist or are not there.
        """
        target = self.device if device is None else choose_device(device)
        self.components.to(target, self.dtype if dtype is None else choose_dtype(dtype, target))
        return self

    def __repr__(self) -> str:
        count = sum(value.numel() for part in self.components.parts().values() for value in part.parameters())
        size = self.spec.processing_resolution or "own"
        return (
            f"StableNormal({self.spec.name!r}, device={str(self.device)!r}, dtype={self.dtype}, "
            f"parameters={count / 1e6:.1f}M, processing_resolution={size})"
        )

    @cached_property
    def weight_hash(self) -> str:
        """SHA-256 of the weights' files; `unsaved` for a model that was never read from a folder."""
        return "unsaved" if self.weights is None else weight_hash(self.weights)

    @torch.no_grad()
    def __call__(
        self,
        images: ImageLike | Sequence[ImageLike],
        *,
        mode: Mode = "full",
        seed: int = 0,
        steps: int | None = None,
        t_plus: int | None = None,
        tau: float | None = None,
        refinement: Refinement | None = None,
        ensemble: int = 1,
        uncertainty: bool = False,
        processing_resolution: int | None = None,
        valid: Sequence[Tensor | None] | None = None,
        start: Sequence[Tensor] | None = None,
        batch_size: int = 1,
    ) -> NormalsOutput:
        """Estimate normals of images of any sizes.

        What is None is the spec's.

        Args:
            images: one image or a list of them, each a path, a PIL image, an array (H, W, 3) of uint8 or of
                floats in [0, 1], a `Photograph`, or a tensor (3, H, W) in [0, 1]; or a batch, a tensor
                (B, 3, H, W) or an array (B, H, W, 3). Colours are sRGB-coded.
            mode: `full` (both stages) or `turbo` (YOSO alone, one network call).
            seed: of every image's own generator; the same seed, weights and machine give the same bits.
            steps: network calls of the refinement; full mode only.
            t_plus: noise level at which the refinement starts, 1 to 999; full mode only.
            tau: fresh noise in DDIM steps, 0 to 1; full mode only.
            refinement: another rule than the spec's; full mode only.
            ensemble: members with seeds `seed`, `seed + 1`, ..., averaged on the sphere; where the spec's
                `mirror_ensemble` says so, every second one sees the mirrored image.
            uncertainty: also return the members' mean angle to their mean; needs an ensemble of two or more.
            processing_resolution: pixels of the longer side at which the networks see images; 0: own size.
            valid: for each image None or (H, W) bool; the output is the zero vector where it is False. By
                default what is opaque in files, PIL images and photographs.
            start: for each image a coarse normal map (3, H, W), OpenGL, in place of the one-step start.
            batch_size: images run at once where their sizes agree; with 1, each image's bits are independent
                of the others.

        Raises:
            ImageReadError: if a file cannot be read.
            ImageShapeError: if an image, mask or start has the wrong shape.
            SettingError: if an image holds NaN or leaves [0, 1], or an option is unknown or out of range.
        """
        given = as_inputs(images)
        if valid is None:
            valid = [one.valid for one in given]
        if mode == "turbo":
            _refuse_in_turbo(steps=steps, t_plus=t_plus, tau=tau, refinement=refinement, start=start)
        resolution = (
            self.spec.processing_resolution if processing_resolution is None else processing_resolution
        )
        plan = plan_refinement(self.spec, steps, t_plus, tau, refinement)
        request = _Request(mode, seed, plan, ensemble, uncertainty, resolution, batch_size)
        inputs = self._prepare([one.image for one in given], valid, start, request)
        results: dict[int, tuple[Tensor, Tensor]] = {}
        for places in _batches(inputs, request.batch_size):
            results.update(zip(places, self._run([inputs[place] for place in places], request), strict=True))
        return NormalsOutput(
            normals=[results[place][0] for place in range(len(inputs))],
            uncertainty_deg=[results[place][1] for place in range(len(inputs))] if uncertainty else None,
            seed=seed,
            mode=mode,
            steps=request.plan.steps if mode == "full" else 0,
            t_plus=request.plan.t_plus if mode == "full" else self.spec.turbo_t,
            processing_resolution=request.processing_resolution,
            ensemble=ensemble,
        )

    @torch.no_grad()
    def autoencode(
        self,
        normals: Sequence[Tensor],
        images: Sequence[Tensor],
        processing_resolution: int | None = None,
    ) -> list[Tensor]:
        """De(En(N)): what of a normal map the latents hold, at the size at which the networks work.

        Args:
            normals: maps (3, H, W), OpenGL.
            images: their photographs (3, h, w) in [0, 1], which guide the decoder where a model has guides.
            processing_resolution: as in a call.

        Returns:
            Unit normals (3, H, W), float32, on the CPU.

        Raises:
            ImageShapeError: if a map has the wrong shape.
        """
        resolution = (
            self.spec.processing_resolution if processing_resolution is None else processing_resolution
        )
        autoencoder, results = self.components.autoencoder, []
        for index, (one, image) in enumerate(zip(normals, images, strict=True)):
            if one.ndim != 3 or one.shape[0] != 3 or 0 in one.shape:
                raise ImageShapeError(f"normals {index}: expected (3, H, W), got {tuple(one.shape)}")
            check_image(image, f"image {index}")
            frame = prepare(image.to(self.device), resolution, reduction(autoencoder))
            start = prepare_start(one.to(self.device), frame, self.spec.native_frame).to(self.dtype)
            guides: tuple[Tensor, ...] = ()
            if self.components.guides_decoder:
                guides = self.components.encode_image(frame.image.to(self.dtype)).guides
            decoded = decode(autoencoder, encode(autoencoder, start), guides).float()
            results.append(restore(unpad(decoded, frame), frame, self.spec.native_frame).cpu())
        return results

    def _prepare(
        self,
        images: Sequence[Tensor],
        valid: Sequence[Tensor | None] | None,
        start: Sequence[Tensor] | None,
        request: _Request,
    ) -> list[_Input]:
        multiple = reduction(self.components.autoencoder)
        for name, values in (("valid", valid), ("start", start)):
            if values is not None and len(values) != len(images):
                raise SettingError(
                    f"{name}: expected one for each of {len(images)} images, got {len(values)}"
                )
        inputs = []
        for index, image in enumerate(images):
            check_image(image, f"image {index}")
            prepared = prepare(image.to(self.device), request.processing_resolution, multiple)
            mask = None if valid is None else valid[index]
            if mask is not None and (mask.shape != image.shape[1:] or mask.dtype != torch.bool):
                raise ImageShapeError(
                    f"valid {index}: expected bool {tuple(image.shape[1:])}, "
                    f"got {mask.dtype} {tuple(mask.shape)}"
                )
            coarse = None
            if start is not None:
                if start[index].ndim != 3 or start[index].shape[0] != 3:
                    raise ImageShapeError(
                        f"start {index}: expected (3, H, W), got {tuple(start[index].shape)}"
                    )
                coarse = prepare_start(start[index].to(self.device), prepared, self.spec.native_frame)
            inputs.append(_Input(prepared, mask, coarse))
        return inputs

    def _run(self, inputs: Sequence[_Input], request: _Request) -> list[tuple[Tensor, Tensor]]:
        """Encode, draw each member, decode, average, restore."""
        mirrors = request.ensemble > 1 and self.spec.mirror_ensemble
        samplers = [self._sampler(inputs, request)]
        if mirrors:
            samplers.append(self._sampler([_mirrored(one) for one in inputs], request))
        decoded: list[Tensor] = []
        for member in range(request.ensemble):
            sampler = samplers[member % len(samplers)]
            if member >= len(samplers) and sampler.deterministic:
                decoded.append(decoded[member % len(samplers)])
                continue
            latent = sampler(seeded_noise(request.seed + member, sampler.encoded.latent))
            decoded.append(
                decode(self.components.autoencoder, latent.to(self.dtype), sampler.encoded.guides).float()
            )
        results = []
        for index, one in enumerate(inputs):
            members = [unpad(member[index : index + 1], one.prepared) for member in decoded]
            if mirrors:
                members[1::2] = [flip_horizontal(member) for member in members[1::2]]
            results.append(self._restore(members, one, request))
        return results

    def _sampler(self, inputs: Sequence[_Input], request: _Request) -> OneStepSampler | TwoStageSampler:
        """The networks, bound to encoded images."""
        components = self.components
        image = torch.cat([one.prepared.image for one in inputs]).to(self.dtype)
        encoded = components.encode_image(image)
        if request.mode == "turbo":
            return OneStepSampler(components, encoded)
        coarse = [one.start.to(self.dtype) for one in inputs if one.start is not None]
        return TwoStageSampler(
            components,
            encoded,
            components.semantic_features(image, encoded),
            request.plan,
            encode(components.autoencoder, torch.cat(coarse)).float() if coarse else None,
        )

    def _restore(self, vectors: Sequence[Tensor], one: _Input, request: _Request) -> tuple[Tensor, Tensor]:
        """Normals (3, H, W) and the spread (H, W) of one image, from its members (1, 3, h, w)."""
        averaged = (
            len(vectors) > 1 or request.mode == "turbo"
        )  # which makes unit length before the resize too
        mean = average_normals(vectors) if averaged else vectors[0]
        normals = restore(mean, one.prepared, self.spec.native_frame, one.valid).cpu()
        if not request.uncertainty:
            return normals, torch.zeros(one.prepared.size)
        spread = resize_to_input(spread_deg(vectors, mean)[None], one.prepared)[0, 0].cpu()
        return normals, spread if one.valid is None else torch.where(one.valid.cpu(), spread, 0.0)


def _mirrored(one: _Input) -> _Input:
    start = None if one.start is None else mirrored_start(one.start, one.prepared)
    return _Input(mirrored(one.prepared), one.valid, start)


def _refuse_in_turbo(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise SettingError(f"{name}: turbo mode has no refinement; leave it out or use mode full")


def _batches(inputs: Sequence[_Input], batch_size: int) -> list[list[int]]:
    """Places of the inputs that run together: of one size, at most `batch_size`."""
    by_size: dict[torch.Size, list[int]] = {}
    for place, one in enumerate(inputs):
        by_size.setdefault(one.prepared.image.shape, []).append(place)
    return [
        places[first : first + batch_size]
        for places in by_size.values()
        for first in range(0, len(places), batch_size)
    ]
