"""One optimiser step: forward and backward over this process's shares, clipping, update."""

import logging
import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from finetune.data.tokenise import IGNORED_LABEL
from finetune.errors import InputError
from finetune.training.arguments import TrainArguments
from finetune.training.batches import Padding, Share, TokenRows, collate, shares, tensors_to
from finetune.training.network import autocast
from finetune.training.problems import Head, answered
from finetune.training.processes import Processes
from finetune.training.room import TOO_SMALL, is_out_of_memory

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepFigures:
    """What a step was like, on this process; `loss` adds up over processes."""

    loss: float
    """This process's part of the mean loss of the step's rows."""
    gradient_norm: float
    """Before clipping; of all processes' gradients together."""
    rows: int
    tokens: int
    """Real tokens, without padding."""
    computed: int
    """Tokens computed, with padding."""


class Stepper:
    """Takes optimiser steps."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        rows: TokenRows,
        padding: Padding,
        arguments: TrainArguments,
        precision: str,
        processes: Processes,
        head: Head,
        rows_at_a_time: int | None = None,
    ) -> None:
        self.model = model
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=precision == "fp16")
        # By default what the arguments say.
        self.micro_batch = rows_at_a_time or arguments.per_device_train_batch_size
        self._optimizer, self._rows, self._padding = optimizer, rows, padding
        self._arguments, self._precision, self._processes = arguments, precision, processes
        self._head = head
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def take(self, batch: np.ndarray, step: int, learning_rate: float) -> StepFigures:
        """Take step number `step` on the rows of a global batch.

        Chance (dropout) is seeded anew by (seed, step, process), so a step taken again, after a resume or with a
        smaller batch, draws what it drew before.

        Raises:
            InputError: not even one row at a time fits the memory, or the batch does not fit and other processes wait.
        """
        while True:
            try:
                mine = shares(batch, self.micro_batch, self._processes.rank, self._processes.count)
                seed_chance(self._arguments.seed, step, self._processes.rank)
                loss, tokens, computed = self._backward(mine, self._items(batch))
                break
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._lower_batch(error)
        norm = self._update(learning_rate)
        return StepFigures(loss, norm, sum(len(each.rows) for each in mine if each.counts), tokens, computed)

    def _backward(self, mine: Sequence[Share], items: int) -> tuple[float, int, int]:
        processes = self._processes
        total = torch.zeros((), device=processes.device)
        tokens = computed = 0
        for number, share in enumerate(mine):
            batch = collate(self._rows, share.rows, self._padding, pin=processes.device.type == "cuda")
            last = number == len(mine) - 1
            waiting = nullcontext() if processes.count == 1 or last else self.model.no_sync()
            with waiting:
                with autocast(self._precision, processes.device):
                    logits = answered(self.model, (moved := tensors_to(batch, processes.device)), self._head)
                loss = self._head.loss(logits, moved, self._arguments.label_smoothing_factor or 0.0)
                # Each item counts alike, however rows fall on shares and processes (whose gradients are averaged).
                weight = 1 / items if share.counts else 0.0
                self.scaler.scale(loss * (weight * processes.count)).backward()
            total += loss.detach() * weight
            if share.counts:
                tokens += int(self._rows.lengths[share.rows].sum())
                computed += batch["input_ids"].numel()
        return float(total), tokens, computed

    def _update(self, learning_rate: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self.scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self._trained, self._arguments.max_grad_norm, foreach=True)
        self.scaler.step(self._optimizer)
        self.scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def _items(self, batch: np.ndarray) -> int:
        """Count what the mean loss of a global batch is a mean of: rows, or labelled tokens."""
        if not self._head.labelled_tokens:
            return len(batch)
        return max(1, sum(int((self._rows.row(int(row))["labels"] != IGNORED_LABEL).sum()) for row in batch))

    def _lower_batch(self, error: RuntimeError) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        smaller = self.micro_batch // 2
        if smaller == 0:
            raise InputError(f"{TOO_SMALL} ({error})") from None
        if self._processes.count > 1:
            raise InputError(
                f"{self.micro_batch} rows at a time do not fit the memory; {smaller} may: "
                f"--per_device_train_batch_size {smaller} with the same --global_batch_size gives the same result"
            ) from None
        torch.cuda.empty_cache()  # nothing without a GPU
        LOGGER.warning(
            "%d rows at a time do not fit the memory; from here on %d, with as many rows in a step as before",
            self.micro_batch,
            smaller,
        )
        self.micro_batch = smaller


def seed_chance(seed: int, step: int, rank: int) -> None:
    """Seed python, numpy and torch for one step of one process."""
    mixed = int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)
