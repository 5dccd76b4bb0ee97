"""Fingerprints of results: hashes of all that a result depends on, to tell when something changed.

A result's name is not enough: another photograph of that name, another mask or camera makes another result.
Every command that keeps earlier results or goes on with them compares these.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

MadeFrom: TypeAlias = dict[str, str]
"""Fingerprint of each thing that a result depends on, by its name in words, such as `photograph`."""

_LENGTH = 32


def made_from(
    files: Mapping[str, Path | None] | None = None, facts: Mapping[str, Any] | None = None
) -> MadeFrom:
    """Fingerprints of files, by their bytes, and of facts that JSON can hold.

    A file that is None or cannot be read has the empty fingerprint: reading it is what fails loudly.
    """
    found = {name: _of_file(file) for name, file in (files or {}).items()}
    return found | {name: of_bytes([json.dumps(fact).encode()]) for name, fact in (facts or {}).items()}


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of what differs, in the order of `now`."""
    return [name for name in {**now, **before} if before.get(name, "") != now.get(name, "")]


def of_bytes(parts: Iterable[bytes | memoryview]) -> str:
    """Fingerprint of bytes, one part after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:_LENGTH]


def stamp(files: Iterable[Path]) -> str:
    """Path, size and time of files that are too large to be hashed each time."""
    found = []
    for path in files:
        try:
            state = path.stat()
        except OSError:
            continue
        found.append(
            f"{path.resolve()} {state.st_size} {state.st_mtime_ns}".encode("utf-8", "surrogateescape")
        )
    return of_bytes(found)


def _of_file(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:_LENGTH]
    except OSError:
        return ""
