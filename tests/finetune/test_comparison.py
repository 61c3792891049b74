import numpy as np
import pytest
from scipy import stats

from finetune.answers import KINDS, Scored
from finetune.comparison import RESAMPLES, Answers, compare, compare_slices, paired_test
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
    return both_answers(true, *given)


def both_answers(true: np.ndarray, new: np.ndarray, old: np.ndarray) -> Answers:
    return Answers(KINDS["single_label"], *(Scored((true, given), LABELS) for given in (new, old)))


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "mcc", "auc_weighted"])
def test_the_difference_is_that_of_the_metrics_and_lies_in_its_interval(metric: str) -> None:
    both = answers(300, 0.9, 0.7)
    new, old = (classification_metrics(LABELS, *p.arrays)[metric] for p in (both.challenger, both.champion))
    difference = compare(metric, both, 0.95)
    assert difference.value == pytest.approx(new - old)
    assert 0 < difference.low < difference.value < difference.high
    assert compare(metric, both, 0.95) == difference, "seeded"


def test_swapped_models_give_the_opposite() -> None:
    both = answers(300, 0.9, 0.7)
    swapped = Answers(both.kind, both.champion, both.challenger)
    there, back = compare("accuracy", both, 0.95), compare("accuracy", swapped, 0.95)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


def test_the_interval_of_the_accuracy_has_the_width_that_theory_gives() -> None:
    both = answers(2000, 0.9, 0.85)
    new, old = (given.argmax(1) == true for true, given in (both.challenger.arrays, both.champion.arrays))
    gains = new.astype(float) - old
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
    true = both.challenger.arrays[0] % 2
    true[0] = 2
    rare = both_answers(true, both.challenger.arrays[1], both.champion.arrays[1])
    found = compare("auc_weighted", rare, 0.95)
    assert (found.low, found.high) == (-1.0, 1.0)
    assert np.isfinite(found.value)


def test_mcnemar_counts_only_the_rows_that_one_model_alone_gets_right() -> None:
    true = np.zeros(20, dtype=int)
    right, wrong = np.eye(3)[0], np.eye(3)[1]
    challenger = np.array([right] * 18 + [wrong] * 2)
    champion = np.array([right] * 8 + [wrong] * 10 + [right] * 2)
    name, p_value = paired_test("accuracy", both_answers(true, challenger, champion))
    assert name == "McNemar's exact test"
    assert p_value == pytest.approx(2 * sum(stats.binom.pmf(k, 12, 0.5) for k in range(3)))
    assert paired_test("accuracy", both_answers(true, champion, champion)) == (name, 1.0)


def test_the_permutation_test_tells_a_difference_from_none() -> None:
    name, different = paired_test("f1_macro", answers(200, 0.95, 0.7))
    assert name == "paired permutation test"
    assert different == pytest.approx(2 / (RESAMPLES + 1), abs=0.005)
    assert paired_test("f1_macro", answers(200, 0.8, 0.8))[1] > 0.05


def test_each_slice_is_compared_on_its_rows_alone() -> None:
    both = answers(90, 0.9, 0.5)
    masks = {"first": np.arange(90) < 30, "none": np.zeros(90, dtype=bool)}
    ((name, found),) = compare_slices("accuracy", masks, both, 0.9).items()
    assert (name, found.rows, found.metric, found.confidence) == ("first", 30, "accuracy", 0.9)
    right = [(given.argmax(1) == true)[:30].mean() for true, given in (both.challenger.arrays, both.champion.arrays)]
    assert found.value == pytest.approx(right[0] - right[1])
