"""Attention as fast as the machine has it, for diffusers' denoisers and autoencoder and for DINOv2."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stablenormal.models.library import ALL_ATTENTION_FUNCTIONS
from stablenormal.models.processor import has_amx

TRANSFORMERS_NAME = "stablenormal"
"""What transformers knows this attention by."""

_SCORES = 1 << 19
"""Scores of a block, for each thread: they stay in the cache. Wide heads take more, as each block reads all
values anew."""
_SHORTEST = 1024
"""Queries and keys from which blocks pay."""
_LARGEST_SCORE = 32.0
"""Largest score of a block, which is rounded to bfloat16 by 0.06 then; above it PyTorch's kernel runs."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention.

    PyTorch's fused kernel, or in bfloat16 on a CPU without AMX, whose kernel there is no faster than in
    float32, matrix products over blocks of queries, in 0.55 to 0.75 of its time.

    Args:
        query: (B, heads, n, d).
        key: (B, heads, m, d).
        value: (B, heads, m, d).

    Returns:
        (B, heads, n, d).
    """
    if _blocks_pay(query, key):
        blocked: Tensor = attend_in_blocks(query, key, value)
        return blocked
    return functional.scaled_dot_product_attention(query, key, value)


def _blocks_pay(query: Tensor, key: Tensor) -> bool:
    return (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and key.shape[2] >= _SHORTEST
        and query.shape[2] >= _SHORTEST
        and not torch.is_grad_enabled()
    )


@torch.library.custom_op("stablenormal::attend_in_blocks", mutates_args=())
def attend_in_blocks(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As `attend`, one head at a time, in blocks of queries; without gradients.

    The keys' mean is taken off them first: it adds the same to all scores of a query, so the weights stay,
    and what remains is smaller. A head whose scores may still be large goes through PyTorch's kernel.
    """
    if has_amx():  # asked here, where the compiler does not look
        return functional.scaled_dot_product_attention(query, key, value).clone()
    batch, heads, count, channels = query.shape
    result = torch.empty(batch, count, heads, channels, dtype=query.dtype).transpose(1, 2)
    rows = max(32, _SCORES * max(1, channels // 128) // key.shape[2] // 32 * 32) * torch.get_num_threads()
    for image in range(batch):
        for head in range(heads):
            q, k, v = (one[image, head].contiguous() for one in (query, key, value))
            exact = k.float() * channels**-0.5
            centred = (exact - exact.mean(dim=0)).to(k.dtype)
            if float(_longest(q) * _longest(centred)) > _LARGEST_SCORE:
                plain = functional.scaled_dot_product_attention(q[None, None], k[None, None], v[None, None])
                result[image, head] = plain[0, 0]
                continue
            for first in range(0, count, rows):
                weights = functional.linear(q[first : first + rows], centred).softmax(dim=-1)
                result[image, head, first : first + rows] = weights @ v
    return result


@attend_in_blocks.register_fake
def _(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    batch, heads, count, channels = query.shape
    return query.new_empty(batch, count, heads, channels).transpose(1, 2)


def _longest(vectors: Tensor) -> Tensor:
    """Length of the longest of vectors (n, d)."""
    longest: Tensor = torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float32).max()
    return longest


class FastAttention:
    """A diffusers attention processor: `attend`, with keys and values of a constant text computed once.

    They are computed again when the text or the weights are other tensors, or were written to since.
    """

    def __init__(self) -> None:
        self._sources: tuple[Tensor, ...] = ()
        self._stamp: tuple[object, ...] = ()
        self._kept: tuple[Tensor, Tensor] | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """Attend over tokens (B, n, C), or over the pixels of a map (B, C, h, w)."""
        assert attention_mask is None and attn.spatial_norm is None and attn.norm_q is None
        tokens = hidden_states
        if attn.group_norm is not None:
            tokens = attn.group_norm(tokens)
        if hidden_states.ndim == 4:
            tokens = tokens.flatten(2).transpose(1, 2)  # (B, h * w, C)
        if encoder_hidden_states is None:
            key, value = attn.to_k(tokens), attn.to_v(tokens)
        else:
            key, value = self._of_text(attn, encoder_hidden_states)

        def by_head(one: Tensor) -> Tensor:
            return one.view(*one.shape[:2], attn.heads, -1).transpose(1, 2)  # (B, heads, n, d)

        attended = attend(by_head(attn.to_q(tokens)), by_head(key), by_head(value))
        given = attn.to_out[1](attn.to_out[0](attended.transpose(1, 2).flatten(2)))
        if hidden_states.ndim == 4:
            given = given.transpose(1, 2).reshape(hidden_states.shape)
        if attn.residual_connection:
            given = given + hidden_states
        result: Tensor = given / attn.rescale_output_factor if attn.rescale_output_factor != 1 else given
        return result

    def _of_text(self, attn: Any, text: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, tokens, C) of a text (B, tokens, width)."""
        sources = (text, attn.to_k.weight, attn.to_v.weight)
        same_for_all = len(text) == 1 or text.stride(0) == 0
        passing = torch.is_grad_enabled() or torch.compiler.is_compiling()
        if passing or not same_for_all or any(one.is_inference() or one.is_meta for one in sources):
            return attn.to_k(text), attn.to_v(text)
        stamp = tuple((one.data_ptr(), one._version, one.dtype, one.shape[1:]) for one in sources)
        if self._kept is None or stamp != self._stamp:
            self._kept = attn.to_k(text[:1]), attn.to_v(text[:1])
            self._sources, self._stamp = sources, stamp  # which keeps their memory from being used again
        key, value = self._kept
        return key.expand(len(text), -1, -1), value.expand(len(text), -1, -1)


def use_fast_attention(network: nn.Module) -> None:
    """Let a diffusers model attend by `FastAttention`, each layer with one of its own."""
    network.set_attn_processor({name: FastAttention() for name in network.attn_processors})  # type: ignore[operator, union-attr]


def use_fast_transformer(network: Any) -> None:
    """Let a transformers model attend by `attend` where it asks for nothing that this lacks."""
    if TRANSFORMERS_NAME not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register(TRANSFORMERS_NAME, _transformer_attention)
    network.set_attn_implementation(TRANSFORMERS_NAME)


def _transformer_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What transformers calls; returns (B, n, heads, d) and no weights."""
    usual = options.get("scaling") in (None, query.shape[-1] ** -0.5)
    if attention_mask is None and usual and _blocks_pay(query, key):
        return attend_in_blocks(query, key, value).transpose(1, 2), None
    given: tuple[Tensor, None] = ALL_ATTENTION_FUNCTIONS["sdpa"](
        module, query, key, value, attention_mask, **options
    )
    return given
