"""From answers to metrics.json: what evaluate writes, and register works out again from predictions.parquet."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetune.answers import answered_probabilities, choose_test_rows, label_ids, read_test_rows
from finetune.comparison import Answers, compare, compare_slices, paired_test, slices
from finetune.data.manifest import DatasetManifest
from finetune.errors import InputError
from finetune.files import folder_megabytes, folder_sha256, read_json
from finetune.gate import Champion, Evidence, NoChampion, TestRows, UnusableChampion
from finetune.metrics.classification import classification_metrics, majority_class_metrics, per_label_metrics
from finetune.policy import GatePolicy
from finetune.verdict import CHALLENGER, CHAMPION, METRICS_FILE, PREDICTIONS_FILE, describe_evidence
from finetune.workspace import ModelVersion

LATENCY, SIZE = "latency_p95_ms", "model_megabytes"
_TOLERANCE = 1e-6
"""Of figures worked out on two machines, whose sums may differ in their last digits."""


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model besides its answers."""

    sha256: str
    latency_p95_ms: float | None
    """None when there was no row to ask for."""
    megabytes: float


def measure(
    answered: pd.DataFrame,
    rows: TestRows,
    manifest: DatasetManifest,
    policy: GatePolicy,
    challenger: ModelFacts,
    serving: tuple[ModelVersion, ModelFacts | UnusableChampion] | NoChampion,
    measured_at: datetime,
) -> dict[str, Any]:
    """Return the contents of metrics.json.

    Args:
        answered: the measured test rows with the models' answers: see `finetune.answers.predictions_frame`.
        rows: what the gate has to know of them.
        manifest: of the data set.
        policy: names the primary metric and the intervals' confidence.
        challenger: what its answers do not tell.
        serving: the champion's version, likewise, or why it could not be measured; or why there is none.
        measured_at: with a time zone.
    """
    labels, true = manifest.labels, label_ids(answered, manifest.labels)
    new, old = (answered_probabilities(answered, model, labels) for model in (CHALLENGER, CHAMPION))
    assert new is not None  # noqa: S101 - evaluate always measures it

    def evidence(name: str, facts: ModelFacts, probabilities: np.ndarray) -> Evidence:
        costs = {SIZE: facts.megabytes}
        if facts.latency_p95_ms is not None:
            costs = {LATENCY: facts.latency_p95_ms, **costs}
        return Evidence(
            facts.sha256, rows.sha256, {**classification_metrics(labels, true, probabilities), **costs}, name
        )

    compared: Any = serving
    if not isinstance(serving, NoChampion) and isinstance(serving[1], ModelFacts):
        assert old is not None  # noqa: S101 - its facts and its answers come together
        answers = Answers(labels, true, new, old)
        compared = (
            serving[0],
            Champion(
                evidence(str(serving[0]), serving[1], old),
                compare(policy.primary_metric, answers, policy.confidence),
                *paired_test(policy.primary_metric, answers),
                compare_slices(slices(answered, manifest.text_columns), answers, policy.confidence),
            ),
        )
    described = describe_evidence(evidence(CHALLENGER, challenger, new), compared, rows, measured_at)
    train_counts = list(manifest.splits["train"].labels.values())
    described["metrics"]["majority_class"] = majority_class_metrics(labels, train_counts, true)
    by_label = per_label_metrics(labels, true, new.argmax(axis=1))
    return {"task": manifest.task, "rows": len(answered), **described, "labels": by_label}


def check_measured(evaluation: Path, dataset: Path, manifest: DatasetManifest, model: Path, policy: GatePolicy) -> None:
    """Work metrics.json out again from the answers in predictions.parquet, and compare.

    What answers cannot tell is taken as written: latencies, when it was measured, the champion's digest and size.

    Raises:
        InputError: the answers are not to the data set's test rows, are no probabilities, or other figures follow from
            them.
    """
    path = evaluation / METRICS_FILE
    written = read_json(path, "the metrics that evaluate writes")
    split = read_test_rows(dataset, manifest)
    test_sha256 = manifest.splits["test"].sha256
    subtract = policy.test_rows_seen_in_train == "subtract"
    asked, rows = choose_test_rows(split, test_sha256, manifest.labels, manifest.text_columns, subtract)
    answered = _read_answers(evaluation / PREDICTIONS_FILE, asked, manifest.labels)
    try:
        latencies = {
            name: None if answered.empty else written["metrics"][name][LATENCY]
            for name in (CHALLENGER, CHAMPION)
            if name in answered
        }
        challenger = ModelFacts(folder_sha256(model), latencies[CHALLENGER], folder_megabytes(model))
        serving = _serving(written, latencies)
        measured_at = datetime.fromisoformat(written["measured_at"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: {error!r}; expected the metrics that evaluate writes") from None
    expected = measure(answered, rows, manifest, policy, challenger, serving, measured_at)
    # As JSON has it: tuples become lists.
    for place, found, follows in differences(written, json.loads(json.dumps(expected))):
        raise InputError(f"{path}: {place} is {found}; from {PREDICTIONS_FILE} follows {follows}")


def _serving(
    written: dict[str, Any], latencies: dict[str, float | None]
) -> tuple[ModelVersion, ModelFacts | UnusableChampion] | NoChampion:
    described = written["champion"]
    if described is None:
        return NoChampion(written["nothing_serves_at"])
    version = ModelVersion(described["name"], described["version"])
    if "unusable" in described:
        return version, UnusableChampion(str(version), described["unusable"])
    facts = ModelFacts(described["model_sha256"], latencies[CHAMPION], written["metrics"][CHAMPION][SIZE])
    return version, facts


def _read_answers(path: Path, asked: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    try:
        answered = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable: {error}; expected the answers that evaluate writes") from None
    columns = list(asked.columns)
    if list(answered.columns[: len(columns)]) != columns or not answered[columns].equals(asked.reset_index(drop=True)):
        raise InputError(f"{path}: its rows are not the test rows that the policy has measured")
    for model in (CHALLENGER, CHAMPION):
        try:
            probabilities = answered_probabilities(answered, model, labels)
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}: no probabilities of the {model}: {error}") from None
        if probabilities is None and model == CHALLENGER:
            raise InputError(f"{path}: holds no answers of the {model}")
        if probabilities is not None:
            _check_probabilities(path, model, probabilities, answered, labels)
    return answered


def _check_probabilities(
    path: Path, model: str, probabilities: np.ndarray, answered: pd.DataFrame, labels: Sequence[str]
) -> None:
    sums = probabilities.sum(axis=1)
    if not np.isfinite(probabilities).all() or (probabilities < 0).any() or not np.allclose(sums, 1, atol=_TOLERANCE):
        raise InputError(f"{path}: the {model}'s probabilities of a row are negative or do not sum to 1")
    best = np.asarray(labels, dtype=object)[probabilities.argmax(axis=1)]
    if not (best == answered[model].to_numpy()).all():
        raise InputError(f"{path}: the {model}'s answers are not its most probable labels")


def differences(found: Any, expected: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (place, found, expected) of what differs between two JSON values; numbers may do so by a millionth."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted({*found, *expected}):
            inner = f"{place}.{key}".lstrip(".")
            if key not in found or key not in expected:
                yield inner, found.get(key, "missing"), expected.get(key, "nothing of that name")
            else:
                yield from differences(found[key], expected[key], inner)
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for number, pair in enumerate(zip(found, expected, strict=True)):
            yield from differences(*pair, f"{place}[{number}]")
    elif _is_number(found) and _is_number(expected):
        if not math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            yield place, found, expected
    elif found != expected or type(found) is not type(expected):
        yield place, found, expected


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
