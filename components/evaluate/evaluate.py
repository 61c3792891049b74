r"""Evaluate: measure the challenger on the untouched test split, beside the champion, and let the gate decide.

The champion is the model that serves at the endpoint now; it is downloaded and measured again on the same rows.
Without --endpoint_name nothing is compared, and the policy's `without_champion` decides.

Example:
    python components/evaluate/evaluate.py --dataset build/dataset --model build/model \
        --gate_policy endpoints/text-classifier/gate.yml --evaluation build/evaluation
"""

import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from azure.core.exceptions import AzureError

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
from finetune.files import folder_sha256, read_json, write_json
from finetune.gate import Champion, Evidence, UnusableChampion
from finetune.metrics.classification import classification_metrics, majority_class_metrics, per_label_metrics
from finetune.metrics.known import KNOWN_METRICS, LESS_IS_BETTER
from finetune.policy import GatePolicy, read_policy
from finetune.report.facts import Facts
from finetune.report.tracked import find_sweep, log_files
from finetune.report.write import write_report
from finetune.stage import parse_arguments, run_stage
from finetune.training.contents import TRAINING_RECORD
from finetune.verdict import (
    CHALLENGER,
    METRICS_FILE,
    PREDICTIONS_FILE,
    VERDICT_FILE,
    Serving,
    describe_evidence,
    draft_verdict,
)
from finetune.workspace import ModelVersion, check_endpoint_name, connect, download_model, serving_model

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluateArguments:
    """The command line of evaluate."""

    dataset: str = field(metadata={"help": "folder that prep wrote"})
    model: str = field(metadata={"help": "the challenger: MLflow model folder that train wrote"})
    gate_policy: str = field(metadata={"help": "gate.yml: what it takes to be promoted"})
    evaluation: str = field(metadata={"help": "output folder: metrics, predictions, report.html, report.md, verdict"})
    endpoint_name: str | None = field(
        default=None, metadata={"help": "endpoint whose serving model is the champion; default: no champion"}
    )
    commit: str = field(default="unrecorded", metadata={"help": "commit of the code, for the report"})


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
    undefined = policy.primary_metric not in challenger.evidence.metrics
    if champion is not None and undefined:
        reason = f"{policy.primary_metric} is not defined on these test rows"
        serving = champion[0], UnusableChampion(str(champion[0]), reason)
    elif champion is not None and isinstance(champion[1], Measured):
        old = champion[1].predictions
        answers = Answers(manifest.labels, true, challenger.predictions.probabilities, old.probabilities)
        masks = slices(frame, manifest.text_columns)
        serving = champion[0], _compare(champion[1].evidence, answers, masks, policy)
    elif champion is not None and isinstance(champion[1], UnusableChampion):
        serving = champion[0], champion[1]

    output.mkdir(parents=True, exist_ok=True)
    evidence = describe_evidence(challenger.evidence, serving, rows, datetime.now(UTC))
    train_counts = list(manifest.splits["train"].labels.values())
    evidence["metrics"]["majority_class"] = majority_class_metrics(manifest.labels, train_counts, true)
    measured = {
        "task": manifest.task,
        "rows": len(frame),
        **evidence,
        "labels": per_label_metrics(manifest.labels, true, challenger.predictions.predicted),
    }
    write_json(output / METRICS_FILE, measured)
    answered = predictions_frame(frame, manifest.labels, challenger.predictions, old)
    answered.to_parquet(output / PREDICTIONS_FILE, index=False)
    verdict = draft_verdict(output, policy, policy_path)
    training = _training_record(Path(arguments.model))
    with mlflow.start_run() as run:
        _log(evidence["metrics"], verdict["promoted"])
        sweep, no_sweep = find_sweep(run, training)
        facts = Facts(measured, verdict, manifest, answered, training, sweep, no_sweep, _lineage(arguments, run))
        log_files(*write_report(output, facts))
    # Written last: a folder with a verdict is a whole evaluation.
    write_json(output / VERDICT_FILE, verdict)
    LOGGER.info("%s: %s", "promoted" if verdict["promoted"] else "not promoted", "; ".join(verdict["reasons"]))


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
        except (InputError, AzureError) as error:
            return version, UnusableChampion(str(version), str(error))


def _log(measured: Mapping[str, Mapping[str, float]], promoted: bool) -> None:
    for model, metrics in measured.items():
        mlflow.log_metrics({f"test/{model}/{name}": value for name, value in metrics.items() if np.isfinite(value)})
    mlflow.set_tag("promoted", promoted)


def _training_record(model: Path) -> dict[str, Any] | None:
    path = model / TRAINING_RECORD
    return read_json(path, "the record that train writes") if path.is_file() else None


def _lineage(arguments: EvaluateArguments, run: mlflow.ActiveRun) -> dict[str, str]:
    """Return what names this run; jobs have names where Azure ML's variables give them."""
    return {
        "commit": arguments.commit,
        "job": os.environ.get("AZUREML_ROOT_RUN_ID", "unrecorded"),
        "step": os.environ.get("AZUREML_RUN_ID", "unrecorded"),
        "MLflow run": run.info.run_id,
    }


if __name__ == "__main__":
    run_stage(main)
