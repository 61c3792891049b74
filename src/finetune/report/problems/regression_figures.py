"""Charts of answers that are numbers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from finetune.report.figures import COLOURS, DASHES, SQUARE
from finetune.report.svg import CHALLENGER, INK, LINE, MUTED, Drawing, draw

if TYPE_CHECKING:
    from finetune.report.problems.regression import RangeRow

MOST_POINTS = 1_000
"""That are drawn; more would only be ink."""
_BINS = 25


def answers(models: Mapping[str, tuple[np.ndarray, ...]], ranges: Sequence["RangeRow"]) -> list[Drawing]:
    """Draw answers against labels by model, their residuals, and the challenger's residuals by the label's range.

    Args:
        models: labels and answers by model, shape (n,) each, at least one row.
        ranges: the parts of the labels' range.
    """
    return [*(_scatter(name, *arrays) for name, arrays in models.items()), _residuals(models), _by_range(ranges)]


def _scatter(model: str, true: np.ndarray, values: np.ndarray) -> Drawing:
    shown = np.unique(np.linspace(0, len(true) - 1, MOST_POINTS).round().astype(int))
    ends = min(true.min(), values.min()), max(true.max(), values.max())

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot(ends, ends, color=LINE, linewidth=1)
        axes.plot(
            true[shown],
            values[shown],
            linestyle="none",
            marker="o",
            markersize=3,
            color=COLOURS[model],
            alpha=0.45,
            markeredgewidth=0,
        )
        axes.set(xlabel="label", ylabel="answer")

    far = float(np.abs(values - true).mean())
    description = f"{len(true):,} rows; answers are {far:.4f} away from their labels on average."
    return draw(f"answers-{model}", f"Answers of the {model} against labels", description, SQUARE, plot)


def _residuals(models: Mapping[str, tuple[np.ndarray, ...]]) -> Drawing:
    found = {name: values - true for name, (true, values) in models.items()}
    # A far answer or two would leave all others one bar.
    reach = float(max(np.quantile(np.abs(residuals), 0.995) for residuals in found.values())) or 1.0
    edges = np.linspace(-reach, reach, _BINS + 1)

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axvline(0, color=MUTED, linewidth=1)
        for name, residuals in found.items():
            counts, _ = np.histogram(residuals.clip(-reach, reach), edges)
            axes.stairs(counts, edges, color=COLOURS[name], linewidth=1.6, linestyle=DASHES[name], label=name)
        axes.set(xlabel="answer minus label; farther ones are in the last bars", ylabel="rows", ylim=(0, None))
        axes.legend(loc="upper right")

    description = "; ".join(
        f"{name}: mean {residuals.mean():+.4f}, standard deviation {residuals.std():.4f}"
        for name, residuals in found.items()
    )
    return draw("residuals", "Residuals", description, SQUARE, plot)


def _by_range(ranges: Sequence["RangeRow"]) -> Drawing:
    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.boxplot(
            [part.residuals for part in ranges],
            tick_labels=[f"{part.low:g}–{part.high:g}" for part in ranges],
            whis=(5, 95),
            showfliers=False,
            boxprops={"color": CHALLENGER},
            whiskerprops={"color": CHALLENGER},
            capprops={"color": CHALLENGER},
            medianprops={"color": INK, "linewidth": 2},
        )
        axes.tick_params(axis="x", rotation=30)
        axes.set(xlabel="label", ylabel="answer minus label")
        axes.grid(visible=False, axis="x")

    worst = max(ranges, key=lambda part: part.error)
    description = (
        f"The challenger is farthest off from {worst.low:g} to {worst.high:g}: {worst.error:.4f} on average. "
        "All in the table."
    )
    return draw("residual-ranges", "Residuals of the challenger by the label's range", description, SQUARE, plot)
