"""Reads the bytes of an input file, or says in one line why it cannot."""

from pathlib import Path

from stablenormal.errors import ImageReadError, NormalMapError


def load_bytes(path: Path, error: type[ImageReadError] | type[NormalMapError]) -> bytes:
    """Read a whole file.

    Args:
        path: the file.
        error: what to raise.

    Raises:
        error: if the file is missing, a folder, unreadable or empty.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as reason:
        raise error(f"{path}: no such file; check the path") from reason
    except IsADirectoryError as reason:
        raise error(f"{path}: this is a folder; name a file in it") from reason
    except PermissionError as reason:
        raise error(f"{path}: permission denied; make it readable first") from reason
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason}); check the disk") from reason
    if not data:
        raise error(f"{path}: the file is empty; copy it again")
    return data


def text_of(data: bytes) -> str:
    """UTF-8 text, without the byte-order mark that Windows puts before it; other bytes come through.

    File names need not be UTF-8, so what cannot be decoded is kept in the way of `os.fsdecode`.
    """
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
