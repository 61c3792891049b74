r"""Evaluate: measure the challenger on the untouched test split, beside the champion, and let the gate decide.

The champion is the model that serves at the endpoint now; it is downloaded and measured again on the same rows.
--reference_model puts another model in its place, to compare two candidates. Without either nothing is compared, and
the policy's `without_champion` decides.

Example:
    python components/evaluate/evaluate.py --dataset build/dataset --model build/model \
        --gate_policy endpoints/text-classifier/gate.yml --evaluation build/evaluation
"""

import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError
from mlflow.entities import Run

from finetune.answers.test_rows import choose_test_rows, predictions_frame, read_test_rows
from finetune.data.manifest import DatasetManifest, read_manifest
from finetune.environment import environment_sha256
from finetune.errors import InputError
from finetune.evaluation import Predictions, check_trained_on, predict
from finetune.evidence import model_megabytes, model_sha256
from finetune.files import write_json
from finetune.gate import NoChampion, UnusableChampion
from finetune.measurement import ModelFacts, measure, why_not_compared
from finetune.policy import read_policy
from finetune.report.costs import read_prices, sweep_costs
from finetune.report.facts import Facts
from finetune.report.tracked import NOT_TRACKED, find_sweep, log_files, log_measured, tracked_run
from finetune.report.training_record import NOT_RECORDED, read_training_record
from finetune.report.write import write_report
from finetune.stage import parse_arguments, run_stage
from finetune.tasks import task_named
from finetune.verdict import (
    CHALLENGER,
    CHAMPION,
    METRICS_FILE,
    PREDICTIONS_FILE,
    REFERENCE,
    VERDICT_FILE,
    draft_verdict,
)
from finetune.workspace import ModelVersion, check_endpoint_name, connect, download_model, job_link, serving_model

LOGGER = logging.getLogger(__name__)

UNRECORDED = "unrecorded"
Asked = tuple[ModelFacts, Predictions]


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
    reference_model: str | None = field(
        default=None,
        metadata={
            "help": "MLflow model folder in the champion's place, of the same data set; not with --endpoint_name"
        },
    )
    commit: str = field(default=UNRECORDED, metadata={"help": "commit of the code, for the report"})
    prices: str | None = field(
        default=None, metadata={"help": "table of prices by machine, for the report's costs; default: no costs"}
    )


