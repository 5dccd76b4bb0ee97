"""`StableNormal`: from photographs to normal maps."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

from stablenormal.errors import ImageShapeError, SettingError, argument
from stablenormal.geometry.normals import flip_horizontal, unit_length
from stablenormal.io.hub import resolve_model
from stablenormal.models.autoencoder import decode, encode, reduction
from stablenormal.models.building import ModelComponents
from stablenormal.models.compiling import Compiler
from stablenormal.models.field_of_view import horizontal_fov_deg
from stablenormal.models.loading import load_components, save_components, weight_hash
from stablenormal.models.modes import MODES, Mode
from stablenormal.models.spec import ModelSpec, Quality
from stablenormal.pipelines.ensemble import average_normals, spread_deg
from stablenormal.pipelines.inputs import ImageLike, as_inputs
from stablenormal.pipelines.memory import require_memory
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
    working_size,
)
from stablenormal.pipelines.tiles import Grid, Tiling, Whole, carried, in_tiles
from stablenormal.pipelines.two_stage import (
    Refinement,
    RefinementPlan,
    Steps,
    TwoStageSampler,
    plan_refinement,
)

BUNDLED = "small"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Request:
    """A checked call."""

    mode: Mode
    seed: int
    plan: RefinementPlan
    ensemble: int
    uncertainty: bool
    sizes: tuple[int, ...]
    mirrored: bool
    batch_size: int

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingError(f"mode: {self.mode!r} does not exist; choose one of {', '.join(MODES)}")
        if self.ensemble < 1:
            raise SettingError(f"ensemble: expected at least 1 member, got {self.ensemble}")
        if self.uncertainty and self.ensemble * len(self.sizes) * (1 + self.mirrored) < 2:
            raise SettingError("uncertainty: needs an ensemble of at least 2 members; set ensemble too")
        if self.batch_size < 1:
            raise SettingError(f"batch_size: expected at least 1, got {self.batch_size}")
        if not 0 <= self.seed < 2**63 - self.ensemble:
            raise SettingError(f"seed: expected a number from 0 to 2^63, got {self.seed}")
        if min(self.sizes) < 0:
            raise SettingError(
                f"processing_resolution: expected 0 (the image's own size) or more, got {min(self.sizes)}"
            )


class _View(NamedTuple):
    """An image of a call at one size, ready for the networks."""

    prepared: Prepared
    start: Tensor | None


class _Input(NamedTuple):
    """One image of a call."""

    views: tuple[_View, ...]
    """At each size, the largest first."""
    valid: Tensor | None


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
        compile: bool = False,
    ) -> Self:
        """Load a model.

        Args:
            path_or_id: `small` (comes with the package), a model folder, or a hub id.
            device: `cpu`, `cuda`, `cuda:1`, `mps`; by default the fastest one present.
            dtype: `float32`, `bfloat16`, `float16`; by default bfloat16 where the device has it in hardware.
            offline: never open a socket; a hub id must then be in the local cache.
            trust_remote_code: run Python files that came with the weights.
            compile: compile the denoisers for the sizes that they meet, three at most; the first image of
                each takes minutes, in a later process on the same machine seconds.

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
        return cls(components, folder).for_inference(compile)

    def for_inference(self, compile: bool = False) -> Self:
        """Arrange this pipeline's networks as they run fastest; `from_pretrained` does so itself.

        Args:
            compile: as in `from_pretrained`.
        """
        # Half the time of an encoding on a CPU (0.041 s to 0.021 s at 192 x 256); denoisers gain nothing.
        self.components.arrange_encoders(torch.channels_last)
        self.components.use_fast_attention()
        compiler = Compiler({"spec": asdict(self.spec), "weights": self.weight_hash}) if compile else None
        self.components.yoso.compiler = self.components.refiner.compiler = compiler
        return self

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
        quality: str | None = None,
        mode: Mode | None = None,
        seed: int = 0,
        steps: Steps | None = None,
        t_plus: int | None = None,
        tau: float | None = None,
        refinement: Refinement | None = None,
        ensemble: int = 1,
        uncertainty: bool = False,
        processing_resolution: int | Sequence[int] | None = None,
        mirrored: bool | None = None,
        valid: Sequence[Tensor | None] | None = None,
        start: Sequence[Tensor] | None = None,
        batch_size: int = 1,
        tile: bool = False,
        tile_size: int | None = None,
        tile_overlap: float | None = None,
    ) -> NormalsOutput:
        """Estimate normals of images of any sizes.

        What is None is the spec's.

        Args:
            images: one image or a list of them, each a path, a PIL image, an array (H, W, 3) of uint8 or of
                floats in [0, 1], a `Photograph`, or a tensor (3, H, W) in [0, 1]; or a batch, a tensor
                (B, 3, H, W) or an array (B, H, W, 3). Colours are sRGB-coded.
            quality: `fast`, `normal` or `best`: which stages run, on which views, as the spec says; `normal`
                where neither it nor a mode is given. The other arguments go before it.
            mode: `full` (both stages) or `turbo` (YOSO alone, one network call).
            seed: of every image's own generator; the same seed, weights and machine give the same bits.
            steps: network calls of the refinement, or `auto`: until the prediction has settled, 10 at most;
                full mode only.
            t_plus: noise level at which the refinement starts, 1 to 999; full mode only.
            tau: fresh noise in DDIM steps, 0 to 1; full mode only.
            refinement: another rule than the spec's; full mode only.
            ensemble: members with seeds `seed`, `seed + 1`, ..., averaged on the sphere; where the spec's
                `mirror_ensemble` says so, every second one sees the mirrored image.
            uncertainty: also return the members' mean angle to their mean, over all views; needs two or more.
            processing_resolution: pixels of the longer side at which the networks see images; 0: own size.
                Several give a view of each, averaged on the sphere.
            mirrored: whether each view is seen mirrored too, and averaged.
            valid: for each image None or (H, W) bool; the output is the zero vector where it is False. By
                default what is opaque in files, PIL images and photographs.
            start: for each image a coarse normal map (3, H, W), OpenGL, in place of the one-step start.
            batch_size: images, or tiles of one, run at once where their sizes agree; with 1, each image's
                bits are independent of the others.
            tile: see large images in overlapping tiles too, each at the processing resolution, guided by one
                pass over the whole image; an image that fits into one tile is seen whole.
            tile_size: pixels of the image along the side of a tile, 64 or more; by default a quarter of its
                longer side, and never less than the processing resolution. Only with `tile`.
            tile_overlap: share of its side that a tile has in common with the next one, 0.05 to 0.5; by
                default 0.25. Only with `tile`.

        Raises:
            ImageReadError: if a file cannot be read.
            ImageShapeError: if an image, mask or start has the wrong shape, or an image does not fit into
                memory.
            SettingError: if an image holds NaN or leaves [0, 1], or an option is unknown, out of range, or
                more than memory holds.
        """
        given = as_inputs(images)
        if valid is None:
            valid = [one.valid for one in given]
        preset = self.spec.asked(quality, mode)
        mode = preset.mode
        if mode == "turbo":
            _refuse_in_turbo(steps=steps, t_plus=t_plus, tau=tau, refinement=refinement, start=start)
        plan = plan_refinement(self.spec, steps, t_plus, tau, refinement)
        sizes = _largest_first(processing_resolution, preset, self.spec)
        twice = preset.mirrored if mirrored is None else mirrored
        request = _Request(mode, seed, plan, ensemble, uncertainty, sizes, twice, batch_size)
        tiling = _tiling(tile, tile_size, tile_overlap, sizes, start)
        pictures = [one.image for one in given]
        _check_inputs(pictures, valid, start)
        cut = [
            None if tiling is None else _grid(image, tiling, sizes[0], f"image {place}")
            for place, image in enumerate(pictures)
        ]
        for place, image in enumerate(pictures):
            self._require_memory(image, cut[place], request, f"image {place}")
        results: dict[int, tuple[Tensor, Tensor, int]] = {}
        whole = [place for place, grid in enumerate(cut) if grid is None]
        inputs = self._prepare(
            [pictures[place] for place in whole],
            [valid[place] for place in whole],
            None if start is None else [start[place] for place in whole],
            request,
        )
        for places in _batches(inputs, request.batch_size):
            view = inputs[places[0]].views[0].prepared
            require_memory(
                self.components, self.device, view.inner, len(places), sizes[0], f"image {places[0]}"
            )
            found = self._run_counted([inputs[place] for place in places], request)
            results.update(zip((whole[place] for place in places), found, strict=True))
        for place, grid in enumerate(cut):
            if grid is not None:
                steps = request.plan.steps if mode == "full" else 0
                results[place] = (*self._run_tiles(pictures[place], valid[place], grid, request), steps)
        return NormalsOutput(
            normals=[results[place][0] for place in range(len(given))],
            uncertainty_deg=[results[place][1] for place in range(len(given))] if uncertainty else None,
            seed=seed,
            mode=mode,
            steps=max(found[2] for found in results.values()),
            t_plus=request.plan.t_plus if mode == "full" else self.spec.turbo_t,
            processing_resolution=sizes[0],
            ensemble=ensemble,
            sizes=sizes,
            mirrored=twice,
            steps_of_each=tuple(results[place][2] for place in range(len(given))),
            tiles=() if tiling is None else tuple(1 if grid is None else len(grid) for grid in cut),
        )

    @torch.no_grad()
    def field_of_view_deg(self, images: ImageLike | Sequence[ImageLike]) -> list[float]:
        """Estimate the horizontal field of view of whole photographs that do not say theirs, in degrees.

        Args:
            images: as in a call; not crops, as the camera's axis is taken to meet the middle of the picture.

        Raises:
            ImageReadError: if a file cannot be read.
            ImageShapeError: if an image has the wrong shape.
            SettingError: if the model has no part for it, or an image holds NaN or leaves [0, 1].
        """
        angles = []
        for number, one in enumerate(as_inputs(images)):
            check_image(one.image, f"image {number}")
            height, width = one.image.shape[1:]
            coded = one.image[None].to(self.device, self.dtype) * 2 - 1
            focal = float(self.components.focal_length(coded)[0])
            angles.append(horizontal_fov_deg(focal, width, height))
        return angles

    @property
    def estimates_field_of_view(self) -> bool:
        """Whether the model has a part that `field_of_view_deg` needs."""
        return self.components.field_of_view is not None

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
        inputs = []
        for index, image in enumerate(images):
            mask = None if valid is None else valid[index]
            coarse = None if start is None else start[index].to(self.device)
            views = []
            for size in request.sizes:
                prepared = prepare(image.to(self.device), size, multiple)
                native = self.spec.native_frame
                views.append(
                    _View(prepared, None if coarse is None else prepare_start(coarse, prepared, native))
                )
            inputs.append(_Input(tuple(views), mask))
        return inputs

    def _require_memory(self, image: Tensor, grid: Grid | None, request: _Request, place: str) -> None:
        """Refuse what the networks cannot hold: the largest view of the image, or tiles that run together."""
        asked, size = request.sizes[0], (image.shape[1], image.shape[2])
        if grid is not None:
            window, _ = next(iter(grid))
            size = (window.height, window.width)
        together = 1 if grid is None else min(request.batch_size, len(grid))
        require_memory(self.components, self.device, working_size(size, asked), together, asked, place)

    def _run_tiles(
        self, image: Tensor, valid: Tensor | None, grid: Grid, request: _Request
    ) -> tuple[Tensor, Tensor]:
        """Normals (3, H, W) and the spread of one image: the whole of it first, then tile by tile."""
        size = (image.shape[1], image.shape[2])
        reduced = functional.interpolate(
            image.float()[None], size=working_size(size, request.sizes[0]), mode="bilinear", antialias=True
        )[0]
        whole = Whole(self._run(self._prepare([reduced], None, None, request), request)[0][0], size)
        first = replace(request, mode="turbo", ensemble=1, uncertainty=False, sizes=request.sizes[:1])

        def estimate(tiles: Sequence[Tensor], shapes: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
            starts = None
            if request.mode == "full":  # the refinement starts from the tile's detail on the whole's shape
                seen = self._run(self._prepare(tiles, None, None, first), first)
                starts = [
                    carried(normals, shape, whole.shape_px)
                    for (normals, _), shape in zip(seen, shapes, strict=True)
                ]
            return self._run(self._prepare(tiles, None, starts, request), request)

        normals, spread = in_tiles(image, whole, grid, estimate, request.batch_size, request.uncertainty)
        if valid is not None:
            hidden = ~valid.cpu()
            normals.masked_fill_(hidden, 0)
            if request.uncertainty:
                spread.masked_fill_(hidden, 0)
        return normals, spread

    def _run(self, inputs: Sequence[_Input], request: _Request) -> list[tuple[Tensor, Tensor]]:
        """The members of each view, averaged at the largest one's size, and restored."""
        return [(normals, spread) for normals, spread, _ in self._run_counted(inputs, request)]

    def _run_counted(self, inputs: Sequence[_Input], request: _Request) -> list[tuple[Tensor, Tensor, int]]:
        """As `_run`, with the steps of each image's refinement, the most of any member."""
        members: list[list[Tensor]] = [[] for _ in inputs]
        steps = [0] * len(inputs)
        for number in range(len(request.sizes)):
            views = [one.views[number] for one in inputs]
            given, calls = self._members(views, request)
            steps = [max(pair) for pair in zip(steps, calls, strict=True)]
            for place, found in enumerate(given):
                size = inputs[place].views[0].prepared.inner
                members[place] += [vectors if number == 0 else _resized(vectors, size) for vectors in found]
        restored = [self._restore(found, one, request) for found, one in zip(members, inputs, strict=True)]
        return [(*one, count) for one, count in zip(restored, steps, strict=True)]

    def _members(self, views: Sequence[_View], request: _Request) -> tuple[list[list[Tensor]], list[int]]:
        """For each image, what each member of the ensemble gives, (1, 3, h, w), mirrored ones turned back.

        And the steps of its refinement, the most of any member.
        """
        alternate = request.ensemble > 1 and self.spec.mirror_ensemble
        samplers = [self._sampler(views, request)]
        if alternate or request.mirrored:
            samplers.append(self._sampler([_mirrored(view) for view in views], request))
        if request.mirrored:  # each member sees both
            calls = [(seed, side) for seed in range(request.ensemble) for side in (0, 1)]
        else:
            calls = [(seed, seed % len(samplers)) for seed in range(request.ensemble)]
        decoded: list[Tensor] = []
        steps = [0] * len(views)
        for number, (seed, side) in enumerate(calls):
            sampler = samplers[side]
            if number >= len(samplers) and sampler.deterministic:
                decoded.append(decoded[side])
                continue
            latent = sampler(seeded_noise(request.seed + seed, sampler.encoded.latent))
            steps = [max(pair) for pair in zip(steps, sampler.calls, strict=True)]
            decoded.append(
                decode(self.components.autoencoder, latent.to(self.dtype), sampler.encoded.guides).float()
            )
        results = []
        for index, view in enumerate(views):
            found = [unpad(member[index : index + 1], view.prepared) for member in decoded]
            sides = [side for _, side in calls]
            results.append(
                [flip_horizontal(one) if side else one for one, side in zip(found, sides, strict=True)]
            )
        return results, steps

    def _sampler(self, views: Sequence[_View], request: _Request) -> OneStepSampler | TwoStageSampler:
        """The networks, bound to encoded images."""
        components = self.components
        image = torch.cat([view.prepared.image for view in views]).to(self.dtype)
        encoded = components.encode_image(image)
        if request.mode == "turbo":
            return OneStepSampler(components, encoded)
        coarse = [view.start.to(self.dtype) for view in views if view.start is not None]
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
        prepared = one.views[0].prepared
        normals = restore(mean, prepared, self.spec.native_frame, one.valid).cpu()
        if not request.uncertainty:
            return normals, torch.zeros(prepared.size)
        spread = resize_to_input(spread_deg(vectors, mean)[None], prepared)[0, 0].cpu()
        return normals, spread if one.valid is None else torch.where(one.valid.cpu(), spread, 0.0)


def _mirrored(view: _View) -> _View:
    start = None if view.start is None else mirrored_start(view.start, view.prepared)
    return _View(mirrored(view.prepared), start)


def _resized(vectors: Tensor, size: tuple[int, int]) -> Tensor:
    """A member of a smaller view (1, 3, h, w), at unit length, at the size of the largest."""
    return functional.interpolate(unit_length(vectors), size=size, mode="bilinear", align_corners=False)


def _largest_first(asked: int | Sequence[int] | None, preset: Quality, spec: ModelSpec) -> tuple[int, ...]:
    """The sizes of a call's views; a photograph's own, 0, comes first."""
    if asked is None:
        sizes = preset.sizes or (spec.processing_resolution,)
    else:
        sizes = (asked,) if isinstance(asked, int) else tuple(asked)
    if not sizes:
        raise SettingError("processing_resolution: the list is empty; give at least one size")
    return tuple(sorted(set(sizes), key=lambda size: (size > 0, -size)))


def _tiling(
    tile: bool,
    size: int | None,
    overlap: float | None,
    sizes: Sequence[int],
    start: Sequence[Tensor] | None,
) -> Tiling | None:
    """How images are cut, or None: they are seen whole."""
    if not tile:
        for name, value in (("tile_size", size), ("tile_overlap", overlap)):
            if value is not None:
                raise SettingError(
                    f"{argument(name)}: only with {argument('tile')}; add it, or leave out both"
                )
        return None
    if start is not None:
        raise SettingError(f"{argument('start')}: tiles start from the whole image; leave one of the two out")
    if 0 in sizes:
        raise SettingError(
            f"{argument('processing_resolution')}: 0 sees an image whole at its own size, which leaves "
            f"nothing to tiles; leave it or {argument('tile')} out"
        )
    return Tiling(size) if overlap is None else Tiling(size, overlap)


def _grid(image: Tensor, tiling: Tiling, seen_px: int, place: str) -> Grid | None:
    """How an image is cut; None where it fits into one tile."""
    size = (image.shape[1], image.shape[2])
    side = tiling.side(size, seen_px)
    if side < max(size):
        return Grid(size, side, tiling.overlap)
    if tiling.size is not None:
        logger.info("%s: %d x %d px fit into a tile of %d and are seen whole", place, *size[::-1], side)
    return None


def _check_inputs(
    images: Sequence[Tensor], valid: Sequence[Tensor | None], start: Sequence[Tensor] | None
) -> None:
    for name, values in (("valid", valid), ("start", start)):
        if values is not None and len(values) != len(images):
            raise SettingError(f"{name}: expected one for each of {len(images)} images, got {len(values)}")
    for index, image in enumerate(images):
        check_image(image, f"image {index}")
        mask = valid[index]
        if mask is not None and (mask.shape != image.shape[1:] or mask.dtype != torch.bool):
            raise ImageShapeError(
                f"valid {index}: expected bool {tuple(image.shape[1:])}, got {mask.dtype} {tuple(mask.shape)}"
            )
        if start is not None and (start[index].ndim != 3 or start[index].shape[0] != 3):
            raise ImageShapeError(f"start {index}: expected (3, H, W), got {tuple(start[index].shape)}")


def _refuse_in_turbo(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise SettingError(f"{name}: turbo mode has no refinement; leave it out or use mode full")


def _batches(inputs: Sequence[_Input], batch_size: int) -> list[list[int]]:
    """Places of the inputs that run together: of one size, at most `batch_size`."""
    by_size: dict[tuple[torch.Size, ...], list[int]] = {}
    for place, one in enumerate(inputs):
        by_size.setdefault(tuple(view.prepared.image.shape for view in one.views), []).append(place)
    return [
        places[first : first + batch_size]
        for places in by_size.values()
        for first in range(0, len(places), batch_size)
    ]
