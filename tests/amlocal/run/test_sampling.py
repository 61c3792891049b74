"""Distributions against scipy's, and the samplers that draw from them."""

import dataclasses
import itertools
import math
from pathlib import Path

import pytest
from scipy import stats

from amlocal.reader.search import Distribution, Sampling, SweepLimits, SweepSpec
from amlocal.reader.source import Place
from amlocal.run.sweep.distributions import rounded, value_at
from amlocal.run.sweep.sampling import make_sampler, seed_of

PLACE = Place(Path("job.yml"), 1)


def distribution(kind, **parameters):
    return Distribution(kind, PLACE, **parameters)


UNIFORM = distribution("uniform", minimum=-1.0, maximum=3.0)
CHOICE = distribution("choice", values=("a", "b", "c"))


def sweep(sampling, total=8, **space):
    limits = SweepLimits(total, 4, None, None)
    return SweepSpec(PLACE, space, sampling, "score", "maximize", None, limits)


def proposals(spec, count=None, concurrent=1):
    sampler = make_sampler(spec, concurrent)
    return list(itertools.islice(iter(sampler.propose, None), count))


CONTINUOUS = {
    # What is drawn, the log base, scipy's distribution, and another one that the test must tell from it.
    "uniform": (UNIFORM, None, stats.uniform(-1, 4), stats.uniform(-1, 4.4)),
    "loguniform": (
        distribution("loguniform", minimum=-6.0, maximum=-1.0),
        None,
        stats.loguniform(math.exp(-6), math.exp(-1)),
        stats.uniform(math.exp(-6), math.exp(-1) - math.exp(-6)),
    ),
    "loguniform, base 10": (
        distribution("loguniform", minimum=-4.0, maximum=-2.0),
        10.0,
        stats.loguniform(1e-4, 1e-2),
        stats.loguniform(math.exp(-4), math.exp(-2)),
    ),
    "normal": (distribution("normal", mu=2.0, sigma=0.5), None, stats.norm(2, 0.5), stats.norm(2, 0.5**2)),
    "lognormal": (
        distribution("lognormal", mu=-1.0, sigma=0.5),
        None,
        stats.lognorm(0.5, scale=math.exp(-1)),
        stats.lognorm(0.5, scale=1),
    ),
    "lognormal, base 2": (
        distribution("lognormal", mu=3.0, sigma=1.0),
        2.0,
        stats.lognorm(math.log(2), scale=8),
        stats.lognorm(1, scale=8),
    ),
}
QUANTISED = {
    "quniform": (distribution("quniform", minimum=0.0, maximum=3.0, q=1), None, stats.uniform(0, 3)),
    "quniform, wide": (distribution("quniform", minimum=-1.0, maximum=3.0, q=0.5), None, stats.uniform(-1, 4)),
    "qnormal": (distribution("qnormal", mu=1.0, sigma=2.0, q=1.5), None, stats.norm(1, 2)),
    "qloguniform": (
        distribution("qloguniform", minimum=0.0, maximum=3.0, q=2),
        None,
        stats.loguniform(1, math.exp(3)),
    ),
    "qloguniform, base 10": (
        distribution("qloguniform", minimum=0.0, maximum=2.0, q=5),
        10.0,
        stats.loguniform(1, 100),
    ),
    "qlognormal": (
        distribution("qlognormal", mu=1.0, sigma=0.5, q=0.5),
        None,
        stats.lognorm(0.5, scale=math.exp(1)),
    ),
}
DRAWS = 2000


def draws(drawn, logbase=None, rule="random"):
    """What a sweep's trials get; the second hyperparameter makes the space one in which values may come again."""
    spec = sweep(Sampling("random", rule, seed=1, logbase=logbase), DRAWS, x=drawn, other=UNIFORM)
    return [trial["x"] for trial in proposals(spec, DRAWS)]


