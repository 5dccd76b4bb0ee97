"""Two results of `runs/measure.py`, image by image: the mean difference with a 95 % bootstrap interval.

python runs/compare.py results/AFTER.json results/BEFORE.json -o results/NAME.json
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from evidence import parse, write_record

from stablenormal.evaluation.bootstrap import bootstrap_mean


def main() -> None:
    """Print a line per mode and set, write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("after", type=Path)
    parser.add_argument("before", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parse(parser)
    after, before = (json.loads(path.read_text()) for path in (options.after, options.before))
    record: dict[str, Any] = {}
    record |= {"weight_hashes": [after["weight_hash"], before["weight_hash"]]}
    for key in (f"{mode}_{name}" for mode in ("turbo", "full") for name in ("pairs", "heldout")):
        new, old = (one[key]["per_image"] for one in (after, before))
        differences = np.array([[new[image]["mean"] - old[image]["mean"] for image in old]])
        record[key] = asdict(bootstrap_mean(differences))
        print(key, record[key])
    write_record(options.out, record, dirty=options.dirty)


if __name__ == "__main__":
    main()
