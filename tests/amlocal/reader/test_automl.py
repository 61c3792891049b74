"""AutoML as a job file states it: what is read, what is passed over, and each mistake with its line."""

import re
from pathlib import Path

import pytest

from amlocal.lint.check import lint_file
from amlocal.lint.files import Kind
from amlocal.reader.bind import StepOutput
from amlocal.reader.job import read_job
from amlocal.reader.model import LiteralBinding, PathBinding
from amlocal.reader.plan import find_problems, read_plan
from amlocal.reader.source import InvalidJobError

FIXTURES = Path(__file__).parents[1] / "fixtures" / "automl"
JOB = """\
type: pipeline
settings: {default_compute: azureml:cpu-cluster}
inputs:
  train: {type: mltable, path: TABLES/train}
  validation: {type: mltable, path: TABLES/validation}
outputs:
  best: {type: mlflow_model}
jobs:
  find:
    type: automl
    task: text_classification
    primary_metric: AUC_weighted
    target_column_name: label
    training_data: ${{parent.inputs.train}}
    validation_data: ${{parent.inputs.validation}}
    limits:
      max_trials: 4
      timeout_minutes: 10
    outputs:
      best_model: ${{parent.outputs.best}}
""".replace("TABLES", str(FIXTURES))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "job.yml"
    path.write_text(text)
    return path


def test_a_job_of_its_own():
    plan = read_plan(FIXTURES / "job.yml")

    (step,) = plan.steps
    assert (plan.job.kind, step.name, step.node.automl) == ("automl", "automl", True)
    limits = step.node.sweep.limits
    assert (limits.max_total_trials, limits.max_concurrent_trials, limits.timeout, limits.trial_timeout) == (
        *(3, 2),
        *(600, 180),
    )
    assert step.inputs["training_data"] == PathBinding(FIXTURES / "train", step.inputs["training_data"].place)
    assert {name: step.inputs[name].value for name in ("target_column_name", "primary_metric")} == {
        "target_column_name": "label",
        "primary_metric": "auc_weighted",
    }
    assert plan.outputs == {"best_model": StepOutput("automl", "best_model")}


def test_what_steers_the_services_transformers_is_named_once_and_passed_over():
    job = read_job(FIXTURES / "job.yml")

    assert {name: place.line for name, place in job.ignored.items()} == {
        "compute": 4,
        "log_verbosity": 5,
        "limits max_nodes": 19,
        "featurization of AutoML": 20,
        "training_parameters of AutoML": 22,
        "sweep of AutoML": 24,
        "search_space of AutoML": 26,
    }


def test_a_policy_of_the_services_sweep_is_passed_over_too(tmp_path):
    # By itself: azure-ai-ml 1.35.2 submits such a job and cannot read the answer.
    text = (FIXTURES / "job.yml").read_text().replace("path: ./", f"path: {FIXTURES}/")
    policy = "sweep:\n  early_termination: {type: bandit, slack_factor: 0.1}"
    job = read_job(write(tmp_path, text.replace("sweep:", policy)))

    assert "sweep of AutoML" in job.ignored


def test_a_node_with_azures_defaults():
    plan = read_plan(FIXTURES / "pipeline.yml")

    find, listing = plan.steps
    sweep = find.node.sweep
    assert (sweep.primary_metric, sweep.goal, sweep.limits.max_total_trials) == ("accuracy", "maximize", 1)
    assert sweep.limits.timeout == 7 * 24 * 3600
    assert find.inputs["target_column_name"].value == "label"
    assert listing.inputs["model"] == StepOutput("find", "best_model")
    assert plan.outputs == {"best": StepOutput("find", "best_model")}


@pytest.mark.parametrize("written", ["AUC_weighted", "auc_weighted", "AUCWeighted"])
def test_a_metric_is_logged_by_azures_name_however_it_is_written(tmp_path, written):
    plan = read_plan(write(tmp_path, JOB.replace("AUC_weighted", written)))

    assert plan.steps[0].node.sweep.primary_metric == "AUC_weighted"
    assert isinstance(plan.steps[0].inputs["primary_metric"], LiteralBinding)


