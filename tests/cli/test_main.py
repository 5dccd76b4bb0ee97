import os
import re
import shlex
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from stablenormal import __version__
from stablenormal.cli.main import COMMANDS, DATA_EXAMPLE, EXAMPLES, app, main

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
        "convert", "synth", "data", "pack", "train", "app", "serve",
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


def test_every_command_has_a_group_and_an_example_that_its_own_options_take() -> None:
    listed = CliRunner().invoke(app, ["--help"]).output
    for group in COMMANDS:
        assert group in listed
    shown = {example.split()[1]: example for example in (*EXAMPLES, DATA_EXAMPLE)}
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert set(shown) == set(commands)
    for name, example in shown.items():
        assert example in listed
        command = commands[name]
        words = shlex.split(example)[2:]
        if name == "data":
            command, words = command.commands[words[0]], words[1:]
        else:
            assert example in " ".join(CliRunner().invoke(app, [name, "--help"]).output.split())
        options = {word for word in words if word.startswith("-")}
        assert options <= {spelling for param in command.params for spelling in param.opts}
        assert "-o" in options  # the same letter everywhere


def test_the_output_is_a_folder_in_every_command() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    every = [*commands.values(), *commands["data"].commands.values()]
    for command in every:
        for param in command.params:
            if "-o" in param.opts:
                assert "--output" in param.opts, command.name
                assert "older" in (param.help or ""), (command.name, param.help)


def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Spinning ones took 4 to 40 times as long beside other programs."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "before")  # restored afterwards, whatever the command does
    monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
