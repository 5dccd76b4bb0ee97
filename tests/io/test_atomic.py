import errno
import os
import stat
from pathlib import Path

import pytest

from stablenormal.errors import NormalMapError, OutputError
from stablenormal.io.atomic import atomic_path, write_bytes


def test_the_file_appears_whole_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "map.png"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, NormalMapError])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, failure: type[BaseException]) -> None:
    target = tmp_path / "map.npy"
    target.write_bytes(b"old")
    with pytest.raises(failure), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise failure
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    for data in (b"first", b"second"):
        write_bytes(tmp_path / "map.npy", data)
    assert (tmp_path / "map.npy").read_bytes() == b"second"


def test_the_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_bytes(tmp_path / "ours", b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]


def test_bytes_reach_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda d: (order.append("fsync"), fsync(d)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    write_bytes(tmp_path / "map.npy", b"data")
    assert order == ["fsync", "replace"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "check the folder"),
    ],
)
def test_what_the_disk_refuses_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OutputError, match=f"map.npy: .*{words}") as caught:
        write_bytes(tmp_path / "map.npy", b"data")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file, not a folder"):
        write_bytes(tmp_path / "file" / "map.npy", b"data")


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "map.npy").mkdir()
    with pytest.raises(OutputError, match="this is a folder"):
        write_bytes(tmp_path / "map.npy", b"data")


def test_output_errors_are_os_errors(tmp_path: Path) -> None:
    (tmp_path / "map.npy").mkdir()
    with pytest.raises(OSError):
        write_bytes(tmp_path / "map.npy", b"data")
