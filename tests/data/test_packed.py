import json

import numpy as np
import pytest

from stablenormal.data.packed import open_corpus, pack_corpus
from stablenormal.data.sample import Sample
from stablenormal.errors import DataError
from stablenormal.geometry.camera import Intrinsics


def _sample(seed: int, size: int = 16) -> Sample:
    rng = np.random.default_rng(seed)
    normals = rng.standard_normal((size, size, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[:2] = 0
    return Sample(
        image=rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
        normals=normals,
        depth=np.ones((size, size), np.float32),
        labels=rng.integers(0, 20, (size, size), dtype=np.uint8),
        instances=np.zeros((size, size), np.uint16),
        intrinsics=Intrinsics(fx=size, fy=size, cx=size / 2, cy=size / 2, width=size, height=size),
        meta={"kind": "room" if seed % 2 else "object"},
    )


def test_packing_keeps_every_pixel(tmp_path):
    samples = [_sample(i) for i in range(5)]
    corpus = pack_corpus(iter(samples), tmp_path, 4)
    assert len(corpus) == 4
    assert corpus.size == 16
    assert corpus.kinds == ("object", "room", "object", "room")
    for i in range(4):
        assert np.array_equal(corpus.images[i], samples[i].image)
        assert np.array_equal(corpus.labels[i], samples[i].labels)
        normals = corpus.normals(np.array([i]))[0]
        np.testing.assert_allclose(normals, samples[i].normals, atol=2e-5)
        assert (normals[:2] == 0).all()


def test_too_few_samples_or_mixed_sizes_are_errors_and_leave_no_corpus(tmp_path):
    with pytest.raises(DataError, match="wanted 3 samples, the source gave 2"):
        pack_corpus((_sample(i) for i in range(2)), tmp_path / "few", 3)
    with pytest.raises(DataError, match="sample 1 is"):
        pack_corpus(iter([_sample(0), _sample(1, 24)]), tmp_path / "mixed", 2)
    with pytest.raises(DataError, match="wanted 1"):
        pack_corpus(iter([]), tmp_path / "none", 1)
    for folder in ("few", "mixed", "none"):
        with pytest.raises(DataError, match="not a packed corpus"):
            open_corpus(tmp_path / folder)


def test_arrays_of_different_length_are_an_error(tmp_path):
    pack_corpus((_sample(i) for i in range(2)), tmp_path, 2)
    (tmp_path / "corpus.json").write_text(json.dumps({"kinds": ["room"]}))
    with pytest.raises(DataError, match="differ in length"):
        open_corpus(tmp_path)
