"""Write a trained model folder as the float16 folder that the package bundles.

python runs/export.py MODEL OUT
"""

import sys
from pathlib import Path

import torch

from stablenormal.models.loading import load_components, save_components, weight_hash

source, target = Path(sys.argv[1]), Path(sys.argv[2])
save_components(load_components(source), target, dtype=torch.float16)
print(f"{target}: {weight_hash(target)}")
