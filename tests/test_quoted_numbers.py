"""Numbers quoted in README, the card and the manual are those of the results.

`quoted_numbers.yaml` says for each table which result its cells come from, and lists the tables that are not
checked yet with the reason. A table that is in neither list fails, so that a new one cannot be forgotten.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import yaml

from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.training.base import trainable
from stablenormal.training.parts.denoiser import trainable_denoiser

ROOT = Path(__file__).parents[1]
CARD = "src/stablenormal/weights/small/README.md"
PAGES = ["README.md", CARD, *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
SOURCES = yaml.safe_load((ROOT / "tests/quoted_numbers.yaml").read_text(encoding="utf-8"))
MEASURED = re.compile(r"[-+]?\d+(\.\d+| \d{3})*( %| M)?|[-+]?\d+\.\d+[ ,(].*")


@cache
def read_page(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def read_result(name: str) -> Any:
    return json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))


def tables_of(page: str) -> Iterator[tuple[str, list[str]]]:
    """Header and rows of every table of a page."""
    for block in re.findall(r"(?:^\|.*\n?)+", read_page(page), re.MULTILINE):
        header, _, *rows = block.splitlines()
        yield header, rows


def is_measured(rows: list[str]) -> bool:
    """Whether any cell of a table is a number rather than words."""
    cells = (cell.strip() for row in rows for cell in row.strip("|").split("|"))
    return any(MEASURED.fullmatch(cell) for cell in cells)


def values_at(found: Any, path: str) -> list[float]:
    """The numbers at a path; several where it has "*"."""
    part, _, rest = path.partition("/")
    if not part:
        assert isinstance(found, int | float), f"{found!r} is no number"
        return [found]
    if part == "*":
        return [value for inner in found.values() for value in values_at(inner, rest)]
    if part.startswith("["):
        wanted = [pair.split("=") for pair in part[1:-1].split(",")]
        fitting = [row for row in found if all(str(row.get(key)) == value for key, value in wanted)]
        assert len(fitting) == 1, f"{part} fits {len(fitting)} entries"
        return values_at(fitting[0], rest)
    return values_at(found[int(part) if isinstance(found, list) else part], rest)


def quoted(template: str) -> str:
    """The text that a template stands for, each <FILE: PATH | FORMAT> replaced by its number."""

    def number(match: re.Match[str]) -> str:
        name, path, shown = match.groups()
        first, *second = (float(np.mean(values_at(read_result(name), one))) for one in path.split(" minus "))
        *factor, form = shown.split()
        value = (first - sum(second)) * float(factor[0] if factor else 1)
        return format(round(value), form) if form.endswith("d") else format(value, form)

    return re.sub(r"<([\w-]+): (.+?) \| (.+?)>", number, template)


def expand(entries: list[Any]) -> list[str]:
    """Templates, one for each name where names are given."""
    templates = []
    for entry in entries:
        if isinstance(entry, str):
            templates.append(entry)
        else:
            templates += [re.sub(r"\bNAME\b", lambda _, n=name: n, entry["row"]) for name in entry["names"]]
    return templates


@pytest.mark.parametrize("table", SOURCES["tables"], ids=lambda table: f"{table['page']}-{table['header']}")
def test_every_cell_of_a_table_is_in_its_result(table: dict[str, Any]) -> None:
    rows = dict(tables_of(table["page"]))[table["header"]]
    expected = [quoted(template) for template in expand(table["rows"])]
    assert [cells(row) for row in rows] == [cells(row) for row in expected]


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


TEXTS = [(text["page"], part) for text in SOURCES["texts"] for part in expand(text["parts"])]


@pytest.mark.parametrize(("page", "part"), TEXTS, ids=[f"{page}-{part}" for page, part in TEXTS])
def test_figures_in_sentences_are_in_their_results(page: str, part: str) -> None:
    assert quoted(part) in re.sub(r"\s+", " ", read_page(page))


def test_every_table_of_numbers_is_checked_or_says_why_not() -> None:
    known = [(table["page"], table["header"]) for table in SOURCES["tables"] + SOURCES["unchecked"]]
    measured = [
        (page, header)
        for page in PAGES
        if page not in SOURCES["written"] | SOURCES["unchecked_pages"]
        for header, rows in tables_of(page)
        if is_measured(rows)
    ]
    assert sorted(measured) == sorted(known)


def test_results_hold_what_pages_name_and_nothing_else() -> None:
    """But the logs of the runs that made the bundled weights, which docs/training.md names together."""
    there = {path.name for path in (ROOT / "results").iterdir()}
    logs = {name for name in there if re.fullmatch(r"small-v\d+-.+\.jsonl", name)}
    named = {name for page in PAGES for name in re.findall(r"\bresults/([\w.-]+\w)", read_page(page))}
    examples = {"NAME.json"}
    assert named - examples == there - logs - {"study.tar.xz"}, "study.tar.xz: the runs behind study.json"
    script = (ROOT / "runs/small-v1.sh").read_text(encoding="utf-8")
    configurations = {name.removeprefix("small-v1-").removesuffix(".jsonl") for name in logs}
    assert configurations == set(re.findall(r"^train \w+ ([\w-]+) ", script, re.MULTILINE))
    assert configurations == {path.stem for path in (ROOT / "configs/small-v1").glob("*.yaml")}


def test_the_page_of_applications_is_what_its_script_writes(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["applications_tables.py", "-o", str(tmp_path / "page.md")])
    run_path("runs/applications_tables.py", run_name="__main__")
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == read_page("docs/applications.md")


def test_the_card_counts_the_parameters_of_the_weights() -> None:
    """Those that are trained: a condition encoder stores 0.07 million more, which are never run."""
    components = StableNormal.from_pretrained("small", device="cpu").components
    rows = dict(tables_of(CARD))["| part | M parameters | trained on |"]
    counted = {
        "autoencoder": trainable(components.autoencoder),
        "image encoder": trainable(components.image_encoder),
        "YOSO": trainable_denoiser(components.yoso, gradient_checkpointing=False),
        "semantic encoder": trainable(components.semantic_encoder),
        "refiner": trainable_denoiser(components.refiner, gradient_checkpointing=False),
    }
    assert len(rows) == len(counted)
    for row, (name, module) in zip(rows, counted.items(), strict=True):
        part, millions, _ = cells(row)
        assert part.startswith(name)
        trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
        assert millions == f"{trained / 1e6:.2f}", part


def test_a_wrong_number_is_noticed(monkeypatch) -> None:
    """The comparison itself: another value in the result gives another text."""
    template = "<small-v1: turbo_pairs/mean_over_sources | .1f> degrees off in turbo mode"
    before = quoted(template)
    result = read_result("small-v1")
    monkeypatch.setitem(result["turbo_pairs"], "mean_over_sources", 1.26)
    assert before in re.sub(r"\s+", " ", read_page("README.md"))
    assert quoted(template) == "1.3 degrees off in turbo mode"
    assert quoted(template) not in re.sub(r"\s+", " ", read_page("README.md"))
