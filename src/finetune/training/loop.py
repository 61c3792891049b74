"""The training loop: steps, validations and checkpoints, from wherever the run stands."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from finetune.errors import InputError
from finetune.tracking import RunLog
from finetune.training.arguments import BEST, TrainArguments
from finetune.training.contents import SCORE
from finetune.training.divergence import DivergenceWatch
from finetune.training.interruption import InterruptedTrainingError, Interruption
from finetune.training.optimisation import learning_rate_at, optimizer_tensors, restore_optimizer, trained_parameters
from finetune.training.processes import Processes
from finetune.training.progress import Progress
from finetune.training.saving import Checkpoint, CheckpointFolder
from finetune.training.schedule import Order, Schedule
from finetune.training.step import Stepper
from finetune.training.validation import Validation

LOGGER = logging.getLogger(__name__)


@dataclass
class RunState:
    """Where a run stands; what a checkpoint says besides tensors."""

    step: int = 0
    """Optimiser steps taken."""
    evaluations: dict[int, dict[str, float]] = field(default_factory=dict)
    """Step → validation figures."""
    best_step: int | None = None
    seconds: float = 0.0
    """Spent in training steps, over all processes that had a part in the run."""
    rows: int = 0
    """Rows trained on."""
    first_losses: list[float] = field(default_factory=list)
    """What later losses are compared with, to notice divergence."""
    resumed: list[int] = field(default_factory=list)
    """Steps from which the run went on after it had been ended."""


@dataclass(frozen=True)
class Parts:
    """What the loop works with."""

    model: nn.Module
    """The plain model; `stepper` may hold it wrapped for several processes."""
    optimizer: torch.optim.Optimizer
    stepper: Stepper
    schedule: Schedule
    order: Order
    validation: Validation
    folder: CheckpointFolder
    processes: Processes
    interruption: Interruption
    log: RunLog | None
    """None on all processes but the first."""
    identity: Mapping[str, Any]
    """What decides the run's result; a checkpoint of a run with another one is not taken."""


def train(
    arguments: TrainArguments, parts: Parts, state: RunState, on_step: Callable[[int], None] | None = None
) -> None:
    """Train from where `state` stands to the end; weights and state are changed in place.

    Raises:
        InputError: training diverged, or the memory is too small.
        InterruptedTrainingError: SIGTERM came; a checkpoint was saved.
    """
    schedule, processes = parts.schedule, parts.processes
    watch = DivergenceWatch(arguments.divergence_factor, arguments.learning_rate, state.first_losses)
    progress = Progress(schedule.steps, state.step)
    saved_at, saved_step = time.monotonic(), state.step
    before_seconds, before_rows = state.seconds, state.rows
    parts.model.train()
    while True:
        began = time.perf_counter()
        if schedule.evaluation_due(state.step) and state.step not in state.evaluations:
            _evaluate(parts, state)
        # All processes have to save and to end after the same step: they do what any of them wants.
        late = time.monotonic() - saved_at >= arguments.checkpoint_seconds
        wishes = processes.sum([float(parts.interruption.requested), float(late)])
        interrupted = wishes[0] > 0
        due = arguments.checkpoint_steps is not None and state.step % arguments.checkpoint_steps == 0
        if interrupted or (saved_step < state.step < schedule.steps and (due or wishes[1] > 0)):
            save_checkpoint(parts, state)
            saved_at, saved_step = time.monotonic(), state.step
        if interrupted:
            raise InterruptedTrainingError(
                f"SIGTERM after step {state.step} of {schedule.steps}: a checkpoint was saved; started again on the "
                "same checkpoints output, the run goes on from there"
            )
        progress.leave_out(time.perf_counter() - began)
        if state.step == schedule.steps:
            return
        rate = learning_rate_at(state.step, schedule.steps, arguments)
        taken = parts.stepper.take(parts.order.batch(state.step), state.step, rate)
        loss, rows, tokens, computed = processes.sum([taken.loss, taken.rows, taken.tokens, taken.computed])
        state.step += 1
        watch.see(loss, state.step)
        rates = progress.figures(int(rows), int(tokens), int(computed))
        state.seconds, state.rows = before_seconds + progress.seconds, before_rows + progress.rows
        if parts.log is not None:
            figures = {"loss": loss, "learning_rate": rate, "grad_norm": taken.gradient_norm, **rates}
            parts.log.metrics({**figures, "epoch": schedule.epoch(state.step)}, state.step)
            progress.show(state.step, figures)
        if on_step is not None:
            on_step(state.step)


