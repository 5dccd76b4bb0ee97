import math

import pytest
import torch

from stablenormal.errors import SettingError
from stablenormal.evaluation.protocols import PROTOCOLS, angles_deg, choose_protocol
from stablenormal.geometry.normals import dequantise, encode_8bit, unit_length


@pytest.fixture
def truth() -> torch.Tensor:
    normals = torch.randn(1, 3, 100, 100, generator=torch.Generator().manual_seed(0))
    normals[:, 2] = normals[:, 2].abs()
    return unit_length(normals)[0]


@pytest.mark.parametrize("name", ["dsine", "marigold"])
def test_perfect_is_zero_and_the_length_of_the_truth_does_not_matter(truth, name) -> None:
    angles, valid = angles_deg(PROTOCOLS[name], truth, truth * 0.75, stored_8bit=False)
    assert angles.max() < 1e-4
    assert valid.all()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_zero_truth_does_not_count(truth, name) -> None:
    masked = truth.clone()
    masked[:, :10] = 0
    _, valid = angles_deg(PROTOCOLS[name], truth, masked, stored_8bit=False)
    assert not valid[:10].any() and valid[10:].all()


@pytest.mark.parametrize("stored_8bit", [True, False])
def test_the_8bit_script_gives_a_perfect_prediction_about_1_6_degrees(truth, stored_8bit) -> None:
    stored = dequantise(encode_8bit(truth[None]), 255)[0] if stored_8bit else truth
    angles, _ = angles_deg(PROTOCOLS["stablenormal"], truth, stored, stored_8bit)
    assert angles.mean() == pytest.approx(1.62, abs=0.1)


def test_the_8bit_script_does_not_normalise_the_truth() -> None:
    prediction = torch.tensor([0.0, 0.0, 1.0])[:, None, None]
    codes = torch.tensor([0.0, 0.0, 0.9])[:, None, None]
    angles, valid = angles_deg(PROTOCOLS["stablenormal"], prediction, codes, stored_8bit=True)
    cosine = 0.9 / math.sqrt(1 + 2 * (1 / 255) ** 2)  # zero has the codes 127 or 128, about 0.004
    assert float(angles) == pytest.approx(math.degrees(math.acos(cosine)), abs=0.05)
    assert bool(valid)
    for length in (0.4, 1.6):
        _, valid = angles_deg(PROTOCOLS["stablenormal"], prediction, codes / 0.9 * length, stored_8bit=True)
        assert not bool(valid)


def test_an_unknown_protocol_names_the_others() -> None:
    assert choose_protocol("marigold").pooled is False
    with pytest.raises(SettingError, match="choose one of dsine, marigold, stablenormal"):
        choose_protocol("lotus")
