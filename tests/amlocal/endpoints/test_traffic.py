"""Traffic rules and weighted choice."""

import collections

import pytest

from amlocal.endpoints.traffic import find_fault, pick

READY = ["blue", "green"]


@pytest.mark.parametrize(
    ("traffic", "mirror"),
    [
        ({}, {}),
        ({"blue": 0}, {}),
        ({"blue": 100}, {}),
        ({"blue": 90, "green": 10}, {}),
        ({"blue": 100}, {"green": 50}),
        ({"blue": 100, "gone": 0}, {}),
    ],
)
def test_valid_splits_have_no_fault(traffic: dict[str, int], mirror: dict[str, int]) -> None:
    assert find_fault(traffic, mirror, READY) is None


@pytest.mark.parametrize(
    ("traffic", "mirror", "words"),
    [
        ({"blue": 50}, {}, "sums to 50"),
        ({"blue": 100, "green": 1}, {}, "sums to 101"),
        ({"blue": 110, "green": -10}, {}, "share of blue is 110"),
        ({"blue": 100}, {"green": 51}, "51 %"),
        ({"blue": 100}, {"green": 10, "blue": 10}, "2 deployments"),
        ({"blue": 100}, {"blue": 10}, "live and mirrored"),
        ({"gone": 100}, {}, "gone"),
        ({"blue": 100}, {"gone": 10}, "gone"),
    ],
)
def test_faults_are_named(traffic: dict[str, int], mirror: dict[str, int], words: str) -> None:
    assert words in (find_fault(traffic, mirror, READY) or "")


def test_pick_follows_the_shares_exactly() -> None:
    shares = {"blue": 90, "green": 10}
    counts = collections.Counter(pick(shares, point + 0.5) for point in range(100))
    assert counts == {"blue": 90, "green": 10}


def test_pick_gives_the_rest_to_nobody() -> None:
    counts = collections.Counter(pick({"green": 20}, point) for point in range(100))
    assert counts == {"green": 20, None: 80}
    assert pick({}, 0.0) is None
