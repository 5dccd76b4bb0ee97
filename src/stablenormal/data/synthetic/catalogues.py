"""Finds the models of .sh3f furniture catalogues and of folders, with what is known about each."""

import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from stablenormal.data.synthetic.draws import Array
from stablenormal.data.synthetic.model_files import KINDS
from stablenormal.errors import DataError
from stablenormal.io.search import files_below

CATALOGUE = ".sh3f"
_PROPERTIES = "PluginFurnitureCatalog.properties"
_LARGEST = 256 << 20
"""Bytes of a file in a catalogue, unpacked."""
_UNREADABLE = (
    OSError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises on damaged, encrypted or unsupported archives."""


@dataclass(frozen=True)
class Entry:
    """One model, not yet read."""

    source: str
    """The catalogue's or the folder's name."""
    path: str
    """Of the model inside it."""
    name: str
    category: str
    size: Array | None
    """Width, depth and height (3,) in metres; None: the file's own, taken as metres."""
    elevation: float
    """How high over the floor it hangs, in metres; 0: it stands."""
    drop: float
    """Height in metres at which things stand on it, where the catalogue says so; else 0."""
    rotation: Array
    """(3, 3): turns the file's axes so that y is up and z the front."""
    creator: str
    licence: str
    read: Callable[[str], bytes]
    """Reads a file of the same source; raises KeyError or OSError if it is missing."""


def entries(paths: Sequence[Path]) -> Iterator[Entry]:
    """Every model of these catalogues and folders, in a fixed order.

    Raises:
        DataError: if one is missing, unreadable, or holds no model.
    """
    for path in paths:
        if path.is_dir():
            yield from _of_folder(path)
        elif path.suffix.lower() == CATALOGUE and path.is_file():
            yield from _of_catalogue(path)
        elif path.is_file():
            raise DataError(f"{path}: is neither a folder nor a {CATALOGUE} catalogue; give one of them")
        else:
            raise DataError(f"{path}: does not exist; give a {CATALOGUE} catalogue or a folder of models")


def fingerprint(paths: Sequence[Path]) -> str:
    """A short name for what these catalogues and folders hold, from the bytes of their files.

    Raises:
        DataError: if one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        files = [path] if path.is_file() else list(files_below(path))
        try:
            for file in files:
                inside = "" if file == path else file.relative_to(path).as_posix()
                digest.update(f"{inside}\0{file.stat().st_size}\0".encode())
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()[:16]


def _of_folder(folder: Path) -> Iterator[Entry]:
    files = list(files_below(folder))
    models = [file for file in files if file.suffix.lower() in KINDS]
    catalogues = [file for file in files if file.suffix.lower() == CATALOGUE]
    if not models and not catalogues:
        raise DataError(f"{folder}: holds no model; {', '.join(KINDS)} or {CATALOGUE} files are expected")
    for catalogue in catalogues:
        yield from _of_catalogue(catalogue)

    def read(name: str) -> bytes:
        return (folder / name).read_bytes()

    for model in models:
        inside = model.relative_to(folder).as_posix()
        name = re.sub(r"[\W_]+", " ", model.stem).strip()
        yield Entry(folder.name, inside, name, "", None, 0.0, 0.0, np.eye(3), "", "", read)


def _of_catalogue(path: Path) -> Iterator[Entry]:
    try:
        archive = zipfile.ZipFile(path)
        text = _member(archive, _PROPERTIES).decode("latin-1")
    except KeyError:
        raise DataError(f"{path}: has no {_PROPERTIES}; is it a furniture catalogue?") from None
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as a catalogue ({error}); fetch it again") from None
    properties = read_properties(text)
    licence = properties.get("license", "")
    numbers = sorted(int(key[6:]) for key in properties if key.startswith("model#") and key[6:].isdigit())
    if not numbers:
        raise DataError(f"{path}: names no model in its {_PROPERTIES}")
    for number in numbers:
        said = {key.split("#")[0]: value for key, value in properties.items() if key.endswith(f"#{number}")}
        size = np.array([_centimetres(said.get(side)) for side in ("width", "depth", "height")])
        if "model" not in said:
            raise DataError(f"{path}: model {number} has no file in its {_PROPERTIES}")
        yield Entry(
            source=path.name,
            path=said["model"].lstrip("/"),
            name=said.get("name", ""),
            category=said.get("category", ""),
            size=size if (size > 0).all() else None,
            elevation=_centimetres(said.get("elevation")),
            drop=max(0.0, _centimetres(said.get("dropOnTopElevation"))),
            rotation=_rotation(said.get("modelRotation")),
            creator=said.get("creator", ""),
            licence=licence,
            read=partial(_member, archive),
        )


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a file in a catalogue.

    Raises:
        KeyError: if there is none of that name.
        OSError: if it is damaged, or far larger than any model.
    """
    if archive.getinfo(name).file_size > _LARGEST:
        raise OSError(f"{name} unpacks to more than {_LARGEST >> 20} MB")
    try:
        return archive.read(name)
    except KeyError:
        raise
    except _UNREADABLE as error:
        raise OSError(f"{name}: {error}") from error


def _rotation(said: str | None) -> Array:
    """A catalogue's rotation, nine numbers by rows; none where it says none, or no such numbers."""
    try:
        numbers = np.array([float(word) for word in (said or "").split()])
    except ValueError:
        return np.eye(3)
    return numbers.reshape(3, 3) if len(numbers) == 9 and np.isfinite(numbers).all() else np.eye(3)


def _centimetres(said: str | None) -> float:
    """Metres from a catalogue's centimetres; 0 where it says nothing."""
    try:
        return float(said or 0) / 100
    except ValueError:
        return 0.0


def read_properties(text: str) -> dict[str, str]:
    """Keys and values of a Java properties file: `key=value`, comments, joined lines, escapes."""
    found: dict[str, str] = {}
    for line in re.sub(r"\\\r?\n[ \t]*", "", text).splitlines():
        if not line.strip() or line.lstrip()[0] in "#!":
            continue
        key, _, value = line.partition("=")
        decoded = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), value.strip())
        found[key.strip()] = re.sub(r"\\(.)", r"\1", decoded)
    return found
