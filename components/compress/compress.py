r"""Compress: hand on the fastest form of a trained model that keeps its score on validation.

Forms are the model as an ONNX graph, and that graph with 8-bit integers, quantised dynamically or statically. Where
none is usable the model is handed on as it is, with the reasons: that is no error.

Example:
    python components/compress/compress.py --dataset build/dataset --model build/model --compressed build/compressed
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from finetune.compression.compress import AUTO, FORMS, NONE, CompressRequest, compress
from finetune.errors import InputError
from finetune.stage import parse_arguments, run_stage


@dataclass(frozen=True)
class CompressArguments:
    """The command line of compress."""

    dataset: str = field(metadata={"help": "folder that prep wrote"})
    model: str = field(metadata={"help": "MLflow model folder that train wrote"})
    compressed: str = field(metadata={"help": "output folder: the chosen form as an MLflow model"})
    method: str = field(
        default=AUTO,
        metadata={
            "help": "auto chooses among all forms; a form's name leaves the others out; none keeps the model as it is",
            "choices": [AUTO, *FORMS, NONE],
        },
    )
    maximum_loss: float = field(
        default=0.01, metadata={"help": "share of the model's score on validation that may be lost"}
    )
    calibration_rows: int = field(
        default=128, metadata={"help": "rows of train that the ranges of activations are taken from"}
    )
    timed_rows: int = field(default=64, metadata={"help": "rows of validation that are timed, one at a time"})


def main(argv: Sequence[str]) -> None:
    """Run compress."""
    arguments = parse_arguments(CompressArguments, argv, __doc__)
    if not (0 <= arguments.maximum_loss < 1 and math.isfinite(arguments.maximum_loss)):
        raise InputError(f"--maximum_loss {arguments.maximum_loss}: expected a share from 0 to below 1, as 0.01")
    for name in ("calibration_rows", "timed_rows"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name} {getattr(arguments, name)}: expected at least 1")
    request = CompressRequest(
        Path(arguments.dataset),
        Path(arguments.model),
        arguments.method,
        arguments.maximum_loss,
        arguments.calibration_rows,
        arguments.timed_rows,
    )
    compress(request, Path(arguments.compressed))


if __name__ == "__main__":
    run_stage(main)
