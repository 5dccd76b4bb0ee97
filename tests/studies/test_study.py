"""`python -m studies.claims` from end to end, every real class at toy size."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stablenormal.errors import DataError
from stablenormal.models.architecture import TOY_SPEC, TOY_WITH_TOKENS
from stablenormal.models.building import build_components
from stablenormal.models.loading import save_components

PUBLISHED = Path(__file__).parents[2]
NETWORKS = ("yoso", "refiner", "feed-forward", "marigold")
ROWS = ("full", "turbo", "marigold-10-x10", "feed-forward", "from-feed-forward")


@pytest.fixture
def study(monkeypatch):
    """The command, with a few of its networks and rows."""
    pytest.importorskip("matplotlib")
    from studies.claims import plan, study

    budget = replace(plan.BUDGETS["tiny"], heldout_images=3)
    monkeypatch.setitem(plan.BUDGETS, "tiny", budget)
    monkeypatch.setattr(study, "NETWORKS", {name: plan.NETWORKS[name] for name in NETWORKS})
    rows = {name: plan.ROWS[name] for name in ROWS}
    rows["marigold-10-x10"] = replace(rows["marigold-10-x10"], steps=2, ensemble=2)
    monkeypatch.setattr(study, "ROWS", {name: replace(row, photographs=False) for name, row in rows.items()})
    return study


@pytest.fixture
def arguments(corpus_folder, toy_model, tmp_path):
    data = ["--corpus", str(corpus_folder), "--heldout", str(corpus_folder), "--model", str(toy_model)]
    return [str(tmp_path / "out"), *data, "--budget", "tiny", "--docs", str(tmp_path / "docs"), "--dirty"]


def test_measures_writes_the_page_and_resumes(study, arguments, tmp_path, monkeypatch):
    study.main(arguments)
    out, page = tmp_path / "out", (tmp_path / "docs/claims.md").read_text()
    runs = sorted(out.glob("rows/*/result.json"))
    assert len(runs) == len(ROWS)
    one = json.loads((out / "rows/full-s0/result.json").read_text())
    assert len(one["values"]["error"]) == 3 and len(one["weights"]) == 2 and one["commit"]
    assert (one["device"], one["dtype"], one["autocast"]) == ("cpu", "float32", "bfloat16")
    assert one["weight_hash"] == one["settings"]["base"] and one["dirty"] == one["commit"].endswith("-dirty")
    deterministic = json.loads((out / "rows/feed-forward-s0/result.json").read_text())
    assert deterministic["values"]["variance"] == [0, 0, 0]
    assert one["values"]["variance"] != [0, 0, 0]

    summary = json.loads((tmp_path / "results/study.json").read_text())
    verdicts = {claim["key"]: claim["verdict"] for claim in summary["claims"]}
    assert verdicts["refine-error"] in ("yes", "no", "cannot tell")
    assert verdicts["hold"] == "not measured"
    assert f"**{verdicts['refine-error']}**" in page and (tmp_path / "docs/claims/table.png").exists()

    before = {path: path.stat().st_mtime_ns for path in runs}
    lost = out / "rows/turbo-s0/result.json"
    content = json.loads(lost.read_text())["values"]
    lost.unlink()
    study.main(arguments)
    after = {path: path.stat().st_mtime_ns for path in runs}
    assert {path for path in runs if before[path] != after[path]} == {lost}
    assert json.loads(lost.read_text())["values"] == content

    # The records alone are enough to go on: only what the missing row needs is trained again.
    records = tmp_path / "records"
    for path in [*out.glob("rows/*/result.json"), *out.glob("times/result.json")]:
        target = records / path.relative_to(out)
        target.parent.mkdir(parents=True)
        target.write_bytes(path.read_bytes())
    (records / "rows/turbo-s0/result.json").unlink()
    study.main([str(tmp_path / "elsewhere"), *arguments[1:], "--records", str(records)])
    assert [path.name for path in (tmp_path / "elsewhere/networks").iterdir()] == ["yoso-s0"]
    assert json.loads((records / "rows/turbo-s0/result.json").read_text())["values"] == content
    assert (records / "networks/yoso-s0/result.json").exists()

    monkeypatch.setattr(study, "OPTIMISER", {"learning_rate": 1e-4})
    with pytest.raises(DataError, match="another study"):
        study.main(arguments)


def test_a_process_takes_only_its_seeds(study, arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "ROWS", {"turbo": study.ROWS["turbo"]})
    study.main([*arguments, "--seeds", "1"])
    assert [path.name for path in (tmp_path / "out/rows").iterdir()] == ["turbo-s1"]
    assert [path.name for path in (tmp_path / "out/networks").iterdir()] == ["yoso-s1"]


def test_every_claim_is_about_rows_that_are_measured():
    from studies.claims import plan

    for claim in plan.CLAIMS:
        for comparison in claim.comparisons:
            assert {comparison.better, comparison.worse} <= plan.ROWS.keys()
            assert comparison.metric in plan.METRICS
    assert all(name in plan.NETWORKS for row in plan.ROWS.values() for name in row.networks)


def test_the_published_page_follows_from_the_published_records(study, tmp_path):
    records = PUBLISHED / "results/study.tar.xz"
    folders = [str(tmp_path / "out"), "--records", str(records), "--docs", str(tmp_path / "docs")]
    study.main([*folders, "--page-only"])
    for name in ("docs/claims.md", "results/study.json"):
        assert (tmp_path / name).read_text() == (PUBLISHED / name).read_text()


def test_an_archive_says_what_its_folder_says(tmp_path):
    from studies.claims.records import read_records

    for place, number in {"rows/full-s0": 1, "rows/full-s1": 2, "networks/yoso-s0": 3, "times": 4}.items():
        (tmp_path / "out" / place).mkdir(parents=True)
        (tmp_path / "out" / place / "result.json").write_text(json.dumps({"number": number}))
    (tmp_path / "out/rows/full-s0/log.txt").write_text("not a result")
    for name, root in (("plain.tar.xz", "."), ("bare.tar.gz", "")):
        with tarfile.open(tmp_path / name, f"w:{name[-2:]}") as archive:
            archive.add(tmp_path / "out", root)
        found = read_records(tmp_path / name)
        assert found == read_records(tmp_path / "out")
        assert list(found) == ["networks/yoso-s0", "rows/full-s0", "rows/full-s1", "times"]
    (tmp_path / "out/rows/full-s1/result.json").write_text("{")
    with pytest.raises(DataError, match="rows/full-s1"):
        read_records(tmp_path / "out")


def test_a_file_that_is_no_archive_is_refused(study, arguments, tmp_path, capsys):
    path = tmp_path / "study.tar.xz"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="study.tar.xz: not an archive"):
        study.main([*arguments, "--records", str(path), "--page-only"])
    with pytest.raises(SystemExit):
        study.main([*arguments, "--records", str(path)])
    assert "--page-only" in capsys.readouterr().err
    with tarfile.open(path, "w:xz"):
        pass
    with pytest.raises(DataError, match="holds no result"):
        study.main([*arguments, "--records", str(path), "--page-only"])


def test_a_model_of_other_shapes_is_refused(study, arguments, tmp_path):
    components = build_components(TOY_WITH_TOKENS, TOY_SPEC)
    save_components(components, tmp_path / "tokens", torch.float32)
    arguments[arguments.index("--model") + 1] = str(tmp_path / "tokens")
    with pytest.raises(DataError, match="tokens: photographs become 8 channels.* 4; take .* commit 3a09254"):
        study.main(arguments)


def test_changed_files_are_refused_where_something_is_measured(study, arguments, tmp_path, monkeypatch):
    import runs.evidence

    monkeypatch.setattr(runs.evidence, "commit", lambda: "0123abc-dirty")
    arguments.remove("--dirty")
    with pytest.raises(SystemExit, match="--dirty"):
        study.main(arguments)
    assert not (tmp_path / "out").exists()
    study.main([*arguments, "--page-only"])
    assert "Nothing is measured yet" in (tmp_path / "docs/claims.md").read_text()
