"""The last layer of an encoder whose head reads the first token alone, computed for that token alone.

Classification heads of the BERT family read the first token's vector. The last layer's queries, output projection and
feed-forward block of all other tokens reach no loss; keys and values do. Leaving the others out saves 10 of the 12
matrices of one layer: a seventh of a model of six layers.
"""

from functools import partial
from typing import Any

from torch import Tensor, nn

FIRST_TOKEN_FAMILIES = frozenset({"bert", "roberta", "xlm-roberta", "electra", "camembert"})
"""Model types whose sequence classifiers read the first token alone, and whose layers are built as BERT's."""


def why_all_tokens(model: nn.Module) -> str | None:
    """Say why a model's last layer must compute all tokens; None when the first is enough."""
    kind = model.config.model_type
    if not type(model).__name__.endswith("ForSequenceClassification"):
        return f"{type(model).__name__} reads every token"
    if kind not in FIRST_TOKEN_FAMILIES:
        return f"heads of {kind} are not known to read the first token alone"
    if model.config.is_decoder or getattr(model.config, "_attn_implementation", "").startswith("flash"):
        return "its attention takes all tokens at once"
    return None


def use_first_token_only(model: nn.Module) -> None:
    """Let the last layer answer for the first token alone: shape (batch, 1, size)."""
    layer = model.base_model.encoder.layer[-1]
    # An attribute of the instance stands before the class's method, also for `__call__`.
    layer.forward = _forward_of(layer)


def use_all_tokens(model: nn.Module) -> None:
    """Undo `use_first_token_only`."""
    model.base_model.encoder.layer[-1].__dict__.pop("forward", None)


def _forward_of(layer: nn.Module) -> Any:
    attend = layer.attention.self

    def compute(hidden_states: Tensor, attention_mask: Tensor | None = None, **ignored: Any) -> Tensor:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        first = hidden_states[:, :1]
        heads, size = attend.num_attention_heads, attend.attention_head_size

        def split(values: Tensor) -> Tensor:
            return values.view(*values.shape[:-1], heads, size).transpose(1, 2)

        interface = ALL_ATTENTION_FUNCTIONS.get_interface(attend.config._attn_implementation, _eager)
        attended, _ = interface(
            attend,
            split(attend.query(first)),
            split(attend.key(hidden_states)),
            split(attend.value(hidden_states)),
            None if attention_mask is None else attention_mask[:, :, :1],
            dropout=attend.dropout.p if attend.training else 0.0,
            scaling=attend.scaling,
        )
        joined = layer.attention.output(attended.reshape(*first.shape[:-1], -1), first)
        return layer.feed_forward_chunk(joined)

    def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        # The class's own forward, which this one stands before, is where transformers checkpoints activations.
        if getattr(layer, "gradient_checkpointing", False) and layer.training:
            return layer._gradient_checkpointing_func(partial(compute, **kwargs), hidden_states, *args[:1])
        return compute(hidden_states, *args[:1], **kwargs)

    return forward


def _eager(*args: Any, **kwargs: Any) -> Any:
    from transformers.models.bert.modeling_bert import eager_attention_forward

    return eager_attention_forward(*args, **kwargs)
