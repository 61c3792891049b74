"""The losses of all heads, computed in fp32 from whatever format the model answers in.

Each is a sum over a batch's items (rows, windows or labelled tokens), so that the mean over a step does not depend on
how its rows fall on batches and processes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from finetune.data.tokenise import IGNORED_LABEL


def class_loss(logits: Sequence[Tensor], batch: Mapping[str, Tensor], smoothing: float) -> Tensor:
    """Return the cross entropy of labels, shape (rows,), or (rows, tokens) where some may be left out."""
    return functional.cross_entropy(
        logits[0].flatten(0, -2),
        batch["labels"].flatten(),
        ignore_index=IGNORED_LABEL,
        label_smoothing=smoothing,
        reduction="sum",
    )


def flag_loss(logits: Sequence[Tensor], batch: Mapping[str, Tensor], smoothing: float) -> Tensor:
    """Return the rows' binary cross entropies, each the mean over all labels."""
    loss = functional.binary_cross_entropy_with_logits(logits[0], batch["labels"], reduction="none")
    return loss.mean(dim=-1).sum()


def number_loss(logits: Sequence[Tensor], batch: Mapping[str, Tensor], smoothing: float) -> Tensor:
    """Return the squared errors."""
    return functional.mse_loss(logits[0][:, 0], batch["labels"], reduction="sum")


def span_loss(logits: Sequence[Tensor], batch: Mapping[str, Tensor], smoothing: float) -> Tensor:
    """Return the mean cross entropies of an answer's first and last token; padding cannot be either."""
    loss = torch.zeros((), device=logits[0].device)
    for places, target in zip(logits, ("start_positions", "end_positions"), strict=True):
        possible = places.masked_fill(batch["attention_mask"] == 0, torch.finfo(places.dtype).min)
        loss = loss + functional.cross_entropy(possible, batch[target], reduction="sum") / 2
    return loss
