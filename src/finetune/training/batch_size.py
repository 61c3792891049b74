"""How many rows a process computes at a time: the most that fit its memory, found by trial.

An optimiser step has the same rows however they are cut, so that what comes of training does not depend on the machine.

The Trainer's `auto_find_batch_size` (accelerate's `find_executable_batch_size`) is another thing: it only goes down,
begins the training again after each failure, and changes the rows of an optimiser step. On a CPU it waits for an error,
where the system ends the process instead; here a size is tried only when the one before says that it fits.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from finetune.errors import InputError
from finetune.training.batches import Padding, TokenRows, collate, tensors_to
from finetune.training.network import autocast
from finetune.training.optimisation import trained_parameters
from finetune.training.problems import Head, answered
from finetune.training.processes import Processes
from finetune.training.room import TOO_SMALL, Room, is_out_of_memory, room_of

_GIB = 2**30


@dataclass(frozen=True)
class RowsAtATime:
    """A number of rows and why it is this one."""

    rows: int
    reason: str


def find_rows_at_a_time(
    most: int, model: nn.Module, processes: Processes, compute: Callable[[int], None]
) -> RowsAtATime:
    """Find the most rows that fit the memory of every process.

    Args:
        most: rows of a step that fall on one process.
        model: what is trained, not yet wrapped for several processes.
        processes: all of them take part.
        compute: as `trials` gives it.

    Raises:
        InputError: one row does not fit.
    """
    room = room_of(processes.device, processes.count)
    mine = largest_that_fits(most, room, bytes_to_come(model, processes.count), compute)
    found = processes.gather((mine.rows, mine.reason))
    return RowsAtATime(*min(found))


def largest_that_fits(most: int, room: Room, to_come: int, compute: Callable[[int], None]) -> RowsAtATime:
    """Double the rows from one on, as long as they fit.

    Args:
        most: rows that are of use.
        room: the memory.
        to_come: bytes that training takes beside what `compute` does.
        compute: does what a step does with so many rows, the longest ones.

    Raises:
        InputError: one row does not fit.
    """
    limit = room.limit() - to_come
    # What the first time leaves behind, as gradients, does not grow with the rows.
    fits = _computed(compute, 1)
    before = room.held()
    if not (fits and _computed(compute, 1)):
        raise InputError(TOO_SMALL)
    size, peak = 1, room.peak()
    said = "as many as a step has"
    while size < most:
        following = min(2 * size, most)
        expected = before + (peak - before) * following / size
        if expected > limit:
            said = f"{following} would need up to {expected / _GIB:.2f}"
            break
        if not _computed(compute, following):
            said = f"{following} ran out of memory"
            break
        peak = room.peak()
        if peak > limit:
            said = f"{following} took {peak / _GIB:.2f}"
            break
        size = following
    return RowsAtATime(size, f"found by trial on the longest rows, within {limit / _GIB:.2f} GiB: {said}")


def _computed(compute: Callable[[int], None], rows: int) -> bool:
    try:
        compute(rows)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def bytes_to_come(model: nn.Module, processes: int) -> int:
    """Return what training takes that no trial does: AdamW's two moments, and gradients on their way to others."""
    copies = 2 if processes == 1 else 3
    return sum(copies * each.numel() * each.element_size() for each in trained_parameters(model).values())


@contextmanager
def trials(
    model: nn.Module, rows: TokenRows, padding: Padding, head: Head, precision: str, device: torch.device
) -> Iterator[Callable[[int], None]]:
    """Give what computes loss and gradients of the longest rows, and leave no trace of it.

    Weights are not changed and the optimiser is not asked; gradients are removed, buffers and chance put back.
    """
    longest = np.argsort(-rows.lengths, kind="stable")
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    training = model.training

    def compute(count: int) -> None:
        # Zeroed and not removed: they take their memory in every trial after the first.
        model.zero_grad(set_to_none=False)
        batch = tensors_to(collate(rows, longest[:count], padding, pin=False), device)
        with autocast(precision, device):
            logits = answered(model, batch, head)
        head.loss(logits, batch, 0.0).backward()

    chance = random.getstate(), np.random.get_state()
    model.train()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield compute
    finally:
        random.setstate(chance[0])
        np.random.set_state(chance[1])
        model.train(training)
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
        if device.type == "cuda":
            torch.cuda.empty_cache()