@pytest.mark.parametrize(
    ("old", "new", "rule", "line", "message"),
    [
        ("task: text_classification", "task: texts", "type", 11, "there is no AutoML task 'texts'; tasks: text_"),
        ("    task: text_classification\n", "", "required", 9, "node 'find' needs 'task'"),
        ("AUC_weighted", "f1", "objective", 12, "primary_metric must be one of auc_weighted, accuracy"),
        ("target_column_name: label", "target: label", "unknown-key", 13, "node 'find' has no key 'target'"),
        ("    training_data: ${{parent.inputs.train}}\n", "", "required", 9, "node 'find' needs 'training_data'"),
        ("${{parent.inputs.train}}", "./train", "type", 14, "must be {type: mltable, path: …} or a reference"),
        ("${{parent.inputs.train}}", "{type: uri_folder, path: .}", "type", 14, "must be {type: mltable, path: …}"),
        ("${{parent.inputs.train}}", "${{parent.inputs.tain}}", "undefined-input", 14, "no input 'tain'"),
        ("max_trials: 4", "max_trial: 4", "unknown-key", 17, "did you mean 'max_trials'?"),
        ("max_trials: 4", "max_trials: 0", "range", 17, "max_trials must be at least 1, found 0"),
        ("max_trials: 4", "max_trials: ${{parent.inputs.n}}", "expression", 17, "takes a plain value on this machine"),
        ("timeout_minutes: 10", "timeout_minutes: soon", "type", 18, "timeout_minutes must be a number"),
        ("best_model:", "model:", "undefined-output", 20, "AutoML has no output 'model'; it has best_model"),
        ("    limits:", "    featurization: {language: eng}\n    limits:", "unknown-key", 16, "no key 'language'"),
        ("    limits:", "    log_verbosity: loud\n    limits:", "type", 16, "log_verbosity must be one of not_set"),
        ("    limits:", "    inputs: {}\n    limits:", "unknown-key", 16, "node 'find' has no key 'inputs'"),
        ("    limits:", "    search_space: [{models: a}]\n    limits:", "unknown-key", 16, "has no key 'models'"),
    ],
)
def test_mistakes(tmp_path, old, new, rule, line, message):
    assert old in JOB
    path = write(tmp_path, JOB.replace(old, new, 1))

    found = lint_file(path, kind=Kind.JOB).problems

    assert any((one.rule, one.place.line) == (rule, line) and message in one.message for one in found), found
    with pytest.raises(InvalidJobError, match=re.escape(f"job.yml:{line}: {rule}")):
        read_plan(path)


@pytest.mark.parametrize(
    ("task", "what"),
    [
        ("text_classification_multilabel", "several labels a row"),
        ("text_ner", "a label a token"),
        ("regression", "tables"),
    ],
)
def test_tasks_that_only_the_service_has(tmp_path, task, what):
    path = write(tmp_path, JOB.replace("task: text_classification", f"task: {task}"))

    assert find_problems(read_job(path)) == []
    with pytest.raises(InvalidJobError) as caught:
        read_plan(path)
    assert [(problem.rule, problem.place.line) for problem in caught.value.problems] == [("not-on-this-machine", 11)]
    assert f"AutoML of task {task} ({what}) needs the AutoML service; on this machine: text_class" in str(caught.value)


def test_a_table_that_cannot_be_read_is_found_before_anything_runs(tmp_path):
    (tmp_path / "MLTable").write_text("paths:\n  - file: ./job.yml\ntransformations:\n  - take: 5\n")
    path = write(tmp_path, JOB.replace(f"{FIXTURES}/train", "."))

    with pytest.raises(InvalidJobError, match=r"MLTable:4: not-on-this-machine: transformation 'take' is not done"):
        read_plan(path)


def test_a_node_that_azures_own_client_cannot_submit_is_said_to_be(tmp_path):
    path = write(tmp_path, JOB.replace("    limits:", "    sweep: {sampling_algorithm: random}\n    limits:"))

    (problem,) = lint_file(path).problems

    assert problem.message == "jobs: the client reads it and cannot write it out again, so it cannot submit it"