def _evaluate(parts: Parts, state: RunState) -> None:
    figures = parts.validation.measure(parts.model, parts.processes, lambda: parts.interruption.requested)
    if figures is None:
        return
    best = state.evaluations.get(state.best_step, {}).get(SCORE) if state.best_step is not None else None
    state.evaluations[state.step] = figures
    if best is None or figures[SCORE] > best:
        state.best_step = state.step
        if parts.processes.first:
            parts.folder.save_best(state.step, saved_tensors(parts.model))
            parts.folder.forget_old_best(state.best_step)
    if parts.log is not None:
        named = {f"validation/{name}": value for name, value in figures.items() if name != SCORE}
        parts.log.metrics({**named, SCORE: figures[SCORE]}, state.step, at_once=True)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        LOGGER.info("validation after step %d: %s", state.step, shown)


def saved_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return what training changes: trained parameters and the buffers that belong to the model."""
    buffers = {name for name, _ in model.named_buffers()}
    kept = {name: value for name, value in model.state_dict().items() if name in buffers}
    return {**kept, **trained_parameters(model)}


def restore_tensors(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `saved_tensors` returned.

    Raises:
        InputError: the tensors are those of another model.
    """
    expected = saved_tensors(model)
    if expected.keys() != tensors.keys() or any(expected[name].shape != tensors[name].shape for name in expected):
        raise InputError("the checkpoint's weights are not those of this model; give an empty checkpoints folder")
    with torch.no_grad():
        for name, value in expected.items():
            value.copy_(tensors[name])


def save_checkpoint(parts: Parts, state: RunState) -> None:
    """Save the run's state; only the first process writes."""
    if not parts.processes.first:
        return
    began = time.perf_counter()
    if parts.log is not None:
        # Figures of steps before the checkpoint are not seen again.
        parts.log.keep()
    saved = parts.folder.save(
        Checkpoint(
            state.step,
            saved_tensors(parts.model),
            optimizer_tensors(parts.model, parts.optimizer),
            {
                "evaluations": {str(step): figures for step, figures in state.evaluations.items()},
                "best_step": state.best_step,
                "seconds": state.seconds,
                "rows": state.rows,
                "first_losses": state.first_losses,
                "resumed": state.resumed,
                "loss_scale": parts.stepper.scaler.state_dict(),
                "micro_batch": parts.stepper.micro_batch,
                "mlflow_run": None if parts.log is None else parts.log.run_id,
                "identity": dict(parts.identity),
            },
        )
    )
    LOGGER.info("%s saved in %.1f s", saved.name, time.perf_counter() - began)


def restore(parts: Parts, checkpoint: Checkpoint) -> RunState:
    """Put weights, optimiser and loss scale back; return where the run stands.

    Raises:
        InputError: the checkpoint is another run's.
    """
    restore_tensors(parts.model, checkpoint.weights)
    restore_optimizer(parts.model, parts.optimizer, dict(checkpoint.optimizer))
    stored = checkpoint.state
    if stored["loss_scale"]:
        parts.stepper.scaler.load_state_dict(stored["loss_scale"])
    parts.stepper.micro_batch = stored["micro_batch"]
    return RunState(
        checkpoint.step,
        {int(step): figures for step, figures in stored["evaluations"].items()},
        stored["best_step"],
        stored["seconds"],
        stored["rows"],
        stored["first_losses"],
        [*stored["resumed"], checkpoint.step],
    )


def kept_step(arguments: TrainArguments, state: RunState) -> int:
    """Return the step whose weights are saved as the model."""
    best = state.best_step
    return best if arguments.keep_weights == BEST and best is not None else state.step
