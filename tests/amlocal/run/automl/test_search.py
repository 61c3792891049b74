import dataclasses
from pathlib import Path

import pytest

from amlocal.reader import automl
from amlocal.reader.automl import read_branches
from amlocal.reader.plan import read_plan
from amlocal.reader.search import Branch, Distribution
from amlocal.run.automl.search import BlendSearch
from amlocal.run.sweep.sampling import make_sampler

FIXTURES = Path(__file__).parents[2] / "fixtures" / "automl"
QUALITY = {"naive_bayes": 0.7, "logistic_regression": 0.8, "linear_svm": 0.9, "linear_sgd": 0.75}


@pytest.fixture
def spec():
    return read_plan(FIXTURES / "job.yml").steps[0].node.sweep


def trials(sampler, count, failing=()):
    found = []
    for number in range(count):
        last = number - sampler.window
        if last >= 0:
            sampler.tell(last, None if last in failing else QUALITY[found[last]["learner"]])
        found.append(sampler.propose())
    return found


def test_the_first_trials_are_each_learners_start(spec):
    branches = read_branches(automl._TRIAL / "search_space.yml")

    found = trials(make_sampler(spec, 1), len(branches))

    expected = [{"learner": learner, **branch.start} for learner, branch in branches.items()]
    assert [{**trial} for trial in found] == [pytest.approx(trial) for trial in expected]


def test_trials_are_the_same_every_time_and_hold_what_their_learner_takes(spec):
    one, two = (trials(BlendSearch(spec, 2), 16, failing={5, 9}) for _ in range(2))

    assert one == two
    for trial in one:
        space = spec.branches[trial["learner"]].search_space
        assert set(trial) == {"learner", *space}
        for name, distribution in space.items():
            if distribution.type == "choice":
                assert trial[name] in distribution.values
            assert type(trial[name]) in {str, int, float}


def test_it_learns_which_learner_is_good(spec):
    found = trials(BlendSearch(spec, 1), 40)

    later = [trial["learner"] for trial in found[12:]]
    assert later.count("linear_svm") > len(later) / 2


def test_nothing_is_tried_twice_and_the_search_ends_with_the_space(spec):
    choices = Distribution("choice", spec.place, values=("x", "y"))
    branches = {learner: Branch({"features": choices}, {"features": "x"}) for learner in QUALITY}
    sampler = BlendSearch(dataclasses.replace(spec, branches=branches), 1)

    found = []
    while (trial := sampler.propose()) is not None:
        found.append(tuple(trial.values()))
        sampler.tell(len(found) - 1, QUALITY[trial["learner"]])

    assert len(found) == len(set(found))
    assert {learner for learner, _ in found} == set(QUALITY)
