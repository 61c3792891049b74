r"""Adapt AutoML's model: bring it into the form that evaluate, register and deploy take.

Example:
    python components/adapt_automl/adapt_automl.py --automl_model build/best_model --dataset build/dataset \
        --training_table build/train_table --model build/automl_model
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from finetune.automl.adapt import adapt
from finetune.data.manifest import read_manifest
from finetune.stage import parse_arguments, run_stage


@dataclass(frozen=True)
class AdaptArguments:
    """The command line of adapt_automl."""

    automl_model: str = field(metadata={"help": "MLflow model folder that AutoML handed on"})
    dataset: str = field(metadata={"help": "folder that prep wrote"})
    training_table: str = field(metadata={"help": "MLTable folder that AutoML was trained on"})
    model: str = field(metadata={"help": "output folder: the same model, answering as train's models do"})
    pickled_model: Literal["refuse", "load"] = field(
        default="refuse",
        metadata={"help": "whether a pickled model is opened, which runs whatever code its file holds"},
    )


def main(argv: Sequence[str]) -> None:
    """Run adapt_automl."""
    arguments = parse_arguments(AdaptArguments, argv, __doc__)
    manifest = read_manifest(Path(arguments.dataset))
    automl, table, model = map(Path, (arguments.automl_model, arguments.training_table, arguments.model))
    adapt(automl, table, manifest, model, arguments.pickled_model)


if __name__ == "__main__":
    run_stage(main)
