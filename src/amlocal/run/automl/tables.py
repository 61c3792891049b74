"""The tables of an AutoML node: read and checked once, before any trial, and handed to the trials as parquet files.

The checks are those that Azure's AutoML does for texts before it trains
(learn.microsoft.com/azure/machine-learning/how-to-auto-train-nlp-models, "Data validation").
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amlocal.errors import AmlocalError
from amlocal.reader.automl import TABLES
from amlocal.reader.mltable import NAME, read_table
from amlocal.run.services import Given

LEAST_TRAINING_ROWS = 50


def write_tables(given: Mapping[str, Given], folder: Path) -> dict[str, Given]:
    """Read and check both tables; give the inputs with the paths of parquet files in their place.

    Args:
        given: a node's inputs: both tables, and target_column_name.
        folder: where the files go.

    Raises:
        AmlocalError: when a table cannot be read, or nothing can be learnt from it.
        OSError: when a file cannot be written.
    """
    target = given["target_column_name"].text
    frames = {name: _read(Path(given[name].text), name) for name in TABLES}
    training, validation = (frames[name] for name in TABLES)
    if list(training.columns) != list(validation.columns):
        raise AmlocalError(
            f"validation_data has the columns {_listed(validation.columns)}; expected those of training_data in the "
            f"same order: {_listed(training.columns)}"
        )
    if target not in training.columns:
        raise AmlocalError(f"target_column_name: no column {target!r} in the tables; they have {_listed(training)}")
    if len(training.columns) < 2:
        raise AmlocalError(f"training_data has no column besides the target {target!r}; expected at least one of texts")
    if len(training) < LEAST_TRAINING_ROWS:
        raise AmlocalError(f"training_data has {len(training)} rows; AutoML needs at least {LEAST_TRAINING_ROWS}")
    for name, frame in frames.items():
        _check_labels(name, frame[target], target)
    unknown = sorted(map(str, set(validation[target]) - set(training[target])))
    if unknown:
        rows = int((~validation[target].isin(set(training[target]))).sum())
        raise AmlocalError(f"validation_data: labels {_listed(unknown)} ({rows} rows) do not occur in training_data")
    folder.mkdir(parents=True, exist_ok=True)
    written = dict(given)
    for name, frame in frames.items():
        path = folder / f"{name}.parquet"
        texts = [column for column in frame.columns if column != target]
        # Azure's AutoML takes every column but the target for text.
        frame.assign(**{column: _as_text(frame[column]) for column in texts}).to_parquet(path, index=False)
        written[name] = Given(str(path), given[name].content)
    return written


def _read(path: Path, name: str) -> Any:
    import pandas as pd

    table = read_table(path)
    if table.reader is None:
        message = f"{name}: {path / NAME} says nothing of how its files are read; expected transformations such as"
        raise AmlocalError(f"{message} read_delimited, read_json_lines or read_parquet")
    readers = {"read_delimited": pd.read_csv, "read_json_lines": pd.read_json, "read_parquet": pd.read_parquet}
    frames = []
    for file in table.files:
        try:
            frames.append(readers[table.reader](file, **(table.options or {})))
        except (OSError, ValueError, UnicodeError) as error:
            raise AmlocalError(f"{name}: {file} cannot be read by {table.reader}: {error}") from None
    frame = pd.concat(frames, ignore_index=True)
    frame.columns = [str(column) for column in frame.columns]
    twice = sorted({column for column in frame.columns if list(frame.columns).count(column) > 1})
    if twice:
        raise AmlocalError(f"{name}: the column {_listed(twice)} is there twice")
    missing = [column for column in (*(table.columns or ()), *table.dropped) if column not in frame.columns]
    if missing:
        raise AmlocalError(f"{name}: no column {_listed(missing)}, which {NAME} names; it has {_listed(frame.columns)}")
    kept = list(table.columns) if table.columns is not None else list(frame.columns)
    return frame[[column for column in kept if column not in table.dropped]]


def _check_labels(name: str, labels: Any, target: str) -> None:
    if labels.isna().any():
        first = int(labels.isna().to_numpy().argmax()) + 1
        raise AmlocalError(f"{name}: {int(labels.isna().sum())} rows have no {target}, first: row {first}")
    if labels.nunique() < 2:
        raise AmlocalError(f"{name}: the column {target} holds {labels.nunique()} label; expected at least 2")


def _as_text(column: Any) -> Any:
    return column.astype("object").where(column.notna(), "").astype(str)


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
