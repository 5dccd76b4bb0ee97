"""Writes a corpus to shards with several processes; finished shards are kept when it is run again."""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import Empty
from typing import Any

from stablenormal.data.sample import Sample
from stablenormal.data.shards import shard_path, write_shard
from stablenormal.data.synthetic.assets import bank_name
from stablenormal.data.synthetic.corpus import (
    ASSETS_RECIPE_NUMBER,
    REAL_MIX,
    RECIPE_NUMBER,
    CorpusRenderer,
    Mix,
    check_settings,
)
from stablenormal.data.synthetic.renderers import RendererSettings, check_renderer
from stablenormal.errors import DataError, SettingError, StableNormalError
from stablenormal.io.atomic import write_bytes

RECIPE_NAME = "corpus.json"
"""Lies beside the shards and says what made them."""
_ONE_THREAD = {"LP_NUM_THREADS": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""llvmpipe, OpenMP and OpenBLAS; a value that is already set stays."""


def write_corpus(
    folder: Path,
    seed: int,
    count: int,
    *,
    size: int = 256,
    mix: Mix | None = None,
    shard_size: int = 256,
    workers: int = 1,
    bank_fraction: float = 1.0,
    renderer: RendererSettings | None = None,
    assets: Path | None = None,
    phones: bool | None = None,
    progress: Callable[[int], None] = lambda rendered: None,
) -> int:
    """Write the corpus of a seed as shards; each shard's bytes depend only on the recipe, not on the workers.

    Args:
        folder: made if need be; shards already there are skipped.
        seed: names the corpus.
        count: samples in all; the last shard may be shorter.
        size: side of the images in pixels.
        mix: shares of the kinds of scenes.
        shard_size: samples per shard.
        workers: processes.
        bank_fraction: size of the banks against the full ones.
        renderer: which renderer.
        assets: models of others that furnish the scenes, as prepared by `assets.prepared_bank`.
        phones: as of `camera_effects.photograph`; by default only with assets.
        progress: called with the number of samples newly written or found.

    Returns:
        How many shards were written now.

    Raises:
        SettingError: if an argument is out of range or the renderer cannot run here.
        DataError: if the folder holds another corpus, or a worker dies.
        OutputError: if a shard cannot be written.
    """
    if min(count, shard_size, workers) < 1:
        raise SettingError(f"count {count}, shard size {shard_size} and workers {workers} must be 1 or more")
    check_settings(seed, size)
    renderer = renderer or RendererSettings()
    phones = assets is not None if phones is None else phones
    mix = mix or (Mix() if assets is None else REAL_MIX)
    recipe = {
        "seed": seed,
        "count": count,
        "size": size,
        "shard_size": shard_size,
        "mix": asdict(mix),
        "bank": bank_fraction,
        "recipe": RECIPE_NUMBER,
        **renderer.recipe(),
        **({} if assets is None else {"assets": bank_name(assets), "assets_recipe": ASSETS_RECIPE_NUMBER}),
        **({} if phones == (assets is not None) else {"phones": phones}),
    }
    _keep_recipe(folder, recipe)
    todo = []
    for number in range(-(-count // shard_size)):
        start, stop = number * shard_size, min(count, (number + 1) * shard_size)
        if shard_path(folder, number).is_file():
            progress(stop - start)
        else:
            todo.append((number, start, stop))
    if not todo:
        return 0
    check_renderer(renderer)  # a clear error here, before processes start
    jobs = [
        (folder, seed, size, mix, bank_fraction, renderer, todo[worker::workers]) for worker in range(workers)
    ]
    _run(jobs, assets, phones, progress)
    return len(todo)


def _keep_recipe(folder: Path, recipe: dict[str, Any]) -> None:
    """Write the recipe, or check that the folder was begun with the same one."""
    path = folder / RECIPE_NAME
    if path.exists():
        try:
            found = dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            raise DataError(f"{path}: cannot be read; choose another folder, or delete this one") from None
        differences = [name for name in {**recipe, **found} if found.get(name) != recipe.get(name)]
        if differences:
            told = "; ".join(f"{name} {found.get(name)}, not {recipe.get(name)}" for name in differences)
            raise DataError(
                f"{folder}: holds another corpus ({told}); choose another folder or the same settings"
            )
        return
    if any(path.is_file() for path in folder.glob("*.tar")):
        raise DataError(f"{folder}: holds shards but no {RECIPE_NAME} that says whose; choose another folder")
    write_bytes(path, (json.dumps(recipe, sort_keys=True) + "\n").encode())


def _run(
    jobs: list[tuple[Any, ...]], assets: Path | None, phones: bool, progress: Callable[[int], None]
) -> None:
    """Run one process per job, and pass on what they report until all have ended."""
    spawn = multiprocessing.get_context("spawn")
    reports = spawn.Queue()
    processes = [
        spawn.Process(target=_work, args=(*job, reports, assets, phones), daemon=True)
        for job in jobs
        if job[-1]
    ]
    with _one_thread_each():
        for process in processes:
            process.start()
    running = len(processes)
    try:
        while running:
            try:
                report = reports.get(timeout=1.0)
            except Empty:
                dead = [process.exitcode for process in processes if process.exitcode]
                if dead:
                    raise DataError(
                        f"a rendering process ended with code {dead[0]}; run the command again to go on"
                    ) from None
                continue
            if isinstance(report, Exception):
                raise report
            progress(report)
            running -= report == 0
    finally:
        for process in processes:
            process.terminate() if running else process.join()
            process.join()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside render with one thread each: the workers share the cores already."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update({name: value for name, value in _ONE_THREAD.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]


def _work(
    folder: Path,
    seed: int,
    size: int,
    mix: Mix | None,
    bank_fraction: float,
    settings: RendererSettings,
    todo: list[tuple[int, int, int]],
    reports: Any,
    assets: Path | None = None,
    phones: bool = False,
) -> None:
    """Render this worker's shards in order; report 1 per sample and 0 at the end, or an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends the workers
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # clears away the unfinished shard
    try:
        renderer = CorpusRenderer(seed, size, mix, bank_fraction, settings, assets, phones)
        for number, start, stop in todo:
            write_shard(shard_path(folder, number), _counted(renderer.samples(start, stop), reports))
        reports.put(0)
    except StableNormalError as error:  # the parent raises it
        reports.put(type(error)(str(error)))
    except Exception as error:
        reports.put(DataError(f"a rendering process failed ({type(error).__name__}: {error})"))
        raise


def _counted(samples: Iterator[Sample], reports: Any) -> Iterator[Sample]:
    for sample in samples:
        reports.put(1)
        yield sample
