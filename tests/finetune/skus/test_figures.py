"""Where the names of the points stand."""

import itertools

import pytest

from finetune.skus.figures import apart


@pytest.mark.parametrize(
    "wanted", [[0.1, 0.1, 0.1], [0.9, 1.0, 0.95], [0.0, 0.0, 0.9, 0.9], [0.5], [0.3, 0.2, 0.21, 0.2]]
)
def test_names_stand_apart_within_the_plot_and_in_the_order_of_their_points(wanted: list[float]) -> None:
    places = apart(wanted, 0.1)
    assert all(0.05 - 1e-9 <= place <= 0.95 + 1e-9 for place in places)
    assert all(after - before >= 0.1 - 1e-9 for before, after in itertools.pairwise(sorted(places)))
    pairs = itertools.combinations(range(len(wanted)), 2)
    assert all((wanted[i] < wanted[j]) == (places[i] < places[j]) for i, j in pairs if wanted[i] != wanted[j])


def test_names_that_have_room_stand_where_their_points_are() -> None:
    assert apart([0.8, 0.2, 0.5], 0.1) == [0.8, 0.2, 0.5]
