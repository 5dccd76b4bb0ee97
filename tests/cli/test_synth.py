from pathlib import Path

import typer
from typer.testing import CliRunner

from stablenormal.cli.synth import synth
from stablenormal.data.shards import iterate_samples, list_shards


def test_synth_writes_shards_and_a_contact_sheet(tmp_path: Path, monkeypatch) -> None:
    from stablenormal.data.synthetic import writing

    whole = writing.write_corpus
    monkeypatch.setattr(
        writing, "write_corpus", lambda *args, **kwargs: whole(*args, **kwargs, bank_fraction=0.01)
    )
    app = typer.Typer()
    app.command()(synth)
    options = ["-o", str(tmp_path / "out"), "--count", "5", "--seed", "3", "--size", "32", "--workers", "1"]
    result = CliRunner().invoke(app, [*options, "--shard-size", "3", "--contact-sheet"])
    assert result.exit_code == 0, result.output
    assert len(list_shards(tmp_path / "out")) == 2
    samples = list(iterate_samples(tmp_path / "out"))
    assert len(samples) == 5 and samples[0].meta["seed"] == 3 and samples[0].image.shape == (32, 32, 3)
    assert (tmp_path / "out" / "contact-sheet.png").stat().st_size > 1000
    assert "5 samples in 2 shards, 2 of them written now" in result.output