def fit_of_multiples(values, q, plain, above):
    """Give the chi-square p-value of: k * q stands for the values from (k + above - 1) * q to (k + above) * q.

    Multiples too unlikely to count are put together.
    """
    found = [round(value / q) for value in values]
    likely = {
        k: share
        for k in range(min(found), max(found) + 1)
        if (share := plain.cdf((k + above) * q) - plain.cdf((k + above - 1) * q)) * len(values) >= 5
    }
    counts = [found.count(k) for k in likely]
    counts.append(len(found) - sum(counts))
    expected = [share * len(values) for share in likely.values()]
    expected.append(max(len(values) - sum(expected), 1e-9))
    return stats.chisquare(counts, [count * len(values) / sum(expected) for count in expected]).pvalue


@pytest.mark.parametrize("rule", ["random", "sobol"])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distribution_is_scipys(name, rule):
    drawn, logbase, expected, other = CONTINUOUS[name]
    values = draws(drawn, logbase, rule)

    assert stats.kstest(values, expected.cdf).pvalue > 0.01
    assert stats.kstest(values, other.cdf).pvalue < 1e-6


@pytest.mark.parametrize("rule", ["random", "sobol"])
@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_distribution_is_scipys_rounded_to_the_nearest(name, rule):
    drawn, logbase, plain = QUANTISED[name]
    values = draws(drawn, logbase, rule)

    assert all(value == pytest.approx(round(value / drawn.q) * drawn.q) for value in values)
    assert fit_of_multiples(values, drawn.q, plain, above=0.5) > 0.01
    assert fit_of_multiples(values, drawn.q, plain, above=1.0) < 1e-6  # rounded down


@pytest.mark.parametrize("rule", ["random", "sobol"])
@pytest.mark.parametrize("drawn", [distribution("choice", values=(0, 1, 2)), distribution("randint", upper=4)])
def test_choices_and_integers_are_equally_likely(drawn, rule):
    values = draws(drawn, rule=rule)
    count = drawn.upper or len(drawn.values)
    counts = [values.count(value) for value in range(count)]

    assert sum(counts) == DRAWS
    assert stats.chisquare(counts).pvalue > 0.01


def test_hyperparameters_are_independent():
    spec = sweep(Sampling("random", seed=3), DRAWS, x=UNIFORM, y=UNIFORM, z=CHOICE)
    trials = proposals(spec, DRAWS)

    assert stats.spearmanr([trial["x"] for trial in trials], [trial["y"] for trial in trials]).pvalue > 0.01
    by_choice = [[trial["x"] for trial in trials if trial["z"] == value] for value in CHOICE.values]
    assert stats.kruskal(*by_choice).pvalue > 0.01


@pytest.mark.parametrize(
    ("kind", "parameters", "plain"),
    [
        ("quniform", {"minimum": 0.0, "maximum": 10.0, "q": 2.5}, "uniform"),
        ("qloguniform", {"minimum": 0.0, "maximum": 3.0, "q": 0.1}, "loguniform"),
        ("qnormal", {"mu": 0.0, "sigma": 5.0, "q": 3}, "normal"),
        ("qlognormal", {"mu": 0.0, "sigma": 1.0, "q": 0.5}, "lognormal"),
    ],
)
def test_q_variants_round_their_plain_kind(kind, parameters, plain):
    rest = {name: value for name, value in parameters.items() if name != "q"}
    for u in (0.01, 0.3, 0.5, 0.77, 0.99):
        exact = value_at(distribution(plain, **rest), u)
        assert value_at(distribution(kind, **parameters), u) == pytest.approx(
            round(exact / parameters["q"]) * parameters["q"]
        )


def test_rounding_adds_no_digits():
    assert str(rounded(0.31, 0.1)) == "0.3"
    assert str(rounded(1.2e-5, 1e-6)) == "1.2e-05"
    assert (rounded(17.0, 5), type(rounded(17.0, 5))) == (15, int)


def test_edges_of_the_unit_interval():
    last = 1 - 2**-53
    assert value_at(distribution("randint", upper=3), last) == 2
    assert value_at(CHOICE, last) == "c"
    assert math.isfinite(value_at(distribution("normal", mu=0.0, sigma=1.0), 0.0))


