"""Finds photographs: files, folders and glob patterns as a person types them."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from os.path import commonpath
from pathlib import Path

from stablenormal.errors import ImageReadError
from stablenormal.io.search import files_below

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .tif .tiff .webp .heic .heif .avif .exr .bmp .gif .ppm .pgm .jp2".split()
)
"""Endings, in lower case, of the files that a folder is searched for; a file named directly may have any."""


@dataclass(frozen=True)
class ImageEntry:
    """One file that was asked for."""

    path: Path
    """The file."""
    relative: Path
    """Its place below the folder or glob that found it; no two entries share one."""


def list_images(
    inputs: Sequence[Path | str], suffixes: Collection[str] = SUFFIXES, what: str = "image"
) -> list[ImageEntry]:
    """Find the files that inputs mean, each once, in the order of inputs and sorted within each.

    A file is known by the path that leads to it, not by what a link points to. Where two inputs hold files of
    the same relative name, every relative name starts at the deepest folder that holds all the files.

    Args:
        inputs: files (taken whatever their ending), folders (searched recursively for `SUFFIXES`, through
            links too), and glob patterns (`**` searches recursively). Hidden files and folders are not
            searched.
        suffixes: endings, in lower case, of what a folder is searched for.
        what: a file with one of them is.

    Raises:
        ImageReadError: if an input does not exist or has no image in it.
    """
    found: dict[str, ImageEntry] = {}
    for entry in inputs:
        for image in _search(entry, suffixes, what):
            found.setdefault(os.path.abspath(image.path), image)
    images = list(found.values())
    if len({image.relative for image in images}) == len(images):
        return images
    top = commonpath([os.path.dirname(path) for path in found])
    return [ImageEntry(image.path, Path(os.path.relpath(path, top))) for path, image in found.items()]


def list_pictures(folder: Path) -> list[Path]:
    """The pictures that lie directly in a folder, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return [file for file in sorted(folder.iterdir()) if _is_image(file, folder)]


def _search(entry: Path | str, suffixes: Collection[str], what: str) -> list[ImageEntry]:
    path = Path(entry)
    if path.is_dir():
        files = (file for file in files_below(path) if _is_image(file, path, suffixes))
        images = [ImageEntry(file, file.relative_to(path)) for file in files]
    elif path.exists():
        return [ImageEntry(path, Path(path.name))]
    elif has_magic(str(entry)):
        root = _fixed_part(path)
        matches = (Path(match) for match in sorted(glob(str(entry), recursive=True)))
        images = [
            ImageEntry(file, file.relative_to(root)) for file in matches if _is_image(file, root, suffixes)
        ]
    else:
        raise ImageReadError(f"{entry}: no such file or folder; check the path")
    if not images:
        raise ImageReadError(f"{entry}: no {what} in it; looked for {' '.join(sorted(suffixes))}")
    return images


def _is_image(file: Path, root: Path, suffixes: Collection[str] = SUFFIXES) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    return not hidden and file.suffix.lower() in suffixes and file.is_file()


def _fixed_part(pattern: Path) -> Path:
    """The folder in front of the first wildcard."""
    fixed: list[str] = []
    for part in pattern.parts[:-1]:
        if has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)
