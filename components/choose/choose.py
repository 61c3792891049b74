r"""Choose: hand on one of two candidates that evaluate has measured, by the gate's verdicts and an order fixed before.

The first candidate keeps its place unless the second is promoted and beats it by the gate (docs/automl.md). Neither
need be promoted: register then says so of the one that is handed on.

Example:
    python components/choose/choose.py --first_model build/model --first_evaluation build/evaluation \
        --second_model build/automl_model --second_evaluation build/automl_evaluation --comparison build/comparison \
        --gate_policy endpoints/text-classifier/gate.yml --model build/chosen --evaluation build/chosen_evaluation \
        --selection build/selection
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from finetune.evidence import model_sha256
from finetune.files import read_json, write_json, write_text
from finetune.policy import GatePolicy, read_policy
from finetune.report.candidates import render_candidates
from finetune.selection import Candidate, describe, select
from finetune.stage import parse_arguments, run_stage
from finetune.tasks import task_named
from finetune.verdict import METRICS_FILE, verify_verdict

LOGGER = logging.getLogger(__name__)

SELECTION_FILE, PAGE_FILE = "selection.json", "candidates.md"


@dataclass(frozen=True)
class ChooseArguments:
    """The command line of choose."""

    first_model: str = field(metadata={"help": "the candidate in place: MLflow model folder"})
    first_evaluation: str = field(metadata={"help": "what evaluate wrote of it"})
    second_model: str = field(metadata={"help": "the candidate that has to beat it"})
    second_evaluation: str = field(metadata={"help": "what evaluate wrote of it"})
    comparison: str = field(metadata={"help": "what evaluate wrote of the second with the first as --reference_model"})
    gate_policy: str = field(metadata={"help": "gate.yml: the verdicts are worked out again from it"})
    model: str = field(metadata={"help": "output folder: the chosen model"})
    evaluation: str = field(metadata={"help": "output folder: its evaluation"})
    selection: str = field(metadata={"help": "output folder: selection.json, and both side by side in candidates.md"})
    first_name: str = field(default="sweep", metadata={"help": "what the first is called"})
    second_name: str = field(default="automl", metadata={"help": "what the second is called"})


def main(argv: Sequence[str]) -> None:
    """Run choose."""
    arguments = parse_arguments(ChooseArguments, argv, __doc__)
    policy_path = Path(arguments.gate_policy)
    first_metrics = read_json(Path(arguments.first_evaluation) / METRICS_FILE, "the metrics that evaluate writes")
    policy = read_policy(policy_path, task_named(str(first_metrics.get("task"))))
    now = datetime.now(UTC)
    models = {arguments.first_name: Path(arguments.first_model), arguments.second_name: Path(arguments.second_model)}
    evaluations = dict(zip(models, map(Path, (arguments.first_evaluation, arguments.second_evaluation)), strict=True))
    first, second = (_candidate(name, models[name], evaluations[name], policy, policy_path, now) for name in models)
    against = _candidate("comparison", models[second.name], Path(arguments.comparison), policy, policy_path, now)
    selection = select(first, second, against.verdict)
    LOGGER.info("%s goes on: %s", selection.chosen.name, selection.reason)
    shutil.copytree(models[selection.chosen.name], arguments.model, dirs_exist_ok=True)
    shutil.copytree(evaluations[selection.chosen.name], arguments.evaluation, dirs_exist_ok=True)
    output = Path(arguments.selection)
    described = describe(selection, first, second, against.verdict)
    write_text(output / PAGE_FILE, render_candidates(described, first, second))
    write_json(output / SELECTION_FILE, described)


def _candidate(
    name: str, model: Path, evaluation: Path, policy: GatePolicy, policy_path: Path, now: datetime
) -> Candidate:
    """Read an evaluation, and let the gate decide it again."""
    digest = model_sha256(model)
    metrics = read_json(evaluation / METRICS_FILE, "the metrics that evaluate writes")
    test_sha256 = metrics.get("test_rows", {}).get("sha256", "")
    return Candidate(name, digest, verify_verdict(evaluation, digest, test_sha256, policy, policy_path, now), metrics)


if __name__ == "__main__":
    run_stage(main)
