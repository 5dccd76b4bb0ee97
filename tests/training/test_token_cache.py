"""Tokens computed once: what is stored, what windows show, what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stablenormal.data.sample import UNLABELLED, Sample
from stablenormal.data.shards import shard_path, write_shard
from stablenormal.data.token_corpus import TokenCorpus
from stablenormal.errors import DataError, SettingError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.models.architecture import TOY, TOY_SPEC, TOY_WITH_TOKENS
from stablenormal.models.building import build_components
from stablenormal.training.token_cache import check_tokens, encoded_windows, token_batch, write_tokens

SIZE = 112  # two windows of 56 px along each side


@pytest.fixture(scope="module")
def model():
    return build_components(TOY_WITH_TOKENS, TOY_SPEC, torch.Generator().manual_seed(0))


def a_sample(number: int, size: int = SIZE) -> Sample:
    rng = np.random.default_rng(number)
    normals = rng.normal(size=(size, size, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[:5] = 0
    flat = np.zeros((size, size))
    return Sample(
        image=rng.integers(0, 256, (size, size, 3)).astype(np.uint8),
        normals=normals,
        depth=flat.astype(np.float32),
        labels=flat.astype(np.uint8),
        instances=flat.astype(np.uint16),
        intrinsics=Intrinsics.centred(size, size, size),
        meta={"key": f"{number:04d}", "kind": "object"},
    )


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for number in range(2):
        samples = [a_sample(3 * number + one) for one in range(3)]
        write_shard(shard_path(folder, number), samples, "png")
    return folder


@pytest.fixture(scope="module")
def whole(shards, model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    assert write_tokens(shards, folder, model, size=SIZE, smallest_crop=1.0, bf16=False) == 6
    return folder


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, one)) for one in range(count)]


class TestWhatIsStored:
    def test_tokens_are_the_transformers(self, whole, model):
        corpus = TokenCorpus([whole])
        view = corpus.token_view(4, 0, 0, SIZE)
        image = torch.from_numpy(view.image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        expected, _ = model.semantic_encoder.layers(image, (1, 2), side=SIZE)
        batch = token_batch(corpus, np.array([4]), 0, rngs(1), torch.device("cpu"))
        for stored, exact in zip(batch.tokens, expected, strict=True):
            assert stored.shape == exact.shape
            torch.testing.assert_close(stored, exact, rtol=0.07, atol=0.01)

    def test_normals_keep_their_direction_and_zero_stays_zero(self, whole):
        normals = token_batch(TokenCorpus([whole]), np.arange(6), 0, rngs(6), torch.device("cpu")).normals
        length = normals.norm(dim=1)
        assert set(length.round(decimals=4).unique().tolist()) == {0.0, 1.0}
        assert (length == 0).any(dim=(1, 2)).all()

    def test_an_interrupted_run_goes_on_with_the_same_entries(self, shards, whole, model, tmp_path):
        (first,) = (path for path in shards.glob("shard-000000.tar"))
        part = tmp_path / "part"
        part.mkdir()
        (part / first.name).symlink_to(first)
        folder = tmp_path / "tokens"
        assert write_tokens(part, folder, model, size=SIZE, smallest_crop=1.0, bf16=False) == 3
        (part / "shard-000001.tar").symlink_to(shards / "shard-000001.tar")
        told: list[None] = []
        assert (
            write_tokens(
                part,
                folder,
                model,
                size=SIZE,
                smallest_crop=1.0,
                bf16=False,
                progress=lambda: told.append(None),
            )
            == 6
        )
        assert len(told) == 2
        for here, there in zip(sorted(folder.glob("*.npy")), sorted(whole.glob("*.npy")), strict=True):
            assert np.array_equal(np.load(here), np.load(there))

    def test_augmentation_moves_pixels_and_vectors_together(self, shards, whole, model, tmp_path):
        """The flipped ones are whole images mirrored, with x of their normals negated."""
        write_tokens(shards, tmp_path, model, size=SIZE, smallest_crop=1.0, bf16=False, seed=3)
        here, there = TokenCorpus([tmp_path]), TokenCorpus([whole])
        flipped = 0
        for entry in range(6):
            mine, other = here.token_view(entry, 0, 0, SIZE), there.token_view(entry, 0, 0, SIZE)
            if np.array_equal(mine.normals, other.normals[:, ::-1] * np.array([-1, 1, 1])):
                flipped += 1
            else:
                assert np.array_equal(mine.normals, other.normals)
        assert 0 < flipped < 6


class TestAsACorpus:
    def test_images_and_normals_without_tokens(self, whole):
        corpus = TokenCorpus([whole])
        image, normals, labels = corpus.view(3, (slice(4, 20), slice(0, 30)))
        complete = corpus.token_view(3, 0, 0, SIZE)
        assert np.array_equal(image, complete.image[4:20, :30])
        assert set(np.linalg.norm(normals, axis=-1).round(4).ravel().tolist()) == {0.0, 1.0}
        assert (labels == UNLABELLED).all()


class TestWindows:
    def test_a_window_is_a_part_of_the_whole(self, whole, model):
        corpus = TokenCorpus([whole])
        batch = token_batch(corpus, np.full(8, 2), 56, rngs(8), torch.device("cpu"))
        assert batch.pixels.shape == (8, 5, 56, 56)
        assert batch.tokens[0].shape == (8, 12, 4, 4)
        corners = {tuple(one[3:, 0, 0].tolist()) for one in batch.pixels}
        assert len(corners) > 1
        complete = token_batch(corpus, np.array([2]), 0, rngs(1), torch.device("cpu"))
        for place in range(8):
            x, y = batch.pixels[place, 3:, 0, 0]
            left, top = (round(float((one * SIZE + SIZE - 1) / 2)) for one in (x, y))
            assert {left, top} <= {0, 56}
            rows, columns = slice(top, top + 56), slice(left, left + 56)
            assert torch.equal(batch.normals[place], complete.normals[0, :, rows, columns])
            cells = [slice(one // 14, one // 14 + 4) for one in (top, left)]
            assert torch.equal(batch.tokens[1][place], complete.tokens[1][0, :, cells[0], cells[1]])

    def test_the_same_generators_give_the_same_window(self, whole):
        corpus = TokenCorpus([whole])
        one, two = (token_batch(corpus, np.arange(3), 56, rngs(3), torch.device("cpu")) for _ in range(2))
        assert torch.equal(one.pixels, two.pixels)

    def test_what_the_networks_take_is_what_the_pipeline_gives_them(self, whole, model):
        """Of a whole image: encoded from stored tokens, or from the photograph itself."""
        corpus = TokenCorpus([whole])
        batch = token_batch(corpus, np.array([1]), 0, rngs(1), torch.device("cpu"))
        direct = model.encode_image(batch.pixels[:, :3])
        stored = encoded_windows(model, batch)
        for one, two in ((stored.condition, direct.condition), (stored.semantic, direct.semantic)):
            assert torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1] > 0.98


class TestBadInput:
    def test_windows_that_cut_patches_are_refused(self, whole, model):
        with pytest.raises(SettingError, match="multiples of 56"):
            check_tokens(model, TokenCorpus([whole]), 64)

    def test_a_model_without_tokens_is_refused(self, whole):
        other = build_components(TOY, TOY_SPEC, torch.Generator().manual_seed(0))
        with pytest.raises(SettingError, match="encodes photographs without them"):
            check_tokens(other, TokenCorpus([whole]), 56)

    def test_another_transformer_is_refused(self, whole):
        other = build_components(TOY_WITH_TOKENS, TOY_SPEC, torch.Generator().manual_seed(1))
        with pytest.raises(SettingError, match="another transformer"):
            check_tokens(other, TokenCorpus([whole]), 56)

    def test_other_layers_are_refused(self, whole, model):
        shape = replace(TOY_WITH_TOKENS.image_encoder, layers=(2,))
        other = build_components(
            replace(TOY_WITH_TOKENS, image_encoder=shape), TOY_SPEC, torch.Generator().manual_seed(0)
        )
        with pytest.raises(SettingError, match=r"of layers \[1, 2\], the model takes \[2\]"):
            check_tokens(other, TokenCorpus([whole]), 56)

    def test_a_folder_of_something_else_is_refused(self, tmp_path):
        with pytest.raises(DataError, match=r"tokens\.json: cannot be read"):
            TokenCorpus([tmp_path])

    def test_another_size_into_the_same_folder_is_refused(self, shards, whole, model):
        with pytest.raises(DataError, match="made in another way \\(size"):
            write_tokens(shards, whole, model, size=56, smallest_crop=1.0, bf16=False)

    def test_a_folder_with_something_else_is_left_alone(self, shards, model):
        before = sorted(shards.iterdir())
        with pytest.raises(DataError, match="holds something else than tokens"):
            write_tokens(shards, shards, model, size=SIZE)
        assert sorted(shards.iterdir()) == before

    def test_folders_of_different_sizes_do_not_mix(self, shards, whole, model, tmp_path):
        write_tokens(shards, tmp_path, model, size=56, smallest_crop=1.0, bf16=False)
        with pytest.raises(DataError, match="differ from those of .* in size"):
            TokenCorpus([whole, tmp_path])

    def test_a_missing_array_is_named(self, whole, tmp_path):
        import shutil

        shutil.copytree(whole, tmp_path / "copy")
        (tmp_path / "copy" / "shard-000001.tokens.npy").unlink()
        with pytest.raises(DataError, match="group shard-000001 is damaged"):
            TokenCorpus([tmp_path / "copy"])
