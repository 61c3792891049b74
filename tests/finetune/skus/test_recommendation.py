from collections.abc import Callable

import pytest

from finetune.report.costs import Prices
from finetune.skus.compared import Comparison, compare_runs
from finetune.skus.measured import Run
from finetune.skus.recommendation import recommend

MakeRun = Callable[..., Run]
PRICES = Prices("2026-01-31", "EUR", {"slow": 0.9, "middle": 3.6, "fast": 36.0})


@pytest.fixture
def three(make_run: MakeRun) -> Callable[..., Comparison]:
    """Return a maker: runs of 200, 100 and 50 s, in steps of other proportions; each so many times."""

    def compared(prices: Prices | None = PRICES, repeats: int = 1, drift: float = 1.0) -> Comparison:
        runs = [
            make_run(
                name,
                {"priced_as": name},
                repeat,
                samples_per_second=rate,
                seconds={"train": (whole - 20.0) + drift * repeat},
            )
            for repeat in range(repeats)
            for name, whole, rate in (("slow", 200.0, 20.0), ("middle", 100.0, 90.0), ("fast", 50.0, 80.0))
        ]
        return compare_runs(runs, [None] * len(runs), prices)

    return compared


def test_without_a_limit_the_cheapest_is_taken_and_set_beside_the_fastest(three: Callable[..., Comparison]) -> None:
    answer = recommend(three(), None)
    assert answer.compute == "slow"
    text = " ".join(answer.reasons)
    assert "The cheapest: 0.05 EUR and 200.0 s a run." in text
    assert "The fastest, fast, takes 50.0 s (25% of that) and costs 0.5 EUR, 10.00 times as much." in text
    # 0.9 an hour at 20 rows a second against 3.6 at 90.
    assert "By training steps alone middle is cheaper (11.11 against 12.5 EUR a million rows)" in text
    assert "Each compute ran once, so whether the differences are more than chance is not known." in text


def test_a_limit_leaves_the_cheapest_of_those_within(three: Callable[..., Comparison]) -> None:
    answer = recommend(three(), 2)
    assert answer.compute == "middle"
    assert "The cheapest of those that end within 2 minutes: 0.1 EUR and 100.0 s a run." in answer.reasons
    assert "Cheaper, but over the limit: slow (200.0 s)." in answer.reasons
    assert recommend(three(), 100 / 60).compute == "middle"
    assert recommend(three(), 99 / 60).compute == "fast"


def test_a_limit_that_none_meets_gives_no_compute(three: Callable[..., Comparison]) -> None:
    answer = recommend(three(), 0.5)
    assert answer.compute is None
    assert answer.reasons == ("No run ends within 0.5 minutes: the fastest, fast, takes 50.0 s.",)


@pytest.mark.parametrize("prices", [None, Prices("2026-01-31", "EUR", {"slow": 0.0})])
def test_without_costs_the_fastest_is_taken(three: Callable[..., Comparison], prices: Prices | None) -> None:
    answer = recommend(three(prices), None)
    assert answer.compute == "fast"
    assert answer.reasons[0].startswith("The fastest: 50.0 s a run. Costs are not known: ")
    assert "By training steps alone middle is faster (90 against 80 rows a second)" in answer.reasons[1]


def test_the_cheapest_may_be_the_fastest(three: Callable[..., Comparison]) -> None:
    answer = recommend(three(Prices("2026-01-31", "EUR", dict.fromkeys(("slow", "middle", "fast"), 1.0))), None)
    assert answer.compute == "fast"
    assert "It is also the fastest." in answer.reasons


def test_free_computes_are_compared_by_time(three: Callable[..., Comparison]) -> None:
    answer = recommend(three(Prices("2026-01-31", "EUR", dict.fromkeys(("slow", "middle", "fast"), 0.0))), None)
    assert answer.compute == "fast"


def test_repeats_that_overlap_are_within_noise(three: Callable[..., Comparison]) -> None:
    apart = recommend(three(repeats=2), None)
    assert apart.within_noise == ()
    assert "None of the others’ 2 repeats overlaps with its own." in apart.reasons
    # The second run of each took 250 s longer: 0.05 to 0.1125 a run, and 0.1 to 0.35.
    near = recommend(three(repeats=2, drift=250.0), None)
    assert (near.compute, near.within_noise) == ("slow", ("middle",))
    assert "Within noise: the 2 repeats overlap with those of middle, which may be as good." in near.reasons


def test_without_costs_noise_is_that_of_the_time(three: Callable[..., Comparison]) -> None:
    answer = recommend(three(None, repeats=2, drift=60.0), None)
    # 50 to 110 s, 100 to 160, 200 to 260.
    assert (answer.compute, answer.within_noise) == ("fast", ("middle",))
