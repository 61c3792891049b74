r"""Evaluate: measure the challenger on the untouched test split, beside the champion, and let the gate decide.

The champion is the model that serves at the endpoint now; it is downloaded and measured again on the same rows.
Without --endpoint_name nothing is compared, and the policy's `without_champion` decides.

Example:
    python components/evaluate/evaluate.py --dataset build/dataset --model build/model \
        --gate_policy endpoints/text-classifier/gate.yml --evaluation build/evaluation
"""

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np

from finetune.data.manifest import read_manifest
from finetune.errors import InputError
from finetune.evaluation import Predictions, check_trained_on, label_ids, predict, predictions_frame, read_test_rows
from finetune.files import folder_sha256, write_json
from finetune.gate import Evidence, UnusableChampion, read_policy
from finetune.metrics.classification import (
    CLASSIFICATION_METRICS,
    LOWER_IS_BETTER,
    classification_metrics,
    majority_class_metrics,
    per_label_metrics,
)
from finetune.stage import parse_arguments, run_stage
from finetune.verdict import CHALLENGER, CHAMPION, METRICS_FILE, PREDICTIONS_FILE, write_verdict
from finetune.workspace import ModelVersion, check_endpoint_name, connect, download_model, serving_model

LOGGER = logging.getLogger(__name__)
Measure = Callable[[Path, str], tuple[Evidence, Predictions]]


@dataclass(frozen=True)
class EvaluateArguments:
    """The command line of evaluate."""

    dataset: str = field(metadata={"help": "folder that prep wrote"})
    model: str = field(metadata={"help": "the challenger: MLflow model folder that train wrote"})
    gate_policy: str = field(metadata={"help": "gate.yml: what it takes to be promoted"})
    evaluation: str = field(metadata={"help": "output folder: metrics.json, predictions.parquet, verdict.json"})
    endpoint_name: str | None = field(
        default=None, metadata={"help": "endpoint whose serving model is the champion; default: no champion"}
    )


@dataclass(frozen=True)
class Champion:
    """The serving model and what came of measuring it."""

    version: ModelVersion
    evidence: Evidence | UnusableChampion
    predictions: Predictions | None


def main(argv: Sequence[str]) -> None:
    """Run evaluate."""
    arguments = parse_arguments(EvaluateArguments, argv, __doc__)
    dataset, output, policy_path = map(Path, (arguments.dataset, arguments.evaluation, arguments.gate_policy))
    if arguments.endpoint_name is not None:
        check_endpoint_name(arguments.endpoint_name)
    policy = read_policy(policy_path, CLASSIFICATION_METRICS, LOWER_IS_BETTER)
    manifest = read_manifest(dataset)
    frame = read_test_rows(dataset, manifest)
    true = label_ids(frame, manifest.labels)
    test_sha256 = manifest.splits["test"].sha256

    def measure(folder: Path, name: str) -> tuple[Evidence, Predictions]:
        predictions = predict(folder, frame, manifest)
        metrics = classification_metrics(manifest.labels, true, predictions.probabilities)
        return Evidence(folder_sha256(folder), test_sha256, metrics, name), predictions

    check_trained_on(Path(arguments.model), manifest)
    challenger, predictions = measure(Path(arguments.model), CHALLENGER)
    champion = _measure_champion(arguments.endpoint_name, measure)

    output.mkdir(parents=True, exist_ok=True)
    train_counts = list(manifest.splits["train"].labels.values())
    measured = {
        CHALLENGER: dict(challenger.metrics),
        "majority_class": majority_class_metrics(manifest.labels, train_counts, true),
    }
    if champion is not None and isinstance(champion.evidence, Evidence):
        measured[CHAMPION] = dict(champion.evidence.metrics)
    write_json(
        output / METRICS_FILE,
        {
            "task": manifest.task,
            "rows": len(frame),
            "test_sha256": test_sha256,
            "metrics": measured,
            "labels": per_label_metrics(manifest.labels, true, predictions.predicted),
        },
    )
    predictions_frame(frame, manifest.labels, predictions, champion.predictions if champion else None).to_parquet(
        output / PREDICTIONS_FILE, index=False
    )
    # Written last: a folder with a verdict is a whole evaluation.
    verdict = write_verdict(
        output,
        challenger,
        (champion.version, champion.evidence) if champion else None,
        policy,
        policy_path,
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    _log(measured, verdict.promoted)
    LOGGER.info("%s: %s", "promoted" if verdict.promoted else "not promoted", "; ".join(verdict.reasons))


def _measure_champion(endpoint_name: str | None, measure: Measure) -> Champion | None:
    if endpoint_name is None:
        return None
    client = connect()
    version = serving_model(client, endpoint_name)
    if version is None:
        LOGGER.info("no model serves at %s yet", endpoint_name)
        return None
    LOGGER.info("the champion is %s, serving at %s", version, endpoint_name)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            evidence, predictions = measure(download_model(client, version, Path(temporary)), str(version))
        except InputError as error:
            return Champion(version, UnusableChampion(str(version), str(error)), None)
    return Champion(version, evidence, predictions)


def _log(measured: dict[str, dict[str, float]], promoted: bool) -> None:
    with mlflow.start_run():
        for model, metrics in measured.items():
            mlflow.log_metrics({f"test/{model}/{name}": value for name, value in metrics.items() if np.isfinite(value)})
        mlflow.set_tag("promoted", promoted)


if __name__ == "__main__":
    run_stage(main)
