"""Which step of a run belongs to which epoch and rows, and after which of them something is due."""

import math
from dataclasses import dataclass

import numpy as np

from finetune.errors import InputError
from finetune.training.arguments import TrainArguments
from finetune.training.batches import epoch_order


@dataclass(frozen=True)
class Schedule:
    """The steps of a run; all of it follows from the arguments and the number of rows."""

    rows: int
    batch_size: int
    """Rows in an optimiser step, over all processes."""
    steps: int
    """Optimiser steps in all."""
    eval_steps: int | None
    share: int
    """Rows of a step that fall on one process, at most."""

    @classmethod
    def of(cls, arguments: TrainArguments, rows: int, processes: int) -> "Schedule":
        """Work the schedule out.

        Raises:
            InputError: there are no rows, or the global batch cannot be split evenly.
        """
        at_once = arguments.per_device_train_batch_size * processes
        batch_size = arguments.global_batch_size or at_once
        if batch_size % processes:
            raise InputError(
                f"--global_batch_size {batch_size}: expected a multiple of the {processes} processes that share it"
            )
        in_epoch = math.ceil(rows / batch_size)
        steps = arguments.max_steps or math.ceil(arguments.epochs * in_epoch)
        if steps == 0 or rows == 0:
            raise InputError(f"no training step can be taken: {rows} rows, {arguments.epochs:g} epochs")
        return cls(rows, batch_size, steps, arguments.eval_steps, batch_size // processes)

    @property
    def steps_in_epoch(self) -> int:
        """Steps of one pass over the rows."""
        return math.ceil(self.rows / self.batch_size)

    def epoch(self, step: int) -> float:
        """Return how many passes over the rows so many steps are."""
        return step / self.steps_in_epoch

    def evaluation_due(self, step: int) -> bool:
        """Whether the model is measured when so many steps have been taken."""
        if step == 0:
            return False
        if step == self.steps or step % self.steps_in_epoch == 0:
            return True
        return self.eval_steps is not None and step % self.eval_steps == 0


class Order:
    """The rows of each step; an epoch's order is made when its first step is asked for."""

    def __init__(self, schedule: Schedule, lengths: np.ndarray, grouped: bool, seed: int) -> None:
        self._schedule, self._lengths, self._grouped, self._seed = schedule, lengths, grouped, seed
        self._epoch = -1
        self._rows = np.zeros(0, dtype=np.int64)

    def batch(self, step: int) -> np.ndarray:
        """Return the row numbers of a step, counted from 0."""
        epoch, position = divmod(step, self._schedule.steps_in_epoch)
        if epoch != self._epoch:
            size = self._schedule.batch_size
            self._rows = epoch_order(self._lengths, size, self._grouped, self._seed, epoch)
            self._epoch = epoch
        start = position * self._schedule.batch_size
        return self._rows[start : start + self._schedule.batch_size]
