"""Dropout whose masks cost a fifth of torch's own on a CPU.

torch draws one uniform number per element (`bernoulli_`). Here a 64-bit draw decides four elements: each 16-bit part is
compared with a threshold, so the probability is exact to 2**-16 (and what is kept is scaled by the exact one).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16
ATTENTION = "threshold_dropout"
"""Name under which attention with this dropout is known to transformers."""


def exact_probability(p: float) -> float:
    """Return the nearest probability that 16 bits can tell."""
    return round(p * _LEVELS) / _LEVELS


def keep_mask(shape: torch.Size, p: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Draw a mask of ones (kept) and zeros (dropped, with probability `exact_probability(p)`)."""
    count = math.prod(shape)
    draws = torch.empty((count + 3) // 4, dtype=torch.int64, device=device).random_(-(1 << 63), None)
    parts = draws.view(torch.int16)[:count].view(shape)
    threshold = round(p * _LEVELS) - _LEVELS // 2
    if threshold >= _LEVELS // 2:
        return torch.zeros(shape, dtype=dtype, device=device)
    if dtype == torch.bfloat16:
        # 0x3F80 is bfloat16's 1.0: this way round, torch's slow conversion of booleans to bfloat16 is not needed.
        kept = torch.ge(parts, threshold, out=torch.empty(shape, dtype=torch.int16, device=device))
        return kept.mul_(0x3F80).view(torch.bfloat16)
    return parts.ge(threshold).to(dtype)


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, p: float) -> Tensor:
        mask = keep_mask(values.shape, p, values.dtype, values.device)
        kept = 1.0 - exact_probability(p)
        ctx.save_for_backward(mask)
        ctx.scale = 1.0 / kept if kept else 0.0
        return (values * mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return (gradient * mask).mul_(ctx.scale), None


def threshold_dropout(values: Tensor, p: float) -> Tensor:
    """Drop elements with probability p and scale the others, as `torch.nn.functional.dropout` does in training."""
    return _Dropped.apply(values, p) if p > 0 else values


class ThresholdDropout(nn.Module):
    """`torch.nn.Dropout` with cheap masks."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, values: Tensor) -> Tensor:
        """Drop in training, pass through otherwise."""
        return threshold_dropout(values, self.p) if self.training else values


def use_threshold_dropout(model: nn.Module) -> int:
    """Replace a model's dropout modules, and that of attention where it computes by SDPA.

    Returns:
        How many modules were replaced.
    """
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Dropout
    ]
    for parent, name, child in found:
        setattr(parent, name, ThresholdDropout(child.p))
    if getattr(model.config, "_attn_implementation", None) == "sdpa":
        _register_attention()
        model.set_attn_implementation(ATTENTION)
    return len(found)


def _register_attention() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Compute attention; shapes (batch, heads, tokens, size), the answer's (batch, tokens, heads, size).

    SDPA's fast CPU kernel has no dropout; with it torch falls back to plain operations and its own draws.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    plain = attention_mask is not None or not getattr(module, "is_causal", False)
    if dropout == 0.0 or not plain or key.shape[1] != query.shape[1] or kwargs.get("position_bias") is not None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query * scale, key.transpose(-1, -2))
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
        else:
            scores = scores + attention_mask
    weights = threshold_dropout(torch.softmax(scores, dim=-1, dtype=scores.dtype), dropout)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None
