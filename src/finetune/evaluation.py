"""Measuring models on the untouched test split, through the interface that serves them."""

import pickle
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from safetensors import SafetensorError

from finetune.answers import Columns, kind_of
from finetune.data.manifest import DatasetManifest
from finetune.errors import InputError
from finetune.tasks import Problem, task_named

FAILURES_OF_MODEL_CODE = (
    *(OSError, EOFError, ImportError, SyntaxError, ValueError, TypeError, AttributeError, LookupError),
    *(RuntimeError, ArithmeticError, AssertionError, pickle.UnpicklingError, yaml.YAMLError),
)
"""A model folder brings its own code, which may be older than this; how it fails is not ours to choose."""
_UNNAMED_PROBLEM: Problem = "single_label"
"""Of models trained before there were others."""
_TIMED_ROWS = 32


@dataclass(frozen=True)
class Predictions:
    """One model's answers on the test rows."""

    columns: Columns
    """What predictions.parquet keeps of them."""
    latency_p95_ms: float | None
    """Milliseconds that the model takes for one row, 95th percentile over up to 32 rows, on this machine; None without
    rows."""


def check_trained_on(folder: Path, manifest: DatasetManifest) -> None:
    """Check that a model was trained on this data set's train split.

    A model of another cut may have seen these test rows in its training.

    Raises:
        InputError: its MLmodel names another train split, or none.
    """
    import mlflow

    try:
        metadata = mlflow.models.Model.load(str(folder)).metadata or {}
    except (mlflow.MlflowException, OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{folder}: does not load as an MLflow model: {error}") from None
    expected = manifest.splits["train"].sha256
    if (found := metadata.get("train_sha256")) != expected:
        raise InputError(f"{folder}: was trained on the rows {found}; the data set's train split is {expected}")


def predict(folder: Path, frame: pd.DataFrame, manifest: DatasetManifest) -> Predictions:
    """Load an MLflow model folder and ask it for the test rows.

    Champion and challenger may list the same labels in different orders; probabilities are brought into the data set's.

    Raises:
        InputError: the folder does not load, it is for another problem, its labels or input columns are not the data
            set's, or it answers something else than a model for this problem does.
    """
    import mlflow

    try:
        model = mlflow.pyfunc.load_model(str(folder))
    except (mlflow.MlflowException, SafetensorError, *FAILURES_OF_MODEL_CODE) as error:
        raise InputError(f"{folder}: does not load as an MLflow model: {error}") from error
    labels = _check_asked(folder, model, manifest)
    kind = kind_of(manifest)
    if frame.empty:  # there is nothing to ask, which the gate says
        return Predictions(kind.empty(manifest), None)
    try:
        texts = frame[list(manifest.text_columns)]
        columns = kind.read(model.predict(texts), frame, manifest, labels)
        latency = _latency_p95_ms(model, texts)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    except (mlflow.MlflowException, *FAILURES_OF_MODEL_CODE) as error:
        raise InputError(f"{folder}: does not answer the test rows: {error!r}") from error
    return Predictions(columns, latency)


def _check_asked(folder: Path, model: Any, manifest: DatasetManifest) -> list[str]:
    """Check that a model is one for the data set's problem, labels and columns; return its labels in its own order."""
    metadata = model.metadata.metadata or {}
    problem = task_named(manifest.task).problem
    if (found := metadata.get("problem", _UNNAMED_PROBLEM)) != problem:
        raise InputError(f"{folder}: it answers {found}; the data set asks for {problem}")
    labels = metadata.get("labels") or []
    if not isinstance(labels, list) or sorted(map(str, labels)) != sorted(manifest.labels):
        raise InputError(f"{folder}: its labels are {labels}; the data set's are {list(manifest.labels)}")
    inputs = model.metadata.get_input_schema()
    columns = inputs.input_names() if inputs is not None else []
    if sorted(columns) != sorted(manifest.text_columns):
        raise InputError(f"{folder}: it takes the columns {columns}; the data set has {list(manifest.text_columns)}")
    return labels


def _latency_p95_ms(model: Any, texts: pd.DataFrame) -> float:
    seconds = []
    for row in range(min(_TIMED_ROWS, len(texts))):
        started = time.perf_counter()
        model.predict(texts.iloc[[row]])
        seconds.append(time.perf_counter() - started)
    return float(np.quantile(seconds, 0.95) * 1000)
