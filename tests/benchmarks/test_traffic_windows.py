"""Who may have answered when."""

import importlib.util
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "traffic_windows.py"


@pytest.fixture(scope="module")
def windows() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("traffic_windows", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["traffic_windows"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["traffic_windows"]


def step(at: float, **traffic: int) -> dict[str, Any]:
    return {"at": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"), "traffic": traffic}


def test_splits_are_read_off_a_journal(windows: ModuleType) -> None:
    steps = [step(11, blue=100), step(13, blue=100), step(14, blue=90, green=10), step(18, blue=0, green=100)]
    models = {"blue": "m:1", "green": "m:2"}
    assert list(windows.splits_of(10, steps, models)) == [
        windows.Split(10, 11, {"m:1": 100}),
        windows.Split(13, 14, {"m:1": 90, "m:2": 10}),
        windows.Split(14, 18, {"m:2": 100}),
    ]


def test_a_rollout_goes_on_with_the_split_of_the_one_before(windows: ModuleType) -> None:
    first, same, other = ({"m:1": 100}, {"m:1": 100}, {"m:2": 100})
    joined = windows.join(windows.Split(number, number, shares) for number, shares in enumerate((first, same, other)))
    assert [split.shares for split in joined] == [first, other]


@pytest.mark.parametrize(
    ("began", "ended", "model", "wrong"),
    [
        (1, 2, "m:1", False),
        (1, 2, "m:2", True),  # before it had traffic
        (12, 13.5, "m:2", False),  # the split came into force some time between 13 and 14
        (12, 12.9, "m:2", True),
        (17, 30, "m:1", False),  # asked for when it had traffic, and answered late
        (18.5, 19, "m:1", True),
        (17, 18, "m:3", True),
    ],
)
def test_an_answer_of_a_model_without_traffic_is_found(
    windows: ModuleType, began: float, ended: float, model: str, wrong: bool
) -> None:
    splits = [
        windows.Split(0, 0, {"m:1": 100}),
        windows.Split(13, 14, {"m:1": 90, "m:2": 10}),
        windows.Split(17, 18, {"m:2": 100}),
    ]
    assert bool(windows.find_wrong_answers([windows.Answer(began, ended, model)], splits)) == wrong


def answers(count: int, model: str, began: float = 2, ended: float = 3) -> list[tuple[float, float, str]]:
    return [(began, ended, model)] * count


@pytest.mark.parametrize(("of_second", "kept"), [(30, True), (50, True), (60, False), (2, False), (0, False)])
def test_a_share_that_is_off_by_more_than_chance_is_found(windows: ModuleType, of_second: int, kept: bool) -> None:
    splits = [windows.Split(0, 1, {"m:1": 90, "m:2": 10}), windows.Split(8, 9, {"m:2": 100})]
    inside = [windows.Answer(*each) for each in answers(of_second, "m:2") + answers(300 - of_second, "m:1")]
    around = [windows.Answer(0.5, 3, "m:2")] * 500  # asked for before the split surely held
    found = windows.find_wrong_shares(inside + around, splits)
    assert (found == []) == kept


@pytest.mark.parametrize(("model", "kept"), [("m:2", True), ("m:1", False)])
def test_the_last_split_is_checked_too(windows: ModuleType, model: str, kept: bool) -> None:
    splits = [windows.Split(0, 1, {"m:1": 100}), windows.Split(8, 9, {"m:2": 100})]
    found = windows.find_wrong_shares([windows.Answer(10, 11, "m:2")] * 20 + [windows.Answer(10, 11, model)], splits)
    assert (found == []) == kept


def canaries(windows: ModuleType, times: int, requests: int, of_new: int) -> tuple[list[Any], list[Any]]:
    """Make canaries of 10 %, one after the other, of so many requests each."""
    splits, found = [windows.Split(0, 0, {"m:1": 100})], []
    for number in range(1, times + 1):
        old, new = f"m:{number}", f"m:{number + 1}"
        splits += [windows.Split(10 * number, 10 * number, {new: 10, old: 90})]
        splits += [windows.Split(10 * number + 5, 10 * number + 5, {new: 100})]
        for model, count in ((new, of_new), (old, requests - of_new)):
            found += [windows.Answer(*each) for each in answers(count, model, 10 * number + 1, 10 * number + 2)]
    return found, splits


def test_canaries_without_traffic_are_found_together_where_each_is_too_short(windows: ModuleType) -> None:
    assert windows.find_wrong_shares(*canaries(windows, times=5, requests=40, of_new=4)) == []
    found = windows.find_wrong_shares(*canaries(windows, times=5, requests=40, of_new=0))
    assert len(found) == 1
    assert "all splits of 90 to 10: 200 of 200 requests were answered by the model with 90 %" in found[0]


def test_too_few_requests_prove_nothing(windows: ModuleType) -> None:
    found = windows.find_wrong_shares(*canaries(windows, times=3, requests=40, of_new=4))
    assert found == ["all splits of 90 to 10: 120 requests are too few to judge a share of 10%"]
    assert windows.find_wrong_shares([], [windows.Split(0, 0, {"m:1": 50, "m:2": 50})])


def test_equal_splits_are_counted_by_who_came_first(windows: ModuleType) -> None:
    found, splits = canaries(windows, times=2, requests=100, of_new=10)
    pooled = windows.pool(windows.count(found, splits))
    assert [(each.percents, each.splits, each.requests, each.counts) for each in pooled] == [
        ((100,), 3, 0, (0,)),
        ((90, 10), 2, 200, (180, 20)),
    ]
