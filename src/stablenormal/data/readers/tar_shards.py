"""WebDataset shards, ours and those of others, by index.

Ours (`data.shards`) are recognised by their members. Others need, for each key, one member of each line:

    image        rgb. or image. followed by jpg, jpeg, png, webp; or these alone: KEY.jpg
    normals      normal. or normals. followed by png, exr, npy (with normal.json that names the frame)
    optional     mask.png; depth.exr, depth.npy, depth.png; intrinsics.txt, intrinsics.npy
"""

import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from stablenormal.data.readers.folder import MATRIX_SUFFIXES, NORMAL_SUFFIXES, Pair, PairSource
from stablenormal.data.readers.source import View
from stablenormal.data.sample import Sample
from stablenormal.data.shards import decode_sample, is_ours, list_shards, require_end, stored_normals
from stablenormal.errors import DataError, StableNormalError
from stablenormal.geometry.normals import valid_pixels
from stablenormal.io.depth_map import DEPTH_SUFFIXES

_IMAGES = ("jpg", "jpeg", "png", "webp")
_IMAGE_MEMBERS = (*(f"{word}.{kind}" for word in ("rgb", "image") for kind in _IMAGES), *_IMAGES)
_NORMAL_MEMBERS = tuple(f"{word}{ending}" for word in ("normal", "normals") for ending in NORMAL_SUFFIXES)
_DEPTH_MEMBERS = tuple(f"depth{ending}" for ending in DEPTH_SUFFIXES)
_MATRIX_MEMBERS = tuple(f"intrinsics{ending}" for ending in MATRIX_SUFFIXES)


@dataclass(frozen=True)
class _Member:
    offset: int
    size: int


@dataclass(frozen=True)
class _Record:
    """The members of one key, or why they cannot be had."""

    shard: Path
    key: str
    members: tuple[tuple[str, _Member], ...] = ()
    damage: str = ""

    @property
    def where(self) -> str:
        return f"{self.shard}, {self.key}"


@dataclass(eq=False, kw_only=True)
class TarShards(PairSource[_Record]):
    """Shards of a folder, `*.tar`."""

    reader = "shards"
    layout = "*.tar"

    def find(self, root: Path) -> dict[str, _Record]:
        """Every key of every shard; a shard that is cut short ends with a record that says so."""
        return {f"{path.stem}/{one.key}": one for path in list_shards(root) for one in _scan(path)}

    def __getitem__(self, index: int) -> Sample:
        """One sample; ours come as they were written, without a second look."""
        entry = self._entries[self.keys[index]]
        parts = _read_members(entry)
        if not is_ours(parts):
            return super().__getitem__(index)
        sample = decode_sample(parts, entry.where)
        return replace(sample, meta=sample.meta | {"key": self.keys[index], "source": self.reader})

    def read(self, entry: _Record) -> View:
        """Decode the members of one key."""
        parts = _read_members(entry)
        if not is_ours(parts):
            return self._read_foreign(entry, parts)
        sample = decode_sample(parts, entry.where)
        return View(
            image=sample.image,
            vectors=stored_normals(parts, entry.where),
            valid=valid_pixels(sample.normals),
            depth=sample.depth if sample.depth.any() else None,
            labels=sample.labels,
            instances=sample.instances,
            intrinsics=sample.intrinsics,
            meta=sample.meta,
        )

    def _read_foreign(self, entry: _Record, parts: dict[str, bytes]) -> View:
        """Read the members as files: all of `io`'s formats and checks hold for them too."""
        with TemporaryDirectory() as folder:
            for suffix, data in parts.items():
                Path(folder, suffix.replace("/", "_")).write_bytes(data)

            def member(names: tuple[str, ...], needed: str = "") -> Path | None:
                found = next((Path(folder, name) for name in names if name in parts), None)
                if found is None and needed:
                    raise DataError(
                        f"{entry.where}: has no {needed} among {', '.join(parts)}; name it {names[0]}"
                    )
                return found

            image, normals = member(_IMAGE_MEMBERS, "image"), member(_NORMAL_MEMBERS, "normal map")
            assert image and normals, "needed ones are there"
            pair = Pair(
                image, normals, member(("mask.png",)), member(_DEPTH_MEMBERS), member(_MATRIX_MEMBERS)
            )
            try:
                return self.read_pair(pair)
            except StableNormalError as error:
                raise DataError(str(error).replace(f"{folder}/", f"{entry.where}.")) from error


def _scan(path: Path) -> list[_Record]:
    """Keys of one shard with the places of their members; only headers are read."""
    found: dict[str, dict[str, _Member]] = {}
    damage, length = "", path.stat().st_size
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                members = found.setdefault(key, {})
                if member.offset_data + member.size > length:
                    raise tarfile.ReadError("unexpected end of data")
                members[suffix.lower()] = _Member(member.offset_data, member.size)
        require_end(path)
    except (tarfile.TarError, OSError, EOFError) as error:
        damage = f"the shard is cut short or damaged ({error})"
    records = [_Record(path, key, tuple(members.items())) for key, members in found.items()]
    if damage:  # the last key may lack members
        last = records.pop().key if records else "first sample"
        records.append(_Record(path, last, damage=damage))
    return records


def _read_members(entry: _Record) -> dict[str, bytes]:
    if entry.damage:
        raise DataError(f"{entry.where}: {entry.damage}; copy or render the shard again")
    parts = {}
    with entry.shard.open("rb") as file:
        for suffix, member in entry.members:
            file.seek(member.offset)
            parts[suffix] = file.read(member.size)
    return parts
