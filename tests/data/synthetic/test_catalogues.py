"""What catalogues and folders say about their models."""

import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stablenormal.data.synthetic.catalogues import entries, fingerprint, read_properties
from stablenormal.errors import DataError


def test_a_catalogue_names_size_place_maker_and_licence(handmade: ModuleType, tmp_path: Path) -> None:
    said = {
        "category": "Kitchen", "model": "/a/cube.obj", "width": "60.5", "depth": "40", "height": "72",
        "elevation": "145", "creator": "Ann", "modelRotation": "0 0 1 0 1 0 -1 0 0",
        "dropOnTopElevation": "-1",
    }  # fmt: skip
    path = handmade.write_catalogue(tmp_path / "one.sh3f", {"Upper": said}, {"a/cube.obj": b"x"})
    (entry,) = entries([path])
    assert (entry.name, entry.category, entry.creator, entry.licence) == (
        "Upper", "Kitchen", "Ann", "Test licence",
    )  # fmt: skip
    np.testing.assert_allclose(entry.size, [0.605, 0.4, 0.72])
    assert entry.elevation == 1.45 and entry.drop == 0
    np.testing.assert_array_equal(entry.rotation, [[0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    assert entry.path == "a/cube.obj" and entry.read("a/cube.obj") == b"x"


def test_a_folder_gives_its_models_and_catalogues(handmade: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "old_chair-2.OBJ").write_text("")
    (tmp_path / "box.glb").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    handmade.furnished_catalogue(tmp_path / "z.sh3f")
    found = list(entries([tmp_path]))
    assert {entry.source for entry in found} == {"z.sh3f", tmp_path.name}
    assert [entry.name for entry in found if entry.source == tmp_path.name] == ["box", "old chair 2"]
    assert all(entry.size is None for entry in found if entry.source == tmp_path.name)


def test_properties_are_read_as_java_writes_them() -> None:
    text = "# comment\n! too\nname#1 = Caf\\u00e9 \\: bar\n\nlong=one \\\n   two\nempty="
    assert read_properties(text) == {"name#1": "Café : bar", "long": "one two", "empty": ""}


def test_the_fingerprint_follows_the_bytes(handmade: ModuleType, tmp_path: Path) -> None:
    path = handmade.furnished_catalogue(tmp_path / "a.sh3f")
    before = fingerprint([path])
    copy = tmp_path / "renamed.sh3f"
    copy.write_bytes(path.read_bytes())
    assert fingerprint([copy]) == before
    copy.write_bytes(path.read_bytes() + b"x")
    assert fingerprint([copy]) != before


def test_bad_sources_get_one_line(handmade: ModuleType, tmp_path: Path) -> None:
    def told(path: Path) -> str:
        with pytest.raises(DataError) as error:
            list(entries([path]))
        assert "\n" not in str(error.value) and str(path) in str(error.value)
        return str(error.value)

    assert "does not exist" in told(tmp_path / "gone.sh3f")
    (tmp_path / "empty").mkdir()
    assert "holds no model" in told(tmp_path / "empty")
    whole = handmade.furnished_catalogue(tmp_path / "whole.sh3f").read_bytes()
    cut = tmp_path / "cut.sh3f"
    cut.write_bytes(whole[: len(whole) // 2])
    assert "cannot be read as a catalogue" in told(cut)
    other = tmp_path / "other.sh3f"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("something.txt", "")
    assert "is it a furniture catalogue?" in told(other)
    bare = handmade.write_catalogue(tmp_path / "bare.sh3f", {}, {})
    assert "names no model" in told(bare)
    text = tmp_path / "model.txt"
    text.write_text("")
    assert "neither a folder nor" in told(text)
