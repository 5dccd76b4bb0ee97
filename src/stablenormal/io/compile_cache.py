"""What a compiler made, kept on disk between processes; used only if it is whole and of this machine."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has no such locks; every process compiles for itself there
    fcntl = None  # type: ignore[assignment]

MANIFEST = "manifest.json"
LOCK = "lock"
_OURS = (MANIFEST, LOCK)

log = logging.getLogger(__name__)


def default_cache_root() -> Path:
    """Where compiled networks are kept: below XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stablenormal" / "compiled"


class CompileCache:
    """A folder for a compiler's files that belongs to one process at a time.

    What lies there is used if a manifest names each file with its hash and was made under the same stamp;
    otherwise the folder is emptied first. While another process has it, or where it cannot be written, a
    temporary folder takes its place and nothing is kept.

    Args:
        root: of all such folders; each stamp has one of its own.
        stamp: what the compiler's files depend on: machine, versions, model.
    """

    def __init__(self, root: Path, stamp: Mapping[str, Any]) -> None:
        self._stamp = json.loads(json.dumps(stamp))
        name = hashlib.sha256(json.dumps(self._stamp, sort_keys=True).encode()).hexdigest()[:20]
        lock = None
        self.folder = root / name
        """Where the compiler reads and writes."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = _locked(self.folder / LOCK)
        except OSError as error:
            log.warning("%s: cannot be written (%s); compiled networks are not kept", self.folder, error)
        self.is_kept = lock is not None
        """Whether the next process finds what is compiled now."""
        if lock is None:
            self.folder = Path(tempfile.mkdtemp(prefix="stablenormal-compiled-"))
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
            return
        self.close = weakref.finalize(self, os.close, lock)
        """Let another process have the folder."""
        problem = self._problem()
        if problem is not None:
            log.warning("%s: %s; it is compiled anew", self.folder, problem)
        if problem is not None or not (self.folder / MANIFEST).is_file():
            self._empty()

    @property
    def is_filled(self) -> bool:
        """Whether it holds what an earlier process compiled."""
        return (self.folder / MANIFEST).is_file()

    def seal(self) -> None:
        """Say that the files that are there now are whole."""
        if not self.is_kept:
            return
        manifest = {"stamp": self._stamp, "files": _hashes(self.folder)}
        unfinished = self.folder / f".{MANIFEST}.part"
        unfinished.write_text(json.dumps(manifest, indent=1))
        unfinished.replace(self.folder / MANIFEST)

    def _problem(self) -> str | None:
        """Why what lies there cannot be used, if it cannot."""
        path = self.folder / MANIFEST
        if not path.is_file():
            return None
        try:
            manifest = json.loads(path.read_text())
            stamp, files = manifest["stamp"], dict(manifest["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return "the manifest is damaged"
        if stamp != self._stamp:
            return "made on another machine, or of another model"
        found = _hashes(self.folder)
        if found != files:
            wrong = sorted(name for name in {*found, *files} if found.get(name) != files.get(name))
            return f"{len(wrong)} files are damaged, missing or unknown, such as {wrong[0]}"
        return None

    def _empty(self) -> None:
        for path in self.folder.iterdir():
            if path.name == LOCK:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path in the folder; what links lead to does not count as whole."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name in _OURS or name == f".{MANIFEST}.part" or (path.is_dir() and not path.is_symlink()):
            continue
        found[name] = "link" if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _locked(path: Path) -> int | None:
    """The file's descriptor, locked for as long as it stays open; None where another process has it."""
    if fcntl is None:
        return None
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
