"""What train takes: one dataclass, read from the command line; component.yml says the same."""

import math
from dataclasses import dataclass, field, fields

from finetune.checkpoints import EMBEDDED_NAME
from finetune.errors import InputError
from finetune.training.precision import AUTO, PRECISIONS

NEVER, ALWAYS = "never", "always"
BEST, LAST = "best", "last"


@dataclass(frozen=True)
class TrainArguments:
    """The arguments of one training run."""

    dataset: str = field(metadata={"help": "folder that prep wrote"})
    model: str = field(metadata={"help": "output folder: the MLflow model"})
    checkpoints: str = field(
        metadata={
            "help": "output folder: checkpoints; a run started again on the same folder goes on from the last one"
        }
    )
    checkpoint: str = field(default=EMBEDDED_NAME, metadata={"help": "hub id or folder to start from"})
    learning_rate: float = field(default=1e-4, metadata={"help": "peak learning rate"})
    num_train_epochs: float = field(default=3.0, metadata={"help": "passes over the training split"})
    max_epochs: float | None = field(
        default=None,
        metadata={"help": "upper limit of --num_train_epochs, for a sweep that chooses the epochs"},
    )
    max_steps: int | None = field(default=None, metadata={"help": "optimiser steps, in the place of epochs"})
    per_device_train_batch_size: int = field(
        default=32,
        metadata={"help": "rows that one process computes at a time; halved when they do not fit the memory"},
    )
    auto_find_batch_size: str = field(
        default=AUTO,
        metadata={
            "help": "find by trial how many rows of a step fit the memory at a time; auto does so on a GPU",
            "choices": [AUTO, NEVER, ALWAYS],
        },
    )
    global_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "rows in an optimiser step over all processes, by gradient accumulation; "
            "without it, what the processes compute at a time"
        },
    )
    per_device_eval_batch_size: int = field(default=64, metadata={"help": "rows in a validation batch, per process"})
    weight_decay: float = field(default=0.01, metadata={"help": "AdamW's weight decay; biases and norms have none"})
    warmup_steps: float = field(default=0.1, metadata={"help": "steps of warm-up; below 1, their share of all steps"})
    lr_scheduler_type: str = field(
        default="linear",
        metadata={
            "help": "how the learning rate falls after the warm-up",
            "choices": ["linear", "cosine", "constant_with_warmup"],
        },
    )
    label_smoothing_factor: float | None = field(
        default=None, metadata={"help": "share of the label's weight given to all labels"}
    )
    max_grad_norm: float = field(default=1.0, metadata={"help": "gradients with a larger norm are scaled down to it"})
    eval_steps: int | None = field(
        default=None, metadata={"help": "validate every so many steps as well as after each epoch"}
    )
    keep_weights: str = field(
        default=BEST,
        metadata={
            "help": "weights to save: those of the best validation or those of the last step",
            "choices": [BEST, LAST],
        },
    )
    seed: int = field(default=42, metadata={"help": "seed of the head's weights, the row order and dropout"})
    precision: str = field(
        default=AUTO,
        metadata={"help": "auto chooses from the hardware; or fp32, bf16, fp16", "choices": list(PRECISIONS)},
    )
    attention: str = field(
        default=AUTO,
        metadata={
            "help": "attention kernel; auto takes FlashAttention on a GPU that has it, else SDPA",
            "choices": [AUTO, "sdpa", "eager", "flash_attention_2"],
        },
    )
    batching: str = field(
        default="length_grouped",
        metadata={"help": "rows of like length together, or in random order", "choices": ["length_grouped", "random"]},
    )
    dropout: str = field(
        default=AUTO,
        metadata={
            "help": "how dropout's masks are drawn: torch's own, or thresholds of 16 bits; auto takes these on a CPU",
            "choices": [AUTO, "native", "threshold"],
        },
    )
    last_layer: str = field(
        default=AUTO,
        metadata={
            "help": "what the last layer computes: all tokens, or the first alone where the head reads no other",
            "choices": [AUTO, "all_tokens", "first_token"],
        },
    )
    matmul_precision: str = field(
        default=AUTO,
        metadata={"help": "torch.set_float32_matmul_precision", "choices": [AUTO, "highest", "high", "medium"]},
    )
    freed_memory: str = field(
        default=AUTO,
        metadata={
            "help": "what becomes of memory that a step has freed; auto keeps it for the next one on a CPU",
            "choices": [AUTO, "kept", "returned"],
        },
    )
    optimizer: str = field(
        default=AUTO,
        metadata={"help": "AdamW as one fused kernel, or tensor by tensor", "choices": [AUTO, "fused", "foreach"]},
    )
    compile: str = field(
        default=AUTO,
        metadata={
            "help": "torch.compile; auto compiles where it pays back its own time",
            "choices": [AUTO, NEVER, ALWAYS],
        },
    )
    gradient_checkpointing: str = field(
        default=NEVER,
        metadata={"help": "compute activations twice instead of keeping them", "choices": [NEVER, ALWAYS]},
    )
    lora_rank: int | None = field(default=None, metadata={"help": "train low-rank adapters of this rank, and the head"})
    lora_alpha: int = field(default=16, metadata={"help": "adapters count by this over their rank"})
    lora_dropout: float = field(default=0.05, metadata={"help": "dropout before the adapters"})
    freeze_layers: int | None = field(
        default=None, metadata={"help": "leave the embeddings and so many of the first layers as they are"}
    )
    checkpoint_seconds: float = field(default=300.0, metadata={"help": "seconds of training between checkpoints"})
    checkpoint_steps: int | None = field(default=None, metadata={"help": "checkpoint every so many steps as well"})
    keep_checkpoints: int = field(default=2, metadata={"help": "checkpoints to keep; older ones are removed"})
    resume: str = field(
        default=AUTO,
        metadata={"help": "auto goes on from the last whole checkpoint; never starts anew", "choices": [AUTO, NEVER]},
    )
    divergence_factor: float = field(
        default=4.0,
        metadata={"help": "stop when the mean loss of 20 steps exceeds that of the first 20 by this factor"},
    )
    distributed_timeout_seconds: float = field(
        default=600.0, metadata={"help": "how long a process waits for the others before it gives up"}
    )

    @property
    def epochs(self) -> float:
        """Passes over the training split, within the upper limit."""
        return self.num_train_epochs if self.max_epochs is None else min(self.num_train_epochs, self.max_epochs)


