"""The stream of samples: the same seed, the same bytes, whatever part is rendered by whom."""

import errno
import json
import os
import tarfile
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from stablenormal.data.sample import CLASSES, Sample
from stablenormal.data.shards import iterate_samples, list_shards
from stablenormal.data.synthetic import writing
from stablenormal.data.synthetic.assets import bank_name
from stablenormal.data.synthetic.bank import Bank
from stablenormal.data.synthetic.corpus import (
    ASSETS_RECIPE_NUMBER,
    VIEWS,
    CorpusRenderer,
    Mix,
    View,
    dress,
    mix_of,
    parse_mix,
    plan,
    render_view,
)
from stablenormal.data.synthetic.draws import generator
from stablenormal.data.synthetic.rasteriser import Rasteriser
from stablenormal.data.synthetic.renderers import RendererSettings
from stablenormal.data.synthetic.scenes import BUILDERS
from stablenormal.data.synthetic.writing import write_corpus
from stablenormal.errors import DataError, OutputError, SettingError

SIZE, LITTLE = 32, 0.01


def rendered(seed: int, count: int, start: int = 0, mix: Mix | None = None) -> list[Sample]:
    with closing(CorpusRenderer(seed, SIZE, mix, LITTLE)) as corpus:
        return list(corpus.samples(start, count))


def same(one: Sample, two: Sample) -> bool:
    arrays = ("image", "normals", "depth", "labels", "instances")
    return (
        all(np.array_equal(getattr(one, name), getattr(two, name)) for name in arrays)
        and one.meta == two.meta
    )


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return rendered(5, 14)


def test_same_seed_same_samples(samples: list[Sample]) -> None:
    again = rendered(5, 14)
    assert len(again) == 14 and all(same(one, two) for one, two in zip(samples, again, strict=True))


def test_a_stretch_alone_equals_the_stretch_of_the_whole(samples: list[Sample]) -> None:
    assert all(same(one, two) for one, two in zip(samples[7:], rendered(5, 14, start=7), strict=True))


def test_another_seed_shares_nothing(samples: list[Sample]) -> None:
    others = rendered(6, 4)
    assert not any(np.array_equal(one.depth, two.depth) for one in samples for two in others)


def test_views_of_a_scene_differ(samples: list[Sample]) -> None:
    pairs = [(a, b) for i, a in enumerate(samples) for b in samples[:i] if a.meta["scene"] == b.meta["scene"]]
    assert len(pairs) > 10
    assert not any(np.array_equal(one.depth, two.depth) for one, two in pairs)
    assert not any(one.meta["fov_deg"] == two.meta["fov_deg"] for one, two in pairs)


def test_samples_are_consistent(samples: list[Sample]) -> None:
    for sample in samples:
        assert sample.image.shape == (SIZE, SIZE, 3) and sample.image.dtype == np.uint8
        surface = sample.labels > 0
        assert surface.any()
        length = np.linalg.norm(sample.normals, axis=-1)
        np.testing.assert_allclose(length[surface], 1, atol=1e-5)
        assert not sample.normals[~surface].any()
        np.testing.assert_array_equal(sample.depth > 0, surface)
        np.testing.assert_array_equal(sample.instances > 0, surface)
        assert sample.labels.max() < len(CLASSES)
        k = sample.intrinsics
        fov_deg = np.degrees(2 * np.arctan(SIZE / 2 / k.fx))
        assert fov_deg == pytest.approx(sample.meta["fov_deg"]) and (k.width, k.height) == (SIZE, SIZE)
        u, v = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
        rays = np.stack([(u - k.cx) / k.fx, -(v - k.cy) / k.fy, -np.ones_like(u)], -1)
        assert (sample.normals * rays).sum(-1).max() < 1e-5  # toward the viewer


def test_keys_are_unique(samples: list[Sample]) -> None:
    assert len({sample.meta["key"] for sample in samples}) == len(samples)


def test_depth_and_normals_tell_one_story(samples: list[Sample]) -> None:
    """Normals of planes fitted by differences of neighbouring points agree with the stored ones."""
    checked = 0
    for sample in samples:
        k, z = sample.intrinsics, sample.depth.astype(float)
        u, v = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
        points = np.stack([(u - k.cx) / k.fx * z, -(v - k.cy) / k.fy * z, -z], -1)
        across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
        flat = np.cross(down, across)
        flat /= np.linalg.norm(flat, axis=-1, keepdims=True) + 1e-12
        cosine = (flat * sample.normals[1:-1, 1:-1]).sum(-1)
        near = [sample.instances[1:-1, 1:-1] == sample.instances[y : y + SIZE - 2, x : x + SIZE - 2]
                for x, y in ((0, 1), (2, 1), (1, 0), (1, 2))]  # fmt: skip
        inner = np.logical_and.reduce(near) & (z[1:-1, 1:-1] > 0)
        if inner.sum() > 50:
            checked += 1
            assert np.median(cosine[inner]) > 0.98
    assert checked > 5


