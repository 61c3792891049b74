import numpy as np
import pandas as pd
import pytest
from scipy import stats

from finetune.comparison import RESAMPLES, Answers, compare, compare_slices, paired_test, slices
from finetune.metrics.classification import classification_metrics

LABELS = ("a", "b", "c")


def answers(rows: int, new: float, old: float, seed: int = 0) -> Answers:
    """Answers of two models that are right with given probabilities, independently."""
    generator = np.random.default_rng(seed)
    true = generator.integers(0, 3, rows)
    given = []
    for right in (new, old):
        predicted = np.where(generator.random(rows) < right, true, (true + 1) % 3)
        given.append(np.eye(3)[predicted] * 0.7 + 0.1)
    return Answers(LABELS, true, *given)


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "mcc", "auc_weighted"])
def test_the_difference_is_that_of_the_metrics_and_lies_in_its_interval(metric: str) -> None:
    both = answers(300, 0.9, 0.7)
    new, old = (classification_metrics(LABELS, both.true, p)[metric] for p in (both.challenger, both.champion))
    difference = compare(metric, both, 0.95)
    assert difference.value == pytest.approx(new - old)
    assert 0 < difference.low < difference.value < difference.high
    assert compare(metric, both, 0.95) == difference, "seeded"


def test_swapped_models_give_the_opposite() -> None:
    both = answers(300, 0.9, 0.7)
    swapped = Answers(LABELS, both.true, both.champion, both.challenger)
    there, back = compare("accuracy", both, 0.95), compare("accuracy", swapped, 0.95)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


def test_the_interval_of_the_accuracy_has_the_width_that_theory_gives() -> None:
    both = answers(2000, 0.9, 0.85)
    gains = (both.challenger.argmax(1) == both.true).astype(float) - (both.champion.argmax(1) == both.true)
    expected = 2 * stats.norm.ppf(0.975) * gains.std() / np.sqrt(len(gains))
    difference = compare("accuracy", both, 0.95)
    assert difference.high - difference.low == pytest.approx(expected, rel=0.1)
    wider = compare("accuracy", both, 0.99)
    assert wider.low < difference.low < difference.high < wider.high


def test_intervals_of_equal_models_seldom_exclude_zero() -> None:
    outside = sum(
        not (found := compare("accuracy", answers(200, 0.8, 0.8, seed), 0.95)).low <= 0 <= found.high
        for seed in range(200)
    )
    assert stats.binomtest(outside, 200, 0.05).pvalue > 0.001


def test_one_row_and_a_metric_that_most_draws_do_not_define_say_nothing() -> None:
    one = answers(1, 1.0, 0.0)
    assert (compare("accuracy", one, 0.95).low, compare("accuracy", one, 0.95).high) == (-1.0, 1.0)
    both = answers(60, 0.9, 0.6)
    rare = Answers(LABELS, np.where(np.arange(60) == 0, 2, both.true % 2), both.challenger, both.champion)
    found = compare("auc_weighted", rare, 0.95)
    assert (found.low, found.high) == (-1.0, 1.0)
    assert np.isfinite(found.value)


def test_mcnemar_counts_only_the_rows_that_one_model_alone_gets_right() -> None:
    true = np.zeros(20, dtype=int)
    right, wrong = np.eye(3)[0], np.eye(3)[1]
    challenger = np.array([right] * 18 + [wrong] * 2)
    champion = np.array([right] * 8 + [wrong] * 10 + [right] * 2)
    name, p_value = paired_test("accuracy", Answers(LABELS, true, challenger, champion))
    assert name == "McNemar's exact test"
    assert p_value == pytest.approx(2 * sum(stats.binom.pmf(k, 12, 0.5) for k in range(3)))
    assert paired_test("accuracy", Answers(LABELS, true, champion, champion)) == (name, 1.0)


def test_the_permutation_test_tells_a_difference_from_none() -> None:
    name, different = paired_test("f1_macro", answers(200, 0.95, 0.7))
    assert name == "paired permutation test"
    assert different == pytest.approx(2 / (RESAMPLES + 1), abs=0.005)
    assert paired_test("f1_macro", answers(200, 0.8, 0.8))[1] > 0.05


def test_slices_are_the_labels_and_thirds_of_length() -> None:
    frame = pd.DataFrame({"text": ["x" * i for i in range(1, 10)], "label": list("aaabbbbbc")})
    masks = slices(frame, ["text"])
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "label: a": 3,
        "label: b": 5,
        "label: c": 1,
        "length: short": 3,
        "length: medium": 3,
        "length: long": 3,
    }
    assert frame["text"][masks["length: long"]].str.len().min() == 7
    assert set(slices(frame.assign(text="same"), ["text"])) == {"label: a", "label: b", "label: c"}
    pairs = frame.assign(other=["y" * (20 - i) for i in range(9)])
    assert set(slices(pairs, ["text", "other"])) >= {"label: a"}


def test_slices_are_the_values_of_the_columns_that_prep_kept_too() -> None:
    shops = ["north"] * 5 + ["south"] * 3 + ["missing"]
    frame = pd.DataFrame({"text": "same", "label": "a", "slice:shop": shops, "seen_in_train": "no"})
    masks = slices(frame, ["text"])
    assert {name: int(mask.sum()) for name, mask in masks.items() if name != "label: a"} == {
        **{"shop: north": 5, "shop: south": 3, "shop: missing": 1},
    }
    many = pd.DataFrame({"text": "same", "label": "a", "slice:shop": [f"{i % 25:02d}" for i in range(60)]})
    named = [name for name in slices(many, ["text"]) if name.startswith("shop: ")]
    assert named == [*(f"shop: {i:02d}" for i in range(20)), "shop: all other values"]
    assert sum(int(mask.sum()) for name, mask in slices(many, ["text"]).items() if name in named) == 60


def test_each_slice_is_compared_on_its_rows_alone() -> None:
    both = answers(90, 0.9, 0.5)
    masks = {"first": np.arange(90) < 30, "none": np.zeros(90, dtype=bool)}
    ((name, found),) = compare_slices(masks, both, 0.9).items()
    assert (name, found.rows, found.metric, found.confidence) == ("first", 30, "accuracy", 0.9)
    right = [(p.argmax(1) == both.true)[:30].mean() for p in (both.challenger, both.champion)]
    assert found.value == pytest.approx(right[0] - right[1])
