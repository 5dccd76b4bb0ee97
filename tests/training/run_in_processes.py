"""Run trainings in the processes that torchrun started; `test_parallel.py` looks at what they leave."""

import sys
from pathlib import Path

import torch

from stablenormal.training.run import train
from stablenormal.training.settings_file import read_settings

torch.set_num_threads(1)
for argument in sys.argv[1:]:
    path, out, *stops = argument.split(":")
    config = read_settings(Path(path))
    for stop in [*map(int, stops), None]:
        train(config, Path(out), stop)
