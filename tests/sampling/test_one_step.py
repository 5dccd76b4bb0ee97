import pytest
import torch

from stablenormal.errors import SettingError
from stablenormal.sampling.one_step import one_step


@pytest.mark.parametrize("start", ["noise", "zeros", "image_latent"])
def test_feeds_the_start_once(start):
    seen = []

    def denoise(x, t):
        seen.append((x, t))
        return x + 1

    shape = (1, 4, 2, 2)
    inputs = {"noise": torch.full(shape, 2.0), "zeros": torch.zeros(shape), "image_latent": torch.ones(shape)}
    result = one_step(denoise, inputs["image_latent"], inputs["noise"], start, 401)
    assert len(seen) == 1
    assert seen[0][1] == 401
    assert torch.equal(seen[0][0], inputs[start])
    assert torch.equal(result, inputs[start] + 1)


def test_refuses_another_start():
    with pytest.raises(SettingError, match="choose one of noise, zeros, image_latent"):
        one_step(lambda x, t: x, torch.zeros(1), torch.zeros(1), "ones", 0)
