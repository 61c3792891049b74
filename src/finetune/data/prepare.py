"""The whole of prep: source → examples → splits → tokens → folder with manifest."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from finetune.checkpoints import resolve_checkpoint
from finetune.data.columns import Examples, select_examples
from finetune.data.labels import parse_label_mapping
from finetune.data.manifest import (
    LABEL,
    SEEN_IN_TRAIN,
    TEST_FILE,
    DatasetManifest,
    SplitSummary,
    examples_sha256,
    write_manifest,
)
from finetune.data.sources import HubDataset, read_hub, read_path
from finetune.data.splits import check_labels, complete_splits, mark_seen_in_train
from finetune.data.tokenise import (
    load_tokenizer,
    mean_length,
    resolve_max_length,
    tokenise,
    tokenizer_sha256,
    write_arrow,
)
from finetune.tasks import task_named

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrepareRequest:
    """What prep is asked for; the component's arguments explain the fields."""

    task: str
    source: Path | HubDataset
    source_columns: Mapping[str, str]
    """The task's column name → the source's."""
    label_column: str
    label_mapping: str
    checkpoint: str
    max_length: int | None
    validation_share: float
    test_share: float
    seed: int


def prepare(request: PrepareRequest, folder: Path) -> DatasetManifest:
    """Read, check, split and tokenise a data set into a folder.

    The folder gets train.arrow and validation.arrow (tokenised), test.parquet (texts and labels, which only evaluate
    reads) and dataset.json, written last: a folder without it is not a data set.

    Raises:
        InputError: anything about the source, its columns, labels or splits, or the checkpoint, cannot be used.
    """
    from transformers import AutoConfig

    task = task_named(request.task)
    mapping = parse_label_mapping(request.label_mapping)
    columns = {name: request.source_columns[name] for name in task.text_columns}
    tables = read_hub(request.source) if isinstance(request.source, HubDataset) else read_path(request.source)
    given = {split: select_examples(table, columns, request.label_column, mapping) for split, table in tables.items()}
    splits = complete_splits(given, request.validation_share, request.test_share, request.seed)
    labels = check_labels(splits)
    seen = mark_seen_in_train(splits, task.text_columns)
    checkpoint = resolve_checkpoint(request.checkpoint)
    tokenizer = load_tokenizer(checkpoint.folder)
    config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
    max_length = resolve_max_length(request.max_length, tokenizer, config)

    folder.mkdir(parents=True, exist_ok=True)
    summaries = {}
    for split in ("train", "validation"):
        table, truncated = tokenise(splits[split].frame, task.text_columns, labels, tokenizer, max_length)
        write_arrow(table, folder / f"{split}.arrow")
        summary = _summary(splits[split], labels, seen.get(split))
        summaries[split] = replace(summary, tokens_mean=mean_length(table), truncated_share=truncated)
    splits["test"].frame.assign(**{SEEN_IN_TRAIN: seen["test"]}).to_parquet(folder / TEST_FILE, index=False)
    summaries["test"] = _summary(splits["test"], labels, seen["test"])
    manifest = DatasetManifest(
        task=task.name,
        text_columns=task.text_columns,
        labels=labels,
        splits=summaries,
        checkpoint=request.checkpoint,
        tokenizer_sha256=tokenizer_sha256(tokenizer),
        max_length=max_length,
        source=request.source.name,
        label_mapping=request.label_mapping,
        seed=request.seed,
    )
    write_manifest(folder, manifest)
    for split, summary in summaries.items():
        counts = ", ".join(f"{label} {count}" for label, count in summary.labels.items())
        dropped = "".join(f"; left out {count}: {reason}" for reason, count in summary.dropped.items())
        LOGGER.info("%s: %d rows (%s)%s", split, summary.rows, counts, dropped)
        if summary.seen_in_train or summary.nearly_seen_in_train:
            message = "%s: the texts of %d rows occur in train too, those of %d more but for case and punctuation"
            LOGGER.warning(message, split, summary.seen_in_train, summary.nearly_seen_in_train)
    return manifest


def _summary(examples: Examples, labels: tuple[str, ...], seen: pd.Series | None) -> SplitSummary:
    counts = examples.frame[LABEL].value_counts()
    return SplitSummary(
        origin=Path(examples.origin).name,
        rows=len(examples.frame),
        labels={label: int(counts.get(label, 0)) for label in labels},
        dropped=dict(examples.dropped),
        sha256=examples_sha256(examples.frame),
        seen_in_train=0 if seen is None else int((seen == "exact").sum()),
        nearly_seen_in_train=0 if seen is None else int((seen == "normalised").sum()),
    )
