"""Finding files: below a folder, links followed, and by the names that data files give."""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path


def files_below(folder: Path, pattern: str = "*") -> Iterator[Path]:
    """Every file below a folder, sorted, through links to folders too, but never in a circle.

    Hidden files and folders are left out.

    Args:
        folder: where to look.
        pattern: of the files' own names, as in `fnmatch`: `*_rgb.*`.
    """
    for path in _files_below(folder, ()):
        if fnmatchcase(path.name, pattern):
            yield path


def _files_below(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:
        return
    try:
        entries = sorted(Path(folder, name) for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir():
            yield from _files_below(entry, (*above, real))
        elif entry.is_file():
            yield entry


def named_path(folder: Path, name: str) -> Path:
    r"""The file that a data file names, counted from `folder`.

    Names that Windows wrote have backslashes between folders; elsewhere a backslash is a letter, so a file of
    exactly that name comes first.
    """
    literal = folder / name
    return literal if "\\" not in name or literal.exists() else folder / portable(name)


def portable(name: str) -> str:
    r"""A name from a data file with forward slashes: `images\a.png` is `images/a.png`."""
    return name.replace("\\", "/")
