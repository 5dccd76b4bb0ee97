"""Damage files and read them: `python -m studies.fuzz -o OUT [--inputs 1000] [--target NAME]...`.

Writes OUT/fuzz.json with counts for each reader, and each input that a reader did not survive to OUT/faults/.
Ends with code 1 if there is one. The seed decides the inputs.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

from studies.fuzz.attack import MEMORY, SECONDS, Outcome, Readers, damaged
from studies.fuzz.targets import TARGETS


def main() -> int:
    """Attack each target, print a line of it, write everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--inputs", type=int, default=1000, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only these; repeat it")
    options = parser.parse_args()
    started, outcomes = time.monotonic(), []
    names = options.target or list(TARGETS)
    with tempfile.TemporaryDirectory() as folder, Readers(names) as readers:
        for name in names:
            files = damaged(name, options.inputs, options.seed, Path(folder, name))
            outcomes.append(readers.attack(name, files))
            _say(outcomes[-1], options.out)
            _write(options, outcomes, time.monotonic() - started)
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def _say(outcome: Outcome, out: Path) -> None:
    """Print a line of a target, and keep what it did not survive."""
    print(
        f"{outcome.target}: {outcome.inputs} inputs, {outcome.read} read, {outcome.refused} refused, "
        f"{len(outcome.faults)} faults, slowest {outcome.slowest_s:.2f} s",
        flush=True,
    )
    for fault in outcome.faults:
        path = out / "faults" / fault.target / hashlib.sha256(fault.data).hexdigest()[:16]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(fault.data)
        print(f"  {path}: {fault.what.splitlines()[0]}", flush=True)


def _write(options: argparse.Namespace, outcomes: list[Outcome], seconds: float) -> None:
    rows = []
    for outcome in outcomes:
        rows.append(
            {
                "target": outcome.target,
                "inputs": outcome.inputs,
                "read": outcome.read,
                "refused": dict(outcome.refusals),
                "faults": sorted({fault.what.splitlines()[0] for fault in outcome.faults}),
                "slowest_s": round(outcome.slowest_s, 3),
            }
        )
    content = {
        "inputs_for_each": options.inputs,
        "seed": options.seed,
        "limits": {"seconds": SECONDS, "bytes": MEMORY},
        "seconds": round(seconds, 1),
        "inputs": sum(outcome.inputs for outcome in outcomes),
        "faults": sum(len(outcome.faults) for outcome in outcomes),
        "targets": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "fuzz.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
