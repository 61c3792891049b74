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
from amlocal.run.sweep.sampling import make_sampler, random_points, seed_of

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


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (UNIFORM, stats.uniform(-1, 4)),
        (distribution("loguniform", minimum=-6.0, maximum=-1.0), stats.loguniform(math.exp(-6), math.exp(-1))),
        (distribution("normal", mu=2.0, sigma=0.5), stats.norm(2, 0.5)),
        (distribution("lognormal", mu=-1.0, sigma=0.5), stats.lognorm(0.5, scale=math.exp(-1))),
    ],
)
def test_continuous_distribution(drawn, expected):
    values = [value_at(drawn, point[0]) for point in itertools.islice(random_points(1, seed=1), 2000)]

    assert stats.kstest(values, expected.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (distribution("choice", values=(0, 1, 2)), [1 / 3] * 3),
        (distribution("randint", upper=4), [1 / 4] * 4),
        # round(uniform(0, 3) / 1) * 1: the ends get half a step each.
        (distribution("quniform", minimum=0.0, maximum=3.0, q=1), [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
    ],
)
def test_discrete_distribution(drawn, expected):
    values = [value_at(drawn, point[0]) for point in itertools.islice(random_points(1, seed=2), 3000)]
    counts = [values.count(value) for value in range(len(expected))]

    assert sum(counts) == len(values)
    assert stats.chisquare(counts, [share * len(values) for share in expected]).pvalue > 0.01


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


def test_log_base_of_random_sampling():
    space = distribution("loguniform", minimum=-4.0, maximum=-2.0)

    values = [trial["x"] for trial in proposals(sweep(Sampling("random", logbase=10.0), x=space), 200)]

    assert 1e-4 <= min(values) < max(values) <= 1e-2
    assert stats.kstest([math.log10(value) for value in values], stats.uniform(-4, 2).cdf).pvalue > 0.01


def test_choices_keep_their_type():
    space = distribution("choice", values=(16, "relu", True, 0.5))

    found = [trial["x"] for trial in proposals(sweep(Sampling("grid"), x=space))]

    assert [(value, type(value)) for value in found] == [(16, int), ("relu", str), (True, bool), (0.5, float)]


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
    spec = sweep(Sampling("bayesian", seed=3), total=40, x=UNIFORM, y=CHOICE)
    sampler = make_sampler(spec, 1)
    tried = []
    for number in range(40):
        trial = sampler.propose()
        score = -abs(trial["x"] - 1.5) + (0.5 if trial["y"] == "b" else 0.0)
        sampler.tell(number, None if number == 1 else score)  # a failed trial teaches nothing and breaks nothing
        tried.append(trial)

    late = tried[-15:]
    assert sum(abs(trial["x"] - 1.5) < 0.75 for trial in late) >= 10
    assert sum(trial["y"] == "b" for trial in late) >= 10


def test_bayesian_waits_for_the_results_it_learns_from():
    assert make_sampler(sweep(Sampling("bayesian"), x=UNIFORM), 3).window == 3
    assert make_sampler(sweep(Sampling("random"), x=UNIFORM), 3).window is None
