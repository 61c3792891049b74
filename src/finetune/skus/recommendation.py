"""Which compute to take, and why, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from finetune.skus.compared import Compared, Comparison


@dataclass(frozen=True)
class Recommendation:
    """The answer."""

    compute: str | None
    """None when no compute ends within the limit."""
    reasons: tuple[str, ...]
    """Sentences."""
    within_noise: tuple[str, ...] = ()
    """Computes whose repeats overlap with the recommended one's in what it was chosen by."""


def recommend(comparison: Comparison, max_minutes: float | None) -> Recommendation:
    """Return the cheapest compute whose run ends within the limit; without costs the fastest one.

    Args:
        comparison: of at least two computes.
        max_minutes: limit of a whole run's time; None for none.
    """
    rows = comparison.computes
    fastest = min(rows, key=lambda row: row.seconds.median)
    candidates = [row for row in rows if max_minutes is None or row.seconds.median <= 60 * max_minutes]
    if not candidates:
        return Recommendation(
            None,
            (f"No run ends within {max_minutes:g} minutes: the fastest, {fastest.name}, takes {_seconds(fastest)}.",),
        )
    within = "" if max_minutes is None else f" of those that end within {max_minutes:g} minutes"
    if comparison.prices is None or comparison.no_costs:
        reasons = [
            f"The fastest{within}: {_seconds(fastest)} a run. Costs are not known: {_joined(comparison.no_costs)}."
        ]
        return _judged(fastest, candidates, [*reasons, *_longer_by_rows(fastest, candidates)], by_cost=False)
    currency = comparison.prices.currency
    best = min(candidates, key=lambda row: (_cost(row), row.seconds.median))
    reasons = [f"The cheapest{within}: {_cost(best):.4g} {currency} and {_seconds(best)} a run."]
    cheaper = [row for row in rows if row not in candidates and _cost(row) < _cost(best)]
    if cheaper:
        reasons.append(f"Cheaper, but over the limit: {', '.join(f'{row.name} ({_seconds(row)})' for row in cheaper)}.")
    if best.name == fastest.name:
        reasons.append("It is also the fastest.")
    else:
        reasons.append(
            f"The fastest, {fastest.name}, takes {_seconds(fastest)} "
            f"({fastest.seconds.median / best.seconds.median:.0%} of that) and costs {_cost(fastest):.4g} {currency}"
            f"{_times(_cost(fastest), _cost(best))}."
        )
    return _judged(best, candidates, [*reasons, *_longer_by_cost(best, candidates, currency)], by_cost=True)


def _judged(best: Compared, candidates: Sequence[Compared], reasons: list[str], by_cost: bool) -> Recommendation:
    """Add what chance may have had to do with it."""
    if best.repeats == 1:
        reasons.append("Each compute ran once, so whether the differences are more than chance is not known.")
        return Recommendation(best.name, tuple(reasons))
    near = [row.name for row in candidates if row is not best and _overlap(row, best, by_cost)]
    if near:
        reasons.append(
            f"Within noise: the {best.repeats} repeats overlap with those of {', '.join(near)}, which may be as good."
        )
    else:
        reasons.append(f"None of the others’ {best.repeats} repeats overlaps with its own.")
    return Recommendation(best.name, tuple(reasons), tuple(near))


def _overlap(row: Compared, best: Compared, by_cost: bool) -> bool:
    if by_cost and row.cost is not None and best.cost is not None:
        return row.cost.run.overlaps(best.cost.run)
    return row.seconds.overlaps(best.seconds)


def _longer_by_cost(best: Compared, candidates: Sequence[Compared], currency: str) -> list[str]:
    """Say which compute a long training would make the cheapest, when it is another one."""
    other = min(candidates, key=_cost_of_rows)
    if other is best or _cost_of_rows(other) == _cost_of_rows(best):
        return []
    return [
        f"By training steps alone {other.name} is cheaper ({_cost_of_rows(other):.4g} against "
        f"{_cost_of_rows(best):.4g} {currency} a million rows): in a longer training, where start-up weighs less, "
        "it may come out first."
    ]


def _longer_by_rows(best: Compared, candidates: Sequence[Compared]) -> list[str]:
    other = max(candidates, key=lambda row: row.rows_per_second.median)
    if other is best or other.rows_per_second.median == best.rows_per_second.median:
        return []
    return [
        f"By training steps alone {other.name} is faster ({other.rows_per_second.median:.4g} against "
        f"{best.rows_per_second.median:.4g} rows a second): in a longer training, where start-up weighs less, it may "
        "come out first."
    ]


def _cost(row: Compared) -> float:
    assert row.cost is not None  # noqa: S101 - costs are there for all computes or for none
    return row.cost.run.median


def _cost_of_rows(row: Compared) -> float:
    assert row.cost is not None  # noqa: S101 - likewise
    return row.cost.million_rows.median


def _seconds(row: Compared) -> str:
    return f"{row.seconds.median:.1f} s"


def _times(cost: float, of: float) -> str:
    return f", {cost / of:.2f} times as much" if of > 0 else ""


def _joined(reasons: Sequence[str]) -> str:
    return "; ".join(reasons)
