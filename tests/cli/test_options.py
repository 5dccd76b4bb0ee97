"""Every command that runs a model has the same options for it."""

from pathlib import Path

import pytest
import typer

from stablenormal.cli import options
from stablenormal.cli.main import app, main
from stablenormal.errors import SettingError

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def spelled(command: str) -> dict[str, tuple[list[str], str | None]]:
    return {one.name: (one.opts, getattr(one, "help", None)) for one in COMMANDS[command].params}


@pytest.mark.parametrize("command", ["predict", "priors", "evaluate", "variance"])
def test_a_model_is_run_by_the_same_options(command: str) -> None:
    reference, found = spelled("predict"), spelled(command)
    for name in options.MODEL_OPTIONS:
        assert found[name][0] == reference[name][0]
        if (command, name) != ("priors", "ensemble"):  # where it gives the confidence too
            assert found[name][1] == reference[name][1]
    assert found["model"][0] == ["--model"]


def test_enhance_loads_a_model_by_the_same_options() -> None:
    reference, found = spelled("predict"), spelled("enhance")
    for name in (*options.LOAD_OPTIONS, "steps", "t_plus", "resolution"):
        assert found[name][0] == reference[name][0]


def test_a_mesh_goes_into_a_folder_or_where_its_ending_says(tmp_path: Path) -> None:
    assert options.mesh_path(tmp_path / "new", "photo", None, "glb") == tmp_path / "new/photo.glb"
    assert options.mesh_path(tmp_path / "v1.2", "photo", "ply", "glb") == tmp_path / "v1.2/photo.ply"
    assert options.mesh_path(tmp_path / "a.OBJ", "photo", None, "glb") == tmp_path / "a.OBJ"
    assert options.mesh_path(tmp_path / "a.stl", "photo", None, "glb") == tmp_path / "a.stl"  # refused there
    (tmp_path / "odd.glb").mkdir()
    assert options.mesh_path(tmp_path / "odd.glb", "photo", None, "glb") == tmp_path / "odd.glb/photo.glb"
    with pytest.raises(SettingError, match="--format: ply, but -o names"):
        options.mesh_path(tmp_path / "a.glb", "photo", "ply", "glb")


class TestSteps:
    @pytest.mark.parametrize(("text", "meant"), [("3", 3), ("auto", "auto")])
    def test_a_number_or_auto(self, text, meant):
        own, seen = typer.Typer(), []

        @own.command()
        def command(steps: options.Steps = None) -> None:
            seen.append(steps)

        own(["--steps", text], standalone_mode=False)
        assert seen == [meant]

    def test_refuses_another_word(self, tmp_path, capsys):
        with pytest.raises(SystemExit, match="1"):
            main(["predict", str(tmp_path), "-o", str(tmp_path / "out"), "--steps", "many"])
        assert "--steps: 'many' is no number; give one, or auto" in capsys.readouterr().err
