"""The run folder's own copy of the settings."""

from pathlib import Path

import pytest

from stablenormal.errors import OutputError
from stablenormal.training.run import _keep_settings
from stablenormal.training.settings_file import read_settings, write_settings

CONFIG = next(iter(sorted(Path(__file__).parents[2].glob("configs/**/*.yaml"))))


def test_a_settings_file_of_the_user_stays(tmp_path: Path) -> None:
    settings = read_settings(CONFIG)
    own = tmp_path / "config.yaml"
    write_settings(settings, own)
    own.write_text("# mine\n" + own.read_text())
    _keep_settings(settings, tmp_path)  # the run's folder is where the user's file lies
    assert own.read_text().startswith("# mine")
    own.write_text("someone: else\n")
    with pytest.raises(OutputError, match=r"config\.yaml: was not made by this program.*`out`"):
        _keep_settings(settings, tmp_path)
    assert own.read_text() == "someone: else\n"


def test_a_run_that_goes_on_keeps_its_settings(tmp_path: Path) -> None:
    settings = read_settings(CONFIG)
    for _ in range(2):
        _keep_settings(settings, tmp_path)
        assert read_settings(tmp_path / "config.yaml") == settings
