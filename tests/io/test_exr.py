from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from stablenormal.errors import OutputError
from stablenormal.io import exr
from stablenormal.io.atomic import atomic_path

RNG = np.random.default_rng(0)


def test_channels_and_attributes_survive(tmp_path: Path) -> None:
    channels = {name: RNG.random((5, 7)).astype(np.float32) for name in ("R", "G", "B", "depth.Z")}
    exr.write(tmp_path / "a.exr", channels, {"stablenormal:frame": "opengl"})
    read, header = exr.read(tmp_path / "a.exr")
    assert header["stablenormal:frame"] == "opengl"
    assert read.keys() == channels.keys()
    assert all(np.array_equal(read[name], channels[name]) for name in channels)
    assert exr.read_size(tmp_path / "a.exr") == (7, 5)


def test_a_window_that_does_not_start_at_zero(tmp_path: Path) -> None:
    window = (np.array([10, 20], np.int32), np.array([16, 24], np.int32))
    with OpenEXR.File({"dataWindow": window}, {"Y": RNG.random((5, 7)).astype(np.float32)}) as file:
        file.write(str(tmp_path / "a.exr"))
    assert exr.read_size(tmp_path / "a.exr") == (7, 5)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_truncated_file_is_noticed_quietly(
    tmp_path: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    exr.write(tmp_path / "a.exr", {"Y": RNG.random((80, 70)).astype(np.float32)}, {})
    data = (tmp_path / "a.exr").read_bytes()
    (tmp_path / "a.exr").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match="damaged or cut off"):
        exr.read(tmp_path / "a.exr")
    assert capsys.readouterr().out == ""


def test_a_folder_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        exr.write(tmp_path / "no" / "a.exr", {"Y": np.zeros((5, 7), np.float32)}, {})
    with pytest.raises(OutputError), atomic_path(tmp_path / "a.exr") as temporary:
        exr.write(temporary / "b.exr", {"Y": np.zeros((5, 7), np.float32)}, {})
