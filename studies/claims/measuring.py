"""How the study measures: every row bound to images, and every metric of what it gives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stablenormal.data.packed import PackedCorpus
from stablenormal.errors import DataError
from stablenormal.evaluation.edges import near_edges, sharpness
from stablenormal.evaluation.pairs import Pair
from stablenormal.geometry.layout import channels_first
from stablenormal.geometry.normals import angular_error_deg, unit_length, valid_mask
from stablenormal.models.autoencoder import decode, encode, reduction
from stablenormal.models.building import ModelComponents
from stablenormal.models.image_encoder import EncodedImage
from stablenormal.pipelines.ensemble import average_normals, spread_deg
from stablenormal.pipelines.noise import NoiseSource, seeded_noise
from stablenormal.pipelines.one_step import OneStepSampler
from stablenormal.pipelines.processing import prepare, restore, unpad
from stablenormal.pipelines.two_stage import RefinementPlan, TwoStageSampler
from stablenormal.training.augmentation import load_batch
from studies.claims.plan import NETWORKS, Budget, Row
from studies.claims.rivals import RIVALS
from studies.claims.sampling import DiffusionSampler, closest_to_mean, trailing_ddim

Sampler = Callable[[NoiseSource], Tensor]


class Measuring:
    """The held-out images, encoded once, and what rows make of them.

    Args:
        base: gives the frozen parts.
        heldout: unseen scenes.
        budget: how many of them, and how often.

    Raises:
        DataError: if there are too few.
    """

    def __init__(self, base: ModelComponents, heldout: PackedCorpus, budget: Budget) -> None:
        self.base, self.budget = base, budget
        self.truths, self.images = _heldout_images(heldout, budget)
        pieces = [self.images[first : first + 8] for first in range(0, len(self.images), 8)]
        with measuring():
            self.image_latents = torch.cat([base.encode_image(one).latent for one in pieces])
            self.semantics = torch.cat([base.semantic_encoder(one) for one in pieces])

    def sampler(
        self, row: Row, networks: list[ModelComponents], image_latent: Tensor, semantic: Tensor | None
    ) -> Sampler:
        """A row bound to encoded images."""
        first, last = networks[0], networks[-1]
        encoded = EncodedImage(image_latent, image_latent)
        if row.kind == "one_step":
            return OneStepSampler(first, encoded)
        if row.kind == "diffusion":
            rival = RIVALS[NETWORKS[row.networks[0]].rival]
            assert rival.predicts is not None
            return DiffusionSampler(first.yoso, image_latent, rival.table(row.steps), rival.predicts)
        if row.start == "noise":
            return DiffusionSampler(last.refiner, image_latent, trailing_ddim(row.steps), "x0", semantic)
        coarse = None
        if row.start == "feed_forward":
            latent = OneStepSampler(first, encoded)(seeded_noise(0, image_latent))
            normals = unit_length(decode(self.base.autoencoder, latent).float())
            coarse = encode(self.base.autoencoder, normals)
        plan = RefinementPlan(row.rule, row.steps, row.level, 0.0)
        both = replace(last, yoso=first.yoso)
        assert semantic is not None
        return TwoStageSampler(both, encoded, semantic, plan, coarse)

    def estimate(self, row: Row, sampler: Sampler, latent: Tensor, draw: int) -> Tensor:
        """Unit normals (B, 3, H, W) of one draw: of an ensemble the member nearest to the mean."""
        members = [
            unit_length(
                decode(
                    self.base.autoencoder, sampler(seeded_noise(draw * row.ensemble + member, latent))
                ).float()
            )
            for member in range(row.ensemble)
        ]
        return members[0] if row.ensemble == 1 else closest_to_mean(members)

    def batch(self, row: Row, networks: list[ModelComponents], place: slice) -> dict[str, list[float | None]]:
        """Every metric of a few held-out images."""
        latent, truth = self.image_latents[place], self.truths[place]
        semantics = self.semantics if row.semantics != "shuffled" else self.semantics.roll(1, dims=0)
        sampler = self.sampler(row, networks, latent, semantics[place])
        draws = {"many": self.budget.noise_seeds, "few": self.budget.sweep_noise_seeds, "two": 2}[row.draws]
        found = [self.estimate(row, sampler, latent, draw) for draw in range(draws)]
        spread = spread_deg(found, average_normals(found))  # (B, H, W)
        valid = valid_mask(truth)
        near = torch.stack([near_edges(one) for one in truth])
        errors = [angular_error_deg(one, truth) for one in found]  # each (B, H, W)
        result: dict[str, list[float | None]] = {}
        for image in range(len(truth)):
            masks = {"error": valid[image], "near_edges": valid[image] & near[image]}
            masks["away"] = valid[image] & ~near[image]
            each = {metric: [_mean(error[image], mask) for error in errors] for metric, mask in masks.items()}
            numbers = {metric: float(np.mean(values)) for metric, values in each.items()}
            numbers["variance"] = float(np.var(each["error"], ddof=1))
            numbers["spread"] = _mean(spread[image], valid[image])
            sharp = [sharpness(one[image], truth[image]) for one in found]
            numbers["sharpness"] = float(np.mean(sharp))
            numbers["sharpness_gap"] = float(np.mean(np.abs(1 - np.array(sharp))))
            for metric, value in numbers.items():
                result.setdefault(metric, []).append(None if np.isnan(value) else round(value, 6))
        return result

    def photograph_error(self, row: Row, networks: list[ModelComponents], pair: Pair) -> float:
        """Mean error of one draw at the photograph's own size, the networks working at the study's."""
        prepared = prepare(channels_first(pair.image), self.budget.size, reduction(self.base.autoencoder))
        latent = self.base.encode_image(prepared.image).latent
        semantic = self.base.semantic_encoder(prepared.image)
        normals = self.estimate(row, self.sampler(row, networks, latent, semantic), latent, 0)
        prediction = restore(unpad(normals, prepared), prepared, self.base.spec.native_frame)
        truth = channels_first(pair.normals)
        return _mean(angular_error_deg(prediction[None], truth[None])[0], (truth != 0).any(dim=0))


@contextmanager
def measuring() -> Iterator[None]:
    """Without gradients, under autocast to bfloat16, as the networks are trained."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        yield


def _heldout_images(heldout: PackedCorpus, budget: Budget) -> tuple[Tensor, Tensor]:
    """Normals (N, 3, S, S) and photographs (N, 3, S, S) in [-1, 1] of an even choice, in a mixed order."""
    if len(heldout) < budget.heldout_images:
        raise DataError(
            f"held-out corpus: has {len(heldout)} images, the study needs {budget.heldout_images}"
        )
    chosen = np.linspace(0, len(heldout) - 1, budget.heldout_images).astype(np.int64)
    batch = load_batch(heldout, np.random.default_rng(0).permutation(chosen), budget.size, None)
    return batch.normals, batch.image


def _mean(values: Tensor, mask: Tensor) -> float:
    return float(values[mask].double().mean()) if bool(mask.any()) else float("nan")
