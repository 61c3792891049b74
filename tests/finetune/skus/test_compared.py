from collections.abc import Callable

import pytest

from finetune.errors import InputError
from finetune.report.costs import Prices
from finetune.skus.compared import Comparison, Spread, compare_runs, front
from finetune.skus.hardware_use import HardwareUse
from finetune.skus.measured import Run

MakeRun = Callable[..., Run]
T4, FOUR_T4 = {"gpus": ["Tesla T4"]}, {"gpus": ["Tesla T4"] * 4}
PRICES = Prices("2026-01-31", "EUR", {"x86_64, 2 cores": 1.8, "1 x Tesla T4": 3.6, "4 x Tesla T4": 9.0, "spot": 0.9})


def compare(*runs: Run, prices: Prices | None = None) -> Comparison:
    return compare_runs(runs, [None] * len(runs), prices)


def test_repeats_are_one_compute_with_its_median_and_range(make_run: MakeRun) -> None:
    runs = [
        make_run("cpu", repeat=number, samples_per_second=rate, seconds={"train": train})
        for number, (rate, train) in enumerate([(20.0, 180.0), (25.0, 150.0), (10.0, 300.0)])
    ]
    (cpu,) = compare(*runs).computes
    assert cpu.repeats == 3
    assert cpu.rows_per_second == Spread(20.0, 10.0, 25.0)
    assert cpu.seconds_per_epoch == Spread(50.0, 40.0, 100.0)
    assert cpu.seconds == Spread(200.0, 170.0, 320.0)
    assert cpu.phases["training steps"] == 160.0
    assert cpu.phases["start-up"] == 10.0
    assert cpu.phases["validation and checkpoints"] == pytest.approx((20 + 0 + 140) / 3)


def test_a_run_costs_its_time_on_all_instances(make_run: MakeRun) -> None:
    found = compare(
        make_run("cpu"),
        make_run("gpus", {"instance_count": 3}, samples_per_second=100.0, hardware=T4, seconds={"train": 80.0}),
        make_run("spot", {"priced_as": "spot"}),
        prices=PRICES,
    )
    cpu, gpus, spot = (row.cost for row in found.computes)
    assert found.no_costs == ()
    assert cpu is not None
    assert gpus is not None
    assert spot is not None
    # 1.80 an hour for 200 s; three times 3.60 an hour for 100 s.
    assert cpu.run.median == pytest.approx(0.1)
    assert gpus.run.median == pytest.approx(0.3)
    assert spot.run.median == pytest.approx(0.05)
    assert gpus.per_hour == pytest.approx(10.8)
    # A million rows at 20 a second are 50,000 s; at 100 a second 10,000 s.
    assert cpu.million_rows.median == pytest.approx(25.0)
    assert gpus.million_rows.median == pytest.approx(30.0)
    # The CPU at the usual price is as slow as the spot one and dearer.
    assert [row.cost.on_front for row in found.computes if row.cost] == [False, True, True]


@pytest.mark.parametrize("prices", [None, Prices("2026-01-31", "EUR", {"x86_64, 2 cores": 1.0})])
def test_without_a_price_for_each_compute_there_are_no_costs_at_all(make_run: MakeRun, prices: Prices | None) -> None:
    found = compare(make_run("cpu"), make_run("gpu", hardware=T4), prices=prices)
    assert [row.cost for row in found.computes] == [None, None]
    expected = "no table of prices was given" if prices is None else "the table has no price for “1 x Tesla T4”"
    assert found.no_costs == (expected,)


def test_scaling_is_against_the_fewest_processes(make_run: MakeRun) -> None:
    found = compare(
        make_run("four", {"process_count_per_instance": 4}, samples_per_second=60.0, hardware=FOUR_T4),
        make_run("one", samples_per_second=20.0, hardware=T4),
        make_run(
            *("nodes", {"instance_count": 2, "process_count_per_instance": 4}),
            samples_per_second=80.0,
            hardware=FOUR_T4,
        ),
    )
    scaling = {row.name: row.scaling for row in found.computes}
    assert scaling["one"] is None
    assert scaling["four"] is not None
    assert scaling["nodes"] is not None
    assert (scaling["four"].base, scaling["four"].speedup, scaling["four"].efficiency) == ("one", 3.0, 0.75)
    assert (scaling["nodes"].speedup, scaling["nodes"].efficiency) == (4.0, 0.5)


