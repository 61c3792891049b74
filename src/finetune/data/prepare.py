"""The whole of prep: source → examples → checks → splits → tokens → folder with manifest."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from finetune.checkpoints import resolve_checkpoint
from finetune.data.checks.copies import GROUP
from finetune.data.checks.finding import Finding
from finetune.data.checks.policy import DEFAULT_CHECKS, DataChecks
from finetune.data.checks.splits import check_lengths, check_rows, check_splits
from finetune.data.checks.texts import TAGS
from finetune.data.columns import label_columns_of, select_examples
from finetune.data.examples import Examples
from finetune.data.labels import LabelMapping, parse_label_mapping
from finetune.data.manifest import (
    LABEL,
    SEEN_IN_TRAIN,
    TEST_FILE,
    VALIDATION_FILE,
    DatasetManifest,
    SplitSummary,
    annotations_sha256,
    examples_sha256,
    slice_column,
    write_manifest,
)
from finetune.data.problems import LABEL_KINDS, LabelKind, check_mapping
from finetune.data.sources import HubDataset, SourceTable, read_hub, read_path
from finetune.data.splits import check_labels, complete_splits, count_names, mark_seen_in_train
from finetune.data.tables import write_table
from finetune.data.tokenise import (
    WINDOW_OVERLAP,
    TokenCounter,
    TokenLengths,
    check_offsets,
    load_tokenizer,
    resolve_max_length,
    resolve_overlap,
    tokenise,
    tokenizer_sha256,
    without_read_back,
    write_arrow,
)
from finetune.errors import InputError
from finetune.tasks import Task, task_named

LOGGER = logging.getLogger(__name__)
SPLIT = "split"
"""The slice of test rows that says which of several test splits they are of."""

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
    test_splits: tuple[str, ...] = ()
    """The source's splits that are the test; by default the one of this name."""
    doc_stride: int = WINDOW_OVERLAP
    """Tokens that neighbouring windows of a long text share."""


def prepare(request: PrepareRequest, folder: Path, tables: Mapping[str, Path] = NO_TABLES) -> DatasetManifest:
    """Read, check, split and tokenise a data set into a folder.

    The folder gets train.arrow and validation.arrow (tokenised), test.parquet (texts and labels, which only evaluate
    reads) and dataset.json, written last: a folder without it is not a data set. Where answers are pieces of the text
    there is validation.parquet, too.

    Args:
        request: what to read, and how.
        folder: the output folder.
        tables: "train" or "validation" → a folder that gets this split's texts and labels as an MLTable.

    Raises:
        InputError: anything about the source, its columns, labels or splits, or the checkpoint, cannot be used.
    """
    from transformers import AutoConfig

    task = task_named(request.task)
    kind = LABEL_KINDS[task.problem]
    mapping = parse_label_mapping(request.label_mapping)
    check_mapping(kind, mapping, request.label_mapping)
    if request.repairs and not kind.repairs:
        raise InputError(
            f"--repair {','.join(request.repairs)}: answers are places in the text as it is; expected none"
        )
    if TAGS in request.repairs and not kind.tags:
        raise InputError(f"--repair {TAGS}: the labels of {task.name} are no tags; expected html or encoding")
    given, findings = _select(request, task, mapping, kind)
    splits = complete_splits(given, request.validation_share, request.test_share, request.seed, kind)
    splits, keys, found = check_splits(splits, task.text_columns, request.checks, request.group_column, kind)
    findings += found
    labels = check_labels(splits, kind)
    _check_positive(task, labels)
    seen = {
        split: mark_seen_in_train(keys[split], keys["train"], splits[split], split) for split in ("validation", "test")
    }
    checkpoint = resolve_checkpoint(request.checkpoint)
    tokenizer = load_tokenizer(checkpoint.folder)
    if kind.offsets:
        check_offsets(tokenizer, request.checkpoint)
    config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
    max_length = resolve_max_length(request.max_length, tokenizer, config, kind.most_tokens)
    overlap = resolve_overlap(request.doc_stride, max_length) if kind.windows else None

    folder.mkdir(parents=True, exist_ok=True)
    summaries = {}
    for split, examples in splits.items():
        counter = TokenCounter(tokenizer, max_length, overlap)
        encode = partial(kind.encode, text_columns=task.text_columns, labels=labels, counter=counter)
        batches = tokenise(examples.frame, encode)
        if split == "test":
            for _ in batches:
                pass  # Counted, and handed on as text.
            test = examples.frame.drop(columns=GROUP, errors="ignore").assign(**{SEEN_IN_TRAIN: seen["test"]})
            test.to_parquet(folder / TEST_FILE, index=False)
        else:
            if split in tables:
                write_table(tables[split], examples.frame)
            write_arrow(batches if split == "validation" else without_read_back(batches), folder / f"{split}.arrow")
        if split == "validation" and kind.windows:
            examples.frame[[*task.text_columns, LABEL]].to_parquet(folder / VALIDATION_FILE, index=False)
        lengths = counter.counted()
        summaries[split] = _summary(examples, labels, seen.get(split), lengths, kind)
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
        slice_columns=(*request.slice_columns, *([SPLIT] if len(request.test_splits) > 1 else [])),
        annotations_sha256=annotations_sha256(test),
        window_overlap=overlap,
    )
    write_manifest(folder, manifest)
    for split, summary in summaries.items():
        counts = ", ".join(f"{label} {count}" for label, count in summary.labels.items())
        dropped = "".join(f"; left out {count}: {reason}" for reason, count in summary.dropped.items())
        LOGGER.info("%s: %d rows%s%s", split, summary.rows, f" ({counts})" if counts else "", dropped)
    return manifest


