import math
from dataclasses import replace
from functools import partial

import pytest

from finetune.gate import Champion, Difference, Evidence, NoChampion, TestRows, UnusableChampion, Verdict
from finetune.gate import decide as decide_by
from finetune.policy import GatePolicy

decide = partial(decide_by, slice_metric="accuracy")

POLICY = GatePolicy(
    primary_metric="f1_macro",
    minimum={"accuracy": 0.7},
    maximum={"log_loss": 1.0},
    required="superior",
    minimum_improvement=0.01,
    margin=0.02,
    confidence=0.95,
    slice_margin=0.05,
    slice_minimum_rows=50,
    required_slices=(),
    empty_slices="reject",
    test_rows_seen_in_train="reject",
    valid_days=7,
    without_champion="promote",
)
NON_INFERIOR = replace(POLICY, required="non_inferior")
GOOD = {"accuracy": 0.8, "f1_macro": 0.8, "log_loss": 0.5}
ROWS = TestRows("rows", 200, 0, slices={"label: z": 100})


def evidence(sha: str = "new", test: str = "rows", **figures: object) -> Evidence:
    return Evidence(sha, test, {**GOOD, **figures}, name=sha)


def champion(f1: object = 0.79, low: float = 0.005, new_f1: float = 0.8, **change: object) -> Champion:
    """A champion whose difference to a challenger of f1 new_f1 has an interval that begins at low."""
    value = new_f1 - f1 if isinstance(f1, float) else 0.0
    difference = Difference("f1_macro", 200, value, low, 2 * value - low, 0.95)
    parts = {"label: z": part(0.0, 0.0)}
    return replace(Champion(evidence("old", f1_macro=f1), difference, "paired permutation test", 0.03, parts), **change)


def part(value: float, low: float, rows: int = 100) -> Difference:
    return Difference("accuracy", rows, value, low, 2 * value - low, 0.95)


def measured(parts: dict[str, Difference]) -> TestRows:
    """The rows that parts were compared on."""
    return replace(ROWS, slices={name: found.rows for name, found in parts.items()})


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def test_a_better_challenger_within_limits_is_promoted_and_the_figures_are_quoted() -> None:
    verdict = decide(evidence(), champion(), ROWS, POLICY)
    assert verdict.promoted
    said = "f1_macro 0.8000 against the champion's 0.7900 (old): +0.0100 (95 % interval +0.0050 to +0.0150)"
    assert any(reason.startswith(said) for reason in verdict.reasons)
    assert "paired permutation test p = 0.03" in " ".join(verdict.reasons)


def test_an_improvement_of_exactly_the_required_size_is_enough() -> None:
    assert decide(evidence(f1_macro=0.80), champion(0.79), ROWS, POLICY).promoted
    short = champion(0.79, new_f1=0.7999)
    assert failed(decide(evidence(f1_macro=0.7999), short, ROWS, POLICY)) == ["against the champion"]


@pytest.mark.parametrize("low", [0.0, -0.001, -0.5])
def test_an_improvement_inside_noise_is_none(low: float) -> None:
    verdict = decide(evidence(f1_macro=0.9), champion(0.8, low, 0.9), ROWS, POLICY)
    assert failed(verdict) == ["against the champion"]
    assert "short of the required: at least +0.01, interval above 0, p at most 0.05" in verdict.reasons[0]


@pytest.mark.parametrize("figure", [0.8, 0.79, 0.5])
def test_an_equal_or_worse_challenger_is_not_promoted(figure: float) -> None:
    verdict = decide(evidence(f1_macro=figure), champion(0.8, -0.4, figure), ROWS, POLICY)
    assert failed(verdict) == ["against the champion"]


def test_swapped_models_are_not_promoted() -> None:
    better = champion(0.9, -0.15, 0.8)
    assert not decide(evidence(f1_macro=0.8), better, ROWS, POLICY).promoted


@pytest.mark.parametrize(("low", "promoted"), [(0.0, True), (-0.02, True), (-0.0201, False)])
def test_a_policy_may_accept_a_model_that_is_not_inferior(low: float, promoted: bool) -> None:
    verdict = decide(evidence(f1_macro=0.79), champion(0.79, low, 0.79), ROWS, NON_INFERIOR)
    assert verdict.promoted is promoted


