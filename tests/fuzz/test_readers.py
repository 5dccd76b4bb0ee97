"""Damaged files against every reader, a few of each; `python -m studies.fuzz` reads as many as one likes."""

import ctypes
import faulthandler
import os
import time
from pathlib import Path

import numpy as np
import pytest

from stablenormal.errors import DataError
from studies.fuzz import attack
from studies.fuzz.attack import Readers, damaged
from studies.fuzz.mutations import mutated
from studies.fuzz.targets import TARGETS, Target

CORPUS = Path(__file__).with_name("corpus")
NEW_INPUTS = 12
"""Damaged files of each reader in this test."""


@pytest.fixture(scope="module")
def readers():
    with Readers(TARGETS) as readers:
        yield readers


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_reader_survives_damage(name, tmp_path, readers):
    """What once was a fault, and a few new files: each is read, or refused by one line of ours."""
    known = [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
    outcome = readers.attack(name, [*known, *damaged(name, NEW_INPUTS, 1, tmp_path / "seeds")])
    assert outcome.faults == []
    assert outcome.inputs == len(known) + NEW_INPUTS
    assert outcome.refused > 0 or name == "mtl"  # a material that says nothing is a material


def test_the_corpus_names_readers_and_is_small():
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 1 << 20


def test_damage_is_decided_by_the_seed_alone():
    seeds = [bytes(range(200)), b"text 1 2 3" * 9]
    first, again, other = (
        [mutated(seeds, np.random.default_rng((seed, number))) for number in range(50)] for seed in (3, 3, 4)
    )
    assert first == again != other
    assert len(set(first)) > 45
    assert not set(first) & set(seeds)


def _misbehave(data: bytes, folder: Path) -> None:
    what = data.decode()
    if what == "crash":
        faulthandler.disable()
        ctypes.string_at(0)
    elif what == "leave":
        os._exit(3)
    elif what == "hang":
        time.sleep(60)
    elif what == "memory":
        bytearray(8 << 30)
    elif what == "error":
        raise KeyError("whatever")
    elif what == "ours":
        raise DataError("one line")
    elif what == "lines":
        raise DataError("one\nand another")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_every_way_to_fail_is_seen(monkeypatch):
    """With a reader that does what its file says, in forked processes, which know it."""
    monkeypatch.setitem(TARGETS, "bad", Target("bad", lambda folder: [b"fine"], _misbehave))
    fork = attack.multiprocessing.get_context("fork")
    monkeypatch.setattr(attack.multiprocessing, "get_context", lambda kind: fork)
    inputs = [b"crash", b"leave", b"hang", b"memory", b"error", b"lines", b"ours", b"fine"]
    with Readers(["bad"], seconds=1.0) as readers:
        outcome = readers.attack("bad", inputs)
    assert [fault.data for fault in outcome.faults] == inputs[:6]
    said = [fault.what for fault in outcome.faults]
    assert [words.split(" ")[0].rstrip(":") for words in said] == [
        "crash", "crash", "hang", "MemoryError", "KeyError", "a",
    ]  # fmt: skip
    assert (dict(outcome.refusals), outcome.read) == ({"DataError": 1}, 1)
