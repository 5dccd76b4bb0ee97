import torch

from stablenormal.models.text import ZERO_TOKENS, text_constant


def test_zeros_have_257_tokens_whatever_else_is_asked():
    text = text_constant("zeros", tokens=4, width=1024)
    assert text.shape == (1, ZERO_TOKENS, 1024) == (1, 257, 1024)
    assert not text.any()


def test_a_prompts_stand_in_has_unit_variance():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text = text_constant("prompt", tokens=77, width=64)
    assert text.shape == (1, 77, 64)
    assert abs(text.std().item() - 1) < 0.05