def _select(
    request: PrepareRequest, task: Task, mapping: LabelMapping, kind: LabelKind
) -> tuple[dict[str, Examples], list[Finding]]:
    """Read the source and check each of its splits by itself."""
    columns = {name: request.source_columns[name] for name in task.text_columns}
    group = [] if request.group_column is None else [request.group_column]
    labels = label_columns_of(request.label_column, kind)
    wanted = {*columns.values(), *labels, *request.slice_columns, *group}
    source, several = request.source, len(request.test_splits) > 1
    if several and SPLIT in request.slice_columns:
        raise InputError(f"--slice_columns {SPLIT}: the test splits have this name already; expected another column")
    read: Callable[..., dict[str, SourceTable]] = read_hub if isinstance(source, HubDataset) else read_path
    tables = read(source, wanted, request.test_splits)
    parts, findings = dict[str, list[Examples]](), list[Finding]()
    for name in list(tables):
        split = "test" if name in request.test_splits else name
        # Popped, so that the rows as they were read need not stay in memory beside those that are kept.
        examples, found = select_examples(
            tables.pop(name),
            columns,
            request.label_column,
            mapping,
            split,
            request.checks,
            request.repairs,
            request.slice_columns,
            request.group_column,
            kind,
        )
        findings += found
        if examples.frame.empty:
            LOGGER.warning("%s: no row has a label; the split is not used", examples.origin)
            continue
        if several and split == "test":
            examples = replace(examples, frame=examples.frame.assign(**{slice_column(SPLIT): name}))
        parts.setdefault(split, []).append(examples)
    given = {}
    for split, several_parts in parts.items():
        examples, found = check_rows(split, _joined(several_parts), task.text_columns, request.checks, kind)
        findings += found
        given[split] = examples
    return given, findings


def _joined(parts: Sequence[Examples]) -> Examples:
    """Return parts of a split as one, rows counted on through them."""
    if len(parts) == 1:
        return parts[0]
    frames, before = [], 0
    dropped: Counter[str] = Counter()
    for part in parts:
        frames.append(part.frame.set_axis(part.frame.index + before))
        before = int(frames[-1].index[-1]) + 1
        dropped.update(part.dropped)
    return Examples(pd.concat(frames), " + ".join(part.origin for part in parts), dict(dropped))


def _check_positive(task: Task, labels: Sequence[str]) -> None:
    if task.positive_label is not None and task.positive_label not in labels:
        raise InputError(
            f"--task {task.name}: its f1 is that of the label {task.positive_label!r}; train has {', '.join(labels)}; "
            "name it by --label_mapping"
        )


def _summary(
    examples: Examples, labels: tuple[str, ...], seen: pd.Series | None, lengths: TokenLengths, kind: LabelKind
) -> SplitSummary:
    counts = count_names(examples.frame[LABEL], kind)
    return SplitSummary(
        origin=Path(examples.origin).name,
        rows=len(examples.frame),
        labels={label: counts[label] for label in labels},
        dropped=dict(examples.dropped),
        sha256=examples_sha256(examples.frame),
        seen_in_train=0 if seen is None else int((seen == "exact").sum()),
        nearly_seen_in_train=0 if seen is None else int((seen == "normalised").sum()),
        tokens_mean=lengths.mean,
        truncated_share=lengths.truncated_share,
        token_lengths=dict(lengths.histogram),
        tokens_longest=lengths.longest,
        label_mean=float(examples.frame[LABEL].astype(float).mean()) if kind.numbers else None,
    )
