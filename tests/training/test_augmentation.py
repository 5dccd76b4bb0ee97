import dataclasses

import numpy as np
import torch

from stablenormal.data.packed import open_corpus
from stablenormal.models.architecture import TOY_SPEC
from stablenormal.training.augmentation import in_native_frame, load_batch


def _generators(seed):
    return [np.random.default_rng((seed, place)) for place in range(12)]


def test_without_a_generator_the_image_is_whole_and_unchanged(corpus_folder):
    corpus = open_corpus(corpus_folder)
    batch = load_batch(corpus, np.array([3]), 64, None)
    torch.testing.assert_close(
        (batch.image[0] + 1) * 127.5, torch.from_numpy(corpus.images[3].copy()).permute(2, 0, 1).float()
    )
    assert torch.equal(batch.labels[0], torch.from_numpy(corpus.labels[3].astype(np.int64)))


def test_vectors_move_with_the_pixels(corpus_folder):
    """On the corpus' spheres the normal points away from the centre, in every crop and flip."""
    corpus = open_corpus(corpus_folder)
    for seed in range(8):
        batch = load_batch(corpus, np.arange(12), 64, _generators(seed))
        for normals in batch.normals:
            valid = normals.square().sum(0) > 0.5
            if valid.sum() < 500:
                continue
            y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
            slope_x = torch.cov(torch.stack([x[valid], normals[0][valid]]))[0, 1]
            slope_y = torch.cov(torch.stack([y[valid], normals[1][valid]]))[0, 1]
            assert slope_x > 0 > slope_y
            torch.testing.assert_close(
                normals.norm(dim=0)[valid], torch.ones(int(valid.sum())), atol=1e-3, rtol=0
            )


def test_a_roll_turns_pixels_and_vectors(corpus_folder):
    """On spheres the normals still point away from the centre, and the picture has turned."""
    corpus = open_corpus(corpus_folder)
    plain = load_batch(corpus, np.arange(12), 64, _generators(3), crops=(1.0, 1.0))
    rolled = load_batch(
        corpus,
        np.arange(12),
        64,
        _generators(3),
        crops=(1.0, 1.0),
        roll_deg=40,
    )
    assert not torch.equal(plain.labels, rolled.labels)
    for normals in rolled.normals:
        valid = normals.square().sum(0) > 0.5
        assert valid.sum() > 300
        y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        across = torch.corrcoef(torch.stack([x[valid], normals[0][valid]]))[0, 1]
        up = torch.corrcoef(torch.stack([y[valid], normals[1][valid]]))[0, 1]
        assert across > 0.97 and up < -0.97
        torch.testing.assert_close(
            normals.norm(dim=0)[valid], torch.ones(int(valid.sum())), atol=1e-3, rtol=0
        )


def test_blur_softens_some_images_and_no_normals(corpus_folder):
    corpus = open_corpus(corpus_folder)
    plain = load_batch(corpus, np.arange(12), 64, _generators(5), crops=(1.0, 1.0))
    soft = load_batch(
        corpus,
        np.arange(12),
        64,
        _generators(5),
        crops=(1.0, 1.0),
        blur_px=3.0,
    )
    assert torch.equal(plain.normals[0], soft.normals[0])
    assert not torch.equal(plain.image, soft.image)


def test_crops_are_drawn_and_colours_change(corpus_folder):
    corpus = open_corpus(corpus_folder)
    one = load_batch(corpus, np.array([0]), 64, [np.random.default_rng(1)])
    two = load_batch(corpus, np.array([0]), 64, [np.random.default_rng(2)])
    assert not torch.equal(one.image, two.image)
    assert not torch.equal(one.labels, two.labels)
    whole = load_batch(corpus, np.array([0]), 64, [np.random.default_rng(1)], crops=(1.0, 1.0))
    assert whole.labels.sum() == int(corpus.labels[0].astype(np.int64).sum())


def test_a_samples_variation_is_its_generators_alone(corpus_folder):
    corpus = open_corpus(corpus_folder)
    both = load_batch(corpus, np.array([0, 5]), 32, [np.random.default_rng(1), np.random.default_rng(2)])
    alone = load_batch(corpus, np.array([5]), 32, [np.random.default_rng(2)])
    assert torch.equal(both.image[1:], alone.image) and torch.equal(both.normals[1:], alone.normals)


def test_native_frame_turns_the_normals_alone(corpus_folder):
    batch = load_batch(open_corpus(corpus_folder), np.array([0]), 32, None)
    native = in_native_frame(batch, dataclasses.replace(TOY_SPEC, native_frame="dsine"))
    assert torch.equal(native.normals[:, 0], -batch.normals[:, 0])
    assert torch.equal(native.normals[:, 1:], batch.normals[:, 1:])
    assert native.image is batch.image
