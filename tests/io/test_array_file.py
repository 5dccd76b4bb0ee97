import resource

import numpy as np
import pytest

from stablenormal.errors import OutputError
from stablenormal.io.array_file import create_array


def test_reads_back_what_was_written(tmp_path):
    array = create_array(tmp_path / "a.npy", np.float16, (3, 4))
    array[1] = 2
    array.flush()
    assert np.load(tmp_path / "a.npy").tolist() == [[0] * 4, [2] * 4, [0] * 4]


def test_no_space_is_one_line_before_anything_is_written(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*a\.npy: ") as caught:
            create_array(tmp_path / "a.npy", np.uint8, (1 << 21,))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())
