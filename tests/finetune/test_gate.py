import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from finetune.errors import InputError
from finetune.gate import Evidence, GatePolicy, UnusableChampion, Verdict, decide, read_policy

POLICY = GatePolicy(
    primary_metric="f1_macro",
    minimum={"accuracy": 0.7},
    maximum={"log_loss": 1.0},
    minimum_improvement=0.01,
    without_champion="promote",
)
GOOD = {"accuracy": 0.8, "f1_macro": 0.8, "log_loss": 0.5}


def evidence(sha: str = "new", test: str = "rows", **figures: object) -> Evidence:
    return Evidence(sha, test, {**GOOD, **figures}, name=sha)


CHAMPION = evidence("old", f1_macro=0.79)


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def test_a_better_challenger_within_limits_is_promoted() -> None:
    verdict = decide(evidence(), CHAMPION, POLICY)
    assert verdict.promoted
    assert "0.8000 against the champion's 0.7900" in verdict.reasons[-1]


def test_an_improvement_of_exactly_the_required_size_is_enough() -> None:
    assert decide(evidence(f1_macro=0.80), evidence("old", f1_macro=0.79), POLICY).promoted
    assert not decide(evidence(f1_macro=0.7999), evidence("old", f1_macro=0.79), POLICY).promoted


@pytest.mark.parametrize("figure", [0.8, 0.79, 0.5])
def test_an_equal_or_worse_challenger_is_not_promoted(figure: float) -> None:
    verdict = decide(evidence(f1_macro=figure), evidence("old", f1_macro=0.8), POLICY)
    assert failed(verdict) == ["improvement over the champion"]
    assert not verdict.promoted


def test_a_worse_challenger_does_not_pass_because_the_champion_is_beyond_limits() -> None:
    assert not decide(evidence(accuracy=0.6), evidence("old", accuracy=0.1, f1_macro=0.1), POLICY).promoted


@pytest.mark.parametrize(("accuracy", "promoted"), [(0.7, True), (0.6999, False)])
def test_a_minimum_is_inclusive(accuracy: float, promoted: bool) -> None:
    assert decide(evidence(accuracy=accuracy), CHAMPION, POLICY).promoted is promoted


@pytest.mark.parametrize(("loss", "promoted"), [(1.0, True), (1.0001, False)])
def test_a_maximum_is_inclusive(loss: float, promoted: bool) -> None:
    assert decide(evidence(log_loss=loss), CHAMPION, POLICY).promoted is promoted


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "0.99", True])
@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "log_loss"])
def test_a_figure_that_is_no_finite_number_fails(metric: str, value: object) -> None:
    verdict = decide(evidence(**{metric: value}), CHAMPION, POLICY)
    assert failed(verdict) == [f"has {metric}"]
    assert "expected a finite number" in verdict.reasons[0]


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "log_loss"])
def test_a_missing_figure_fails(metric: str) -> None:
    figures = {name: value for name, value in GOOD.items() if name != metric}
    assert failed(decide(Evidence("new", "rows", figures, "new"), CHAMPION, POLICY)) == [f"has {metric}"]


def test_a_champion_without_the_figure_fails() -> None:
    assert failed(decide(evidence(), evidence("old", f1_macro=math.nan), POLICY)) == ["has f1_macro"]


def test_other_test_rows_fail() -> None:
    verdict = decide(evidence(), replace(CHAMPION, test_sha256="other"), POLICY)
    assert not verdict.promoted
    assert "different test rows" in verdict.reasons[0]


def test_a_champion_that_cannot_be_measured_fails() -> None:
    verdict = decide(evidence(), UnusableChampion("m:3", "it does not load"), POLICY)
    assert verdict.reasons == ("the champion m:3 could not be measured: it does not load",)
    assert not verdict.promoted


def test_the_serving_model_itself_is_not_promoted_again() -> None:
    verdict = decide(evidence("same"), evidence("same", f1_macro=0.1), POLICY)
    assert not verdict.promoted
    assert "serves already" in verdict.reasons[0]


@pytest.mark.parametrize(("choice", "promoted"), [("promote", True), ("reject", False)])
def test_without_a_champion_the_policy_decides(choice: str, promoted: bool) -> None:
    assert decide(evidence(), None, replace(POLICY, without_champion=choice)).promoted is promoted


def test_without_a_champion_the_limits_still_hold() -> None:
    assert not decide(evidence(accuracy=0.1), None, POLICY).promoted


def test_no_checks_are_no_promotion() -> None:
    assert not Verdict(()).promoted


def test_every_failed_check_is_among_the_reasons() -> None:
    verdict = decide(evidence(accuracy=0.1, log_loss=3.0, f1_macro=0.1), CHAMPION, POLICY)
    assert len(verdict.reasons) == 3


VALID = {
    "primary_metric": "f1_macro",
    "minimum": {"accuracy": 0.7},
    "maximum": {},
    "minimum_improvement": 0.01,
    "without_champion": "promote",
}


def write_policy(folder: Path, **change: object) -> Path:
    path = folder / "gate.yml"
    path.write_text(yaml.safe_dump({**VALID, **change}))
    return path


def read(path: Path) -> GatePolicy:
    return read_policy(path, ("accuracy", "f1_macro", "log_loss"), ("log_loss",))


def test_a_policy_is_read(tmp_path: Path) -> None:
    assert read(write_policy(tmp_path)) == replace(POLICY, maximum={})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"primary_metric": "f2"}, "unknown metric 'f2'"),
        ({"primary_metric": "log_loss"}, "less of it is better"),
        ({"minimum": {"acc": 0.5}}, "unknown metric 'acc'"),
        ({"minimum": {"accuracy": "high"}}, "minimum.accuracy is 'high'; expected a finite number"),
        ({"minimum": {"accuracy": math.nan}}, "expected a finite number"),
        ({"minimum": {"accuracy": True}}, "expected a finite number"),
        ({"minimum": 0.7}, "expected metric: number pairs"),
        ({"minimum": {}}, "a first model would pass unseen"),
        ({"minimum_improvement": 0}, "expected a number above 0"),
        ({"minimum_improvement": -0.1}, "expected a number above 0"),
        ({"without_champion": "maybe"}, "expected promote or reject"),
        ({"threshold": 1}, "expected exactly the keys"),
    ],
)
def test_a_policy_that_says_something_else_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(write_policy(tmp_path, **change))


@pytest.mark.parametrize(("text", "message"), [(": :", "not YAML"), ("- 1", "found list"), (None, "no such file")])
def test_a_policy_that_cannot_be_read_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "gate.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read(path)