def main(argv: Sequence[str]) -> None:
    """Run evaluate."""
    arguments = parse_arguments(EvaluateArguments, argv, __doc__)
    dataset, model, output = map(Path, (arguments.dataset, arguments.model, arguments.evaluation))
    policy_path = Path(arguments.gate_policy)
    if arguments.endpoint_name is not None:
        check_endpoint_name(arguments.endpoint_name)
    if arguments.endpoint_name is not None and arguments.reference_model is not None:
        raise InputError("--endpoint_name and --reference_model: there is one champion; expected at most one of them")
    manifest = read_manifest(dataset)
    policy = read_policy(policy_path, task_named(manifest.task))
    prices = None if arguments.prices is None else read_prices(Path(arguments.prices))
    split = read_test_rows(dataset, manifest)
    frame, rows = choose_test_rows(split, manifest, policy.test_rows_seen_in_train == "subtract")
    check_trained_on(model, manifest)

    def ask(folder: Path) -> Asked:
        predictions = predict(folder, frame, manifest)
        return ModelFacts(model_sha256(folder), predictions.latency_p95_ms, model_megabytes(folder)), predictions

    challenger, answers = ask(model)
    answered = predictions_frame(frame, {CHALLENGER: answers.columns})
    if arguments.reference_model is None:
        champion = _ask_champion(arguments.endpoint_name, ask)
    else:
        champion = _ask_reference(Path(arguments.reference_model), manifest, ask)
    serving: tuple[ModelVersion, ModelFacts | UnusableChampion] | NoChampion
    if isinstance(champion, NoChampion):
        serving = champion
    elif isinstance(champion[1], UnusableChampion):
        serving = champion[0], champion[1]
    else:
        version, (facts, old) = champion[0], champion[1]
        both = predictions_frame(answered, {CHAMPION: old.columns})
        if (why := why_not_compared(both, manifest, policy.primary_metric)) is None:
            serving, answered = (version, facts), both
            LOGGER.info("comparing on %d rows, resampling them for the intervals", len(frame))
        else:
            serving = version, UnusableChampion(str(version), why)

    output.mkdir(parents=True, exist_ok=True)
    measured = measure(answered, rows, manifest, policy, challenger, serving, datetime.now(UTC))
    write_json(output / METRICS_FILE, measured)
    answered.to_parquet(output / PREDICTIONS_FILE, index=False)
    verdict = draft_verdict(output, policy, policy_path)
    training, no_training = read_training_record(model)
    with tracked_run() as run:
        log_measured(run, measured["metrics"], verdict["promoted"])
        sweep, no_sweep = find_sweep(run, training)
        lineage = _lineage(arguments, run, training)
        facts_of_report = Facts(
            measured, verdict, manifest, answered, training, no_training, sweep, no_sweep, lineage, _links(lineage)
        )
        if prices is not None:
            costs, missing = sweep_costs(() if sweep is None else sweep.trials, prices)
            missing += ["the sweep is not known"] if sweep is None else []
            facts_of_report = replace(facts_of_report, costs=tuple(costs), no_costs=tuple(missing), prices=prices)
        report = write_report(output, facts_of_report)
        log_files(run, "report", report.page, report.brief)
        log_files(run, "figures", *report.figures)
    # Written last: a folder with a verdict is a whole evaluation. With the reports' digests, now that they are there.
    write_json(output / VERDICT_FILE, draft_verdict(output, policy, policy_path))
    LOGGER.info("%s: %s", "promoted" if verdict["promoted"] else "not promoted", "; ".join(verdict["reasons"]))


def _ask_champion(
    endpoint_name: str | None, ask: Callable[[Path], Asked]
) -> tuple[ModelVersion, Asked | UnusableChampion] | NoChampion:
    """Ask the model that serves now."""
    if endpoint_name is None:
        return NoChampion(None)
    client = connect()
    version = serving_model(client, endpoint_name)
    if version is None:
        LOGGER.info("no model serves at %s yet", endpoint_name)
        return NoChampion(endpoint_name)
    LOGGER.info("the champion is %s, serving at %s", version, endpoint_name)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            return version, ask(download_model(client, version, Path(temporary)))
        except (InputError, AzureError) as error:
            return version, UnusableChampion(str(version), str(error))


def _ask_reference(folder: Path, manifest: DatasetManifest, ask: Callable[[Path], Asked]) -> tuple[ModelVersion, Asked]:
    """Ask the model that stands in the champion's place; it is no registered one, so its digest is its version.

    Raises:
        InputError: it cannot be measured, or was trained on other rows: unlike what serves, it was chosen for this.
    """
    check_trained_on(folder, manifest)
    facts, predictions = ask(folder)
    return ModelVersion(REFERENCE, facts.sha256[:12]), (facts, predictions)


def _lineage(arguments: EvaluateArguments, run: Run | None, training: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what names this run; jobs have names where Azure ML's variables give them.

    Environments are those that train and evaluate saw themselves in: `finetune.environment`.
    """
    return {
        "commit": arguments.commit,
        "job": os.environ.get("AZUREML_ROOT_RUN_ID", UNRECORDED),
        "step": os.environ.get("AZUREML_RUN_ID", UNRECORDED),
        "MLflow run": NOT_TRACKED if run is None else run.info.run_id,
        "environment of train, sha256": str((training or {}).get("environment_sha256", NOT_RECORDED)),
        "environment of evaluate, sha256": environment_sha256(),
    }


def _links(lineage: Mapping[str, str]) -> dict[str, str]:
    """Return the addresses of the jobs that lineage names."""
    jobs = {name: lineage[name] for name in ("job", "step") if lineage[name] != UNRECORDED}
    found = {name: job_link(job) for name, job in jobs.items()}
    return {name: address for name, address in found.items() if address is not None}


if __name__ == "__main__":
    run_stage(main)