def test_choices_keep_their_type():
    space = distribution("choice", values=(16, "relu", "1e-3", 0.5))

    found = [trial["x"] for trial in proposals(sweep(Sampling("grid"), x=space))]

    assert [(value, type(value)) for value in found] == [(16, int), ("relu", str), ("1e-3", str), (0.5, float)]


def test_grid_gives_every_combination_once():
    spec = sweep(Sampling("grid"), a=distribution("choice", values=(1, 2)), b=CHOICE)

    assert [tuple(trial.values()) for trial in proposals(spec)] == [
        (1, "a"), (1, "b"), (1, "c"), (2, "a"), (2, "b"), (2, "c"),
    ]  # fmt: skip


@pytest.mark.parametrize("sampling", [Sampling("random"), Sampling("random", "sobol"), Sampling("bayesian")])
def test_same_definition_same_trials(sampling):
    first, second = (proposals(sweep(sampling, x=UNIFORM, y=CHOICE), 5) for _ in range(2))

    assert first == second
    assert len({trial["x"] for trial in first}) == 5


@pytest.mark.parametrize("rule", ["random", "sobol"])
def test_seed_changes_the_trials(rule):
    one, two = (proposals(sweep(Sampling("random", rule, seed), x=UNIFORM), 5) for seed in (1, 2))

    assert one != two


def test_default_seed_depends_on_the_definition_but_not_on_where_it_is_written():
    spec = sweep(Sampling("random"), x=UNIFORM)
    moved = sweep(Sampling("random"), x=dataclasses.replace(UNIFORM, place=Place(Path("other.yml"), 9)))

    assert seed_of(moved) == seed_of(spec)
    assert seed_of(sweep(Sampling("random"), x=CHOICE)) != seed_of(spec)
    assert seed_of(sweep(Sampling("random", seed=7), x=UNIFORM)) == 7


@pytest.mark.parametrize("rule", ["random", "sobol"])
def test_a_small_space_is_tried_once_each(rule):
    spec = sweep(Sampling("random", rule), a=CHOICE, b=distribution("randint", upper=2))

    found = [tuple(trial.values()) for trial in proposals(spec)]

    assert len(found) == 6
    assert set(found) == set(itertools.product("abc", range(2)))


def test_sobol_fills_the_space_more_evenly():
    spec = sweep(Sampling("random", "sobol"), x=UNIFORM, y=distribution("uniform", minimum=0.0, maximum=1.0))

    values = [trial["x"] for trial in proposals(spec, 16)]

    assert sorted(int((value + 1) / 4 * 16) for value in values) == list(range(16))


def test_bayesian_closes_in_on_the_best_region():
    late = []
    for seed in range(5):
        spec = sweep(Sampling("bayesian", seed=seed), total=40, x=UNIFORM, y=CHOICE)
        sampler = make_sampler(spec, 1)
        for number in range(40):
            trial = sampler.propose()
            score = -abs(trial["x"] - 1.5) + (0.5 if trial["y"] == "b" else 0.0)
            sampler.tell(number, None if number == 1 else score)  # a failed trial teaches nothing and breaks nothing
            if number >= 25:
                late.append(trial)

    # At random it would be 28 and 25 of 75.
    assert sum(abs(trial["x"] - 1.5) < 0.75 for trial in late) >= 42
    assert sum(trial["y"] == "b" for trial in late) >= 42


@pytest.mark.parametrize("sampling", [Sampling("random"), Sampling("random", "sobol"), Sampling("bayesian")])
def test_more_trials_begin_with_those_of_fewer(sampling):
    few, many = (sweep(sampling, total, x=UNIFORM, y=CHOICE) for total in (9, 200))

    found = []
    for spec in (few, many):
        sampler = make_sampler(spec, 1)
        found.append([])
        for number in range(9):
            found[-1].append(sampler.propose())
            sampler.tell(number, found[-1][-1]["x"])
    assert found[0] == found[1]


def test_bayesian_waits_for_the_results_it_learns_from():
    assert make_sampler(sweep(Sampling("bayesian"), x=UNIFORM), 3).window == 3
    assert make_sampler(sweep(Sampling("random"), x=UNIFORM), 3).window is None
