"""The text condition c: computed once, stored with the weights, constant ever after."""

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizerFast

from stablenormal.models.spec import TextCondition

PROMPT = "The normal map"
ZERO_TOKENS = 257


def text_constant(kind: TextCondition, tokens: int, width: int) -> Tensor:
    """A text condition (1, tokens, width) for weights that never saw a text encoder.

    Zeros are (1, 257, width), as released weights of v1.5 and later take; a prompt's stand-in is Gaussian,
    from the global random state.
    """
    return torch.zeros(1, ZERO_TOKENS, width) if kind == "zeros" else torch.randn(1, tokens, width)


def encode_prompt(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizerFast, prompt: str) -> Tensor:
    """Encode a prompt as Stable Diffusion does: padded to the tokenizer's full length, last hidden state.

    Returns:
        The text condition (1, tokens, width).
    """
    ids = tokenizer(
        prompt,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    with torch.no_grad():
        hidden: Tensor = text_encoder(ids).last_hidden_state
    return hidden
