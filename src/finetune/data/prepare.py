"""The whole of prep: source → examples → checks → splits → tokens → folder with manifest."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from finetune.checkpoints import resolve_checkpoint
from finetune.data.checks.copies import GROUP
from finetune.data.checks.finding import Finding
from finetune.data.checks.policy import DEFAULT_CHECKS, DataChecks
from finetune.data.checks.splits import check_lengths, check_rows, check_splits
from finetune.data.columns import select_examples
from finetune.data.examples import Examples
from finetune.data.labels import LabelMapping, parse_label_mapping
from finetune.data.manifest import (
    LABEL,
    SEEN_IN_TRAIN,
    TEST_FILE,
    DatasetManifest,
    SplitSummary,
    examples_sha256,
    slices_sha256,
    write_manifest,
)
from finetune.data.sources import HubDataset, read_hub, read_path
from finetune.data.splits import check_labels, complete_splits, mark_seen_in_train
from finetune.data.tables import write_table
from finetune.data.tokenise import (
    TokenCounter,
    TokenLengths,
    count_tokens,
    load_tokenizer,
    resolve_max_length,
    tokenise,
    tokenizer_sha256,
    write_arrow,
)
from finetune.tasks import Task, task_named

LOGGER = logging.getLogger(__name__)

NO_TABLES: Mapping[str, Path] = MappingProxyType({})


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
    checks: DataChecks = DEFAULT_CHECKS
    repairs: tuple[str, ...] = ()
    slice_columns: tuple[str, ...] = ()
    """Columns of the source to slice the test rows by."""
    group_column: str | None = None


def prepare(request: PrepareRequest, folder: Path, tables: Mapping[str, Path] = NO_TABLES) -> DatasetManifest:
    """Read, check, split and tokenise a data set into a folder.

    The folder gets train.arrow and validation.arrow (tokenised), test.parquet (texts and labels, which only evaluate
    reads) and dataset.json, written last: a folder without it is not a data set.

    Args:
        request: what to read, and how.
        folder: the output folder.
        tables: "train" or "validation" → a folder that gets this split's texts and labels as an MLTable.

    Raises:
        InputError: anything about the source, its columns, labels or splits, or the checkpoint, cannot be used.
    """
    from transformers import AutoConfig

    task = task_named(request.task)
    mapping = parse_label_mapping(request.label_mapping)
    given, findings = _select(request, task, mapping)
    splits = complete_splits(given, request.validation_share, request.test_share, request.seed)
    splits, keys, found = check_splits(splits, task.text_columns, request.checks, request.group_column)
    findings += found
    labels = check_labels(splits)
    seen = {
        split: mark_seen_in_train(keys[split], keys["train"], splits[split], split) for split in ("validation", "test")
    }
    checkpoint = resolve_checkpoint(request.checkpoint)
    tokenizer = load_tokenizer(checkpoint.folder)
    config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
    max_length = resolve_max_length(request.max_length, tokenizer, config)

    folder.mkdir(parents=True, exist_ok=True)
    summaries = {}
    for split, examples in splits.items():
        counter = TokenCounter(tokenizer, max_length)
        if split == "test":
            count_tokens(examples.frame, task.text_columns, counter)
            test = examples.frame.drop(columns=GROUP, errors="ignore").assign(**{SEEN_IN_TRAIN: seen["test"]})
            test.to_parquet(folder / TEST_FILE, index=False)
        else:
            if split in tables:
                write_table(tables[split], examples.frame)
            write_arrow(tokenise(examples.frame, task.text_columns, labels, counter), folder / f"{split}.arrow")
        lengths = counter.counted()
        summaries[split] = _summary(examples, labels, seen.get(split), lengths)
        findings += check_lengths(split, examples, lengths, max_length, request.checks)
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
        findings=tuple(findings),
        repairs=request.repairs,
        slice_columns=request.slice_columns,
        slices_sha256=slices_sha256(test),
    )
    write_manifest(folder, manifest)
    for split, summary in summaries.items():
        counts = ", ".join(f"{label} {count}" for label, count in summary.labels.items())
        dropped = "".join(f"; left out {count}: {reason}" for reason, count in summary.dropped.items())
        LOGGER.info("%s: %d rows (%s)%s", split, summary.rows, counts, dropped)
    return manifest


def _select(request: PrepareRequest, task: Task, mapping: LabelMapping) -> tuple[dict[str, Examples], list[Finding]]:
    """Read the source and check each of its splits by itself."""
    columns = {name: request.source_columns[name] for name in task.text_columns}
    group = [] if request.group_column is None else [request.group_column]
    wanted = {*columns.values(), request.label_column, *request.slice_columns, *group}
    source = request.source
    tables = read_hub(source, wanted) if isinstance(source, HubDataset) else read_path(source, wanted)
    given, findings = {}, list[Finding]()
    for split in list(tables):
        # Popped, so that the rows as they were read need not stay in memory beside those that are kept.
        examples, found = select_examples(
            tables.pop(split),
            columns,
            request.label_column,
            mapping,
            split,
            request.checks,
            request.repairs,
            request.slice_columns,
            request.group_column,
        )
        findings += found
        if examples.frame.empty:
            LOGGER.warning("%s: no row has a label; the split is not used", examples.origin)
            continue
        examples, found = check_rows(split, examples, task.text_columns, request.checks)
        findings += found
        given[split] = examples
    return given, findings


def _summary(
    examples: Examples, labels: tuple[str, ...], seen: pd.Series | None, lengths: TokenLengths
) -> SplitSummary:
    counts = examples.frame[LABEL].value_counts()
    return SplitSummary(
        origin=Path(examples.origin).name,
        rows=len(examples.frame),
        labels={label: int(counts.get(label, 0)) for label in labels},
        dropped=dict(examples.dropped),
        sha256=examples_sha256(examples.frame),
        seen_in_train=0 if seen is None else int((seen == "exact").sum()),
        nearly_seen_in_train=0 if seen is None else int((seen == "normalised").sum()),
        tokens_mean=lengths.mean,
        truncated_share=lengths.truncated_share,
        token_lengths=dict(lengths.histogram),
        tokens_longest=lengths.longest,
    )
