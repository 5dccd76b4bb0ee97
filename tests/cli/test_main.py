import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from stablenormal import __version__
from stablenormal.cli.main import app

HEAVY = ("torch", "numpy", "diffusers", "transformers", "cv2", "PIL", "scipy", "yaml")


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["predict", "--help"],
        ["data", "check", "--help"],
        ["evaluate", "--help"],
        ["variance", "--help"],
        ["--version"],
    ],
)
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from stablenormal.cli.main import app; "
        f"result = CliRunner().invoke(app, {arguments!r}); assert result.exit_code == 0, result.output; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert run_python(code) == "[]"


def test_help_lists_the_commands() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in (
        "predict", "integrate", "mesh", "enhance", "priors", "reconstruct", "evaluate", "variance",
        "convert", "synth", "data", "pack", "train",
    ):  # fmt: skip
        assert command in result.output


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output.strip() == f"stablenormal {__version__}"


def test_python_dash_m_is_the_same_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "stablenormal", "--version"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"stablenormal \d+\.\d+\.\d+\n", result.stdout)


def test_a_usage_error_has_code_2() -> None:
    assert CliRunner().invoke(app, ["predict"]).exit_code == 2
    assert CliRunner().invoke(app, ["no-such-command"]).exit_code == 2
