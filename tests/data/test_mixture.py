import logging
from pathlib import Path

import numpy as np
import pytest

from stablenormal.data.mixture import (
    Damage,
    Mixture,
    SourceConfig,
    in_order,
    read_sources,
    source_config,
)
from stablenormal.data.sample import Sample
from stablenormal.data.shards import write_shard
from stablenormal.errors import DataError, SettingError
from stablenormal.geometry.camera import Intrinsics


class Numbered:
    """A set of tiny samples that carry their number; some of them are damaged."""

    def __init__(self, name: str, count: int, damaged: frozenset[int] = frozenset()) -> None:
        self.keys = tuple(f"{name}{number}" for number in range(count))
        self._damaged = damaged

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        if index in self._damaged:
            raise DataError(f"{self.keys[index]}.png: cut short; copy it again")
        return tiny(self.keys[index])


def tiny(key: str, size: int = 16) -> Sample:
    normals = np.tile(np.float32([0, 0, 1]), (size, size, 1))
    return Sample(
        np.zeros((size, size, 3), np.uint8), normals, np.ones((size, size), np.float32),
        np.full((size, size), 12, np.uint8), np.zeros((size, size), np.uint16),
        Intrinsics.centred(size, size, size), {"key": key},
    )  # fmt: skip


def keys(mixture: Mixture, seed: int, steps: range) -> list[str]:
    return [
        mixture.sample(seed, step, position).meta["key"]
        for step in steps
        for position in range(mixture.batch)
    ]


def two(batch: int = 4) -> Mixture:
    return Mixture({"a": Numbered("a", 10), "b": Numbered("b", 37)}, [1, 3], batch)


def test_a_run_that_goes_on_sees_what_a_whole_run_sees() -> None:
    whole = keys(two(), 5, range(60))
    assert keys(two(), 5, range(31, 60)) == whole[31 * 4 :]
    later = two()
    assert [later.sample(5, step, 3).meta["key"] for step in (50, 7, 59)] == [
        whole[4 * step + 3] for step in (50, 7, 59)
    ]


def test_the_seed_decides_the_order() -> None:
    assert keys(two(), 1, range(20)) != keys(two(), 2, range(20))


def test_processes_that_share_the_positions_see_what_one_sees() -> None:
    alone = keys(two(), 0, range(10))
    first, second = two(), two()
    shared = [
        (first if position < 2 else second).sample(0, step, position).meta["key"]
        for step in range(10)
        for position in range(4)
    ]
    assert shared == alone


@pytest.mark.parametrize("seed", range(3))
def test_sets_are_drawn_by_their_weights_and_evenly_in_time(seed: int) -> None:
    mixture = Mixture(
        {"a": Numbered("a", 5), "b": Numbered("b", 50), "c": Numbered("c", 7)}, [0.1, 0.6, 0.3], 8
    )
    for draws in (40, 1000, 70_000):
        counts = mixture.counts(seed, draws)
        assert sum(counts) == draws
        np.testing.assert_allclose(counts, np.multiply([0.1, 0.6, 0.3], draws), atol=6)
    drawn = [mixture.place(seed, step, position)[0] for step in range(125) for position in range(8)]
    assert np.bincount(drawn).tolist() == mixture.counts(seed, 1000)
    assert mixture.passes(seed, 1000)["a"] == pytest.approx(20, abs=1.2)


def test_every_pass_has_every_sample_once_in_a_new_order() -> None:
    mixture = Mixture({"a": Numbered("a", 12)}, [1], 3)
    passes = [keys(mixture, 0, range(4 * number, 4 * number + 4)) for number in range(3)]
    assert all(sorted(one) == sorted(passes[0]) and len(set(one)) == 12 for one in passes)
    assert passes[0] != passes[1] != passes[2]


def test_in_a_mixture_too_every_set_is_gone_through_before_it_begins_again() -> None:
    drawn = keys(two(), 9, range(120))
    for name, count in (("a", 10), ("b", 37)):
        own = [key for key in drawn if key.startswith(name)]
        for start in range(0, len(own) - count + 1, count):
            assert len(set(own[start : start + count])) == count


def test_a_damaged_sample_is_counted_named_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Mixture:
        damaged = Numbered("b", 300, frozenset({7}))
        return Mixture({"a": Numbered("a", 10), "b": damaged}, [1, 20], 5)

    mixture = broken()
    with caplog.at_level(logging.WARNING):
        seen = keys(mixture, 3, range(65))
    assert len(seen) == 325 and "b7" not in seen
    assert mixture.damage.drawn == 325 and mixture.damage.damaged == 1
    assert mixture.damage.reasons == {"b, b7": "b7.png: cut short; copy it again"}
    assert caplog.messages == ["damaged sample 1, skipped: b, b7: b7.png: cut short; copy it again"]
    assert keys(broken(), 3, range(65)) == seen
    place = next(
        (step, position)
        for step in range(65)
        for position in range(5)
        if mixture.place(3, step, position) == (1, 7)
    )
    assert seen[place[0] * 5 + place[1]].startswith("b")  # its set's weight stays
    whole = Mixture({"a": Numbered("a", 10), "b": Numbered("b", 300)}, [1, 20], 5)
    others = [(one, two) for one, two in zip(seen, keys(whole, 3, range(65)), strict=True) if one != two]
    assert len(others) == 1 and others[0][1] == "b7"


