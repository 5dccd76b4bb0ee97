"""Photographs to the bytes of an answer, and which kind of answer a client wants."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stablenormal.errors import StableNormalError
from stablenormal.io.image import Photograph, read_image, require_pixels
from stablenormal.io.map_formats import MAP_FORMATS
from stablenormal.io.normal_map import write_normal_map
from stablenormal.service.problems import ProblemError
from stablenormal.service.uploads import Upload

KINDS = {"image/png": "png16", "image/x-exr": "exr", "application/x-npy": "npy"}
"""Media types that an answer may have, the usual one first, and the formats that they mean."""


def negotiated(accept: str) -> str:
    """The media type of `KINDS` that a client prefers, by its Accept header.

    The most exact entry that matches a type decides its quality (RFC 9110, section 12.5.1).

    Raises:
        ProblemError: if it takes none of them.
    """
    wanted = [_entry(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    best, best_quality = "", 0.0
    for kind in KINDS:
        matching = {name: quality for name, quality in wanted if name in (kind, _any_of(kind), "*/*")}
        quality = matching.get(kind, matching.get(_any_of(kind), matching.get("*/*", 0.0)))
        if quality > best_quality:
            best, best_quality = kind, quality
    if not best:
        raise ProblemError(406, f"Accept: none of these can be given; choose from {', '.join(KINDS)}")
    return best


def _any_of(kind: str) -> str:
    return kind.partition("/")[0] + "/*"


def _entry(part: str) -> tuple[str, float]:
    """A media type of an Accept header and its quality, 1 unless it says otherwise."""
    name, *parameters = (text.strip().lower() for text in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, min(1.0, max(0.0, float(value)))
            except ValueError:
                return name, 0.0
    return name, 1.0


def read_photograph(upload: Upload, max_pixels: int) -> Photograph:
    """Decode an upload; one that is too large is refused by its header.

    Raises:
        StableNormalError: in the client's words: with its name for the file.
    """
    try:
        photograph = read_image(upload.path, max_pixels=max_pixels)
        require_pixels(photograph.valid, upload.path)
    except StableNormalError as error:
        raise type(error)(in_its_words(str(error), upload)) from error
    return photograph


def in_its_words(line: str, upload: Upload) -> str:
    """A message with the client's name for a file in place of its path on this machine."""
    return line.replace(str(upload.path), upload.name)


def encoded(normals: NDArray[np.float32], frame: str, format: str) -> bytes:
    """A normal map (H, W, 3) as the bytes of a file; the record beside an NPY is left to the caller."""
    with tempfile.TemporaryDirectory(prefix="stablenormal-answer-") as folder:
        path = Path(folder) / f"normals{MAP_FORMATS[format]}"
        write_normal_map(path, normals, frame=frame, format=format)
        return path.read_bytes()
