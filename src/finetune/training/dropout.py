"""Dropout whose masks cost a fifth of torch's own on a CPU.

torch draws one uniform number per element (`bernoulli_`). Here a 64-bit draw decides four elements: each 16-bit part is
compared with a threshold, so the probability is exact to 2**-16 (and what is kept is scaled by the exact one).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_LEVELS = 1 << 16
_VECTOR, _WIDE = 32, 128
"""Widths for which torch's softmax of bfloat16 is fast: multiples of the one, and what reaches the other."""
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
    replaced = replace_dropout_modules(model)
    if getattr(model.config, "_attn_implementation", None) == "sdpa":
        _register_attention()
        model.set_attn_implementation(ATTENTION)
    return replaced


def replace_dropout_modules(model: nn.Module) -> int:
    """Replace every `torch.nn.Dropout`; return how many there were."""
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Dropout
    ]
    for parent, name, child in found:
        setattr(parent, name, ThresholdDropout(child.p))
    return len(found)


def _register_attention() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, _mask)


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """Make SDPA's mask; where it only hides padding it is a view of one row, which `_Attention` adds in one pass."""
    from transformers.masking_utils import bidirectional_mask_function, sdpa_mask

    mask = sdpa_mask(*args, **kwargs)
    if mask is None or kwargs.get("mask_function") is not bidirectional_mask_function:
        return mask
    return mask[:, :, :1].expand(mask.shape)


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
    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    return _Attention.apply(*(each.to(dtype) for each in (query, key, value)), attention_mask, dropout, scale), None


class _Attention(torch.autograd.Function):
    """Attention with threshold dropout, in as few passes over the scores as torch's own operations allow.

    The same products in the same order as one operation after the other. Saved: the weights and the mask, not their
    product as well; a mask of padding is added as one row; nothing masks gradients of weights that are 0.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float, scale: float
    ) -> Tensor:
        batch, heads, tokens = query.shape[:3]
        width, kept = key.shape[2], 1.0 - exact_probability(p)
        query = _product(query, scale).flatten(0, 1)
        # A batched product is slow on what projections leave: heads and tokens in the other order.
        key, value = key.flatten(0, 1).contiguous(), value.flatten(0, 1).contiguous()
        scores = torch.bmm(query, key.transpose(1, 2)).view(batch, heads, tokens, width)
        if scores.dtype == torch.bfloat16 and width < _WIDE and width % _VECTOR:
            # torch's softmax of bfloat16 takes such rows value by value: twice the time of converting them.
            scores = scores.float()
        weights = torch.softmax(_hide(scores, mask), dim=-1).to(query.dtype)
        del scores
        drawn = keep_mask(weights.shape, p, weights.dtype, weights.device)
        ctx.save_for_backward(query, key, value, weights, drawn)
        ctx.scale, ctx.kept = scale, 1.0 / kept if kept else 0.0
        attended = torch.bmm((weights * drawn).flatten(0, 1), value).view(batch, heads, tokens, -1)
        return _product(attended.transpose(1, 2), ctx.kept)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, drawn = ctx.saved_tensors
        batch, heads = weights.shape[:2]

        def split(values: Tensor) -> Tensor:
            return values.unflatten(0, (batch, heads))

        gradient = _product(gradient.transpose(1, 2), ctx.kept).flatten(0, 1)
        of_value = torch.bmm((weights * drawn).flatten(0, 1).transpose(1, 2), gradient)
        of_weights = split(torch.bmm(gradient, value.transpose(1, 2))).mul_(drawn)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype).flatten(0, 1)
        of_query = torch.bmm(of_scores, key).mul_(ctx.scale)
        of_key = torch.bmm(of_scores.transpose(1, 2), query)
        return split(of_query), split(of_key), split(of_value), None, None, None


def _product(values: Tensor, factor: float) -> Tensor:
    """Return the product, laid out in the order of its dimensions whatever the order of `values`."""
    return torch.mul(values, factor, out=torch.empty(values.shape, dtype=values.dtype, device=values.device))


def _hide(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Lower the scores, in place, where a mask of booleans says False, or by a mask of numbers."""
    if mask is None:
        return scores
    if mask.dtype != torch.bool:
        return scores.add_(mask)
    lowest = torch.finfo(scores.dtype).min
    if mask.shape[-2] > 1 and mask.stride(-2) != 0:
        return scores.masked_fill_(~mask, lowest)
    row = mask[..., :1, :]
    return scores.add_(torch.zeros(row.shape, dtype=scores.dtype, device=row.device).masked_fill_(~row, lowest))
