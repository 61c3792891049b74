r"""Train: fine-tune a checkpoint on the data set that prep wrote; one trial of the sweep.

Every field of transformers.TrainingArguments is an argument too.

Example:
    python components/train/train.py --dataset build/dataset --model build/model --output_dir build/checkpoints \
        --learning_rate 1e-4 --num_train_epochs 2
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import HfArgumentParser, TrainingArguments

from finetune.checkpoints import EMBEDDED_NAME
from finetune.errors import InputError
from finetune.stage import HelpFormatter, run_stage
from finetune.training.contents import SCORE
from finetune.training.fit import FitRequest, fit
from finetune.training.precision import AUTO, PRECISIONS, Precision, choose_precision

DEFAULTS: dict[str, Any] = {
    "learning_rate": 1e-4,
    "num_train_epochs": 3.0,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 64,
    "weight_decay": 0.01,
    "warmup_steps": 0.1,
    "train_sampling_strategy": "group_by_length",
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 1,
    "save_only_model": True,
    "load_best_model_at_end": True,
    "metric_for_best_model": SCORE,
    "greater_is_better": True,
    "logging_steps": 10,
    # The filter would show the last good loss in the place of one that is no number.
    "logging_nan_inf_filter": False,
    "disable_tqdm": True,
}
"""Where this project differs from TrainingArguments' own defaults."""


@dataclass(frozen=True)
class TrainArguments:
    """What train takes besides transformers.TrainingArguments."""

    dataset: str = field(metadata={"help": "folder that prep wrote"})
    model: str = field(metadata={"help": "output folder: the MLflow model"})
    checkpoint: str = field(default=EMBEDDED_NAME, metadata={"help": "hub id or folder to start from"})
    max_epochs: float | None = field(
        default=None,
        metadata={"help": "upper limit of --num_train_epochs, for a sweep that chooses the epochs"},
    )
    precision: str = field(
        default=AUTO,
        metadata={"help": "auto chooses from the hardware; or fp32, bf16, fp16", "choices": PRECISIONS},
    )


def make_parser(precision: Precision) -> HfArgumentParser:
    """Return the parser with this project's defaults and the chosen precision's switches."""
    parser = HfArgumentParser(
        [TrainArguments, TrainingArguments],
        usage="train.py --dataset FOLDER --model FOLDER --output_dir FOLDER [--checkpoint ID] [any training argument]",
        description=__doc__,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(
        **DEFAULTS,
        bf16=precision.name == "bf16",
        fp16=precision.name == "fp16",
        # TrainingArguments takes bf16 on a CPU only when it is told that the CPU is meant.
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    return parser


def parse(argv: Sequence[str]) -> tuple[TrainArguments, TrainingArguments, Precision]:
    """Parse the command line.

    Raises:
        InputError: `TrainingArguments` refuses the values; its reason is passed on.
    """
    # TrainingArguments checks bf16 against the hardware when it is made, so the precision is settled before.
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--precision", default=AUTO, choices=PRECISIONS)
    precision = choose_precision(early.parse_known_args(argv)[0].precision)
    parser = make_parser(precision)
    try:
        own, training = parser.parse_args_into_dataclasses(list(argv), look_for_args_file=False)
        _check_amounts(own, training)
        if own.max_epochs is not None and training.num_train_epochs > own.max_epochs:
            training = replace(training, num_train_epochs=own.max_epochs)
    except ValueError as error:
        raise InputError(f"the arguments cannot be used: {error}") from None
    return own, training, settled_precision(precision, training)


def _check_amounts(own: TrainArguments, training: TrainingArguments) -> None:
    """Refuse what TrainingArguments takes and no training comes of."""
    amounts = {
        "learning_rate": training.learning_rate,
        "num_train_epochs": training.num_train_epochs,
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "max_epochs": own.max_epochs,
    }
    for name, amount in amounts.items():
        if amount is not None and not (amount > 0 and math.isfinite(amount)):
            raise ValueError(f"--{name} {amount}: expected a number above 0")


def settled_precision(chosen: Precision, training: TrainingArguments) -> Precision:
    """Return the precision that training runs in: --bf16 and --fp16 overrule what was chosen."""
    name = "bf16" if training.bf16 else "fp16" if training.fp16 else "fp32"
    return chosen if name == chosen.name else Precision(name, "as requested by --bf16 and --fp16")


def main(argv: Sequence[str]) -> None:
    """Run one trial."""
    own, training, precision = parse(argv)
    fit(FitRequest(Path(own.dataset), own.checkpoint, Path(own.model), precision), training)


if __name__ == "__main__":
    run_stage(main)
