"""Logging to MLflow within the limits that Azure ML's backend sets."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import mlflow
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.errors import InputError

LOGGER = logging.getLogger(__name__)

MAX_PARAMETERS = 200
"""Azure ML refuses more parameters than this in one run."""
MAX_VALUE_LENGTH = 500
"""Azure ML refuses longer parameter values."""


def log_parameters(parameters: Mapping[str, Any]) -> None:
    """Log parameters to the active run; longer values are cut to what Azure ML accepts.

    Raises:
        ValueError: there are more than `MAX_PARAMETERS`; the caller has to choose, not this function.
    """
    if len(parameters) > MAX_PARAMETERS:
        raise ValueError(f"{len(parameters)} parameters; Azure ML takes {MAX_PARAMETERS} in a run")
    mlflow.log_params({name: str(value)[:MAX_VALUE_LENGTH] for name, value in parameters.items()})


class MetricsCallback(TrainerCallback):
    """Sends the Trainer's figures to MLflow, and stops a run whose loss is no longer a number.

    Names: training figures keep the Trainer's (loss, grad_norm, learning_rate); validation figures are
    "validation/<metric>". The step is the optimiser step.
    """

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Log what the Trainer logs."""
        figures = {
            name.replace("eval_", "validation/", 1) if name.startswith("eval_") else name: float(value)
            for name, value in (logs or {}).items()
            if isinstance(value, int | float)
        }
        loss = figures.get("loss")
        if loss is not None and not math.isfinite(loss):
            raise InputError(
                f"training diverged: the loss is {loss} at step {state.global_step}; lower --learning_rate "
                f"(now {args.learning_rate}) or use --precision fp32"
            )
        if state.is_world_process_zero:
            mlflow.log_metrics(figures, step=state.global_step)
            shown = {k: f"{v:.4g}" for k, v in figures.items() if not k.endswith(("per_second", "flos"))}
            LOGGER.info("step %d/%d %s", state.global_step, state.max_steps, shown)
