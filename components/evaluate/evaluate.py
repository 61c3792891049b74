r"""Evaluate: measure the challenger on the untouched test split, beside the champion, and let the gate decide.

The champion is the model that serves at the endpoint now; it is downloaded and measured again on the same rows.
Without --endpoint_name nothing is compared, and the policy's `without_champion` decides.

Example:
    python components/evaluate/evaluate.py --dataset build/dataset --model build/model \
        --gate_policy endpoints/text-classifier/gate.yml --evaluation build/evaluation
"""

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np

from finetune.comparison import Answers, compare, compare_slices, paired_test, slices
from finetune.data.manifest import read_manifest
from finetune.errors import InputError
from finetune.evaluation import (
    Predictions,
    check_trained_on,
    choose_test_rows,
    label_ids,
    model_megabytes,
    predict,
    predictions_frame,
    read_test_rows,
)
from finetune.files import folder_sha256, write_json
from finetune.gate import Champion, Evidence, UnusableChampion
from finetune.metrics.classification import classification_metrics, majority_class_metrics, per_label_metrics
from finetune.metrics.known import KNOWN_METRICS, LESS_IS_BETTER
from finetune.policy import GatePolicy, read_policy
from finetune.stage import parse_arguments, run_stage
from finetune.verdict import (
    CHALLENGER,
    METRICS_FILE,
    PREDICTIONS_FILE,
    Serving,
    describe_evidence,
    write_verdict,
)
from finetune.workspace import ModelVersion, check_endpoint_name, connect, download_model, serving_model

LOGGER = logging.getLogger(__name__)


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
class Measured:
    """A model's figures and answers."""

    evidence: Evidence
    predictions: Predictions


def main(argv: Sequence[str]) -> None:
    """Run evaluate."""
    arguments = parse_arguments(EvaluateArguments, argv, __doc__)
    dataset, output, policy_path = map(Path, (arguments.dataset, arguments.evaluation, arguments.gate_policy))
    if arguments.endpoint_name is not None:
        check_endpoint_name(arguments.endpoint_name)
    policy = read_policy(policy_path, KNOWN_METRICS, LESS_IS_BETTER)
    manifest = read_manifest(dataset)
    split, test_sha256 = read_test_rows(dataset, manifest), manifest.splits["test"].sha256
    frame, rows = choose_test_rows(split, test_sha256, policy.test_rows_seen_in_train == "subtract")
    true = label_ids(frame, manifest.labels)

    def measure(folder: Path, name: str) -> Measured:
        predictions = predict(folder, frame, manifest)
        metrics = classification_metrics(manifest.labels, true, predictions.probabilities)
        cost = {"latency_p95_ms": predictions.latency_p95_ms, "model_megabytes": model_megabytes(folder)}
        return Measured(Evidence(folder_sha256(folder), test_sha256, {**metrics, **cost}, name), predictions)

    check_trained_on(Path(arguments.model), manifest)
    challenger = measure(Path(arguments.model), CHALLENGER)
    champion = _measure_champion(arguments.endpoint_name, measure)
    serving: Serving | None = None
    old: Predictions | None = None
    if champion is not None and isinstance(champion[1], Measured):
        old = champion[1].predictions
        answers = Answers(manifest.labels, true, challenger.predictions.probabilities, old.probabilities)
        masks = slices(frame, manifest.text_columns)
        serving = champion[0], _compare(champion[1].evidence, answers, masks, policy)
    elif champion is not None:
        serving = champion[0], champion[1]

    output.mkdir(parents=True, exist_ok=True)
    evidence = describe_evidence(challenger.evidence, serving, rows)
    train_counts = list(manifest.splits["train"].labels.values())
    evidence["metrics"]["majority_class"] = majority_class_metrics(manifest.labels, train_counts, true)
    write_json(
        output / METRICS_FILE,
        {
            "task": manifest.task,
            "rows": len(frame),
            **evidence,
            "labels": per_label_metrics(manifest.labels, true, challenger.predictions.predicted),
        },
    )
    predictions_frame(frame, manifest.labels, challenger.predictions, old).to_parquet(
        output / PREDICTIONS_FILE, index=False
    )
    # Written last: a folder with a verdict is a whole evaluation.
    verdict = write_verdict(output, policy, policy_path, datetime.now(UTC))
    _log(evidence["metrics"], verdict.promoted)
    LOGGER.info("%s: %s", "promoted" if verdict.promoted else "not promoted", "; ".join(verdict.reasons))


def _compare(evidence: Evidence, answers: Answers, masks: Mapping[str, np.ndarray], policy: GatePolicy) -> Champion:
    LOGGER.info("comparing on %d rows, resampling them for the intervals", len(answers.true))
    return Champion(
        evidence,
        compare(policy.primary_metric, answers, policy.confidence),
        *paired_test(policy.primary_metric, answers),
        compare_slices(masks, answers, policy.confidence),
    )


def _measure_champion(
    endpoint_name: str | None, measure: Callable[[Path, str], Measured]
) -> tuple[ModelVersion, Measured | UnusableChampion] | None:
    """Measure the model that serves now; None when none does."""
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
            return version, measure(download_model(client, version, Path(temporary)), str(version))
        except InputError as error:
            return version, UnusableChampion(str(version), str(error))


def _log(measured: dict[str, dict[str, float]], promoted: bool) -> None:
    with mlflow.start_run():
        for model, metrics in measured.items():
            mlflow.log_metrics({f"test/{model}/{name}": value for name, value in metrics.items() if np.isfinite(value)})
        mlflow.set_tag("promoted", promoted)


if __name__ == "__main__":
    run_stage(main)
