"""From answers to metrics.json: what evaluate writes, and register works out again from predictions.parquet."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from finetune.answers import Scored, kind_of
from finetune.answers.slices import slices
from finetune.answers.test_rows import choose_test_rows, read_test_rows
from finetune.comparison import Answers, compare, compare_slices, paired_test
from finetune.data.manifest import DatasetManifest
from finetune.errors import InputError
from finetune.files import folder_megabytes, folder_sha256, read_json
from finetune.gate import Champion, Evidence, NoChampion, TestRows, UnusableChampion
from finetune.metrics.known import slice_metric
from finetune.policy import GatePolicy
from finetune.tasks import task_named
from finetune.verdict import BASELINE, CHALLENGER, CHAMPION, METRICS_FILE, PREDICTIONS_FILE, describe_evidence
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
        answered: the measured test rows with the models' answers: see `finetune.answers.test_rows.predictions_frame`.
        rows: what the gate has to know of them.
        manifest: of the data set.
        policy: names the primary metric and the intervals' confidence.
        challenger: what its answers do not tell.
        serving: the champion's version, likewise, or why it could not be measured; or why there is none.
        measured_at: with a time zone.
    """
    kind = kind_of(manifest)
    new, old = (scored_answers(answered, model, manifest) for model in (CHALLENGER, CHAMPION))
    assert new is not None  # noqa: S101 - evaluate always measures it

    def evidence(name: str, facts: ModelFacts, scored: Scored) -> Evidence:
        costs = {SIZE: facts.megabytes}
        if facts.latency_p95_ms is not None:
            costs = {LATENCY: facts.latency_p95_ms, **costs}
        metrics = kind.metrics(scored) if len(scored) else {}
        return Evidence(facts.sha256, rows.sha256, {**metrics, **costs}, name)

    compared: Any = serving
    if not isinstance(serving, NoChampion) and isinstance(serving[1], ModelFacts):
        assert old is not None  # noqa: S101 - its facts and its answers come together
        answers = Answers(kind, new, old)
        parts = slices(answered, manifest)
        compared = (
            serving[0],
            Champion(
                evidence(str(serving[0]), serving[1], old),
                compare(policy.primary_metric, answers, policy.confidence),
                *paired_test(policy.primary_metric, answers),
                compare_slices(slice_metric(task_named(manifest.task)), parts, answers, policy.confidence),
            ),
        )
    described = describe_evidence(evidence(CHALLENGER, challenger, new), compared, rows, measured_at)
    described["metrics"][BASELINE] = kind.baseline(answered, manifest) if len(answered) else {}
    return {"task": manifest.task, "rows": len(answered), **described, "labels": kind.per_label(new)}


def scored_answers(answered: pd.DataFrame, model: str, manifest: DatasetManifest) -> Scored | None:
    """Return what is measured of a model's answers; None when there are none.

    Args:
        answered: contents of predictions.parquet.
        model: "challenger" or "champion".
        manifest: of the data set.

    Raises:
        InputError: they are no answers to the task's problem.
    """
    if model not in answered.columns:
        return None
    return kind_of(manifest).scored(answered, model, manifest)


def why_not_compared(answered: pd.DataFrame, manifest: DatasetManifest, metric: str) -> str | None:
    """Say why challenger and champion cannot be compared by a metric; None when they can."""
    kind = kind_of(manifest)
    for model in (CHALLENGER, CHAMPION):
        scored = scored_answers(answered, model, manifest)
        if scored is None or not len(scored) or not math.isfinite(kind.metric(metric, scored)):
            return f"{metric} is not defined on these test rows, of the {model}'s answers"
    return None


def check_measured(evaluation: Path, dataset: Path, manifest: DatasetManifest, model: Path, policy: GatePolicy) -> None:
    """Work metrics.json out again from the answers in predictions.parquet, and compare.

    What answers cannot tell is taken as written: latencies, when it was measured, the champion's digest and size.

    Raises:
        InputError: the answers are not to the data set's test rows, are no answers to its problem, or other figures
            follow from them.
    """
    path = evaluation / METRICS_FILE
    written = read_json(path, "the metrics that evaluate writes")
    split = read_test_rows(dataset, manifest)
    asked, rows = choose_test_rows(split, manifest, policy.test_rows_seen_in_train == "subtract")
    answered = _read_answers(evaluation / PREDICTIONS_FILE, asked, manifest)
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


def _read_answers(path: Path, asked: pd.DataFrame, manifest: DatasetManifest) -> pd.DataFrame:
    try:
        answered = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable: {error}; expected the answers that evaluate writes") from None
    columns = list(asked.columns)
    if list(answered.columns[: len(columns)]) != columns or not answered[columns].equals(asked.reset_index(drop=True)):
        raise InputError(f"{path}: its rows are not the test rows that the policy has measured")
    try:
        given = {model: scored_answers(answered, model, manifest) for model in (CHALLENGER, CHAMPION)}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if given[CHALLENGER] is None:
        raise InputError(f"{path}: holds no answers of the {CHALLENGER}")
    return answered


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
