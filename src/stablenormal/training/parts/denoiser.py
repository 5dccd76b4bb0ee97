"""What YOSO, the angular tuning and the refiner share: latents, cached or not, and validation in use."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from stablenormal.data.corpus import Corpus
from stablenormal.data.packed import PackedCorpus
from stablenormal.data.token_corpus import TokenCorpus
from stablenormal.errors import SettingError
from stablenormal.models.building import ModelComponents
from stablenormal.models.denoiser import GuidedDenoiser
from stablenormal.models.modes import Mode
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.training.augmentation import Batch, in_native_frame, load_batch
from stablenormal.training.base import trainable
from stablenormal.training.latent_cache import (
    Extra,
    LatentBatch,
    LatentCache,
    build_latent_cache,
    encode_batch,
    with_truth,
)
from stablenormal.training.part import PartTraining, Validation
from stablenormal.training.samples import StepSamples
from stablenormal.training.settings import Stage, TrainingSettings, refuse_negative
from stablenormal.training.token_cache import check_tokens, encoded_windows, token_batch
from stablenormal.training.validation import (
    VALIDATION_BATCH,
    figures_of,
    heldout_batches,
    image_metrics,
    normal_rows,
    picture_of,
)


@dataclass(frozen=True)
class DenoiserSettings(TrainingSettings):
    """What the trainings of denoisers share."""

    caches_latents: ClassVar[bool] = True

    smallest_crop: float = 0.6
    """Crops show between this share and all of the image's side."""
    roll_deg: float = 0.0
    """Standard deviation of a roll of the whole image, which turns the normals with it."""
    blur_px: float = 0.0
    """Largest standard deviation of a blur, which one image in five gets."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_negative(self, "roll_deg", "blur_px")
        if not 0 < self.smallest_crop <= 1:
            raise SettingError(f"smallest_crop is {self.smallest_crop}; it must lie in (0, 1]")

    def extras(self) -> tuple[Extra, ...]:
        """What the loss needs of each sample beside latents; a latent cache then holds it too."""
        return ()


Own = TypeVar("Own", bound=DenoiserSettings)


def trainable_denoiser(denoiser: GuidedDenoiser, gradient_checkpointing: bool) -> GuidedDenoiser:
    """A copy that takes gradients, and keeps few features for them where asked."""
    copied = trainable(denoiser)
    if isinstance(copied, GuidedDenoiser):  # a rival's network may stand in its place
        copied.condition_encoder.freeze_unused()
    if gradient_checkpointing:
        copied.unet.enable_gradient_checkpointing()
        copied.condition_encoder.network.enable_gradient_checkpointing()
    return copied


class DenoiserTraining(PartTraining, Generic[Own]):
    """A denoiser on latents, validated through the pipeline.

    Args:
        settings: the part's own.
        components: the model, ready to be trained.
        module: everything that is trained.
        corpus: the training samples, or images with tokens.
        heldout: unseen ones.
        caches: folder of the stages' latent caches, or a cache that is there already.
    """

    mode: Mode
    """Of the pipeline, in validation."""
    tunes_image = False
    """Whether gradients go through the photographs' encoder."""
    needs_x0 = True
    """Whether the loss looks at En of the normals."""

    def __init__(
        self,
        settings: Own,
        components: ModelComponents,
        module: nn.Module,
        corpus: Corpus,
        heldout: PackedCorpus,
        caches: Path | LatentCache,
    ) -> None:
        super().__init__(components, module)
        self.settings = settings
        self._corpus, self._heldout, self._caches = corpus, heldout, caches
        self._cache: LatentCache | None = None
        self._loaders: ThreadPoolExecutor | None = None
        self._loading = dict[int, Future[Batch]]()
        self._size: int | None = None

    def samples(self, stage: Stage) -> int:
        """Every cached variant of every sample, or every sample where the stage has no cache."""
        self._size = stage.size
        if isinstance(self._corpus, TokenCorpus):
            if stage.size != self._corpus.size:
                raise SettingError(f"stage size {stage.size}: the tokens' images have {self._corpus.size} px")
            check_tokens(self.components, self._corpus, stage.window)
            return len(self._corpus)
        if not stage.variants:
            self._cache = None
            return len(self._corpus)
        if isinstance(self._caches, LatentCache):
            self._cache = self._caches
            return len(self._cache)
        settings = self.settings
        self._cache = build_latent_cache(
            self._caches / f"{settings.part}-{stage.size}",
            self._corpus,
            self.components,
            stage.size,
            stage.variants,
            stage.steps * stage.batch,
            settings.seed,
            settings.extras(),
            (settings.smallest_crop, settings.roll_deg, settings.blur_px),
            settings.bf16,
        )
        return len(self._cache)

    def announce(self, stage: Stage, samples: StepSamples) -> None:
        """Threads read and augment the samples, where that has to be done in every step."""
        if isinstance(self._corpus, TokenCorpus) or stage.variants:
            return
        if self._loaders is None:
            self._loaders = ThreadPoolExecutor(self.settings.loader_threads, "stablenormal-loader")
        self._loading[id(samples)] = self._loaders.submit(self._load, self._corpus, stage, samples)

    def read(self, stage: Stage, samples: StepSamples) -> LatentBatch:
        """The samples' latents, from tokens or the cache, or encoded anew."""
        if isinstance(self._corpus, TokenCorpus):
            return self._of_tokens(self._corpus, stage, samples)
        if stage.variants:
            if self._cache is None:
                raise RuntimeError("samples() prepares the cache before loss() reads it")
            return self._cache.batch(samples.index, samples.device)
        return self._encoded(self._fresh(self._corpus, stage, samples), samples)

    def _encoded(self, native: Batch, samples: StepSamples) -> LatentBatch:
        return encode_batch(
            self.components, native, samples.rngs, self.settings.extras(), self.tunes_image, self.needs_x0
        )

    def study(self, stage: Stage, samples: StepSamples) -> dict[str, Tensor]:
        """Latents, and photographs and normals where these are not encoded beforehand."""
        if isinstance(self._corpus, TokenCorpus) or stage.variants:
            batch, seen = self.read(stage, samples), {}
        else:
            native = self._fresh(self._corpus, stage, samples)
            batch, seen = self._encoded(native, samples), {"image": native.image, "normals": native.normals}
        read = {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
        return {"image_latent": batch.encoded.latent} | read | seen

    def _of_tokens(self, corpus: TokenCorpus, stage: Stage, samples: StepSamples) -> LatentBatch:
        """Random windows of images whose tokens are known."""
        found = token_batch(corpus, samples.index, stage.window, samples.rngs, samples.device)
        with torch.set_grad_enabled(self.tunes_image and torch.is_grad_enabled()):
            encoded = encoded_windows(self.components, found)
        labels = torch.zeros_like(found.normals[:, 0], dtype=torch.int64)
        batch = in_native_frame(Batch(found.pixels[:, :3], found.normals, labels), self.components.spec)
        extras = self.settings.extras()
        return with_truth(self.components, encoded, batch, samples.rngs, extras, self.needs_x0)

    def _fresh(self, corpus: Corpus, stage: Stage, samples: StepSamples) -> Batch:
        """The samples, augmented anew, in the model's frame."""
        announced = self._loading.pop(id(samples), None)
        batch = self._load(corpus, stage, samples) if announced is None else announced.result()
        return in_native_frame(batch.to(samples.device), self.components.spec)

    def _load(self, corpus: Corpus, stage: Stage, samples: StepSamples) -> Batch:
        return load_batch(
            corpus,
            samples.index,
            stage.size,
            samples.rngs,
            (self.settings.smallest_crop, 1.0),
            self.settings.roll_deg,
            self.settings.blur_px,
        )

    def validate(self) -> Validation:
        """Errors of the part's mode on held-out images, seen at the stage's size."""
        pipeline, metrics, rows = StableNormal(self.components), [], []
        for batch in heldout_batches(self._heldout, self.settings.validation_images, pipeline.device):
            with torch.autocast(pipeline.device.type, torch.bfloat16, enabled=self.settings.bf16):
                output = pipeline(
                    list(batch.image / 2 + 0.5),
                    mode=self.mode,
                    batch_size=VALIDATION_BATCH,
                    processing_resolution=self._size,
                )
            normals = torch.stack(output.normals).to(pipeline.device)
            metrics += image_metrics(normals, batch.normals)
            rows += normal_rows(batch, normals)
        return Validation(figures_of(self.mode, metrics), picture_of(rows, self.settings.pictures))
