"""From a source's columns to the task's: chosen, checked, labelled."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from finetune.data.labels import LabelMapping
from finetune.data.manifest import LABEL
from finetune.data.sources import SourceTable
from finetune.errors import InputError


@dataclass(frozen=True)
class Examples:
    """The rows of one split under the task's column names."""

    frame: pd.DataFrame
    """The task's text columns (str) and `label` (str), index 0…n-1."""
    origin: str
    dropped: Mapping[str, int]
    """Rows left out, by reason."""


def select_examples(
    table: SourceTable, columns: Mapping[str, str], label_column: str, mapping: LabelMapping
) -> Examples:
    """Pick a split's columns and name its labels.

    Rows without text, and rows whose rating no threshold covers, are left out and counted; anything else that is odd
    is an error, because a silent guess here costs a training run.

    Args:
        table: the split as it was read.
        columns: the task's column name → the source's column name.
        label_column: the source's label column.
        mapping: what the label values are called.

    Raises:
        InputError: a column is missing, holds something else than text, or is empty throughout; a label is missing
            or not covered by the mapping.
    """
    if table.frame.empty:
        raise InputError(f"{table.origin}: no rows; expected at least one")
    used = [*columns.values(), label_column]
    if len(set(used)) != len(used):
        raise InputError(f"the columns of text and label are {', '.join(used)}; expected different ones")
    for source in used:
        if source not in table.frame.columns:
            raise InputError(
                f"{table.origin}: no column {source!r}; found {', '.join(map(str, table.frame.columns)) or 'no column'}"
            )
    texts = {name: _text_column(table, source) for name, source in columns.items()}
    has_text = pd.Series(True, index=table.frame.index)
    for column in texts.values():
        has_text &= column.str.strip() != ""
    labels = [
        _label(table, row, value, mapping) if keep else None
        for row, (value, keep) in enumerate(zip(table.frame[label_column], has_text, strict=True))
    ]
    frame = pd.DataFrame({**texts, LABEL: labels})
    dropped = Counter({"empty text": int((~has_text).sum())})
    dropped["no threshold covers the rating"] = int((has_text & frame[LABEL].isna()).sum())
    kept = frame[frame[LABEL].notna()].reset_index(drop=True)
    if kept.empty:
        raise InputError(f"{table.origin}: all {len(frame)} rows are left out by the label mapping")
    return Examples(kept, table.origin, {reason: count for reason, count in dropped.items() if count})


def _text_column(table: SourceTable, source: str) -> pd.Series:
    values = table.frame[source]
    texts = []
    for row, value in enumerate(values):
        if value is None or value is pd.NA or (isinstance(value, float) and pd.isna(value)):
            texts.append("")
        elif isinstance(value, str):
            if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
                raise InputError(f"{table.place(row)}: column {source!r} holds half a character (a lone surrogate)")
            texts.append(value)
        else:
            raise InputError(
                f"{table.place(row)}: column {source!r} holds {value!r} ({type(value).__name__}); expected text"
            )
    column = pd.Series(texts, index=values.index, dtype=object)
    if (column.str.strip() == "").all():
        raise InputError(f"{table.origin}: column {source!r} is empty in all {len(column)} rows; expected text")
    return column


def _label(table: SourceTable, row: int, value: Any, mapping: LabelMapping) -> str | None:
    if value is None or value is pd.NA or (isinstance(value, float) and pd.isna(value)) or str(value).strip() == "":
        raise InputError(f"{table.place(row)}: the label is missing")
    if not isinstance(value, str | int | float) and not isinstance(value, np.generic):
        raise InputError(f"{table.place(row)}: the label is {value!r}; expected a name or a number")
    try:
        name = mapping.name_of(value)
    except InputError as error:
        raise InputError(f"{table.place(row)}: {error}") from None
    if name is None and not mapping.drops_unmatched:
        raise InputError(f"{table.place(row)}: label {value!r} is not in --label_mapping; name every value there")
    return name
