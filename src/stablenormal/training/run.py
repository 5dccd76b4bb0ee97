"""Train one part: read the model folder, fit, write the model folder."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from stablenormal.data.corpus import Corpus, DrawnCorpus
from stablenormal.data.packed import PackedCorpus, open_corpus
from stablenormal.data.token_corpus import TokenCorpus
from stablenormal.errors import OutputError, SettingError, StableNormalError
from stablenormal.io.atomic import reason
from stablenormal.io.checkpoint import load_checkpoint
from stablenormal.io.interruption import Interruption
from stablenormal.io.output_folder import OutputFolder
from stablenormal.models.loading import save_components
from stablenormal.training.base import load_base
from stablenormal.training.fresh_weights import seeded
from stablenormal.training.loop import CHECKPOINT_FILE, Progress, fit
from stablenormal.training.parallel import Processes
from stablenormal.training.part import PartTraining
from stablenormal.training.settings import TrainingSettings
from stablenormal.training.settings_file import read_settings, write_settings

_LOG = logging.getLogger(__name__)


def train(
    settings: TrainingSettings,
    out: Path,
    stop_after: int | None = None,
    interruption: Interruption | None = None,
    watch: Callable[[Progress], None] | None = None,
) -> Path | None:
    """Run a training to its end, or until `stop_after` steps, from its last checkpoint.

    In several processes, started by `torchrun`, each calls it with the same arguments.

    Args:
        settings: what to train and how.
        out: run folder: `config.yaml`, `log.jsonl`, `checkpoint.pt`, latent caches and, at the end, `model/`.
        stop_after: stop with a checkpoint after this many steps in all.
        interruption: stop with a checkpoint when a signal has come.
        watch: called after each step.

    Returns:
        The model folder (float32, all parts, the trained one replaced), or None if there are steps left.

    Raises:
        ModelError: if the base is missing, damaged or of another architecture.
        DataError: if a corpus or the checkpoint is damaged, or the checkpoint of another configuration.
        SettingError: if a setting does not fit the base or the number of processes.
        OutputError: if something cannot be written; what was there before is intact.
    """
    try:
        return _train(settings, out, stop_after, interruption, watch)
    except StableNormalError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write into {out}: {reason(error)}") from error


def _train(
    settings: TrainingSettings,
    out: Path,
    stop_after: int | None,
    interruption: Interruption | None,
    watch: Callable[[Progress], None] | None,
) -> Path | None:
    corpus, heldout = training_corpus(settings), open_corpus(Path(settings.heldout))
    processes = Processes(settings.shard)
    part = begin(settings, corpus, heldout, out)
    out.mkdir(parents=True, exist_ok=True)
    load_checkpoint(out / CHECKPOINT_FILE, settings.fingerprint())  # refused before anything is written
    if processes.is_first:
        _keep_settings(settings, out)
        _LOG.info("%s: %.2f M parameters, %d images", settings.part, _millions(part), len(corpus))
    part.components.to(processes.device, torch.float32)
    weights = fit(part, settings, out, processes, stop_after, interruption, watch)
    if weights is None:
        return None
    if processes.is_first:
        if processes.sharded:  # the modules hold shares; fresh ones take the whole weights
            part = begin(settings, corpus, heldout, out)
        part.module.load_state_dict(weights)
        save_components(part.finish(), out / "model", dtype=torch.float32)
    processes.wait()
    return out / "model"


def _keep_settings(settings: TrainingSettings, out: Path) -> None:
    """Write the settings into the run's folder, over none but earlier ones of this program."""
    path = out / "config.yaml"
    try:
        if path.is_file() and read_settings(path, settings.part) == settings:
            return  # it may be the very file that the user gave
    except SettingError:
        pass  # another kind of file, which is looked after below
    with OutputFolder(out, chosen_by="out").writing([path]):
        write_settings(settings, path)


def training_corpus(settings: TrainingSettings) -> Corpus:
    """The packed corpus of the settings, the draws of their sources, or images with tokens.

    Raises:
        DataError: if it is missing, damaged or empty.
        SettingError: if a source's reader or option does not exist.
    """
    if settings.tokens:
        return TokenCorpus([Path(folder) for folder in settings.tokens])
    if not settings.sources:
        return open_corpus(Path(settings.data))
    images = sum(stage.steps * stage.batch for stage in settings.stages)
    return DrawnCorpus(settings.sources, images, settings.source_size, settings.seed)


def begin(settings: TrainingSettings, corpus: Corpus, heldout: PackedCorpus, folder: Path) -> PartTraining:
    """What the loop trains, as it is before the first step; new heads take their weights from the seed alone.

    Raises:
        ModelError: if the base is missing, damaged or of another architecture.
        SettingError: if a setting does not fit the base.
    """
    size = settings.stages[-1].size
    base = load_base(settings.base, settings.seed, settings.semantic_base, size)
    components = settings.prepare(base)
    with seeded(settings.seed):
        return settings.training(components, corpus, heldout, folder)


def _millions(part: PartTraining) -> float:
    return sum(p.numel() for p in part.module.parameters() if p.requires_grad) / 1e6
