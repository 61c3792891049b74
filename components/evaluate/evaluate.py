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

from azure.core.exceptions import AzureError
from mlflow.entities import Run

from finetune.answers import choose_test_rows, label_ids, predictions_frame, read_test_rows
from finetune.data.manifest import DatasetManifest, read_manifest
from finetune.errors import InputError
from finetune.evaluation import Predictions, check_trained_on, predict
from finetune.files import folder_megabytes, folder_sha256, write_json
from finetune.gate import NoChampion, UnusableChampion
from finetune.measurement import ModelFacts, measure
from finetune.metrics.classification import classification_metrics
from finetune.metrics.known import KNOWN_METRICS, LESS_IS_BETTER
from finetune.policy import read_policy
from finetune.report.costs import read_prices, sweep_costs
from finetune.report.facts import Facts
from finetune.report.tracked import NOT_TRACKED, find_sweep, log_files, log_measured, tracked_run
from finetune.report.training_record import read_training_record
from finetune.report.write import write_report
from finetune.stage import parse_arguments, run_stage
from finetune.verdict import CHALLENGER, CHAMPION, METRICS_FILE, PREDICTIONS_FILE, VERDICT_FILE, draft_verdict
from finetune.workspace import ModelVersion, check_endpoint_name, connect, download_model, job_link, serving_model

LOGGER = logging.getLogger(__name__)

UNRECORDED = "unrecorded"
REFERENCE = "reference"
"""Name of a model in the champion's place."""
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
    policy = read_policy(policy_path, KNOWN_METRICS, LESS_IS_BETTER)
    prices = None if arguments.prices is None else read_prices(Path(arguments.prices))
    manifest = read_manifest(dataset)
    split, test_sha256 = read_test_rows(dataset, manifest), manifest.splits["test"].sha256
    subtract = policy.test_rows_seen_in_train == "subtract"
    frame, rows = choose_test_rows(split, test_sha256, manifest.labels, subtract)
    check_trained_on(model, manifest)

    def ask(folder: Path) -> Asked:
        predictions = predict(folder, frame, manifest)
        return ModelFacts(folder_sha256(folder), predictions.latency_p95_ms, folder_megabytes(folder)), predictions

    challenger, answers = ask(model)
    metrics = classification_metrics(manifest.labels, label_ids(frame, manifest.labels), answers.probabilities)
    if arguments.reference_model is None:
        champion = _ask_champion(arguments.endpoint_name, ask)
    else:
        champion = _ask_reference(Path(arguments.reference_model), manifest, ask)
    serving: tuple[ModelVersion, ModelFacts | UnusableChampion] | NoChampion
    old: Predictions | None = None
    if isinstance(champion, NoChampion):
        serving = champion
    elif policy.primary_metric not in metrics:
        reason = f"{policy.primary_metric} is not defined on these test rows"
        serving = champion[0], UnusableChampion(str(champion[0]), reason)
    elif isinstance(champion[1], UnusableChampion):
        serving = champion[0], champion[1]
    else:
        facts, old = champion[1]
        serving = champion[0], facts

    output.mkdir(parents=True, exist_ok=True)
    given = {CHALLENGER: answers.probabilities} | ({} if old is None else {CHAMPION: old.probabilities})
    answered = predictions_frame(frame, manifest.labels, given)
    if old is not None:
        LOGGER.info("comparing on %d rows, resampling them for the intervals", len(frame))
    measured = measure(answered, rows, manifest, policy, challenger, serving, datetime.now(UTC))
    write_json(output / METRICS_FILE, measured)
    answered.to_parquet(output / PREDICTIONS_FILE, index=False)
    verdict = draft_verdict(output, policy, policy_path)
    training, no_training = read_training_record(model)
    with tracked_run() as run:
        log_measured(run, measured["metrics"], verdict["promoted"])
        sweep, no_sweep = find_sweep(run, training)
        lineage = _lineage(arguments, run)
        facts_of_report = Facts(
            measured, verdict, manifest, answered, training, no_training, sweep, no_sweep, lineage, _links(lineage)
        )
        if prices is not None:
            costs, missing = sweep_costs(() if sweep is None else sweep.trials, prices)
            missing += ["the sweep is not known"] if sweep is None else []
            facts_of_report = replace(facts_of_report, costs=tuple(costs), no_costs=tuple(missing), prices=prices)
        log_files(run, *write_report(output, facts_of_report))
    # Written last: a folder with a verdict is a whole evaluation.
    write_json(output / VERDICT_FILE, verdict)
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


def _lineage(arguments: EvaluateArguments, run: Run | None) -> dict[str, str]:
    """Return what names this run; jobs have names where Azure ML's variables give them."""
    return {
        "commit": arguments.commit,
        "job": os.environ.get("AZUREML_ROOT_RUN_ID", UNRECORDED),
        "step": os.environ.get("AZUREML_RUN_ID", UNRECORDED),
        "MLflow run": NOT_TRACKED if run is None else run.info.run_id,
    }


def _links(lineage: Mapping[str, str]) -> dict[str, str]:
    """Return the addresses of the jobs that lineage names."""
    jobs = {name: lineage[name] for name in ("job", "step") if lineage[name] != UNRECORDED}
    found = {name: job_link(job) for name, job in jobs.items()}
    return {name: address for name, address in found.items() if address is not None}


if __name__ == "__main__":
    run_stage(main)
