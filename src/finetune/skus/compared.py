"""What the runs say of their computes: spreads over repeats, scaling, cost, the Pareto front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

from finetune.errors import InputError
from finetune.report.costs import Prices
from finetune.skus.hardware_use import HardwareUse
from finetune.skus.measured import Run

_MILLION = 1_000_000
_OTHERS_PERCENT = 25
"""Of the cores, in use beyond what a run asked for: more than loading data, logging and the system take."""
_NOT_CHOSEN = ("global_batch", "rows_at_a_time", "threads")
"""Of train's settings: how work falls on processes, and threads, which matter on a CPU and are looked at there."""


@dataclass(frozen=True)
class Spread:
    """A figure over a compute's repeats."""

    median: float
    low: float
    high: float

    def overlaps(self, other: "Spread") -> bool:
        """Whether the ranges of the repeats meet: then chance alone may have put one before the other."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Scaling:
    """Throughput against that of a run that differs in the number of processes alone."""

    base: str
    """Name of the compute with the fewest processes."""
    base_processes: int
    speedup: float
    efficiency: float
    """Speedup over the factor in processes; 1 is linear (strong scaling: the global batch is the same)."""


@dataclass(frozen=True)
class Cost:
    """Of one compute, in the currency of the table of prices."""

    per_hour: float
    """Of all its instances."""
    run: Spread
    million_rows: Spread
    """A million rows in training steps: without start-up, validation and saving."""
    on_front: bool
    """No other compute is at least as fast and as cheap, and better in one of both."""


@dataclass(frozen=True)
class Compared:
    """One compute's figures."""

    name: str
    cluster: str
    machine: str
    instance_count: int
    processes: int
    precision: str
    threads: int
    repeats: int
    priced_as: str
    seconds: Spread
    """Of the whole run."""
    seconds_per_epoch: Spread
    rows_per_second: Spread
    start_up_share: Spread
    phases: Mapping[str, float]
    """Mean seconds: start-up, training steps, validation and checkpoints, saving."""
    scaling: Scaling | None
    hardware: HardwareUse | None
    cost: Cost | None = None


@dataclass(frozen=True)
class Comparison:
    """All that the page, the brief and the JSON file say, but for the recommendation."""

    computes: tuple[Compared, ...]
    """In the order of the list."""
    runs: tuple[Run, ...]
    prices: Prices | None
    no_costs: tuple[str, ...]
    """Why there are no costs; none when there are."""
    notes: tuple[str, ...]
    """What limits the figures."""


def compare_runs(runs: Sequence[Run], hardware: Sequence[HardwareUse | None], prices: Prices | None) -> Comparison:
    """Compare runs that did the same work.

    Costs are given when every compute has a price: a column with gaps would make the cheapest of those that happen to
    be in the table.

    Args:
        runs: at least one of each compute; see `read_runs`.
        hardware: what each run's hardware did.
        prices: None when no table was given.

    Raises:
        InputError: repeats of one compute ran on different machines.
    """
    by_name: dict[str, list[int]] = {}
    for number, run in enumerate(runs):
        by_name.setdefault(run.listed.compute.name, []).append(number)
    rows = [
        _compared([runs[number] for number in numbers], [hardware[number] for number in numbers])
        for numbers in by_name.values()
    ]
    first = {name: runs[numbers[0]] for name, numbers in by_name.items()}
    rows = [replace(row, scaling=_scaling(row, rows, first)) for row in rows]
    no_costs = _no_costs(rows, prices)
    if prices is not None and not no_costs:
        rows = _priced(rows, runs, prices)
    return Comparison(tuple(rows), tuple(runs), prices, tuple(no_costs), tuple(_notes(rows, first)))


def front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """Return the names of the points that no other dominates; less is better in both directions."""
    return {
        name
        for name, (x, y) in points.items()
        if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points.values())
    }


