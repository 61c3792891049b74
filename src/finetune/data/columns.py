"""From a source's columns to the task's: chosen, checked, labelled."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from finetune.data.checks.copies import GROUP
from finetune.data.checks.finding import Finding
from finetune.data.checks.findings import Problem, settle
from finetune.data.checks.policy import DEFAULT_CHECKS, DataChecks
from finetune.data.checks.tags import with_begins
from finetune.data.checks.texts import ENCODING, TAGS, UNDECODED, repair
from finetune.data.examples import Examples
from finetune.data.label_values import is_missing, strings_in
from finetune.data.labels import LabelMapping
from finetune.data.manifest import LABEL, slice_column
from finetune.data.problems import LABEL_KINDS, LabelKind
from finetune.data.sources import SourceTable
from finetune.errors import InputError

NO_VALUE = "missing"
"""The slice and the group of rows whose column says nothing."""
NO_RATING = "no threshold covers the rating"
_HALF_CHARACTER = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Surrogates that no byte stands for."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def select_examples(
    table: SourceTable,
    columns: Mapping[str, str],
    label_column: str,
    mapping: LabelMapping,
    split: str = "train",
    policy: DataChecks = DEFAULT_CHECKS,
    repairs: Sequence[str] = (),
    slice_columns: Sequence[str] = (),
    group_column: str | None = None,
    kind: LabelKind = LABEL_KINDS["single_label"],
) -> tuple[Examples, list[Finding]]:
    """Pick a split's columns and read its labels.

    Rows whose rating no threshold covers are left out and counted. Rows that nothing can be learnt from (bytes that are
    no UTF-8, no text, no label) go the way of the policy; anything else that is odd is an error, because a silent guess
    here costs a training run.

    Args:
        table: the split as it was read.
        columns: the task's column name → the source's column name.
        label_column: the source's label column; where the kind allows it, several columns separated by commas.
        mapping: what the label values are called.
        split: its name, for findings.
        policy: what to do about rows that cannot be used.
        repairs: what is undone in texts and tags: see `finetune.data.checks.texts`.
        slice_columns: further columns of the source whose values are kept, to slice the test rows by.
        group_column: a column of the source whose values should not be in two splits.
        kind: what labels are.

    Returns:
        The rows, whose index is their place in the source, and what was found. No row is left when none has a label.

    Raises:
        InputError: a column is missing, holds something else than text, or is empty throughout; a label is not one, is
            not covered by the mapping, or does not go with its text; the policy says fail.
    """
    if table.frame.empty:
        raise InputError(f"{table.origin}: no rows; expected at least one")
    label_columns = label_columns_of(label_column, kind)
    used = [*columns.values(), *label_columns]
    if len(set(used)) != len(used):
        raise InputError(f"the columns of text and label are {', '.join(used)}; expected different ones")
    for source in [*used, *slice_columns, *([] if group_column is None else [group_column])]:
        if source not in table.frame.columns:
            raise InputError(f"{table.origin}: no column {source!r}; found {', '.join(table.names) or 'no column'}")
    frame = pd.DataFrame({name: _text_column(table, source, kind) for name, source in columns.items()})
    # Values, not yet names: a row that is dropped for another reason may hold what no mapping names.
    frame[LABEL] = _label_values(table, label_columns)
    for source in slice_columns:
        frame[slice_column(source)] = _kept(table.frame[source])
    if group_column is not None:
        frame[GROUP] = _kept(table.frame[group_column])
    examples, findings = Examples(frame, table.origin, {}), list[Finding]()
    if ENCODING not in repairs:
        examples, found = _drop_undecoded(table, examples, columns, split, policy)
        findings += found
    examples, found = _repair(examples, columns, repairs, split)
    findings += found
    empty = np.zeros(len(examples.frame), dtype=bool)
    for name in columns:
        empty |= (examples.frame[name].str.strip() == "").to_numpy(dtype=bool)
    examples, finding = settle(Problem("empty_text", empty, "no text"), split, examples, policy)
    findings += [] if finding is None else [finding]
    examples, finding = _drop_unlabelled(table, examples, split, policy, kind)
    findings += [] if finding is None else [finding]
    examples = _named(table, examples, mapping, kind, list(columns))
    if TAGS in repairs:
        labels = {LABEL: list(map(with_begins, examples.frame[LABEL]))}
        examples, found = _replaced(examples, labels, TAGS, split)
        findings += found
    return examples, findings


def label_columns_of(label_column: str, kind: LabelKind) -> list[str]:
    """Return the label columns that are named, separated by commas where there may be several."""
    if not kind.several_columns:
        return [label_column]
    return [part.strip() for part in label_column.split(",") if part.strip()]


def _label_values(table: SourceTable, columns: Sequence[str]) -> Any:
    if len(columns) == 1:
        values = table.frame[columns[0]]
        if values.dtype == np.float32:
            # 3.8 stays 3.8, and does not become 3.799999952316284.
            return [float(str(value)) for value in values]
        return values.to_numpy(dtype=object)
    values = np.empty(len(table.frame), dtype=object)
    rows = table.frame[list(columns)].astype(object).itertuples(index=False, name=None)
    values[:] = [dict(zip(columns, row, strict=True)) for row in rows]
    return values


def _named(
    table: SourceTable, examples: Examples, mapping: LabelMapping, kind: LabelKind, text_columns: Sequence[str]
) -> Examples:
    """Put labels' texts in the place of label values, and leave rows out whose rating no threshold covers."""
    frame, names = examples.frame, dict[str, str]()
    columns = zip(*(frame[column] for column in text_columns), strict=True)
    labels = [
        _label(table, row, value, mapping, kind, dict(zip(text_columns, texts, strict=True)))
        for row, value, texts in zip(frame.index, frame[LABEL], columns, strict=True)
    ]
    # One string for each name, not one for each row.
    frame = frame.assign(**{LABEL: [None if name is None else names.setdefault(name, name) for name in labels]})
    kept, dropped = frame[frame[LABEL].notna()], dict(examples.dropped)
    if len(frame) and kept.empty:
        raise InputError(f"{table.origin}: all {len(frame)} rows are left out by the label mapping")
    if len(kept) < len(frame):
        dropped[NO_RATING] = len(frame) - len(kept)
    return replace(examples, frame=kept, dropped=dropped)


