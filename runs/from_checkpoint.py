"""Write the model of a training that has not come to its end, with the averaged weights of its checkpoint.

    python runs/from_checkpoint.py RUN OUT [--float16]

RUN is the folder of `stablenormal train`; run it from the folder that the training ran in, as its settings
may name relative paths. The training itself is left as it is and can go on.
"""

import argparse
from pathlib import Path

import torch

from stablenormal.data.packed import open_corpus
from stablenormal.errors import DataError
from stablenormal.models.loading import save_components, weight_hash
from stablenormal.training.loop import CHECKPOINT_FILE, TrainingRun
from stablenormal.training.parallel import Processes
from stablenormal.training.run import begin, training_corpus
from stablenormal.training.settings_file import read_settings


def main() -> None:
    """Read the checkpoint, write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--float16", action="store_true", help="half the size, for carrying it elsewhere")
    given = parser.parse_args()
    if not (given.run / CHECKPOINT_FILE).exists():
        raise DataError(f"{given.run}: has no {CHECKPOINT_FILE}; give the folder of a training that has one")
    settings = read_settings(given.run / "config.yaml")
    part = begin(settings, training_corpus(settings), open_corpus(Path(settings.heldout)), given.run)
    run = TrainingRun(part, settings, given.run, Processes(shard=False))
    run.finished()
    save_components(part.finish(), given.out, dtype=torch.float16 if given.float16 else torch.float32)
    print(f"{given.out}: step {run.step} of {settings.total_steps}, weights {weight_hash(given.out)}")


if __name__ == "__main__":
    main()
