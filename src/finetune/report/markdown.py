"""Texts, numbers and tables as GitHub's Markdown."""

from collections.abc import Callable, Sequence

from finetune.comparison import is_known
from finetune.gate import signed


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already; the first column to the left, all others to the right."""
    lines = [names, ["---", *("---:" for _ in names[1:])], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def figure(value: float | None) -> str:
    """Return a number with four digits."""
    return "–" if value is None else f"{value:.4f}"


def signed_figure(value: float | None) -> str:
    """Return a number with its sign and four digits."""
    return "–" if value is None else signed(value)


def interval_text(low: float, high: float, number: Callable[[float | None], str]) -> str:
    """Return an interval as text; a dash when nothing is known.

    Args:
        low: its lower end.
        high: its upper end.
        number: what writes a number.
    """
    return f"{number(low)} to {number(high)}" if is_known(low, high) else "–"
