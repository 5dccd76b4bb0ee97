"""How often `stablenormal data check` is right, on renders that are broken on purpose.

    stablenormal synth -o shards/check --count 200 --seed 77 --size 256
    python runs/data_check.py --shards shards/check --limit 120 -o results/data-check.json

Every view is checked as it is (false alarms) and after each damage: with its depth, and without it, where
only the normals, the picture and the field of view can tell.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from evidence import parse, write_record

from stablenormal.data.checking import Limits, check_view
from stablenormal.data.readers.catalogue import open_source
from stablenormal.data.readers.source import View


def signs(*values: int) -> Callable[[View], View]:
    """Normals with the signs of their axes changed."""
    return lambda view: replace(view, vectors=view.vectors * np.float32(values))


def shifted(right: int, down: int) -> Callable[[View], View]:
    """The image moved against the normals, by pixels."""
    return lambda view: replace(view, image=np.roll(view.image, (down, right), (0, 1)))


def holed(view: View) -> View:
    """A few NaN among the normals."""
    vectors = view.vectors.copy()
    vectors[10:12, 10:20] = np.nan
    return replace(view, vectors=vectors, valid=np.ones_like(view.valid))


DAMAGES: dict[str, tuple[Callable[[View], View], tuple[str, ...]]] = {
    "x flipped": (signs(-1, 1, 1), ("frame", "away", "inward")),
    "y flipped": (signs(1, -1, 1), ("frame", "away", "inward")),
    "z flipped": (signs(1, 1, -1), ("frame", "inward")),
    "y and z flipped (opencv)": (signs(1, -1, -1), ("frame", "inward")),
    "x and y flipped": (signs(-1, -1, 1), ("frame", "away", "inward")),
    "all flipped (inward)": (signs(-1, -1, -1), ("frame", "inward")),
    "red and blue exchanged": (
        lambda view: replace(view, vectors=view.vectors[..., ::-1].copy()),
        ("frame", "away", "inward"),
    ),
    "half as long": (lambda view: replace(view, vectors=view.vectors / 2), ("length",)),
    "NaN": (holed, ("nan",)),
    "image 3 px right": (shifted(3, 0), ("misaligned",)),
    "image 6 px left, 4 down": (shifted(-6, 4), ("misaligned",)),
    "image mirrored": (lambda view: replace(view, image=view.image[:, ::-1].copy()), ("mirrored",)),
    "image of one colour": (lambda view: replace(view, image=np.full_like(view.image, 90)), ("blank",)),
}
"""What is done, and the problems that count as noticing it."""


def main() -> None:
    """Check every view whole and broken, and count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("-o", "--output", type=Path)
    options = parse(parser)
    source, limits = open_source("shards", options.shards), Limits()
    count = min(options.limit, len(source))
    noticed: Counter[str] = Counter()
    named: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    for index in range(count):
        for depth in ("with depth", "without depth"):
            view = source.view(index)
            if depth == "without depth":
                view = replace(view, depth=None)
            report = check_view(view, source.keys[index], "opengl", False, limits)
            alarms.update(f"{depth}: {problem}" for problem in report.problems)
            alarms[f"{depth}: any"] += bool(report.problems)
            for damage, (change, problems) in DAMAGES.items():
                report = check_view(change(view), source.keys[index], "opengl", False, limits)
                noticed[f"{depth}: {damage}"] += bool(set(problems) & set(report.problems))
                named[f"{depth}: {damage}"] += "frame" in report.problems
    result = {
        "views": count,
        "false_alarms": {name: times / count for name, times in sorted(alarms.items())},
        "noticed": {name: noticed[name] / count for name in noticed},
        "frame_named": {name: named[name] / count for name in named if named[name]},
    }
    print(json.dumps(result, indent=1))
    if options.output:
        write_record(options.output, result, dirty=options.dirty)


if __name__ == "__main__":
    main()
