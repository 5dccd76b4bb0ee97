from pathlib import Path

import pytest

from stablenormal.data.keep_list import read_keep_list, write_keep_list
from stablenormal.errors import DataError

KNOWN = ["a/1", "a/2", "b/1"]


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "keep.txt"
    write_keep_list(path, "sintel", ["b/1", "a/1"], ["2 of 3"])
    assert read_keep_list(path, "sintel", KNOWN) == ["b/1", "a/1"]
    assert path.read_text().startswith("# stablenormal keep-list\n# reader: sintel\n# 2 of 3\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# reader: hypersim\na/1\n", "is a keep-list of hypersim, not of sintel"),
        ("a/1\na/1\n", "names a view twice"),
        ("a/1\nc/9\n", "names 1 views that the set does not have, such as c/9"),
        ("# nothing\n", "keeps nothing"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "keep.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_keep_list(path, "sintel", KNOWN)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a readable keep-list"):
        read_keep_list(tmp_path / "none.txt", "sintel", KNOWN)
