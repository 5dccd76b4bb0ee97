import json
import os
from pathlib import Path

import pytest

from stablenormal.errors import OutputError
from stablenormal.io.output_folder import RECORD_NAME, OutputFolder, refuse_replacing


def write(folder: OutputFolder, name: str, text: str = "ours") -> Path:
    path = folder.path(name)
    with folder.writing([path]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


def test_a_result_replaces_an_earlier_one_of_ours(tmp_path: Path) -> None:
    write(OutputFolder(tmp_path / "out"), "a/b.txt")
    assert write(OutputFolder(tmp_path / "out"), "a/b.txt", "new").read_text() == "new"


def test_a_file_of_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("theirs")
    with pytest.raises(OutputError, match=r"a\.txt: was not made by this program.*`output`"):
        write(OutputFolder(tmp_path), "a.txt")
    assert (tmp_path / "a.txt").read_text() == "theirs"


def test_a_result_that_was_changed_since_stays(tmp_path: Path) -> None:
    write(OutputFolder(tmp_path), "a.txt").write_text("retouched")
    with pytest.raises(OutputError, match="changed since"):
        write(OutputFolder(tmp_path), "a.txt")
    assert (tmp_path / "a.txt").read_text() == "retouched"


@pytest.mark.parametrize("link", [False, True])
def test_an_input_stays_even_if_it_is_ours(tmp_path: Path, link: bool) -> None:
    path = write(OutputFolder(tmp_path / "out"), "a.txt")
    read = tmp_path / "other name"
    read.symlink_to(path)
    with pytest.raises(OutputError, match="is an input of this run.*`out` "):
        write(OutputFolder(tmp_path / "out", [read if link else path, None], chosen_by="out"), "a.txt", "new")
    assert path.read_text() == "ours"


def test_a_link_is_not_ours(tmp_path: Path) -> None:
    write(OutputFolder(tmp_path / "out"), "a.txt")
    (tmp_path / "out/a.txt").rename(tmp_path / "elsewhere.txt")
    (tmp_path / "out/a.txt").symlink_to(tmp_path / "elsewhere.txt")
    with pytest.raises(OutputError, match="not made"):
        write(OutputFolder(tmp_path / "out"), "a.txt")


@pytest.mark.parametrize("name", ["/tmp/a", "../a", "a/../../b", "C:\\a", "", "..", "/"])
def test_names_from_data_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="leads out of"):
        OutputFolder(tmp_path).path(name)


def test_a_writing_that_was_killed_is_ours_and_one_that_failed_is_not(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    with pytest.raises(ValueError), folder.writing([tmp_path / "failed.txt"]):
        raise ValueError
    (tmp_path / "failed.txt").write_text("theirs")
    with pytest.raises(OutputError):
        OutputFolder(tmp_path).check([tmp_path / "failed.txt"])
    with (tmp_path / RECORD_NAME).open("a") as record:  # what a killed process leaves
        record.write(json.dumps({"file": "killed.txt", "sha256": None}) + '\n{"file": "cut o')
    (tmp_path / "killed.txt").write_text("whole")
    OutputFolder(tmp_path).check([tmp_path / "killed.txt"])


def test_a_failed_writing_keeps_the_earlier_file_ours(tmp_path: Path) -> None:
    path = write(OutputFolder(tmp_path), "a.txt")
    with pytest.raises(KeyboardInterrupt), OutputFolder(tmp_path).writing([path]):
        raise KeyboardInterrupt
    OutputFolder(tmp_path).check([path])


def test_records_of_folders_above_and_below_count(tmp_path: Path) -> None:
    write(OutputFolder(tmp_path), "sub/a.txt")
    write(OutputFolder(tmp_path / "sub"), "a.txt", "second")
    write(OutputFolder(tmp_path), "sub/a.txt", "third")


def test_a_moved_folder_is_still_ours(tmp_path: Path) -> None:
    write(OutputFolder(tmp_path / "one"), "a.txt")
    (tmp_path / "one").rename(tmp_path / "two")
    write(OutputFolder(tmp_path / "two"), "a.txt", "new")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    write(OutputFolder(tmp_path), name)
    write(OutputFolder(tmp_path), name, "new")


def test_finding_out_whether_it_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "write_probe").write_text("theirs")
    OutputFolder(tmp_path).require_writable()
    assert [path.name for path in tmp_path.iterdir()] == ["write_probe"]
    with pytest.raises(OutputError, match="a part of the path is a file"):
        OutputFolder(tmp_path / "write_probe/out").require_writable()


def test_a_folder_that_is_read_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model/unet").mkdir(parents=True)
    for place in (tmp_path / "model", tmp_path):
        with pytest.raises(OutputError, match="would replace .* is read; give `output`"):
            refuse_replacing(place, [tmp_path / "model"])
    refuse_replacing(tmp_path / "model/new", [tmp_path / "model"])
