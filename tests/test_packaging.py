"""Packaging: facts that stand in two places agree, and what is built is complete."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import stablenormal
from stablenormal.geometry.normals import valid_pixels
from stablenormal.io.normal_map import read_normal_map

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RANGES = [Requirement(text) for text in PROJECT["dependencies"]] + [
    Requirement(text) for extra in PROJECT["optional-dependencies"].values() for text in extra
]
PINS = {
    canonicalize_name(pin.name): pin
    for pin in (
        Requirement(line)
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
}


@pytest.mark.parametrize("needed", RANGES, ids=str)
def test_each_dependency_has_a_tested_version_within_its_range(needed: Requirement) -> None:
    pin = PINS[canonicalize_name(needed.name)]
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    assert needed.specifier.contains(specifier.version)


def test_nothing_is_pinned_that_is_not_used() -> None:
    assert set(PINS) == {canonicalize_name(needed.name) for needed in RANGES}


def test_the_version_is_the_same_everywhere() -> None:
    assert version("stablenormal") == stablenormal.__version__
    assert f"\nversion: {stablenormal.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {stablenormal.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def _built(kind: str, folder: Path) -> Path:
    """The project's wheel or sdist, as a user's pip would build it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (built,) = folder.iterdir()
    return built


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def test_the_wheel_predicts_in_an_environment_of_its_own(tmp_path: Path) -> None:
    """Nothing of the checkout is in reach: the libraries are, the package is the wheel's."""
    wheel = _built("wheel", tmp_path / "dist")
    place = tmp_path / "environment"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    install = [*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, capture_output=True, text=True, check=True, env=_own_environment())
    (site,) = place.glob("lib/python*/site-packages")
    # Libraries of the environment that runs the tests; `.pth` files there, as of this checkout, do not count.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    work = tmp_path / "work"
    work.mkdir()
    where = "import stablenormal; print(stablenormal.__file__)"
    told = subprocess.run(
        [python, "-c", where], cwd=work, env=_own_environment(), capture_output=True, text=True, check=True
    )
    assert Path(told.stdout.strip()).is_relative_to(place)
    sample = site / "stablenormal" / "samples" / "cushion.jpg"
    command = [place / "bin" / "stablenormal", "predict", sample, "-o", "normals", "--mode", "turbo"]
    ran = subprocess.run(
        command, cwd=work, env=_own_environment(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert valid_pixels(read_normal_map(work / "normals" / "cushion_normal.png").normals).all()


def test_the_sdist_holds_every_file_that_tests_and_documentation_read(tmp_path: Path) -> None:
    with tarfile.open(_built("sdist", tmp_path / "dist")) as archive:
        held = {str(Path(*Path(name).parts[1:])) for name in archive.getnames()}
    folders = [
        "benchmarks", "configs", "docs", "examples", "integrations", "results", "runs", "src", "studies",
        "tests",
    ]  # fmt: skip
    listing = subprocess.run(
        ["git", "ls-files", "--", *folders], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout, so nothing says which files there are")
    tracked = [name for name in listing.stdout.splitlines() if (ROOT / name).exists()]
    assert len(tracked) > 300
    assert not sorted(set(tracked) - held)
