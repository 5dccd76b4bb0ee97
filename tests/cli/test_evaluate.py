from pathlib import Path

import pytest

from stablenormal.cli.main import main

FIXTURES = Path(__file__).parents[1] / "evaluation/fixtures"
SET = ["evaluate", "--benchmark", "folder", "--root", str(FIXTURES)]


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def test_predictions_give_a_table_and_a_page(tmp_path: Path, capsys) -> None:
    options = ["--predictions", str(FIXTURES / "predictions/png16"), "--frame", "opengl", "--format", "png16"]
    assert run([*SET, *options, "-o", str(tmp_path), "--protocol", "marigold", "--shown", "1"]) == 0
    shown = capsys.readouterr()
    assert "18.125" in shown.out and "protocol marigold, 2 images" in shown.out
    assert "warning" not in shown.err
    assert (tmp_path / "index.html").exists()


def test_the_wrong_frame_is_a_warning(tmp_path: Path, capsys) -> None:
    options = ["--predictions", str(FIXTURES / "predictions/npy"), "--frame", "opencv"]
    assert run([*SET, *options, "-o", str(tmp_path)]) == 0
    assert "warning: " in (error := capsys.readouterr().err) and "--frame opengl" in error


def test_a_model_is_scored_with_all_its_options(toy_model: Path, tmp_path: Path, capsys) -> None:
    options = ["--model", str(toy_model), "--mode", "full", "--steps", "2", "--ensemble", "2", "--seed", "1"]
    options += ["--resolution", "32", "--device", "cpu", "--dtype", "float32", "--offline"]
    diode = ["evaluate", "--benchmark", "diode", "--root", str(FIXTURES), "--part", "indoor"]
    assert run([*diode, *options, "--truth-frame", "directx", "-o", str(tmp_path)]) == 0
    assert "1 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "small", "--predictions", "."], "give either --model or --predictions"),
        (["--predictions", "p", "--steps", "3"], "--steps is for --model"),
        (["--predictions", "nowhere", "--frame", "opengl"], "nowhere: no such folder"),
        (["--model", "small", "--mode", "fast"], "--mode: there is no 'fast'"),
    ],
)
def test_bad_input_is_one_line(options: list[str], message: str, tmp_path: Path, capsys) -> None:
    assert run([*SET, *options, "-o", str(tmp_path)]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
