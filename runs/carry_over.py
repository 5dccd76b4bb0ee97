"""Carry what the one-step network has learned since over to the refiner, which once began as a copy of it.

python runs/carry_over.py BEFORE AFTER OUT

BEFORE and AFTER are model folders: of the one-step network that the refiner was last trained with, and of the
same network trained on. The refiner of OUT is that of AFTER plus the change of the one-step network, weight
by weight (task arithmetic, Ilharco et al., arXiv 2212.04089); the rest is as in AFTER.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from stablenormal.models.loading import load_components, save_components, weight_hash


@torch.no_grad()
def carry_over(before: nn.Module, after: nn.Module, target: nn.Module) -> int:
    """Add the change from `before` to `after` to the weights of `target` that both have, of the same shape.

    Args:
        before: a network.
        after: the same network, trained on.
        target: changed in place.

    Returns:
        How many tensors changed.
    """
    old, new, changed = dict(before.named_parameters()), dict(after.named_parameters()), 0
    for name, weight in target.named_parameters():
        if name in old and name in new and old[name].shape == new[name].shape == weight.shape:
            weight += new[name] - old[name]
            changed += 1
    return changed


def main() -> None:
    """Read the two folders, write the third."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    before, after = load_components(options.before), load_components(options.after)
    changed = carry_over(before.yoso, after.yoso, after.refiner)
    save_components(after, options.out, dtype=torch.float32)
    print(f"{options.out}: {changed} tensors of the refiner changed, {weight_hash(options.out)}")


if __name__ == "__main__":
    main()