def _compared(runs: Sequence[Run], hardware: Sequence[HardwareUse | None]) -> Compared:
    first, compute = runs[0], runs[0].listed.compute
    for run in runs[1:]:
        if (run.machine, run.threads) != (first.machine, first.threads):
            raise InputError(
                f"{first.listed.node} and {run.listed.node} are repeats of one compute, and ran on {first.machine} "
                f"with {first.threads} threads and on {run.machine} with {run.threads}"
            )
    return Compared(
        name=compute.name,
        cluster=compute.compute,
        machine=first.machine,
        instance_count=compute.instance_count,
        processes=compute.processes,
        precision=first.precision,
        threads=first.threads,
        repeats=len(runs),
        priced_as=compute.priced_as or first.machine,
        seconds=_spread([run.seconds for run in runs]),
        seconds_per_epoch=_spread([run.seconds_per_epoch for run in runs]),
        rows_per_second=_spread([run.rows_per_second for run in runs]),
        start_up_share=_spread([run.start_up_share for run in runs]),
        phases={
            "start-up": fmean(run.phases["start"] + run.phases["load"] for run in runs),
            "training steps": fmean(run.step_seconds for run in runs),
            "validation and checkpoints": fmean(max(0.0, run.phases["train"] - run.step_seconds) for run in runs),
            "saving": fmean(run.phases["save"] for run in runs),
        },
        scaling=None,
        hardware=_mean_use([use for use in hardware if use is not None]),
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def _mean_use(found: Sequence[HardwareUse]) -> HardwareUse | None:
    if not found:
        return None

    def known(name: str) -> list[float]:
        return [value for use in found if (value := getattr(use, name)) is not None]

    means = {name: fmean(known(name)) if known(name) else None for name in ("processor", "gpu", "gpu_watts")}
    peaks = {name: max(known(name), default=None) for name in ("memory_gib", "gpu_memory_gib")}
    return HardwareUse(samples=sum(use.samples for use in found), **means, **peaks)


def _scaling(row: Compared, rows: Sequence[Compared], first: Mapping[str, Run]) -> Scaling | None:
    alike = [other for other in rows if _but_for_processes(first[other.name]) == _but_for_processes(first[row.name])]
    base = min(alike, key=lambda other: other.processes)
    if base.processes == row.processes:
        return None
    speedup = row.rows_per_second.median / base.rows_per_second.median
    return Scaling(base.name, base.processes, speedup, speedup * base.processes / row.processes)


def _but_for_processes(run: Run) -> tuple[Any, ...]:
    """Return what has to be equal for a difference in throughput to be that of the process count."""
    settings = {name: value for name, value in run.settings.items() if name not in _NOT_CHOSEN}
    threads = run.threads if run.device == run.machine else None
    return run.device, run.precision, threads, tuple(sorted(settings.items()))


def _no_costs(rows: Sequence[Compared], prices: Prices | None) -> list[str]:
    if prices is None:
        return ["no table of prices was given"]
    missing = sorted({row.priced_as for row in rows} - set(prices.per_hour))
    return [f"the table has no price for “{name}”" for name in missing]


def _priced(rows: Sequence[Compared], runs: Sequence[Run], prices: Prices) -> list[Compared]:
    priced = []
    for row in rows:
        per_hour = prices.per_hour[row.priced_as] * row.instance_count
        mine = [run for run in runs if run.listed.compute.name == row.name]
        whole = _spread([per_hour * run.seconds / 3600 for run in mine])
        million = _spread([per_hour * _MILLION / run.rows_per_second / 3600 for run in mine])
        priced.append(replace(row, cost=Cost(per_hour, whole, million, on_front=False)))
    best = front({row.name: (row.seconds.median, row.cost.run.median) for row in priced if row.cost is not None})
    return [
        row if row.cost is None else replace(row, cost=replace(row.cost, on_front=row.name in best)) for row in priced
    ]


def _notes(rows: Sequence[Compared], first: Mapping[str, Run]) -> list[str]:
    notes = [
        "Seconds are from the process’s start to the saved model. Waiting for a node, pulling the image and a node’s "
        "idle time before it is released are not in them, and are paid for on a cluster.",
        "Hardware use is that of the first instance while it trained, by all programs that ran there.",
    ]
    for row in rows:
        run = first[row.name]
        wanted = row.processes // row.instance_count * row.threads
        if run.device == run.machine and wanted > run.cores:
            notes.append(f"{row.name}: {wanted} threads shared {run.cores} cores on each instance.")
        used, asked = row.hardware.processor if row.hardware else None, 100 * min(1.0, wanted / run.cores)
        if run.device == run.machine and used is not None and used > asked + _OTHERS_PERCENT:
            notes.append(
                f"{row.name}: {used:.0f} % of the cores were in use, and the run's threads are {asked:.0f} %: other "
                "programs ran there, so its figures are those of a busy machine."
            )
    if all(row.repeats == 1 for row in rows):
        notes.append("Each compute ran once: how much of a difference is chance is not known. `repeats` in the list.")
    unknown = [row.name for row in rows if row.hardware is None]
    if unknown:
        notes.append(
            f"Hardware use is not known of {', '.join(unknown)}: too short to be sampled, or not tracked here."
        )
    return notes