def test_a_worse_challenger_does_not_pass_because_the_champion_is_beyond_limits() -> None:
    weak = champion(0.1, 0.6, evidence=evidence("old", accuracy=0.1, f1_macro=0.1))
    assert failed(decide(evidence(accuracy=0.6), weak, ROWS, POLICY)) == ["minimum accuracy"]


@pytest.mark.parametrize(("accuracy", "promoted"), [(0.7, True), (0.6999, False)])
def test_a_minimum_is_inclusive(accuracy: float, promoted: bool) -> None:
    assert decide(evidence(accuracy=accuracy), champion(), ROWS, POLICY).promoted is promoted


@pytest.mark.parametrize(("loss", "promoted"), [(1.0, True), (1.0001, False)])
def test_a_maximum_is_inclusive(loss: float, promoted: bool) -> None:
    assert decide(evidence(log_loss=loss), champion(), ROWS, POLICY).promoted is promoted


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "0.99", True])
@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "log_loss"])
def test_a_figure_that_is_no_finite_number_fails(metric: str, value: object) -> None:
    verdict = decide(evidence(**{metric: value}), champion(), ROWS, POLICY)
    assert failed(verdict) == [f"has {metric}"]
    assert "expected a finite number" in verdict.reasons[0]


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "log_loss"])
def test_a_missing_figure_fails(metric: str) -> None:
    figures = {name: value for name, value in GOOD.items() if name != metric}
    assert failed(decide(Evidence("new", "rows", figures, "new"), champion(), ROWS, POLICY)) == [f"has {metric}"]


def test_a_champion_without_the_figure_fails() -> None:
    assert failed(decide(evidence(), champion(math.nan), ROWS, POLICY)) == ["has f1_macro"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": math.nan}, "with interval nan"),
        ({"high": math.inf}, "to inf"),
        ({"low": 0.5}, "upside down"),
        ({"metric": "accuracy"}, "the difference is in accuracy; expected f1_macro"),
        ({"confidence": 0.5}, "has confidence 0.5; the policy says 0.95"),
        ({"value": 0.05, "high": 0.09}, "the figures disagree"),
        ({"value": 0.0101}, "the figures disagree"),
    ],
)
@pytest.mark.parametrize("policy", [POLICY, NON_INFERIOR])
def test_a_difference_that_cannot_be_right_fails(change: dict, message: str, policy: GatePolicy) -> None:
    wrong = champion()
    verdict = decide(evidence(), replace(wrong, difference=replace(wrong.difference, **change)), ROWS, policy)
    assert failed(verdict) == ["against the champion"]
    assert message in verdict.reasons[0]


def test_other_test_rows_fail() -> None:
    other = replace(champion(), evidence=replace(evidence("old", f1_macro=0.79), test_sha256="other"))
    verdict = decide(evidence(), other, ROWS, POLICY)
    assert "different test rows" in verdict.reasons[0]
    assert failed(decide(evidence(test="other"), champion(), ROWS, POLICY)) == ["test rows", "against the champion"]


@pytest.mark.parametrize("rows", [0, math.nan])
def test_no_test_rows_fail(rows: float) -> None:
    measured = replace(ROWS, rows=rows)
    assert failed(decide(evidence(), champion(), measured, POLICY)) == ["test rows", "against the champion"]
    assert failed(decide(evidence(), NoChampion("e"), measured, POLICY)) == ["test rows"]


@pytest.mark.parametrize(("choice", "promoted"), [("reject", False), ("subtract", False), ("accept", True)])
def test_test_rows_that_occur_in_train_count_only_where_the_policy_accepts_them(choice: str, promoted: bool) -> None:
    policy = replace(POLICY, test_rows_seen_in_train=choice)
    verdict = decide(evidence(), champion(), replace(ROWS, seen_in_train=3), policy)
    assert verdict.promoted is promoted
    assert any(f"3 of 200 test rows occur in train; the policy says {choice}" in reason for reason in verdict.reasons)


