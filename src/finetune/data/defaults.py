"""What prep takes where it is not told: the task's own data set, its columns and its test splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune.data.problems import LABEL_KINDS
from finetune.data.sources import HubDataset
from finetune.errors import InputError
from finetune.tasks import Task

AUTO = "auto"
NO_HUB_DATASET = "none"
OWN_HUB_DATASET = "benchmark"


@dataclass(frozen=True)
class Asked:
    """What the command line says of the data; `auto` where it leaves it open."""

    data: str | None
    hub_dataset: str
    """A hub id; `none` for data; `benchmark` for the task's own; `auto` for data where there is some, else the own."""
    hub_config: str | None
    hub_revision: str | None
    text_column: str
    text_pair_column: str
    label_column: str
    test_splits: str
    """Separated by commas."""


@dataclass(frozen=True)
class DataSource:
    """Where the data is, and which parts of it are what."""

    source: Path | HubDataset
    columns: Mapping[str, str]
    """The task's text column → the source's."""
    label_column: str
    test_splits: tuple[str, ...]
    """The source's splits that are the test; empty where that is the one of this name."""


def settle_source(asked: Asked, task: Task) -> DataSource:
    """Settle what is left open.

    Raises:
        InputError: no data is named and the task has none of its own, or a split is named twice.
    """
    source, is_own = _source(asked, task)
    benchmark = task.benchmark
    own_columns = {} if benchmark is None else benchmark.columns
    named = dict(zip(task.text_columns, (asked.text_column, asked.text_pair_column), strict=False))
    columns = {name: own_columns.get(name, name) if given == AUTO else given for name, given in named.items()}
    label = asked.label_column
    if label == AUTO:
        label = LABEL_KINDS[task.problem].label_column if benchmark is None else benchmark.label_column
    if asked.test_splits == AUTO:
        splits = benchmark.test_splits if benchmark is not None and is_own else ()
    else:
        splits = tuple(part.strip() for part in asked.test_splits.split(",") if part.strip())
        if not splits or len(set(splits)) != len(splits):
            raise InputError(f"--test_splits {asked.test_splits!r}: expected different names, separated by commas")
    return DataSource(source, columns, label, splits)


def _source(asked: Asked, task: Task) -> tuple[Path | HubDataset, bool]:
    """Return the source, and whether it is the task's own data set."""
    benchmark, hub = task.benchmark, asked.hub_dataset
    if hub == OWN_HUB_DATASET and benchmark is None:
        raise InputError(
            f"--hub_dataset {hub}: the task {task.name} has no data set of its own; give --data, or a hub id"
        )
    if asked.data is not None and hub in (AUTO, NO_HUB_DATASET):
        return Path(asked.data), False
    if hub == NO_HUB_DATASET or (hub == AUTO and benchmark is None):
        raise InputError("neither --data nor --hub_dataset is given; expected one of them")
    if benchmark is not None and hub in (AUTO, OWN_HUB_DATASET, benchmark.hub_dataset):
        config = benchmark.hub_config if asked.hub_config is None else asked.hub_config
        return HubDataset(benchmark.hub_dataset, config, asked.hub_revision), config == benchmark.hub_config
    return HubDataset(hub, asked.hub_config, asked.hub_revision), False