def _drop_undecoded(
    table: SourceTable, examples: Examples, columns: Mapping[str, str], split: str, policy: DataChecks
) -> tuple[Examples, list[Finding]]:
    mask = np.zeros(len(examples.frame), dtype=bool)
    for name in [*columns, LABEL]:
        mask |= np.fromiter(map(_has_undecoded, examples.frame[name]), dtype=bool, count=len(mask))
    if mask.any() and policy.not_utf8 == "fail":
        place = table.place(int(mask.argmax()))
        raise InputError(
            f"{place}: not UTF-8 ({int(mask.sum())} rows in all); --repair encoding takes it for Windows-1252"
        )
    examples, finding = settle(Problem("not_utf8", mask, "bytes that are no UTF-8"), split, examples, policy)
    return examples, [] if finding is None else [finding]


def _drop_unlabelled(
    table: SourceTable, examples: Examples, split: str, policy: DataChecks, kind: LabelKind
) -> tuple[Examples, Finding | None]:
    mask = np.fromiter(map(kind.missing, examples.frame[LABEL]), dtype=bool, count=len(examples.frame))
    if mask.any() and policy.missing_label == "fail":
        raise InputError(f"{table.place(examples.frame.index[int(mask.argmax())])}: the label is missing")
    problem = Problem("missing_label", mask, "no label")
    if mask.all() and split != "train":
        # A split without any label, as the public test sets of shared tasks: not a split to measure on.
        finding = Finding("missing_label", split, "drop", len(mask), len(mask), "no label, so the split is not used")
        return replace(examples, frame=examples.frame.iloc[:0]), finding
    return settle(problem, split, examples, policy)


def _repair(
    examples: Examples, columns: Mapping[str, str], repairs: Sequence[str], split: str
) -> tuple[Examples, list[Finding]]:
    repairs = [name for name in repairs if name != TAGS]
    if not repairs:
        return examples, []
    texts: dict[str, list[Any]] = {name: [repair(text, repairs) for text in examples.frame[name]] for name in columns}
    if ENCODING in repairs:
        values = examples.frame[LABEL]
        texts[LABEL] = [repair(value, [ENCODING]) if isinstance(value, str) else value for value in values]
    return _replaced(examples, texts, " and ".join(repairs), split)


def _replaced(
    examples: Examples, columns: Mapping[str, list[Any]], detail: str, split: str
) -> tuple[Examples, list[Finding]]:
    """Put repaired columns in place, and say in which rows they differ."""
    changed = np.zeros(len(examples.frame), dtype=bool)
    for name, column in columns.items():
        before = examples.frame[name]
        changed |= np.fromiter(
            (new is not old and new != old for new, old in zip(column, before, strict=True)), dtype=bool
        )
    rows = tuple(str(row + 1) for row in examples.frame.index[changed][:5])
    finding = Finding("repair", split, "repaired", int(changed.sum()), len(changed), detail, rows)
    return replace(examples, frame=examples.frame.assign(**columns)), [finding] if changed.any() else []


def _has_undecoded(value: Any) -> bool:
    return any(not text.isascii() and UNDECODED.search(text) is not None for text in strings_in(value))


def _kept(values: pd.Series) -> list[str]:
    """Return a column as texts, each value once in memory."""
    names = dict[str, str]()
    shown = (NO_VALUE if is_missing(value) else _value_text(value) for value in values)
    return [names.setdefault(name, name) for name in shown]


def _value_text(value: Any) -> str:
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    return text.encode("utf-8", "replace").decode()


def _text_column(table: SourceTable, source: str, kind: LabelKind) -> pd.Series:
    values = table.frame[source]
    texts = []
    for row, value in enumerate(values):
        if value is None or value is pd.NA or (isinstance(value, float) and pd.isna(value)):
            texts.append("")
            continue
        try:
            text = kind.read_text(value)
        except InputError as error:
            raise InputError(f"{table.place(row)}: column {source!r} holds {error}") from None
        if not text.isascii() and _HALF_CHARACTER.search(text):
            raise InputError(f"{table.place(row)}: column {source!r} holds half a character (a lone surrogate)")
        texts.append(text)
    column = pd.Series(texts, index=values.index, dtype=object)
    if (column.str.strip() == "").all():
        raise InputError(f"{table.origin}: column {source!r} is empty in all {len(column)} rows; expected text")
    return column


def _label(
    table: SourceTable, row: int, value: Any, mapping: LabelMapping, kind: LabelKind, texts: Mapping[str, str]
) -> str | None:
    try:
        label = kind.read(value, mapping)
        if label is not None:
            kind.check(texts, label)
    except InputError as error:
        raise InputError(f"{table.place(row)}: {error}") from None
    if label is not None and not label.isascii() and _SURROGATE.search(label):
        raise InputError(f"{table.place(row)}: the label holds half a character (a lone surrogate)")
    return label
