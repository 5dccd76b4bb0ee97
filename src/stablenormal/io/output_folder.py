"""Protects files in an output folder: those that the run reads, and those that this program did not make.

What it made is known by a record in the folder, `.stablenormal.jsonl`: a line of JSON for each file written,

    {"file": "trip/photo_normal.png", "sha256": "..."}

with the path below the folder and the hash of the bytes. The last line of a file counts; a hash of null says
that the writing began, an empty one that it came to nothing. A file that somebody changed since has another
hash, and is theirs. The records of folders further up count too, as a run may write into a part of an earlier
one's output.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

from stablenormal.errors import OutputError, argument
from stablenormal.io.atomic import reason

RECORD_NAME = ".stablenormal.jsonl"


class OutputFolder:
    """A folder of results, and the files that the run reads, which no result may replace.

    Every command asks one of these before it writes.
    """

    def __init__(self, root: Path, reads: Iterable[Path | None] = (), chosen_by: str = "output") -> None:
        """Remember what is read.

        Args:
            root: the folder; it need not exist yet.
            reads: files of this run's input; those that are missing and None are left out.
            chosen_by: the argument of the caller that says where, for errors.
        """
        self.root, self._chosen_by = root, chosen_by
        self._reads: dict[tuple[int, int], Path] = {}
        self._records: dict[Path, dict[str, str | None]] = {}
        self.reads(reads)

    def reads(self, files: Iterable[Path | None]) -> None:
        """Add files that the run reads."""
        for file in files:
            identity = None if file is None else _identity(file)
            if file is not None and identity is not None:
                self._reads[identity] = file

    def path(self, name: str) -> Path:
        """The path of a result by a name that may come from data.

        Raises:
            OutputError: if the name leads out of the folder.
        """
        leads_out = Path(name).is_absolute() or PureWindowsPath(name).drive or ".." in Path(name).parts
        if leads_out or not name.strip("/. "):
            raise OutputError(f"{name!r}: such a name leads out of {self.root}; rename what it comes from")
        return self.root / name

    def check(self, files: Iterable[Path]) -> None:
        """Refuse files that may not be written; asked for before the work begins.

        Raises:
            OutputError: naming the first one, and the argument that helps.
        """
        for file in files:
            self._check(file)

    @contextmanager
    def writing(self, files: Sequence[Path]) -> Iterator[None]:
        """Check files, let the block write them, and put them on record.

        Raises:
            OutputError: if one may not be written.
        """
        self.check(files)
        for file in files:
            self._note(file, None)
        try:
            yield
        finally:  # each is whole and new, or as it was, or absent
            for file in files:
                self._note(file, _sha256(file) or "")

    def begin(self, file: Path) -> None:
        """Put a file on record that grows line by line: it stays this program's, whatever it holds.

        Raises:
            OutputError: if it may not be written.
        """
        self.check([file])
        self._note(file, None)

    def require_writable(self) -> None:
        """Find out before the work whether results can be written; makes the folder.

        Raises:
            OutputError: if they cannot.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise OutputError(f"cannot write {self.root}: {reason(error)}") from error

    def made(self, file: Path) -> bool:
        """Whether an earlier run of this program wrote the file as it is now."""
        if file.is_symlink():
            return False
        place, now = Path(os.path.abspath(file)), _sha256(file)
        for folder in place.parents:
            recorded = self._record_of(folder)
            name = place.relative_to(folder).as_posix()
            if name in recorded and recorded[name] in (None, now):
                return True
        return False

    def _check(self, file: Path) -> None:
        if not file.exists() and not file.is_symlink():
            return
        instead = f"give {argument(self._chosen_by)} another place"
        read = self._reads.get(_identity(file) or (0, 0))
        if read is not None:
            alias = "" if _same(read, file) else f" (as {read})"
            raise OutputError(f"{file}: is an input of this run{alias} and would be written over; {instead}")
        if not file.is_dir() and not self.made(file):
            raise OutputError(
                f"{file}: was not made by this program, or was changed since, and would be written over; "
                f"{instead}, or move it away"
            )

    def _record_of(self, folder: Path) -> dict[str, str | None]:
        if folder not in self._records:
            self._records[folder] = _read_record(folder / RECORD_NAME)
        return self._records[folder]

    def _note(self, file: Path, sha256: str | None) -> None:
        root = Path(os.path.abspath(self.root))
        name = Path(os.path.abspath(file)).relative_to(root).as_posix()
        line = json.dumps({"file": name, "sha256": sha256}) + "\n"
        record = self.root / RECORD_NAME
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with record.open("a", encoding="ascii") as out:
                out.write(line)
        except OSError as error:
            raise OutputError(f"cannot write {record}: {reason(error)}") from error
        self._record_of(root)[name] = sha256


def _read_record(path: Path) -> dict[str, str | None]:
    """The last hash of each file; a line that was cut off, or is no line of a record, says nothing."""
    found: dict[str, str | None] = {}
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            entry = json.loads(line)
            found[str(entry["file"])] = entry["sha256"]
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _sha256(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None


def _identity(file: Path) -> tuple[int, int] | None:
    """What two names of one file share, through links and other spellings."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _same(one: Path, other: Path) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)


def refuse_replacing(output: Path, inputs: Iterable[Path], chosen_by: str = "output") -> None:
    """Refuse a folder that is replaced as a whole where it is or holds a folder that is read.

    Raises:
        OutputError: naming both, and the argument that helps.
    """
    place = output.resolve()
    for folder in inputs:
        read = folder.resolve()
        if read.is_relative_to(place):
            raise OutputError(
                f"{output}: would replace {folder}, which is read; give {argument(chosen_by)} another place"
            )
