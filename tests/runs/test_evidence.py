"""Every result says where it came from, and none comes from files that no commit has."""

import argparse
import importlib.util
import json
import re
from pathlib import Path

import pytest

from stablenormal.pipelines import StableNormal

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("evidence", ROOT / "runs/evidence.py")
assert _SPEC is not None and _SPEC.loader is not None
evidence = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(evidence)


@pytest.fixture(params=["0123abc", "0123abc-dirty"])
def commit(request, monkeypatch):
    monkeypatch.setattr(evidence, "commit", lambda: request.param)
    return request.param


def test_a_changed_checkout_is_refused_before_and_after(commit, tmp_path) -> None:
    path, parser = tmp_path / "result.json", argparse.ArgumentParser()
    if commit.endswith("dirty"):
        with pytest.raises(SystemExit, match="--dirty"):
            evidence.parse(parser, [])
        with pytest.raises(SystemExit, match="--dirty"):
            evidence.write_record(path, {"mean": 1})
        assert not path.exists()
    else:
        assert not evidence.parse(parser, []).dirty
        evidence.write_record(path, {"mean": 1})
        assert json.loads(path.read_text())["dirty"] is False


def test_dirty_is_written_down(commit, tmp_path) -> None:
    path = tmp_path / "result.json"
    assert evidence.parse(argparse.ArgumentParser(), ["--dirty"]).dirty
    evidence.write_record(path, {"mean": 1}, dirty=True)
    found = json.loads(path.read_text())
    assert (found["commit"], found["dirty"], found["mean"]) == (commit, commit.endswith("dirty"), 1)


def test_the_origin_is_complete(toy_model, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(evidence, "commit", lambda: "0123abc")
    pipeline = StableNormal.from_pretrained(toy_model, device="cpu", dtype="bfloat16")
    evidence.write_record(tmp_path / "a.json", {"rows": []}, pipeline=pipeline)
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["dtype"] == "bfloat16" and found["device"] == "cpu" and found["threads"] >= 1
    assert found["weight_hash"] == pipeline.weight_hash and found["torch"]


def test_scripts_write_results_by_the_recorder_alone() -> None:
    for script in [*ROOT.glob("runs/*.py"), *ROOT.glob("benchmarks/*.py")]:
        text = script.read_text(encoding="utf-8")
        if script.name not in ("evidence.py", "recording.py") and re.search(r"write_(record|result)\(", text):
            assert "parse(parser)" in text, script.name
            assert "options.dirty" in text, script.name