def test_more_than_one_in_a_hundred_damaged_stops(caplog: pytest.LogCaptureFixture) -> None:
    mixture = Mixture({"a": Numbered("a", 200, frozenset(range(0, 200, 20)))}, [1], 4)  # 5 %
    with pytest.raises(DataError, match=r"damaged, more than 1 %: a\d+.png: cut short; .*data check"):
        keys(mixture, 0, range(1000))
    assert 100 <= mixture.damage.drawn <= 160
    fine = Mixture({"a": Numbered("a", 300, frozenset({1, 2}))}, [1], 4)  # 0.7 %
    assert len(keys(fine, 0, range(150))) == 600


def test_a_set_that_is_damaged_altogether_stops_at_once() -> None:
    mixture = Mixture({"a": Numbered("a", 20, frozenset(range(20)))}, [1], 1)
    with pytest.raises(DataError, match="16 samples in a row are damaged"):
        mixture.sample(0, 0, 0)


def test_in_order_leaves_damaged_ones_out() -> None:
    damage = Damage()
    sets = {"a": Numbered("a", 3, frozenset({1})), "b": Numbered("b", 2)}
    assert [sample.meta["key"] for sample in in_order(sets, damage)] == ["a0", "a2", "b0", "b1"]
    assert (damage.drawn, damage.damaged, list(damage.reasons)) == (5, 1, ["a, a1"])


def test_sets_come_from_a_configuration(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_shard(tmp_path / name / "shard-000000.tar", [tiny(f"{name}{k}") for k in range(4)], "png")
    keep = tmp_path / "keep.txt"
    keep.write_text("# reader: shards\nshard-000000/two2\n")
    config = tmp_path / "sources.yaml"
    config.write_text(
        f"sources:\n  - {{reader: shards, root: {tmp_path / 'one'}, weight: 2}}\n"
        f"  - {{reader: shards, root: {tmp_path / 'two'}, keep: {keep}}}\n"
    )
    mixture = Mixture.open(read_sources(config), batch=3)
    assert len(mixture) == 5
    drawn = keys(mixture, 0, range(10))
    assert {key for key in drawn if "two" in key} == {"shard-000000/two2"}
    assert 8 <= sum("two" in key for key in drawn) <= 12


def test_a_shard_cut_short_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "shard-000000.tar"
    write_shard(path, [tiny(f"s{k}", 64) for k in range(4)], "png")
    import tarfile

    with tarfile.open(path) as tar:
        last = tar.getmember("s3.normals.png")
    path.write_bytes(path.read_bytes()[: last.offset_data + 10])
    mixture = Mixture.open([SourceConfig("shards", str(tmp_path))], batch=2)
    assert {key.rpartition("/")[2] for key in keys(mixture, 0, range(6))} == {"s0", "s1", "s2"}
    assert "shard-000000/s3" in next(iter(mixture.damage.reasons))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: []\n", "has no list `sources`"),
        ("sources: [3]\n", "a source is reader, root, weight and keep, got 3"),
        ("sources: [{reader: folder, rot: x}]\n", "unexpected keyword argument 'rot'; it has reader, root"),
        ("sources: [{reader: folder, root: x, weight: 0}]\n", "weight 0 must be positive"),
        ("sources: [\n", "not valid YAML"),
    ],
)
def test_broken_configurations_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(text)
    with pytest.raises(SettingError, match=message) as caught:
        read_sources(path)
    assert "\n" not in str(caught.value)


def test_two_ways_to_read_one_folder_are_two_sets(tmp_path: Path) -> None:
    write_shard(tmp_path / "shard-000000.tar", [tiny(f"s{k}") for k in range(4)], "png")
    plain, other = (
        SourceConfig("shards", str(tmp_path), options=options) for options in ({}, {"depth_scale": 2.0})
    )
    assert len(Mixture.open([plain, other], batch=1).names) == 2
    with pytest.raises(SettingError, match="named twice"):
        Mixture.open([other, other], batch=1)


def test_a_set_of_which_nothing_can_be_used_says_why() -> None:
    class Broken(Numbered):
        def __getitem__(self, index: int) -> Sample:
            raise DataError("h5py is missing")

    with pytest.raises(DataError, match="the last one: h5py is missing"):
        Mixture({"a": Broken("a", 3)}, [1], 1).sample(0, 0, 0)


def test_what_makes_no_mixture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="a mixture needs sets"):
        Mixture({"a": Numbered("a", 1)}, [0], 1)
    with pytest.raises(DataError, match="a: has no samples"):
        Mixture({"a": Numbered("a", 0)}, [1], 1)
    with pytest.raises(SettingError, match="position 4"):
        two().sample(0, 0, 4)
    twice = [source_config({"reader": "folder", "root": str(tmp_path)}, "here")] * 2
    with pytest.raises(SettingError, match="named twice"):
        Mixture.open(twice, 1)