def test_plan_honours_the_mix() -> None:
    views = list(islice(plan(3, mix_of({"room": 0.5, "tabletop": 0.2, "object": 0.3})), 6000))
    shares = {kind: np.mean([view.kind == kind for view in views]) for kind in VIEWS}
    assert shares["street"] == 0
    assert shares["room"] == pytest.approx(0.5, abs=0.06) and shares["object"] == pytest.approx(0.3, abs=0.06)
    assert [view.index for view in views] == list(range(6000))


@pytest.fixture(scope="module")
def by_kind(rasteriser: Rasteriser, bank: Bank) -> dict[str, list[Sample]]:
    """Eight views of two scenes of each kind."""
    found: dict[str, list[Sample]] = {kind: [] for kind in VIEWS}
    for kind, samples in found.items():
        for number in range(2):
            scene = BUILDERS[kind](generator(number, 5), bank)
            rasteriser.load_scene(scene)
            dress(rasteriser, generator(number, 6), scene, bank)
            for place in range(4):
                view = View(place, number, kind, place)
                samples.append(render_view(rasteriser, generator(number, place), scene, bank, 0, view))
    return found


@pytest.mark.parametrize("kind", VIEWS)
def test_every_kind_renders(by_kind: dict[str, list[Sample]], kind: str) -> None:
    for sample in by_kind[kind]:
        surface = sample.depth > 0
        assert surface.mean() > 0.05 and np.isfinite(sample.normals).all()
        np.testing.assert_array_equal(surface, (sample.normals != 0).any(-1))
        np.testing.assert_array_equal(surface, sample.labels > 0)
        assert np.ptp(sample.image) > 20  # neither black nor blank
    assert any(len(np.unique(sample.instances)) > 2 for sample in by_kind[kind])


def below_the_horizon(samples: list[Sample]) -> float:
    """Share of upright surface in the lower half of pictures taken about level."""
    upright = [np.abs(s.normals[s.depth.shape[0] // 2 :, :, 2]) for s in samples]
    return float(np.mean([(part > 0.6).mean() for part in upright]))


def test_fronts_reach_below_the_horizon(by_kind: dict[str, list[Sample]]) -> None:
    assert below_the_horizon(by_kind["closeup"]) > 0.35


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("closeup", {"wall", "floor"}),
        ("statue", {"object"}),
        ("foliage", {"plant", "ground"}),
        ("architecture", {"wall", "floor", "ceiling"}),
        ("drapery", {"wall", "floor"}),
        ("lattice", {"chair"}),
    ],
)
def test_kinds_show_what_they_are_about(
    by_kind: dict[str, list[Sample]], kind: str, labels: set[str]
) -> None:
    seen = {CLASSES[k] for sample in by_kind[kind] for k in np.unique(sample.labels)}
    assert labels <= seen


@pytest.mark.parametrize("shares", [(-1.0, 1, 1, 1), (0.0,) * len(VIEWS)])
def test_impossible_mix_is_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(SettingError, match="shares must be zero or more"):
        Mix(*shares)


def test_mixes_are_read_from_text() -> None:
    assert parse_mix("room=2, closeup") == mix_of({"room": 2, "closeup": 1})
    assert sum(asdict(mix_of({"street": 0.5})).values()) == 0.5
    with pytest.raises(SettingError, match="no kind of scene is called 'rom'; did you mean 'room'"):
        parse_mix("rom=1")
    with pytest.raises(SettingError, match="'much' is not a number"):
        parse_mix("room=much")
    for text in ("room=nan", "room=-1", "room=0"):
        with pytest.raises(SettingError, match="shares must be zero or more"):
            parse_mix(text)


def test_impossible_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="must be 16 or more"):
        CorpusRenderer(0, 8)
    with pytest.raises(SettingError, match="must not be negative"):
        CorpusRenderer(-1, 32)
    with pytest.raises(SettingError, match="must be 1 or more"):
        write_corpus(tmp_path, 0, 0)


def write(folder: Path, workers: int, count: int = 8, seed: int = 5) -> tuple[int, list[int]]:
    reports: list[int] = []
    written = write_corpus(
        folder,
        seed,
        count,
        size=SIZE,
        shard_size=3,
        workers=workers,
        bank_fraction=LITTLE,
        progress=reports.append,
    )
    return written, reports


