import os
import resource

import pytest
import torch

from stablenormal.errors import DataError, OutputError
from stablenormal.io.checkpoint import load_checkpoint, save_checkpoint


def test_round_trip(tmp_path):
    state = {"weights": torch.arange(5.0), "step": 3}
    save_checkpoint(tmp_path / "c.pt", state, "abc")
    loaded = load_checkpoint(tmp_path / "c.pt", "abc")
    assert torch.equal(loaded.state["weights"], state["weights"]) and loaded.state["step"] == 3
    assert (loaded.path, loaded.damaged) == (tmp_path / "c.pt", ())
    assert load_checkpoint(tmp_path / "none.pt", "abc") is None
    with pytest.raises(DataError, match="another configuration"):
        load_checkpoint(tmp_path / "c.pt", "def")


def test_a_full_disk_is_one_line_and_the_old_checkpoint_stays(tmp_path):
    """The operating system itself refuses to write more than a megabyte to a file."""
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"weights": torch.zeros(10), "step": 1}, "abc")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*c\.pt: ") as caught:
            save_checkpoint(path, {"weights": torch.randn(1 << 20), "step": 2}, "abc")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert load_checkpoint(path, "abc").state["step"] == 1
    assert [one.name for one in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.parametrize("content", [b"", b"broken", None])
def test_a_damaged_one_is_one_line(tmp_path, content):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"weights": torch.randn(1000)}, "abc")
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(DataError, match=r"c\.pt: damaged") as caught:
        load_checkpoint(path, "abc")
    assert "\n" not in str(caught.value)


def test_one_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"weights": torch.randn(1000)}, "abc")
    content = bytearray(path.read_bytes())
    content[content.index(load_checkpoint(path, "abc").state["weights"].numpy().tobytes()) + 1234] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"c\.pt: damaged checkpoint.*checksum"):
        load_checkpoint(path, "abc")


def test_the_last_ones_stay_and_stand_in_for_damaged_ones(tmp_path):
    path = tmp_path / "c.pt"
    for step in range(5):
        save_checkpoint(path, {"step": step}, "abc", keep=3)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["c-1.pt", "c-2.pt", "c.pt"]
    path.write_bytes(b"broken")
    found = load_checkpoint(path, "abc")
    assert (found.path.name, found.state["step"], len(found.damaged)) == ("c-1.pt", 3, 1)
    save_checkpoint(path, {"step": 9}, "abc")  # writes over the damaged one and moves nothing on
    path.write_bytes(b"broken again")
    (tmp_path / "c-1.pt").write_bytes(b"")
    found = load_checkpoint(path, "abc")
    assert (found.path.name, found.state["step"], len(found.damaged)) == ("c-2.pt", 2, 2)
    (tmp_path / "c-2.pt").write_bytes(b"")
    with pytest.raises(DataError, match=r"c\.pt: damaged"):
        load_checkpoint(path, "abc")
    path.unlink()
    assert load_checkpoint(path, "abc") is None  # as who deletes it asks to begin again


def test_a_file_system_without_second_names_gets_copies(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(OSError(1, "not permitted")))
    for step in range(2):
        save_checkpoint(path, {"step": step}, "abc", keep=2)
    assert load_checkpoint(tmp_path / "c-1.pt", "abc").state["step"] == 0
