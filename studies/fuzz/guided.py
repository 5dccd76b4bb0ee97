"""Look for new paths through our own parsers with atheris: `python -m studies.fuzz.guided TARGET -o OUT`.

atheris changes an input where a change leads to code that no input reached before. OUT/corpus/ keeps those
inputs, so that a later run goes on from them; an input that the reader does not survive is written to OUT and
ends the run. Needs the extra `fuzz`.
"""

import argparse
import logging
import sys
import tempfile
import warnings
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("error: atheris is not installed; pip install 'stablenormal[fuzz]'")

with atheris.instrument_imports(include=["stablenormal.io", "stablenormal.data", "stablenormal.models.spec"]):
    from stablenormal.errors import StableNormalError
    from studies.fuzz.attack import SECONDS
    from studies.fuzz.targets import TARGETS


def main() -> None:
    """Run atheris on one reader; it ends the process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=sorted(name for name, target in TARGETS.items() if target.guided))
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=100_000, help="inputs")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    target, corpus = TARGETS[options.target], options.out / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds(Path(folder))):
            (corpus / f"seed-{number}").write_bytes(seed)

        def read(data: bytes) -> None:
            try:
                target.read(data, Path(folder))
            except StableNormalError as error:
                assert "\n" not in str(error), f"a message of several lines: {error}"

        limits = [
            f"-runs={options.runs}",
            f"-seed={options.seed}",
            f"-timeout={SECONDS:g}",
            "-rss_limit_mb=4096",
        ]
        atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={options.out}/", str(corpus)], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
