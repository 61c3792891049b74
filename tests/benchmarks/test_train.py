import numpy as np
import pytest


@pytest.fixture(scope="module")
def train(benchmark):
    return benchmark("train")


def test_batches_stand_for_all_lengths(train, tmp_path) -> None:
    lengths = np.arange(1, 101)
    batches = [np.arange(at, min(at + 8, 100)) for at in range(0, 100, 8)]
    bench = train.Bench(tmp_path, None, tmp_path, 8, 4)
    picked = train.spread(batches[::-1], lengths, bench)
    # Of the twelve whole ones, sorted by their longest row; the one of four rows is left out.
    assert [int(lengths[batch].max()) for batch in picked] == [16, 40, 64, 88]
    assert all(len(batch) == 8 for batch in picked)


def test_tokens_computed_include_padding(train) -> None:
    lengths = np.array([3, 5, 2, 2])
    assert train.computed([np.array([0, 1]), np.array([2, 3])], lengths) == 14


def test_a_missed_target_fails(train) -> None:
    costs = {train.SEED_RECIPE: [0.1, 0.12, 0.5], train.RECIPE: [0.02, 0.021, 0.02], "fp32": [0.05]}
    assert train.failures({train.RECIPE: 6.0, "fp32": 2.0}, costs) == []
    assert train.failures({train.RECIPE: 6.5}, costs) == [
        "recipe: 6.00 times less than the seed recipe; expected 6.5",
    ]
    assert train.failures({"LoRA, rank 8": 1.0}, costs) == [
        "LoRA, rank 8: not measured; expected 1 times less than the seed recipe"
    ]
    assert train.failures({train.RECIPE: 1.0}, {**costs, train.RECIPE: [float("nan")]})


def test_a_table_gives_medians_and_both_ratios(train) -> None:
    costs = {train.SEED_RECIPE: [0.1, 0.12, 0.5], train.RECIPE: [0.02, 0.02, 0.02], "fp32": [0.05, 0.04, 0.06]}
    printed = train.table("mrpc", costs)
    assert "| seed recipe | 120.0 (100.0, 120.0, 500.0) | 1.00 | 6.00 |" in printed
    assert "| fp32 | 50.0 (50.0, 40.0, 60.0) | 2.40 | 2.50 |" in printed


def test_every_variant_differs_from_the_recipe_by_arguments_that_exist(train) -> None:
    for name, switches in train.VARIANTS.items():
        given = train.TrainArguments("d", "m", "c", **switches)
        assert (given == train.TrainArguments("d", "m", "c")) == (name == train.RECIPE)
    assert {name for targets in train.TARGETS.values() for name in targets} <= set(train.VARIANTS)
