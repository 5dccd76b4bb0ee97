"""Write a trained model folder as the float16 folder that the package bundles.

python runs/export.py MODEL OUT
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from stablenormal.models.architecture import SMALL_SPEC
from stablenormal.models.loading import load_components, save_components, weight_hash

source, target = Path(sys.argv[1]), Path(sys.argv[2])
components = load_components(source)
components.spec = (
    replace(  # how the weights want to be run has one home; runs may have begun with an older one
        SMALL_SPEC, start=components.spec.start, alignment=components.spec.alignment
    )
)
save_components(components, target, dtype=torch.float16)
print(f"{target}: {weight_hash(target)}")
