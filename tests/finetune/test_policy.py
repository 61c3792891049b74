import math
from pathlib import Path

import pytest
import yaml

from finetune.errors import InputError
from finetune.policy import GatePolicy, read_policy
from finetune.tasks import PROBLEMS, TASKS, Task, task_named

VALID = {
    "primary_metric": "f1_macro",
    "minimum": {"accuracy": 0.7},
    "maximum": {"latency_p95_ms": 50},
    "required": "superior",
    "minimum_improvement": 0.01,
    "margin": 0.02,
    "confidence": 0.95,
    "slice_margin": 0.1,
    "slice_minimum_rows": 20,
    "required_slices": ["label: billing"],
    "empty_slices": "reject",
    "test_rows_seen_in_train": "reject",
    "valid_days": 7,
    "without_champion": "promote",
}


def write_policy(folder: Path, **change: object) -> Path:
    path = folder / "gate.yml"
    path.write_text(yaml.safe_dump({**VALID, **change}))
    return path


def read(path: Path) -> GatePolicy:
    return read_policy(path, task_named("text-classification"))


def test_a_policy_is_read(tmp_path: Path) -> None:
    assert read(write_policy(tmp_path)) == GatePolicy(**{**VALID, "required_slices": ("label: billing",)})


POLICIES = {
    "gate.yml": "text-classification",
    "gate-multi-label.yml": "multi-label-classification",
    "gate-regression.yml": "text-pair-regression",
    "gate-tokens.yml": "token-classification",
    "gate-answers.yml": "question-answering",
}


def test_each_problem_has_a_policy_in_the_repository() -> None:
    folder = Path(__file__).parents[2] / "endpoints" / "text-classifier"
    assert {path.name for path in folder.glob("gate*.yml")} == set(POLICIES)
    assert {task_named(name).problem for name in POLICIES.values()} == set(PROBLEMS)
    for name, task in POLICIES.items():
        policy = read_policy(folder / name, task_named(task))
        assert policy.primary_metric == task_named(task).primary_metric
        assert policy.minimum


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_policy_may_name_the_metrics_of_its_task_and_no_others(tmp_path: Path, task: Task) -> None:
    primary = task.primary_metric
    path = write_policy(tmp_path, primary_metric=primary, minimum={primary: 0.1})
    assert read_policy(path, task).primary_metric == primary
    other = "exact_match" if task.problem != "answer_spans" else "mcc"
    expected = f"unknown metric '{other}' of {task.name}; expected one of .*{primary}"
    with pytest.raises(InputError, match=expected):
        read_policy(write_policy(tmp_path, primary_metric=other), task)


def test_f1_is_a_metric_of_labels_only_where_one_is_positive(tmp_path: Path) -> None:
    path = write_policy(tmp_path, primary_metric="f1", minimum={"f1": 0.5})
    assert read_policy(path, task_named("mrpc")).primary_metric == "f1"
    with pytest.raises(InputError, match="unknown metric 'f1' of text-pair-classification"):
        read_policy(path, task_named("text-pair-classification"))


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_an_error_is_no_primary_metric(tmp_path: Path, metric: str) -> None:
    path = write_policy(tmp_path, primary_metric=metric, minimum={}, maximum={metric: 1.0})
    with pytest.raises(InputError, match=f"primary_metric '{metric}': less of it is better"):
        read_policy(path, task_named("text-regression"))


def test_a_margin_in_the_labels_own_unit_may_be_large(tmp_path: Path) -> None:
    change = {"primary_metric": "pearson", "minimum": {"pearson": 0.1}, "slice_margin": 200}
    assert read_policy(write_policy(tmp_path, **change), task_named("text-regression")).slice_margin == 200
    change |= {"primary_metric": "f1", "minimum": {"f1": 0.1}}
    with pytest.raises(InputError, match="accepts any loss"):
        read_policy(write_policy(tmp_path, **change), task_named("token-classification"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"primary_metric": "f2"}, "unknown metric 'f2'"),
        ({"primary_metric": "log_loss"}, "less of it is better"),
        ({"primary_metric": "model_megabytes"}, "less of it is better"),
        ({"minimum": {"acc": 0.5}}, "unknown metric 'acc'"),
        ({"minimum": {"accuracy": "high"}}, "minimum.accuracy is 'high'; expected a finite number"),
        ({"minimum": {"accuracy": math.nan}}, "expected a finite number"),
        ({"minimum": {"accuracy": True}}, "expected a finite number"),
        ({"minimum": 0.7}, "expected metric: number pairs"),
        ({"minimum": {}, "maximum": {}}, "a first model would pass unseen"),
        ({"minimum": {}}, "a first model would pass unseen"),
        ({"required": "better"}, "required is 'better'; expected superior or non_inferior"),
        ({"minimum_improvement": 0}, "expected a number above 0"),
        ({"minimum_improvement": -0.1}, "expected a number above 0"),
        ({"margin": 0}, "margin is 0; expected a number above 0"),
        ({"margin": 1}, "a margin of 1 or more accepts any loss"),
        ({"minimum": {"log_loss": 0.1}}, "minimum log_loss: it would stop good models and let bad ones pass"),
        ({"maximum": {"accuracy": 0.9}}, "maximum accuracy: it would stop good models and let bad ones pass"),
        ({"confidence": 95}, "expected a number from 0.5 to below 1"),
        ({"confidence": 1}, "expected a number from 0.5 to below 1"),
        ({"slice_margin": -1}, "slice_margin is -1; expected a number above 0"),
        ({"slice_minimum_rows": 0}, "expected a whole number of at least 1"),
        ({"slice_minimum_rows": 2.5}, "expected a whole number of at least 1"),
        ({"required_slices": "label: a"}, "expected a list of texts"),
        ({"required_slices": [1]}, "expected a list of texts"),
        ({"empty_slices": "subtract"}, "expected reject or accept"),
        ({"test_rows_seen_in_train": "ignore"}, "expected reject or subtract or accept"),
        ({"valid_days": 0}, "valid_days is 0; expected a number above 0 and at most 366"),
        ({"valid_days": 1e10}, "valid_days is 10000000000.0; expected a number above 0 and at most 366"),
        ({"without_champion": "maybe"}, "expected promote or reject"),
        ({"threshold": 1}, "threshold is no key of a policy; expected exactly the keys"),
    ],
)
def test_a_policy_that_says_something_else_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(write_policy(tmp_path, **change))


@pytest.mark.parametrize("key", VALID)
def test_a_key_that_is_missing_has_no_default(tmp_path: Path, key: str) -> None:
    path = tmp_path / "gate.yml"
    path.write_text(yaml.safe_dump({name: value for name, value in VALID.items() if name != key}))
    with pytest.raises(InputError, match=f"{key} is missing"):
        read(path)


@pytest.mark.parametrize(("text", "message"), [(": :", "not YAML"), ("- 1", "found list"), (None, "no such file")])
def test_a_policy_that_cannot_be_read_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "gate.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read(path)


@pytest.mark.parametrize("again", ["margin: 0.5", "maximum: {log_loss: 1, log_loss: 9}"])
def test_a_key_stated_twice_is_refused(tmp_path: Path, again: str) -> None:
    path = write_policy(tmp_path, maximum={})
    path.write_text(
        path.read_text().replace("maximum: {}\n", "") + again + "\n" if "log" in again else path.read_text() + again
    )
    with pytest.raises(InputError, match="is stated twice"):
        read(path)
