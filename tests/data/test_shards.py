import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stablenormal.data.sample import Sample
from stablenormal.data.shards import (
    decode_sample,
    encode_sample,
    iterate_samples,
    list_shards,
    read_shard,
    shard_path,
    write_shard,
)
from stablenormal.errors import DataError, OutputError
from stablenormal.geometry.camera import Intrinsics


def sample_of(index: int, width: int = 24, height: int = 16) -> Sample:
    rng = np.random.default_rng(index)
    normals = rng.normal(size=(height, width, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    labels = rng.integers(0, 20, (height, width), dtype=np.uint8)
    normals[labels == 0] = 0
    smooth = np.linspace(0, 255, width * height * 3).reshape(height, width, 3)
    return Sample(
        image=smooth.astype(np.uint8),
        normals=normals.astype(np.float32),
        depth=np.where(labels > 0, rng.uniform(0.3, 60, labels.shape), 0).astype(np.float32),
        labels=labels,
        instances=rng.integers(0, 4000, labels.shape, dtype=np.uint16),
        intrinsics=Intrinsics(20.5, 21.0, 11.0, 8.5, width, height),
        meta={"key": f"s{index:04d}", "kind": "room", "fov_deg": 61.5},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(2):
        write_shard(shard_path(tmp_path, number), [sample_of(3 * number + k) for k in range(3)], "png")
    return tmp_path


def test_round_trip(folder: Path) -> None:
    read = list(iterate_samples(folder))
    assert [sample.meta["key"] for sample in read] == [f"s{k:04d}" for k in range(6)]
    for index, sample in enumerate(read):
        wanted = sample_of(index)
        np.testing.assert_array_equal(sample.image, wanted.image)
        np.testing.assert_array_equal(sample.labels, wanted.labels)
        np.testing.assert_array_equal(sample.instances, wanted.instances)
        np.testing.assert_allclose(sample.depth, wanted.depth, rtol=1e-3)
        np.testing.assert_allclose(sample.normals, wanted.normals, atol=4e-5)
        assert not sample.normals[wanted.labels == 0].any()
        length = np.linalg.norm(sample.normals, axis=-1)
        np.testing.assert_allclose(length[wanted.labels > 0], 1, atol=1e-6)
        assert sample.intrinsics == wanted.intrinsics and sample.meta == wanted.meta


def test_jpeg_changes_only_the_image_and_only_a_little(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [sample_of(1)], "jpg")
    read, wanted = next(read_shard(tmp_path / "a.tar")), sample_of(1)
    difference = np.abs(read.image.astype(int) - wanted.image)
    assert 0 < difference.mean() < 4
    np.testing.assert_array_equal(read.labels, wanted.labels)


def test_shards_are_webdataset(folder: Path) -> None:
    with tarfile.open(shard_path(folder, 0)) as tar:
        names = tar.getnames()
        meta = json.loads(tar.extractfile("s0000.meta.json").read())
    parts = ["image.png", "normals.png", "depth", "labels.png", "instances.png", "meta.json"]
    assert names[:6] == [f"s0000.{part}" for part in parts]
    assert meta["intrinsics"]["fx"] == 20.5 and meta["shape"] == [16, 24]


def test_same_samples_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "again.tar", [sample_of(k) for k in range(3)], "png")
    assert (tmp_path / "again.tar").read_bytes() == shard_path(folder, 0).read_bytes()


def test_an_interrupted_shard_leaves_nothing(tmp_path: Path) -> None:
    def interrupted():
        yield sample_of(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "a.tar", interrupted())
    assert list(tmp_path.iterdir()) == []


def test_a_shard_cut_short_is_refused(folder: Path) -> None:
    path = shard_path(folder, 0)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DataError, match="shard-000000.tar"):
        list(iterate_samples(folder))


def test_a_shard_cut_between_samples_is_refused(folder: Path) -> None:
    path = shard_path(folder, 0)
    with tarfile.open(path) as tar:
        keys = [member.name.partition(".")[0] for member in tar]
        second = next(member for member, key in zip(tar.getmembers(), keys, strict=True) if key != keys[0])
    path.write_bytes(path.read_bytes()[: second.offset])
    with pytest.raises(DataError, match="shard-000000.tar: damaged shard"):
        list(read_shard(path))


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [sample_of(0)], "png")
    with tarfile.open(tmp_path / "a.tar") as tar, tarfile.open(tmp_path / "b.tar", "w") as out:
        for member in tar:
            if not member.name.endswith("labels.png"):
                out.addfile(member, tar.extractfile(member))
    with pytest.raises(DataError, match=r"b.tar, s0000: lacks labels.png"):
        next(read_shard(tmp_path / "b.tar"))


@pytest.mark.parametrize("part", ["image.png", "normals.png", "depth", "labels.png", "meta.json"])
def test_a_damaged_part_is_named(tmp_path: Path, part: str) -> None:
    parts = encode_sample(sample_of(0), "png")
    parts[part] = parts[part][: len(parts[part]) // 3]
    with pytest.raises(DataError, match="damaged") as caught:
        decode_sample(parts, "here, s0")
    assert "here, s0" in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_labels_are_refused(tmp_path: Path) -> None:
    strange = replace(sample_of(0), labels=np.full((16, 24), 200, np.uint8))
    write_shard(tmp_path / "a.tar", [strange])
    with pytest.raises(DataError, match="label 200"):
        next(read_shard(tmp_path / "a.tar"))


def test_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stablenormal synth"):
        list_shards(tmp_path)


def test_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        write_shard(tmp_path / "file" / "a.tar", [sample_of(0)])
