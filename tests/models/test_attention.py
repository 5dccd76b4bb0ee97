"""Attention in blocks, and the processor that keeps a constant text's keys and values."""

import pytest
import torch
from torch.nn import functional

from stablenormal.models import attention
from stablenormal.models.attention import FastAttention, attend, attend_in_blocks


def random(*shape, seed=0, scale=1.0):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).bfloat16()


class TestBlocks:
    @pytest.mark.parametrize("shape", [(2, 3, 70, 8), (1, 1, 300, 160)])
    def test_as_exact_attention(self, shape, monkeypatch):
        monkeypatch.setattr(attention, "_SCORES", 1)  # the smallest blocks: several, the last one short
        q, k, v = (random(*shape, seed=seed) for seed in range(3))
        k = k + 3  # a mean to take off
        exact = functional.scaled_dot_product_attention(q.float(), k.float(), v.float())
        blocked = attend_in_blocks(q, k, v)
        assert blocked.shape == exact.shape and blocked.dtype == torch.bfloat16
        assert (blocked - exact).abs().max() < 0.02

    def test_large_scores_go_through_the_kernel(self):
        q, k, v = (random(1, 2, 40, 8, seed=seed, scale=20) for seed in range(3))
        torch.testing.assert_close(
            attend_in_blocks(q, k, v), functional.scaled_dot_product_attention(q, k, v), rtol=0, atol=0
        )

    def test_a_head_of_large_scores_leaves_the_others_alone(self):
        q, k, v = (random(1, 2, 40, 8, seed=seed) for seed in range(3))
        alone = attend_in_blocks(q, k, v)[:, 1]
        q[:, 0] *= 100
        assert torch.equal(attend_in_blocks(q, k, v)[:, 1], alone)

    @torch.no_grad()
    def test_used_where_they_pay(self, monkeypatch):
        called = []
        monkeypatch.setattr(attention, "attend_in_blocks", lambda q, k, v: called.append(1) or v)
        long, short = random(1, 1, 1024, 8), random(1, 1, 64, 8)
        for one in (long, short, long.float()):
            attend(one, one, one)
        with torch.enable_grad():
            attend(long, long, long)
        assert len(called) == 1

    def test_amx_has_a_kernel_of_its_own(self, monkeypatch):
        q, k, v = (random(1, 2, 40, 8, seed=seed) for seed in range(3))
        kernel = functional.scaled_dot_product_attention(q, k, v)
        monkeypatch.setattr(attention, "has_amx", lambda: False)
        assert not torch.equal(attend_in_blocks(q, k, v), kernel)
        monkeypatch.setattr(attention, "has_amx", lambda: True)
        assert torch.equal(attend_in_blocks(q, k, v), kernel)


class TestProcessor:
    @pytest.fixture
    def layer(self, toy):
        """A layer that attends to the text."""
        unet = toy.refiner.unet.requires_grad_(False)
        attention.use_fast_attention(unet)
        return unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2

    def test_a_network_gives_what_it_gave(self, toy, generator):
        sample, text = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 3, 8, generator=generator)
        unet = toy.refiner.unet.eval()
        before = unet(sample, 5, text).sample
        attention.use_fast_attention(unet)
        torch.testing.assert_close(unet(sample, 5, text).sample, before)

    def test_an_autoencoder_with_attention_gives_what_it_gave(self, generator):
        from dataclasses import replace

        from stablenormal.models.architecture import TOY
        from stablenormal.models.building import build_autoencoder

        autoencoder = build_autoencoder(replace(TOY.autoencoder, mid_attention=True)).eval()
        latent = torch.randn(2, 4, 3, 5, generator=generator)
        before = autoencoder.decode(latent).sample
        attention.use_fast_attention(autoencoder)
        torch.testing.assert_close(autoencoder.decode(latent).sample, before)

    def test_a_transformer_gives_what_it_gave(self, toy, generator):
        image = torch.rand(1, 3, 20, 20, generator=generator)
        encoder = toy.semantic_encoder.eval()
        before = encoder(image)
        attention.use_fast_transformer(encoder.network)
        torch.testing.assert_close(encoder(image), before)

    @torch.no_grad()
    def test_keys_of_a_constant_text_are_computed_once(self, layer, generator):
        calls = []
        layer.to_k.register_forward_hook(lambda *given: calls.append(1))
        text = torch.randn(1, 3, 8, generator=generator)
        tokens = torch.randn(2, 5, 8, generator=generator)
        first = layer(tokens, encoder_hidden_states=text.expand(2, -1, -1))
        second = layer(tokens, encoder_hidden_states=text.expand(2, -1, -1))
        assert len(calls) == 1 and torch.equal(first, second)

    @torch.no_grad()
    @pytest.mark.parametrize("changed", ["text", "weight", "other text"])
    def test_what_changed_is_computed_again(self, layer, generator, changed):
        text = torch.randn(1, 3, 8, generator=generator)
        tokens = torch.randn(1, 5, 8, generator=generator)
        layer(tokens, encoder_hidden_states=text)
        if changed == "text":
            text.mul_(2)
        elif changed == "weight":
            layer.to_v.weight.mul_(2)
        else:
            text = text * 2
        fresh = FastAttention()
        expected = fresh(layer, tokens, text)
        assert torch.equal(layer(tokens, encoder_hidden_states=text), expected)

    def test_gradients_reach_the_text(self, layer, generator):
        text = torch.randn(1, 3, 8, generator=generator, requires_grad=True)
        tokens = torch.randn(1, 5, 8, generator=generator)
        with torch.no_grad():
            layer(tokens, encoder_hidden_states=text)
        layer(tokens, encoder_hidden_states=text).sum().backward()
        assert text.grad is not None and text.grad.abs().sum() > 0
