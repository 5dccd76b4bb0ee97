import numpy as np
import pytest

from stablenormal.data.corpus import DrawnCorpus
from stablenormal.data.mixture import SourceConfig
from stablenormal.data.sample import Sample
from stablenormal.data.shards import shard_path, write_shard
from stablenormal.errors import DataError
from stablenormal.geometry.camera import Intrinsics


def sample(value):
    normals = np.zeros((20, 32, 3), np.float32)
    normals[..., 2] = 1
    return Sample(
        image=np.full((20, 32, 3), value, np.uint8),
        normals=normals,
        depth=np.ones((20, 32), np.float32),
        labels=np.ones((20, 32), np.uint8),
        instances=np.ones((20, 32), np.uint16),
        intrinsics=Intrinsics(fx=32, fy=32, cx=16, cy=10, width=32, height=20),
        meta={"key": f"v{value}"},
    )


@pytest.fixture
def sources(tmp_path):
    """Two sets that their brightness tells apart."""
    sets = {"dark": range(10, 20), "light": range(210, 220)}
    for name, values in sets.items():
        (tmp_path / name).mkdir()
        write_shard(shard_path(tmp_path / name, 0), [sample(value) for value in values], "png")
    return [
        SourceConfig("shards", str(tmp_path / "dark"), weight=3.0),
        SourceConfig("shards", str(tmp_path / "light")),
    ]


def test_draws_are_square_and_follow_the_weights(sources):
    corpus = DrawnCorpus(sources, 40, 16, seed=0)
    assert (len(corpus), corpus.size) == (40, 16)
    whole = (slice(None), slice(None))
    light = 0
    for draw in range(40):
        image, normals, labels = corpus.view(draw, whole)
        assert image.shape == normals.shape == (16, 16, 3) and labels.shape == (16, 16)
        light += image.mean() > 128
    assert light == pytest.approx(10, abs=1)


def test_a_draw_is_the_same_whenever_it_is_asked_for(sources):
    one, two = DrawnCorpus(sources, 40, 16, seed=4), DrawnCorpus(sources, 40, 16, seed=4)
    window = (slice(2, 9), slice(0, 5))
    later = [one.view(np.int64(draw), window)[0] for draw in range(20)][15]
    assert np.array_equal(two.view(15, window)[0], later) and later.shape == (7, 5, 3)
    other = DrawnCorpus(sources, 40, 16, seed=5)
    assert any(not np.array_equal(other.view(i, window)[0], one.view(i, window)[0]) for i in range(20))


def test_a_missing_set_is_one_line(tmp_path):
    with pytest.raises(DataError, match="nowhere") as caught:
        DrawnCorpus([SourceConfig("shards", str(tmp_path / "nowhere"))], 4, 16, 0)
    assert "\n" not in str(caught.value)