def test_rows_that_were_left_out_are_named() -> None:
    verdict = decide(evidence(), champion(), replace(ROWS, subtracted=4), POLICY)
    assert verdict.promoted
    assert any("4 more occur in train and were left out" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(("low", "promoted"), [(-0.05, True), (-0.0501, False)])
def test_a_slice_may_lose_no_more_than_the_margin(low: float, promoted: bool) -> None:
    parts = {"label: a": part(0.02, 0.0), "length: long": part(-0.03, low)}
    verdict = decide(evidence(), champion(slices=parts), measured(parts), POLICY)
    assert verdict.promoted is promoted
    if not promoted:
        assert failed(verdict) == ["slice length: long"]
        assert "slice 'length: long', 100 rows: accuracy -0.0300" in verdict.reasons[0]


def test_a_slice_without_a_number_fails() -> None:
    parts = {"label: a": replace(part(0.0, 0.0), low=math.nan)}
    assert failed(decide(evidence(), champion(slices=parts), measured(parts), POLICY)) == ["slice label: a"]


def test_a_slice_in_another_metric_fails() -> None:
    parts = {"label: a": replace(part(0.0, 0.0), metric="mcc")}
    assert failed(decide(evidence(), champion(slices=parts), measured(parts), POLICY)) == ["slice label: a"]


def test_a_small_slice_is_not_judged() -> None:
    parts = {"label: a": part(-0.5, -0.9, rows=49)}
    assert decide(evidence(), champion(slices=parts), measured(parts), POLICY).promoted
    parts = {"label: a": part(-0.5, -0.9, rows=50)}
    assert not decide(evidence(), champion(slices=parts), measured(parts), POLICY).promoted


@pytest.mark.parametrize("parts", [{"label: z": part(0.0, 0.0)}, {"label: a": part(0.0, 0.0, rows=49)}])
def test_a_required_slice_that_is_missing_or_small_fails(parts: dict) -> None:
    policy = replace(POLICY, required_slices=("label: a",))
    verdict = decide(evidence(), champion(slices=parts), measured(parts), policy)
    assert failed(verdict) == ["slice label: a"]
    assert "the policy requires 50" in verdict.reasons[0]


@pytest.mark.parametrize("counted", [{}, {"label: b": 99}, {"label: a": 49}, {"label: a": 49, "label: b": 0}])
@pytest.mark.parametrize("found", [NoChampion("messages"), NoChampion(None), champion()])
def test_a_required_slice_is_required_whatever_the_challenger_is_compared_with(counted: dict, found: object) -> None:
    policy = replace(POLICY, required_slices=("label: a",))
    rows = replace(ROWS, slices={"label: z": 100, **counted})
    assert "slice label: a" in failed(decide(evidence(), found, rows, policy))
    if isinstance(found, NoChampion):
        assert decide(evidence(), found, replace(ROWS, slices={"label: a": 50}), policy).promoted


def test_a_count_that_is_no_number_is_not_enough_rows() -> None:
    policy = replace(POLICY, required_slices=("label: a",))
    rows = replace(ROWS, slices={"label: a": math.nan})
    assert failed(decide(evidence(), NoChampion("messages"), rows, policy)) == ["slice label: a"]


@pytest.mark.parametrize("found", [NoChampion("messages"), champion()])
def test_a_slice_that_lost_all_its_rows_is_named_and_the_policy_decides(found: object) -> None:
    rows = replace(ROWS, slices={"label: z": 100, "shop: north": 0}, subtracted=7)
    verdict = decide(evidence(), found, rows, POLICY)
    assert failed(verdict) == ["empty slices"]
    assert verdict.reasons == ("no test row is left of 'shop: north': not measured there; the policy says reject",)
    accepted = decide(evidence(), found, rows, replace(POLICY, empty_slices="accept"))
    assert accepted.promoted
    assert any("'shop: north'" in reason for reason in accepted.reasons)
    required = replace(POLICY, empty_slices="accept", required_slices=("shop: north",))
    assert failed(decide(evidence(), found, rows, required)) == ["slice shop: north"]


def test_many_empty_slices_are_counted() -> None:
    rows = replace(ROWS, slices={"label: z": 100, **{f"shop: {i}": 0 for i in range(11)}})
    assert "'shop: 7' and 3 more" in decide(evidence(), NoChampion("messages"), rows, POLICY).reasons[0]


@pytest.mark.parametrize(
    ("counted", "message"),
    [
        ({"label: z": 100, "label: a": 60}, "slice 'label: a': compared on 0 rows and measured on 60"),
        ({"label: z": 99}, "slice 'label: z': compared on 100 rows and measured on 99"),
        ({}, "slice 'label: z': compared on 100 rows and measured on 0"),
    ],
)
def test_slices_are_compared_on_the_rows_that_were_measured(counted: dict, message: str) -> None:
    assert decide(evidence(), champion(), replace(ROWS, slices=counted), POLICY).reasons == (message,)


def test_no_slices_at_all_fail() -> None:
    assert failed(decide(evidence(), champion(slices={}), measured({}), POLICY)) == ["slices"]


@pytest.mark.parametrize(("p_value", "promoted"), [(0.05, True), (0.0501, False)])
def test_superiority_takes_the_test_as_well_as_the_interval(p_value: float, promoted: bool) -> None:
    assert decide(evidence(), champion(p_value=p_value), ROWS, POLICY).promoted is promoted


@pytest.mark.parametrize("p_value", [math.nan, -0.1, 1.1, None])
@pytest.mark.parametrize("policy", [POLICY, NON_INFERIOR])
def test_a_test_without_a_probability_fails(p_value: float, policy: GatePolicy) -> None:
    assert failed(decide(evidence(), champion(p_value=p_value), ROWS, policy)) == ["against the champion"]


def test_a_comparison_on_other_rows_than_were_measured_fails() -> None:
    few = champion()
    verdict = decide(evidence(), replace(few, difference=replace(few.difference, rows=1)), ROWS, POLICY)
    assert "compared on 1 rows and measured on 200" in verdict.reasons[0]


def test_a_champion_that_cannot_be_measured_fails() -> None:
    verdict = decide(evidence(), UnusableChampion("m:3", "it does not load"), ROWS, POLICY)
    assert verdict.reasons == ("the champion m:3 could not be measured: it does not load",)


def test_the_serving_model_itself_is_not_promoted_again() -> None:
    verdict = decide(evidence("old"), champion(0.1, 0.6), ROWS, POLICY)
    assert "serves already" in verdict.reasons[0]
    assert not verdict.promoted


@pytest.mark.parametrize(("choice", "promoted"), [("promote", True), ("reject", False)])
def test_without_a_champion_the_policy_decides(choice: str, promoted: bool) -> None:
    for missing in (NoChampion("messages"), NoChampion(None)):
        assert decide(evidence(), missing, ROWS, replace(POLICY, without_champion=choice)).promoted is promoted


def test_an_endpoint_that_was_not_asked_is_not_one_at_which_nothing_serves() -> None:
    asked, not_asked = (decide(evidence(), NoChampion(name), ROWS, POLICY).reasons[-1] for name in ("messages", None))
    assert asked == "no model serves at messages yet; the policy promotes the first one that passes its limits"
    assert not_asked.startswith("no endpoint was named, so no serving model was looked for; the policy promotes")


def test_a_label_of_which_no_row_was_measured_fails() -> None:
    verdict = decide(evidence(), champion(), replace(ROWS, labels_without_rows=("y", "z"), subtracted=3), POLICY)
    assert failed(verdict) == ["test rows"]
    assert verdict.reasons == (
        "no test row is left of the labels y, z, 3 that occur in train being left out: they were not measured",
    )


def test_without_a_champion_the_limits_and_rows_still_count() -> None:
    assert not decide(evidence(accuracy=0.1), NoChampion("messages"), ROWS, POLICY).promoted
    assert not decide(evidence(), NoChampion("messages"), replace(ROWS, seen_in_train=1), POLICY).promoted


def test_no_checks_are_no_promotion() -> None:
    assert not Verdict(()).promoted


def test_every_failed_check_is_among_the_reasons() -> None:
    verdict = decide(evidence(accuracy=0.1, log_loss=3.0, f1_macro=0.1), champion(0.8, -0.8, 0.1), ROWS, POLICY)
    assert len(verdict.reasons) == 3