def test_shards_do_not_depend_on_the_workers_and_resume(tmp_path: Path, samples: list[Sample]) -> None:
    folder = tmp_path / "corpus"
    written, reports = write(folder, workers=2)
    assert written == 3 and sum(reports) == 8
    whole = [path.read_bytes() for path in list_shards(folder)]

    for path in list_shards(folder)[1:]:  # the first worker made one of them, the second the other
        path.unlink()
    kept = list_shards(folder)[0].stat().st_mtime_ns
    written, reports = write(folder, workers=1)
    assert written == 2 and sum(reports) == 8
    assert [path.read_bytes() for path in list_shards(folder)] == whole
    assert list_shards(folder)[0].stat().st_mtime_ns == kept
    assert write(folder, workers=1)[0] == 0

    stored = list(iterate_samples(folder))
    assert [sample.meta for sample in stored] == [sample.meta for sample in samples[:8]]
    np.testing.assert_array_equal(stored[4].labels, samples[4].labels)


def test_a_folder_of_another_corpus_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "corpus.json"
    recipe.write_text('{"seed": 1}')
    with pytest.raises(DataError, match="holds another corpus .seed 1, not 5"):
        write(tmp_path, workers=1)
    recipe.write_text("{")
    with pytest.raises(DataError, match="corpus.json: cannot be read"):
        write(tmp_path, workers=1)
    recipe.unlink()
    (tmp_path / "shard-000000.tar").write_bytes(b"")
    with pytest.raises(DataError, match="holds shards but no corpus.json"):
        write(tmp_path, workers=1)


def test_workers_get_one_thread_and_leave_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with writing._one_thread_each():
        assert os.environ["LP_NUM_THREADS"] == "0" and os.environ["OMP_NUM_THREADS"] == "3"
    assert "LP_NUM_THREADS" not in os.environ and os.environ["OMP_NUM_THREADS"] == "3"


def test_a_failing_worker_is_reported(tmp_path: Path) -> None:
    (tmp_path / "out" / "shard-000000.tar").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot write .*shard-000000.tar: this is a folder"):
        write(tmp_path / "out", workers=1, count=2)


def test_a_full_disk_leaves_no_part_of_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = tarfile.TarFile.addfile, iter(range(8))

    def addfile(tar: tarfile.TarFile, *member: Any) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tar, *member)

    monkeypatch.setattr(tarfile.TarFile, "addfile", addfile)
    monkeypatch.setattr(writing.signal, "signal", lambda *_: None)
    reports: SimpleQueue[object] = SimpleQueue()
    writing._work(tmp_path, 0, SIZE, None, LITTLE, RendererSettings(), [(0, 0, 2)], reports)
    error = [reports.get() for _ in range(reports.qsize())][-1]
    assert isinstance(error, OutputError)
    assert "shard-000000.tar: the disk is full; free some space" in str(error)
    assert not list(tmp_path.iterdir())  # not even a hidden one


def test_models_furnish_a_corpus_whose_recipe_names_them(
    tmp_path: Path, prepared: Path, samples: list[Sample]
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    mix = mix_of({"object": 1, "closeup": 1})
    settings = {"size": SIZE, "shard_size": 4, "bank_fraction": LITTLE, "assets": prepared, "mix": mix}
    write_corpus(one, 5, 8, workers=2, **settings)
    write_corpus(two, 5, 8, workers=1, **settings)
    assert [a.read_bytes() for a in list_shards(one)] == [b.read_bytes() for b in list_shards(two)]
    recipe = json.loads((one / "corpus.json").read_text())
    assert recipe["assets"] == bank_name(prepared) and recipe["assets_recipe"] == ASSETS_RECIPE_NUMBER
    with pytest.raises(DataError, match="holds another corpus .assets"):
        write_corpus(one, 5, 8, **{**settings, "assets": None})
    with pytest.raises(DataError, match="holds another corpus .phones None, not False"):
        write_corpus(one, 5, 8, phones=False, **settings)


def test_a_corpus_without_models_says_nothing_of_them(tmp_path: Path) -> None:
    """Its recipe stays the one of corpora that were made before models could be given."""
    write(tmp_path, workers=1, count=1)
    assert set(json.loads((tmp_path / "corpus.json").read_text())) == {
        "seed", "count", "size", "shard_size", "mix", "bank", "recipe",
    }  # fmt: skip


def test_phones_change_the_picture_alone(samples: list[Sample]) -> None:
    with closing(CorpusRenderer(5, SIZE, None, LITTLE, phones=True)) as corpus:
        taken = list(corpus.samples(0, 8))
    assert any(not np.array_equal(a.image, b.image) for a, b in zip(samples, taken, strict=False))
    for plain, phone in zip(samples, taken, strict=False):
        np.testing.assert_array_equal(plain.normals, phone.normals)
        np.testing.assert_array_equal(plain.depth, phone.depth)
