r"""Prep: read a data set, name its labels, split it, tokenise it once.

Example:
    python components/prep/prep.py --data data/customer_messages --label_column intent --text_column message \
        --dataset build/dataset
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from finetune.checkpoints import EMBEDDED_NAME
from finetune.data.checks.policy import DEFAULT_CHECKS, read_data_checks
from finetune.data.checks.texts import NO_REPAIR, parse_repairs
from finetune.data.defaults import AUTO, Asked, settle_source
from finetune.data.labels import AS_IS
from finetune.data.prepare import PrepareRequest, prepare
from finetune.data.tokenise import WINDOW_OVERLAP
from finetune.errors import InputError
from finetune.stage import parse_arguments, run_stage
from finetune.tasks import TASKS, task_named

NO_COLUMN = "none"


@dataclass(frozen=True)
class PrepArguments:
    """The command line of prep."""

    dataset: str = field(metadata={"help": "output folder: tokenised splits, test texts and dataset.json"})
    train_table: str | None = field(
        default=None, metadata={"help": "output folder: the train split's texts and labels as an MLTable"}
    )
    validation_table: str | None = field(
        default=None, metadata={"help": "output folder: the validation split's, likewise"}
    )
    data: str | None = field(
        default=None,
        metadata={
            "help": "csv, tsv, jsonl (also .gz) or parquet file; a folder of <split>.<format>; or a `datasets` folder"
        },
    )
    hub_dataset: str = field(
        default=AUTO,
        metadata={
            "help": "hub id of a data set, used instead of --data; 'none' for --data; 'benchmark' for the one that the "
            "task is named after; 'auto' for that one where there is no --data"
        },
    )
    hub_config: str | None = field(
        default=None, metadata={"help": "configuration of the hub data set; default: the task's"}
    )
    hub_revision: str | None = field(default=None, metadata={"help": "revision of the hub data set; pin it"})
    task: str = field(default="text-classification", metadata={"help": "row of the task table", "choices": list(TASKS)})
    text_column: str = field(
        default=AUTO, metadata={"help": "column of the text, or of the question; auto: the task's own name for it"}
    )
    text_pair_column: str = field(
        default=AUTO,
        metadata={"help": "column of the second text, or of the context, of tasks that have one; auto likewise"},
    )
    label_column: str = field(
        default=AUTO,
        metadata={
            "help": "column of the label; columns of 0 and 1, separated by commas, for multi-label; auto likewise"
        },
    )
    test_splits: str = field(
        default=AUTO,
        metadata={"help": "splits of the data that are the test, separated by commas; auto: test, or the task's own"},
    )
    label_mapping: str = field(
        default=AS_IS,
        metadata={"help": "'as-is', names ('0:different,1:same') or rating thresholds ('<=2:negative,>=4:positive')"},
    )
    checkpoint: str = field(
        default=EMBEDDED_NAME,
        metadata={"help": "hub id or folder whose tokenizer is used; train takes the same"},
    )
    max_length: int | None = field(
        default=None, metadata={"help": "tokens kept of a row; default: what the model takes, at most 512"}
    )
    doc_stride: int = field(
        default=WINDOW_OVERLAP,
        metadata={"help": "tokens that neighbouring windows of a long context share, at most half of a window"},
    )
    validation_share: float = field(
        default=0.1, metadata={"help": "share of train for validation where the data has no validation split"}
    )
    test_share: float = field(
        default=0.1, metadata={"help": "share of train for test where the data has no test split"}
    )
    seed: int = field(default=42, metadata={"help": "seed of the cuts"})
    data_checks: str | None = field(
        default=None,
        metadata={"help": "data_checks.yml: fail, drop or warn, for each check; default: see docs/data.md"},
    )
    repair: str = field(
        default=NO_REPAIR,
        metadata={
            "help": "what is undone: 'none', or some of 'html', 'encoding' (texts) and 'tags', with commas between"
        },
    )
    slice_columns: str = field(
        default=NO_COLUMN,
        metadata={"help": "further columns to slice the test rows by, separated by commas; 'none' for none"},
    )
    group_column: str = field(
        default=NO_COLUMN,
        metadata={"help": "column whose values should not be in two splits, as a product's id; 'none' for none"},
    )


def main(argv: Sequence[str]) -> None:
    """Run prep."""
    arguments = parse_arguments(PrepArguments, argv, __doc__)
    if not 0 <= arguments.seed < 2**32:
        raise InputError(f"--seed {arguments.seed}: expected 0 to {2**32 - 1}")
    task = task_named(arguments.task)
    found = settle_source(
        Asked(
            data=arguments.data,
            hub_dataset=arguments.hub_dataset,
            hub_config=arguments.hub_config,
            hub_revision=arguments.hub_revision,
            text_column=arguments.text_column,
            text_pair_column=arguments.text_pair_column,
            label_column=arguments.label_column,
            test_splits=arguments.test_splits,
        ),
        task,
    )
    request = PrepareRequest(
        task=task.name,
        source=found.source,
        source_columns=found.columns,
        label_column=found.label_column,
        test_splits=found.test_splits,
        label_mapping=arguments.label_mapping,
        checkpoint=arguments.checkpoint,
        max_length=arguments.max_length,
        doc_stride=arguments.doc_stride,
        validation_share=arguments.validation_share,
        test_share=arguments.test_share,
        seed=arguments.seed,
        checks=DEFAULT_CHECKS if arguments.data_checks is None else read_data_checks(Path(arguments.data_checks)),
        repairs=parse_repairs(arguments.repair),
        slice_columns=parse_columns(arguments.slice_columns),
        group_column=None if arguments.group_column == NO_COLUMN else arguments.group_column,
    )
    tables = {"train": arguments.train_table, "validation": arguments.validation_table}
    asked = {split: Path(folder) for split, folder in tables.items() if folder is not None}
    prepare(request, Path(arguments.dataset), asked)


def parse_columns(text: str) -> tuple[str, ...]:
    """Parse --slice_columns.

    Raises:
        InputError: a column is named twice.
    """
    columns = () if text == NO_COLUMN else tuple(part.strip() for part in text.split(",") if part.strip())
    if len(set(columns)) != len(columns):
        raise InputError(f"--slice_columns {text!r}: a column is named twice")
    return columns


if __name__ == "__main__":
    run_stage(main)
