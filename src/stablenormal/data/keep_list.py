"""Keep-lists: the views of a set that training may see, one key a line.

    # stablenormal keep-list
    # reader: hypersim
    # ...
    ai_001_001/cam_00/frame.0000

Lines that start with `#` are remarks; `reader:` among them is checked.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from stablenormal.errors import DataError
from stablenormal.io.atomic import write_bytes

_TITLE = "# stablenormal keep-list"
_READER = "# reader: "


def write_keep_list(path: Path, reader: str, keys: Sequence[str], remarks: Sequence[str] = ()) -> None:
    """Write a keep-list.

    Args:
        path: the file.
        reader: name of the reader whose keys these are.
        keys: in the order of the set.
        remarks: what else the file should say about itself, a line each.

    Raises:
        OutputError: if it cannot be written.
    """
    lines = [_TITLE, f"{_READER}{reader}", *(f"# {remark}" for remark in remarks), *keys]
    write_bytes(path, ("\n".join(lines) + "\n").encode("utf-8"))


def read_keep_list(path: Path, reader: str, known: Collection[str]) -> list[str]:
    """The keys of a keep-list, in its order.

    Args:
        path: the file.
        reader: the reader that will use it.
        known: every key of the set.

    Raises:
        DataError: if the file cannot be read, is of another reader, is empty, names a key twice or one that
            the set does not have.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: not a readable keep-list; write it with `stablenormal data check`"
        ) from error
    made_for = next((line.removeprefix(_READER) for line in lines if line.startswith(_READER)), reader)
    if made_for != reader:
        raise DataError(f"{path}: is a keep-list of {made_for}, not of {reader}; give the right one")
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise DataError(f"{path}: keeps nothing; check the set again, or leave the keep-list out")
    if len(set(keys)) < len(keys):
        raise DataError(f"{path}: names a view twice; write it again with `stablenormal data check`")
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise DataError(
            f"{path}: names {len(unknown)} views that the set does not have, such as {unknown[0]}; check the "
            "set again"
        )
    return keys