def test_how_work_falls_on_processes_is_no_difference(make_run: MakeRun) -> None:
    settings = [{"rows_at_a_time": {"value": rows, "reason": ""}} for rows in ("32", "16")]
    found = compare(
        make_run("one", settings=settings[0]),
        make_run("two", {"process_count_per_instance": 2}, settings=settings[1]),
    )
    assert found.computes[1].scaling is not None


@pytest.mark.parametrize(
    "other",
    [
        {"precision": {"name": "bf16", "reason": ""}},
        {"hardware": {"torch_threads": 2}},
        {"hardware": {"cores": 8}},
        {"hardware": T4},
        {"settings": {"attention": {"value": "eager", "reason": ""}}},
    ],
)
def test_runs_that_differ_in_more_than_processes_have_no_scaling(make_run: MakeRun, other: dict[str, object]) -> None:
    found = compare(make_run("one"), make_run("two", {"process_count_per_instance": 2}, **other))
    assert [row.scaling for row in found.computes] == [None, None]


def test_threads_of_the_host_do_not_matter_where_gpus_compute(make_run: MakeRun) -> None:
    found = compare(
        make_run("one", hardware={**T4, "torch_threads": 4, "cores": 4}),
        make_run("four", {"process_count_per_instance": 4}, hardware={**FOUR_T4, "torch_threads": 64, "cores": 64}),
    )
    assert found.computes[1].scaling is not None


def test_repeats_on_different_machines_are_refused(make_run: MakeRun) -> None:
    with pytest.raises(InputError, match=r"a_1 and a_2 are repeats of one compute, and ran on x86_64, 2 cores with 1"):
        compare(make_run("a"), make_run("a", repeat=1, hardware={"cores": 4}))


def test_hardware_use_is_the_mean_of_the_repeats_and_the_peak_of_their_peaks(make_run: MakeRun) -> None:
    uses = [HardwareUse(5, 50.0, 3.0, None, None, None), HardwareUse(7, 70.0, 4.0, None, None, None), None]
    runs = [make_run("a"), make_run("a", repeat=1), make_run("b", {"threads": 1})]
    first, second = compare_runs(runs, uses, None).computes
    assert first.hardware == HardwareUse(12, 60.0, 4.0, None, None, None)
    assert second.hardware is None


def test_notes_say_what_limits_the_figures(make_run: MakeRun) -> None:
    shared = make_run("shared", {"process_count_per_instance": 4, "instance_count": 2})
    notes = " ".join(compare(make_run("one"), shared).notes)
    assert "shared: 4 threads shared 2 cores on each instance." in notes
    assert "one: 1" not in notes
    assert "Each compute ran once" in notes
    assert "Hardware use is not known of one, shared" in notes
    assert "Each compute ran once" not in " ".join(compare(make_run("a"), make_run("a", repeat=1)).notes)


def test_a_machine_that_others_used_is_noted(make_run: MakeRun) -> None:
    runs = [
        make_run("busy"),
        make_run("quiet"),
        make_run("whole", hardware={"torch_threads": 2}),
        make_run("gpu", hardware=T4),
    ]
    uses = [HardwareUse(5, used, 3.0, None, None, None) for used in (80.0, 70.0, 100.0, 100.0)]
    notes = [note for note in compare_runs(runs, uses, None).notes if "busy machine" in note]
    # One thread is half of the two cores; a quarter more may be anything.
    assert [note.split(":")[0] for note in notes] == ["busy"]
    assert "80 % of the cores were in use, and the run's threads are 50 %" in notes[0]


def test_front() -> None:
    points = {"fast": (1.0, 9.0), "cheap": (9.0, 1.0), "middle": (5.0, 5.0), "bad": (6.0, 5.0), "worse": (9.0, 9.0)}
    assert front(points) == {"fast", "cheap", "middle"}
    # Equal points dominate each other in nothing.
    assert front({"a": (1.0, 1.0), "b": (1.0, 1.0)}) == {"a", "b"}


def test_overlap() -> None:
    assert Spread(2, 1, 3).overlaps(Spread(4, 3, 5))
    assert not Spread(2, 1, 3).overlaps(Spread(4, 3.1, 5))
