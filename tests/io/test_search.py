from pathlib import Path

from stablenormal.io.search import files_below, named_path


def test_links_are_followed_but_not_round_and_round(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/b.txt").write_text("")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/a.txt").write_text("")
    (tmp_path / "root/.hidden").write_text("")
    (tmp_path / "root/link").symlink_to(tmp_path / "real")
    (tmp_path / "real/back").symlink_to(tmp_path / "root")
    found = [path.relative_to(tmp_path / "root").as_posix() for path in files_below(tmp_path / "root")]
    assert found == ["a.txt", "link/b.txt"]


def test_backslashes_of_windows(tmp_path: Path) -> None:
    assert named_path(tmp_path, "images\\a.png") == tmp_path / "images/a.png"
    (tmp_path / "images\\a.png").write_text("")  # a letter of the name, where that is one
    assert named_path(tmp_path, "images\\a.png") == tmp_path / "images\\a.png"