_ABOVE_ZERO = (
    *("learning_rate", "num_train_epochs", "max_epochs", "max_steps", "per_device_train_batch_size", "eval_steps"),
    *("global_batch_size", "per_device_eval_batch_size", "max_grad_norm", "lora_rank", "lora_alpha", "freeze_layers"),
    *("checkpoint_seconds", "checkpoint_steps", "keep_checkpoints", "divergence_factor", "distributed_timeout_seconds"),
)
_SHARES = ("label_smoothing_factor", "lora_dropout")
_NOT_NEGATIVE = ("weight_decay", "warmup_steps")

_OF_THE_PLACE = frozenset(
    {
        *("dataset", "model", "checkpoints", "max_epochs", "num_train_epochs", "resume", "distributed_timeout_seconds"),
        *("checkpoint_seconds", "checkpoint_steps", "keep_checkpoints", "per_device_eval_batch_size"),
        "auto_find_batch_size",
    }
)
"""Fields that may differ between a run and the one that goes on with it."""


def check_arguments(arguments: TrainArguments) -> None:
    """Refuse amounts that no training comes of, before anything is loaded.

    Raises:
        InputError: the argument, its value, and what was expected.
    """
    for name in _ABOVE_ZERO:
        amount = getattr(arguments, name)
        if amount is not None and not (amount > 0 and math.isfinite(amount)):
            raise InputError(f"--{name} {amount}: expected a number above 0")
    for name in _SHARES:
        share = getattr(arguments, name)
        if share is not None and not 0 <= share < 1:
            raise InputError(f"--{name} {share}: expected a number from 0 to below 1")
    for name in _NOT_NEGATIVE:
        amount = getattr(arguments, name)
        if not (amount >= 0 and math.isfinite(amount)):
            raise InputError(f"--{name} {amount}: expected 0 or a number above")
    if arguments.lora_rank is not None and arguments.freeze_layers is not None:
        raise InputError("--lora_rank and --freeze_layers: adapters freeze every layer already; give one of them")


def shaping_arguments(arguments: TrainArguments) -> dict[str, object]:
    """Return what decides a run's result, by name: a run goes on only where all of it is the same."""
    values = {each.name: getattr(arguments, each.name) for each in fields(arguments) if each.name not in _OF_THE_PLACE}
    return {**values, "epochs": arguments.epochs}
