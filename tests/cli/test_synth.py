from pathlib import Path

import cv2
import pytest
import trimesh
from typer.testing import CliRunner

from stablenormal.cli.main import app, main
from stablenormal.data.shards import iterate_samples, list_shards
from stablenormal.data.synthetic.corpus import VIEWS


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["synth", *map(str, words)])
    return int(ended.value.code or 0), capsys.readouterr().err


def test_synth_writes_shards_and_a_contact_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stablenormal.data.synthetic import writing

    whole = writing.write_corpus
    monkeypatch.setattr(
        writing, "write_corpus", lambda *args, **kwargs: whole(*args, **kwargs, bank_fraction=0.01)
    )
    out = tmp_path / "out"
    options = ["-o", out, "--count", 5, "--seed", 3, "--size", 32, "--workers", 1, "--shard-size", 3]
    code, told = run(capsys, *options, "--contact-sheet", "--mix", "object=1,statue=1")
    assert code == 0, told
    assert len(list_shards(out)) == 2
    samples = list(iterate_samples(out))
    assert len(samples) == 5 and samples[0].meta["seed"] == 3 and samples[0].image.shape == (32, 32, 3)
    assert cv2.imread(str(out / "contact-sheet.png")).shape == (64, 4 * 3 * 32, 3)
    assert "5 samples in 2 shards, 2 of them written now" in told
    assert {sample.meta["kind"] for sample in samples} <= {"object", "near"}

    code, told = run(capsys, *options, "--mix", "street")
    assert code == 1 and "holds another corpus (mix" in told and told.count("\n") == 1


def test_help_names_every_kind() -> None:
    told = " ".join(CliRunner().invoke(app, ["synth", "--help"], env={"COLUMNS": "400"}).output.split())
    assert all(kind in told for kind in VIEWS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", 0], "workers 0 must be 1 or more"),
        (["--count", 0], "count 0"),
        (["--size", 8], "size 8 must be 16 or more"),
        (["--seed", -1], "seed -1 must not be negative"),
        (["--mix", "rooms=1"], "did you mean 'room'?"),
    ],
)
def test_bad_settings_get_one_line_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[object], message: str
) -> None:
    code, told = run(capsys, "-o", tmp_path / "out", *options)
    assert code == 1 and message in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_gets_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    code, told = run(capsys, "-o", tmp_path / "file" / "out", "--count", 2)
    assert code == 1 and "a part of the path is a file" in told and told.count("\n") == 1


def write_models(folder: Path) -> Path:
    folder.mkdir()
    (folder / "cup.glb").write_bytes(trimesh.creation.box((0.1, 0.1, 0.1)).export(file_type="glb"))
    (folder / "faceless.obj").write_text("v 0 0 0\n")
    return folder


def test_models_furnish_the_scenes_and_bad_ones_get_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stablenormal.data.synthetic import writing

    whole = writing.write_corpus
    monkeypatch.setattr(
        writing, "write_corpus", lambda *args, **kwargs: whole(*args, **kwargs, bank_fraction=0.01)
    )
    models, cache = write_models(tmp_path / "models"), tmp_path / "cache"
    options = ["--count", 2, "--size", 32, "--workers", 1, "--mix", "object", "--asset-cache", cache]
    code, told = run(capsys, "-o", tmp_path / "out", *options, "--assets", models)
    assert code == 0, told
    assert "models: faceless.obj: holds no triangles; export it as a triangle mesh" in told
    assert "1 models read, 1 skipped" in told
    (prepared,) = cache.iterdir()
    code, told = run(capsys, "-o", tmp_path / "again", *options, "--assets", prepared)
    assert code == 0, told
    one, two = (list_shards(tmp_path / name)[0].read_bytes() for name in ("out", "again"))
    assert one == two


def test_models_that_are_not_there_get_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = run(capsys, "-o", tmp_path / "out", "--assets", tmp_path / "gone.sh3f")
    assert code == 1 and "gone.sh3f: does not exist" in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()
