"""Rendering by kind of scene: images per second of one core, CPU seconds per image and where they go.

python benchmarks/synth.py [--size 256] [--scenes 3] [--seed 0] [--kinds room,closeup] [-o results.json]

CPU seconds count every thread, so that the load of the machine matters less than with wall time. They still
depend on the machine: the result is the ratio to the room of the same run. The last row weighs the kinds by
the default mix and adds the building of the bank; two free cores render two images in its CPU seconds.
"""

import argparse
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from recording import parse, write_result

from stablenormal.data.shards import encode_sample
from stablenormal.data.synthetic.bank import Bank, build_bank
from stablenormal.data.synthetic.corpus import (
    SCENES_PER_BANK,
    VIEWS,
    VIEWS_PER_DRAW,
    Mix,
    View,
    dress,
    render_view,
)
from stablenormal.data.synthetic.draws import generator
from stablenormal.data.synthetic.rasteriser import Rasteriser
from stablenormal.data.synthetic.scenes import BUILDERS

STAGES = ("build", "dress", "render", "encode")
BASELINE = "room"


class Clock:
    """CPU seconds of this process by stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add what the block takes to a stage."""
        start = time.process_time()
        yield
        self.seconds[stage] += time.process_time() - start


def measure(
    kind: str, rasteriser: Rasteriser, bank: Bank, seed: int, scenes: int
) -> tuple[dict[str, float], int]:
    """CPU seconds per image by stage, and triangles per scene."""
    clock, images, triangles = Clock(), 0, 0
    for number in range(-1, scenes):  # the first scene warms up
        if number == 0:
            clock, images, triangles = Clock(), 0, 0
        with clock("build"):
            scene = BUILDERS[kind](generator(seed, number + 1), bank)
            rasteriser.load_scene(scene)
        triangles += len(scene.faces)
        for place in range(VIEWS[kind]):
            if place % VIEWS_PER_DRAW[kind] == 0:
                with clock("dress"):
                    dress(rasteriser, generator(seed, number + 1, place), scene, bank)
            with clock("render"):
                view = View(images, number, kind, place)
                sample = render_view(
                    rasteriser, generator(seed, number + 1, place, 1), scene, bank, seed, view
                )
            with clock("encode"):
                encode_sample(sample, "jpg")
            images += 1
    return {stage: seconds / images for stage, seconds in clock.seconds.items()}, triangles // scenes


def main() -> None:
    """Measure every kind and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--scenes", type=int, default=3, help="scenes per kind, with all their views")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(VIEWS))
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    rasteriser = Rasteriser(options.size)
    start = time.process_time()
    bank = build_bank(generator(options.seed))
    rasteriser.load_bank(bank)
    bank_seconds = time.process_time() - start
    kinds = options.kinds.split(",")
    if BASELINE not in kinds:
        kinds.insert(0, BASELINE)
    measured = {kind: measure(kind, rasteriser, bank, options.seed, options.scenes) for kind in kinds}
    base = sum(measured[BASELINE][0].values())
    print(f"{platform.processor() or platform.machine()}, {options.size} px, {options.scenes} scenes a kind")
    print(
        f"{'kind':14}{'triangles':>10}"
        + "".join(f"{stage:>8}" for stage in STAGES)
        + f"{'CPU s':>8}{'img/s':>7}{'ratio':>7}"
    )
    rows = []
    for kind, (seconds, triangles) in measured.items():
        total = sum(seconds.values())
        rows.append({"kind": kind, "triangles": triangles, **seconds, "cpu_s": total, "ratio": total / base})
        print(
            f"{kind:14}{triangles:10d}"
            + "".join(f"{seconds[stage]:8.3f}" for stage in STAGES)
            + f"{total:8.3f}{1 / total:7.1f}{total / base:7.2f}"
        )
    if set(kinds) == set(VIEWS):
        shares = asdict(Mix())
        scenes = sum(share / VIEWS[kind] for kind, share in shares.items())
        bank_share = bank_seconds / (SCENES_PER_BANK / scenes * sum(shares.values()))
        whole = sum(shares[row["kind"]] * row["cpu_s"] for row in rows) / sum(shares.values()) + bank_share
        rows.append({"kind": "mix", "bank": bank_share, "cpu_s": whole, "ratio": whole / base})
        print(f"{'mix':56}{whole:8.3f}{1 / whole:7.1f}{whole / base:7.2f}  (bank {bank_share:.3f})")
        print(f"two free cores: {2 / whole:.1f} images per second")
    write_result(options.out, {"size": options.size, "rows": rows}, options.dirty)


if __name__ == "__main__":
    main()
