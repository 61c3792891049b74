"""Charts of answers that are pieces of a context."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from finetune.report.figures import COLOURS, SQUARE
from finetune.report.svg import CHALLENGER, CHAMPION, Drawing, draw, short

if TYPE_CHECKING:
    from finetune.report.problems.answer_spans import PartRow

_EDGES = (0.2, 0.4, 0.6, 0.8)
_NAMES = ("0", "≤ 0.2", "≤ 0.4", "≤ 0.6", "≤ 0.8", "< 1", "1")


def distribution(found: Mapping[str, np.ndarray]) -> Drawing:
    """Draw how many rows have which F1, by model; none and all words shared are bars of their own.

    Args:
        found: F1 of each row, shape (n,), by model.
    """

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        width = 0.8 / len(found)
        for place, (name, f1) in enumerate(found.items()):
            inner = np.searchsorted(_EDGES, f1) + 1
            bins = np.where(f1 == 0, 0, np.where(f1 == 1, len(_NAMES) - 1, inner))
            places = np.arange(len(_NAMES)) - 0.4 + width * (place + 0.5)
            axes.bar(
                places,
                np.bincount(bins, minlength=len(_NAMES)) / len(f1),
                width * 0.92,
                color=COLOURS[name],
                linewidth=0,
                label=name,
            )
        axes.set_xticks(range(len(_NAMES)), _NAMES)
        axes.set(xlabel="F1 of the answer", ylabel="share of the rows")
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper left")

    description = "; ".join(
        f"{name}: {(f1 == 1).mean():.1%} have all words right, {(f1 == 0).mean():.1%} none"
        for name, f1 in found.items()
    )
    return draw("f1-distribution", "Rows by F1", description, SQUARE, plot)


def by_part(name: str, title: str, axis: str, rows: Sequence["PartRow"]) -> Drawing:
    """Draw F1 in parts of the test rows, with the champion's beside it where it was measured.

    Args:
        name: the figure's.
        title: of the figure.
        axis: what the parts are.
        rows: the parts, at least one.
    """
    both = rows[0].champion_f1 is not None
    width = 0.4 if both else 0.6

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = np.arange(len(rows))
        shift = width / 2 if both else 0
        axes.bar(places - shift, [part.f1 for part in rows], width * 0.92, color=CHALLENGER, linewidth=0)
        if both:
            old = [part.champion_f1 or 0.0 for part in rows]
            axes.bar(places + shift, old, width * 0.92, color=CHAMPION, linewidth=0)
        axes.set_xticks(places, [f"{short(part.name, 12)}\n({part.rows:,})" for part in rows], fontsize=8)
        axes.set(xlabel=axis, ylabel="F1", ylim=(0, 1.02))
        axes.grid(visible=False, axis="x")

    lowest = min(rows, key=lambda part: part.f1)
    description = f"Lowest: {lowest.name}, {lowest.f1:.4f} on {lowest.rows:,} rows. All in a table."
    return draw(name, title, description, (4.6, SQUARE[1]), plot)
