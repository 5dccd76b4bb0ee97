import resource

import pytest
import torch

from stablenormal.errors import DataError, OutputError
from stablenormal.io.checkpoint import load_checkpoint, save_checkpoint


def test_round_trip(tmp_path):
    state = {"weights": torch.arange(5.0), "step": 3}
    save_checkpoint(tmp_path / "c.pt", state, "abc")
    loaded = load_checkpoint(tmp_path / "c.pt", "abc")
    assert torch.equal(loaded["weights"], state["weights"]) and loaded["step"] == 3
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
    assert load_checkpoint(path, "abc")["step"] == 1
    assert [one.name for one in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.parametrize("content", [b"", b"broken", None])
def test_a_damaged_one_is_one_line(tmp_path, content):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"weights": torch.randn(1000)}, "abc")
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(DataError, match=r"c\.pt: damaged") as caught:
        load_checkpoint(path, "abc")
    assert "\n" not in str(caught.value)
