import pytest

TRUE = ["a"] * 200


@pytest.fixture(scope="module")
def serve(benchmark):
    return benchmark("serve")


def measured(serve, milliseconds: float, rate: float, right: int = 150):
    return serve.Measured(
        # One slow request in each round, and a round in which the machine was busy.
        seconds={at: [[milliseconds / 1000] * 9 + [1.0], [milliseconds / 1000] * 10, [9.0] * 10] for at in (1, 8, 32)},
        rates={at: [rate, rate, 0.1] for at in (1, 8, 32)},
        labels=["a"] * right + ["b"] * (len(TRUE) - right),
        cold_starts=[7.0, 8.0, 9.0],
        megabytes=[900.0, 1000.0, 1100.0],
    )


def both(serve, **changes):
    ours = {"milliseconds": 2.5, "rate": 400.0, "right": 149, **changes}
    return {
        serve.SEED: measured(serve, 10.0, 100.0),
        serve.PLAIN: measured(serve, 5.0, 200.0),
        serve.COMPRESSED: measured(serve, **ours),
    }


@pytest.mark.parametrize(
    ("changes", "chosen", "problem"),
    [
        ({}, "dynamic", None),
        ({"milliseconds": 2.6}, "dynamic", "p50 at 1: 3.85 times lower; expected 4"),
        ({"right": 148}, "dynamic", "test accuracy is 0.0100 lower; expected at most 0.005"),
        ({"right": 160}, "dynamic", None),
        ({}, "plain", "compress fell back to the plain model: there is no compressed one"),
    ],
)
def test_a_missed_target_fails(serve, changes: dict, chosen: str, problem: str | None) -> None:
    assert serve.failures(both(serve, **changes), TRUE, chosen) == ([] if problem is None else [problem])


def test_requests_a_second_count_at_8_and_32(serve) -> None:
    assert serve.failures(both(serve, rate=390.0), TRUE, "dynamic") == [
        f"requests/s at {at}: 3.90 times more; expected 4" for at in (8, 32)
    ]


def test_the_table_compares_round_by_round(serve) -> None:
    printed = serve.table(both(serve), TRUE)
    assert (
        "| 1 at once: p50, ms | 10.0 (1.0×, 1.0 to 1.0) | 5.0 (2.0×, 1.0 to 2.0) | 2.5 (4.0×, 1.0 to 4.0) |" in printed
    )
    assert "| 32 at once: requests/s | 100.0 (1.0×, 1.0 to 1.0) | 200.0 (2.0×, 1.0 to 2.0) |" in printed
    assert "| test accuracy | 0.7500 | 0.7500 | 0.7450 |" in printed
    assert "| rows answered otherwise than by the seed recipe | 0 | 0 | 1 |" in printed
    assert "| cold start to the first answer, s | 8.0 | 8.0 | 8.0 |" in printed


def test_percentiles_are_of_each_round(serve) -> None:
    seconds = {8: [[at / 1000 for at in range(1, 101)], [0.5] * 100]}
    assert serve.Measured(seconds=seconds).percentile(8, 0.95) == pytest.approx([96.0, 500.0])


def test_rounds_go_through_all_rows_and_begin_with_another_server_each(serve) -> None:
    assert serve.cut([b"a", b"b", b"c"], 2, 4) == [b"c", b"a", b"b", b"c"]
    assert [serve.turned(["a", "b", "c"], number)[0] for number in range(4)] == ["a", "b", "c", "a"]
