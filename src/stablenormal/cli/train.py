"""`stablenormal train` and `stablenormal pack`."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    part: Annotated[str, typer.Argument(help="autoencoder, semantic, yoso, refiner or angular")],
    config: Annotated[Path, typer.Argument(help="YAML file, as in configs/")],
    out: Annotated[Path, typer.Option("-o", "--out", help="run folder; the same folder resumes")],
    stop_after: Annotated[
        int | None, typer.Option(help="stop with a checkpoint after this many steps in all")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all")] = 0,
) -> None:
    """Train one part of a model; stops and resumes without losing a step."""
    import logging

    import torch

    from stablenormal.training.config import read_config
    from stablenormal.training.run import train as run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if threads:
        torch.set_num_threads(threads)
    model = run(read_config(config, part), out, stop_after)
    typer.echo(
        f"{out}: stopped with a checkpoint; run again to go on" if model is None else f"{model}: trained"
    )


def pack(
    shards: Annotated[list[Path], typer.Argument(help="folders of shards, from `stablenormal synth`")],
    out: Annotated[Path, typer.Option("-o", "--out", help="target folder")],
    count: Annotated[int, typer.Option(help="how many samples")],
) -> None:
    """Unpack shards into arrays that training reads without decoding."""
    from itertools import chain

    from stablenormal.data.packed import pack_corpus
    from stablenormal.data.shards import iterate_samples

    corpus = pack_corpus(chain.from_iterable(iterate_samples(folder) for folder in shards), out, count)
    typer.echo(f"{out}: {len(corpus)} samples of {corpus.size} px")
