import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from stablenormal.models.semantic_encoder import IMAGENET_MEAN, IMAGENET_STD, SemanticEncoder


def test_gives_patch_tokens_after_the_final_norm_in_raster_order(toy, generator):
    image = torch.rand(2, 3, 28, 28, generator=generator) * 2 - 1
    features = toy.semantic_encoder(image)
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    network = toy.semantic_encoder.network
    pixels = (image + 1) / 2
    states = network(pixel_values=(pixels - mean) / std, output_hidden_states=True).hidden_states[-1]
    tokens = network.layernorm(states)
    assert features.shape == (2, 12, 2, 2)
    for patch in range(4):
        torch.testing.assert_close(features[:, :, patch // 2, patch % 2], tokens[:, 1 + patch])


def test_any_image_is_resized_to_the_input_size(toy, generator):
    image = torch.rand(1, 3, 40, 90, generator=generator) * 2 - 1
    assert toy.semantic_encoder(image).shape == (1, 12, 2, 2)
    network = Dinov2Model(
        Dinov2Config(hidden_size=12, num_hidden_layers=1, num_attention_heads=2, patch_size=16, image_size=32)
    )
    larger = SemanticEncoder(network, input_size=64)
    assert larger.channels == 12
    assert larger(image).shape == (1, 12, 4, 4)


@pytest.fixture
def seen_by_network(toy):
    """What the network is given, back in [0, 1]."""
    seen = []
    toy.semantic_encoder.network.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True
    )
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)

    def see(image):
        toy.semantic_encoder(image)
        return seen[-1] * std + mean

    return see


def test_resize_aligns_corners(seen_by_network):
    """A ramp over 14 pixels spans 28: one step is 1 / 27 with aligned corners (1 / 26 without)."""
    ramp = torch.linspace(-1, 1, 14).view(1, 1, 1, 14).expand(1, 3, 14, 14)
    row = seen_by_network(ramp)[0, 0, 0]
    assert (row[14] - row[13]).item() == pytest.approx(1 / 27, abs=1e-4)


def test_resize_is_antialiased(seen_by_network):
    """Stripes of one pixel become grey, not a pattern."""
    stripes = (torch.arange(140) % 2 * 2.0 - 1).expand(1, 3, 140, 140)
    inner = seen_by_network(stripes)[..., 4:-4, 4:-4]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.5), atol=0.03, rtol=0)
