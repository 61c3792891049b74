"""The report's charts."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from finetune.comparison import is_known
from finetune.data.manifest import DatasetManifest
from finetune.gate import signed
from finetune.report.analysis import SliceRow, number
from finetune.report.curves import Curve, Reliability
from finetune.report.svg import BAD, CHALLENGER, CHAMPION, INK, LINE, MUTED, Drawing, draw, short
from finetune.report.trials import Sweep

COLOURS = {"challenger": CHALLENGER, "champion": CHAMPION}
DASHES = {"challenger": "-", "champion": (0, (4, 2))}
_Corner = Literal["lower right", "lower left"]
SQUARE = (3.9, 3.4)
_MARKERS = {"challenger": "o", "champion": "s"}


def confusion_matrix(model: str, labels: Sequence[str], counts: np.ndarray) -> Drawing:
    """Draw counts, shape (labels, labels); a cell is as dark as its share of the true label's rows."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    full = to_rgba(COLOURS[model])
    # Never quite full, so that the numbers can be read on it.
    shade = LinearSegmentedColormap.from_list("shade", [(*full[:3], 0.0), (*full[:3], 0.62)])
    side = max(3.4, 1.6 + 0.3 * len(labels)) if len(labels) > 6 else 3.6

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = np.arange(len(labels))
        axes.pcolormesh(np.ma.masked_equal(shares, 0), cmap=shade, vmin=0, vmax=1, linewidth=0)
        axes.set_xticks(range(len(labels) + 1), minor=True)
        axes.set_yticks(range(len(labels) + 1), minor=True)
        axes.grid(visible=True, which="minor")
        for i, j in zip(*np.nonzero(counts), strict=True):
            axes.text(j + 0.5, i + 0.5, f"{counts[i, j]}", ha="center", va="center", fontsize=8)
        axes.set_xticks(places + 0.5, [short(label, 16) for label in labels], rotation=90 if len(labels) > 3 else 0)
        axes.set_yticks(places + 0.5, [short(label, 16) for label in labels])
        axes.set(xlabel="answer", ylabel="true label", aspect="equal")
        axes.invert_yaxis()
        axes.grid(visible=False, which="major")
        axes.tick_params(which="both", length=0)

    right = int(np.trace(counts))
    return draw(
        f"confusion-{model}",
        f"Confusion matrix of the {model}",
        f"{right} of {counts.sum()} answers lie on the diagonal, where they are right. All counts are in a table.",
        (side, side),
        plot,
    )


def roc(curves: dict[str, Curve], single: dict[str, Sequence[Curve]], positive: str | None) -> Drawing:
    """Draw ROC curves, by model: the micro average, and thin the challenger's of each label."""

    def plot(figure: Figure) -> None:
        axes = _unit_axes(figure, "false positive rate", "true positive rate")
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        _draw_curves(axes, curves, single, "lower right", "AUC")

    return draw("roc", f"ROC curves{_of(positive)}", _areas(curves, "area under the curve"), SQUARE, plot)


def precision_recall(curves: dict[str, Curve], single: dict[str, Sequence[Curve]], positive: str | None) -> Drawing:
    """Draw precision-recall curves likewise."""

    def plot(figure: Figure) -> None:
        axes = _unit_axes(figure, "recall", "precision")
        _draw_curves(axes, curves, single, "lower left", "AP")

    return draw(
        "precision-recall",
        f"Precision-recall curves{_of(positive)}",
        _areas(curves, "average precision"),
        SQUARE,
        plot,
    )


def _of(positive: str | None) -> str:
    return ", micro average over labels" if positive is None else f" of the label {short(positive)}"


def _areas(curves: dict[str, Curve], what: str) -> str:
    return "; ".join(f"{model}: {what} {curve.area:.4f}" for model, curve in curves.items())


def _unit_axes(figure: Figure, x: str, y: str) -> Axes:
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return axes


def _draw_curves(
    axes: Axes, curves: dict[str, Curve], single: dict[str, Sequence[Curve]], place: _Corner, area: str
) -> None:
    for model, several in single.items():
        for curve in several:
            axes.plot(curve.x, curve.y, color=COLOURS[model], linewidth=0.6, alpha=0.45)
    for model, curve in curves.items():
        axes.plot(
            curve.x,
            curve.y,
            color=COLOURS[model],
            linewidth=2,
            linestyle=DASHES[model],
            label=f"{model}, {area} {curve.area:.3f}",
        )
    axes.legend(loc=place)


def calibration(found: Mapping[str, Reliability], what: str, share: str, counted: str = "rows") -> Drawing:
    """Draw reliability diagrams by model, and below them how many answers had which probability.

    Args:
        found: by model.
        what: the probability is of.
        share: what the share is of.
        counted: what is counted.
    """

    def plot(figure: Figure) -> None:
        axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        for place, (model, bins) in enumerate(found.items()):
            axes.plot(
                bins.confidence,
                bins.accuracy,
                color=COLOURS[model],
                linestyle=DASHES[model],
                marker=_MARKERS[model],
                markersize=4,
                label=f"{model}, ECE {bins.error:.3f}",
            )
            width = 0.04
            counts.bar(
                np.minimum(np.floor(bins.confidence * 10), 9) / 10 + 0.03 + place * width,
                bins.rows,
                width,
                color=COLOURS[model],
                linewidth=0,
            )
        axes.set(ylabel=share, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.legend(loc="lower right")
        counts.set(xlabel=what, ylabel=counted)
        counts.yaxis.set_major_locator(MaxNLocator(3, integer=True))

    description = "; ".join(f"{model}: expected calibration error {bins.error:.4f}" for model, bins in found.items())
    return draw("reliability", "Reliability diagram", description, SQUARE, plot)


def slice_intervals(rows: Sequence[SliceRow], margin: float | None, what: str) -> Drawing:
    """Draw each slice's value with its interval; those that the gate does not judge are muted.

    Args:
        rows: worst first.
        margin: the loss that the policy accepts; None when nothing is compared.
        what: the axis' name.
    """

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, part in enumerate(rows):
            colour = CHALLENGER if part.judged or margin is None else MUTED
            if margin is not None and part.judged and part.low < -margin:
                colour = BAD
            if is_known(part.low, part.high):
                axes.plot([part.low, part.high], [place, place], color=colour, linewidth=2, alpha=0.6)
            axes.plot([part.value], [place], color=colour, marker="o", markersize=5)
        if margin is not None:
            axes.axvline(0, color=MUTED, linewidth=1)
            axes.axvline(-margin, color=BAD, linewidth=1, linestyle=(0, (3, 2)))
        axes.set_yticks(range(len(rows)), [f"{short(part.name, 26)} ({part.rows})" for part in rows])
        axes.tick_params(axis="y", labelcolor=INK, length=0)
        axes.set(xlabel=what, ylim=(len(rows) - 0.5, -0.5))
        axes.grid(visible=False, axis="y")

    worst = rows[0]
    return draw(
        "slices",
        f"Slices: {what}",
        f"Lowest: {worst.name}, {worst.value:+.4f}, interval {signed(worst.low)} to {signed(worst.high)}. All in the "
        "table.",
        (6.6, 0.8 + 0.24 * len(rows)),
        plot,
    )


def scores_over_time(sweep: Sweep) -> Drawing:
    """Draw each trial's score at the minutes after the sweep's first score."""
    times = [time for trial in sweep.trials for time, _ in trial.scores]
    start = min(times)

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for trial in sweep.trials:
            chosen = trial.name == sweep.chosen
            minutes = [(time - start) / 60_000 for time, _ in trial.scores]
            scores = [score for _, score in trial.scores]
            colour = CHALLENGER if chosen else MUTED
            axes.plot(minutes, scores, color=colour, linewidth=2 if chosen else 1, marker="o", markersize=3)
            if trial.ended_early:
                axes.plot(minutes[-1:], scores[-1:], color=BAD, marker="x", markersize=8, markeredgewidth=2)
        axes.set(xlabel="minutes since the first score", ylabel="score on validation")

    early = sum(trial.ended_early for trial in sweep.trials)
    best = max(trial.best for trial in sweep.trials if trial.best is not None)
    description = f"Trials: {len(sweep.trials)}, ended early: {early}; the highest score is {best:.4f}."
    return draw("scores", "Score of each trial over time", description, SQUARE, plot)


def learning_rates(sweep: Sweep) -> Drawing | None:
    """Draw each trial's lowest validation loss by its learning rate; None when fewer than two trials name both."""
    points = [
        (rate, trial.validation_loss, trial)
        for trial in sweep.trials
        if (rate := number(trial.parameters.get("learning_rate"))) is not None
        and rate > 0
        and trial.validation_loss is not None
    ]
    if len({rate for rate, _, _ in points}) < 2:
        return None

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for rate, loss, trial in points:
            colour = CHALLENGER if trial.name == sweep.chosen else BAD if trial.ended_early else MUTED
            marker = "x" if trial.ended_early else "o"
            scattered: PathCollection = axes.scatter([rate], [loss], color=colour, marker=marker, s=30)
            scattered.set_zorder(3 if trial.name == sweep.chosen else 2)
        axes.set(xlabel="learning rate, logarithmic", ylabel="lowest loss on validation", xscale="log")
        axes.minorticks_off()
        rates = [rate for rate, _, _ in points]
        ticks = np.geomspace(min(rates), max(rates), 3)
        axes.set_xticks(ticks, [f"{tick:.1e}" for tick in ticks])

    best = min(points, key=lambda point: point[1])
    description = f"The lowest loss, {best[1]:.4f}, came with a learning rate of {best[0]:.3g}."
    return draw("learning-rates", "Learning rate against validation loss", description, SQUARE, plot)


def parameter_importance(shares: dict[str, float]) -> Drawing:
    """Draw each varied parameter's share of the importance."""

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.barh(range(len(shares)), list(shares.values()), color=MUTED, linewidth=0)
        axes.set_yticks(range(len(shares)), [short(name, 30) for name in shares])
        axes.tick_params(axis="y", labelcolor=INK, length=0)
        axes.set(xlabel="share of the importance", ylim=(len(shares) - 0.5, -0.5), xlim=(0, 1))
        axes.grid(visible=False, axis="y")

    description = "; ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return draw("importance", "Importance of the varied parameters", description, SQUARE, plot)


_PANELS = (
    ("in use, %", ("cpu_utilization_percentage", "utilization_percentage"), 1.0),
    ("memory, GiB", ("system_memory_usage_megabytes", "memory_usage_megabytes"), 1 / 1024),
    ("temperature, °C", ("temperature_celsius",), 1.0),
    ("power, W", ("power_usage_watts",), 1.0),
)
"""Axis, endings of the metrics' names, factor into the axis' unit."""
_LONGEST_GAP_SECONDS = 20
_FEW_SAMPLES = 30
"""Up to here every sample is marked: a short trial has one or two, and a line through one point is not seen."""


def hardware_use(sweep: Sweep) -> Drawing | None:
    """Draw what host and GPUs did while the chosen trial ran; None when it was not sampled."""
    panels = [
        (axis, {name: points for name, points in sweep.hardware.items() if points and name.endswith(endings)}, factor)
        for axis, endings, factor in _PANELS
    ]
    panels = [panel for panel in panels if panel[1]]
    if not panels:
        return None

    def plot(figure: Figure) -> None:
        drawn = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (axis, series, factor) in zip(drawn, panels, strict=True):
            for name, points in series.items():
                minutes, values = _with_gaps(points)
                gpu = name.startswith("gpu_")
                axes.plot(
                    minutes,
                    values * factor,
                    color=CHALLENGER if gpu else MUTED,
                    linewidth=1.2,
                    marker="." if len(points) <= _FEW_SAMPLES else None,
                    linestyle=("-", (0, (4, 2)), (0, (1, 1)))[int(name.split("_")[1]) % 3] if gpu else "-",
                    label=" ".join(name.split("_")[:2]).upper() if gpu else "host",
                )
            axes.set(ylabel=axis, ylim=(0, 105) if axis.endswith("%") else (0, None))
            axes.legend(loc="lower right", ncols=4)
        drawn[-1].set(xlabel="minutes since the trial's start")

    means = "; ".join(
        f"{name.replace('_', ' ')}: mean {np.mean([value for _, value in points]):.1f}"
        for _, series, _ in panels
        for name, points in series.items()
    )
    return draw("hardware", "Use of the hardware by the chosen trial", means, (6.6, 0.7 + 1.35 * len(panels)), plot)


def _with_gaps(points: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return minutes and values, with NaN where a trial was ended and went on later: no line is drawn there."""
    seconds, values = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    gaps = np.flatnonzero(np.diff(seconds) > _LONGEST_GAP_SECONDS) + 1
    return np.insert(seconds, gaps, np.nan) / 60, np.insert(values, gaps, np.nan)


def token_lengths(manifest: DatasetManifest) -> Drawing | None:
    """Draw the splits' shares of rows by length in tokens; None when they were not counted."""
    counted = {name: split for name, split in manifest.splits.items() if split.token_lengths}
    if not counted:
        return None
    bins = sorted({int(most) for split in counted.values() for most in split.token_lengths})
    colours = {"train": MUTED, "validation": CHAMPION, "test": CHALLENGER}

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        width = 0.8 / len(counted)
        for place, (name, split) in enumerate(counted.items()):
            shares = [split.token_lengths.get(str(most), 0) / split.rows for most in bins]
            places = [i - 0.4 + width * (place + 0.5) for i in range(len(bins))]
            axes.bar(places, shares, width * 0.92, color=colours[name], linewidth=0, label=name)
        axes.set_xticks(range(len(bins)), [f"≤ {most:,}" for most in bins])
        axes.set(xlabel=f"tokens; rows are cut at {manifest.max_length:,}", ylabel="share of the split's rows")
        axes.grid(visible=False, axis="x")
        axes.legend(loc="best")

    longest = "; ".join(f"{name}: the longest has {split.tokens_longest:,}" for name, split in counted.items())
    return draw("token-lengths", "Rows by length in tokens", longest, SQUARE, plot)


_MOST_LOSSES = 100
"""Points of a curve: single steps of a long training make a band in which nothing is seen."""


def block_means(points: Sequence[tuple[float, float]], together: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of steps and values over so many points at a time; the last ones may be fewer."""
    starts = np.arange(0, len(points), together)
    counts = np.diff([*starts, len(points)])
    steps, values = (np.add.reduceat(column, starts) / counts for column in np.array(points, dtype=np.float64).T)
    return steps, values


def losses(sweep: Sweep) -> Drawing | None:
    """Draw the chosen trial's losses; None when none are known."""
    curves = {name: points for name, points in sweep.losses.items() if points}
    if not curves:
        return None
    names = {"loss": "train", "validation/loss": "validation"}

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for name, points in curves.items():
            train = name == "loss"
            together = -(-len(points) // _MOST_LOSSES) if train else 1
            steps, values = block_means(points, together)
            axes.plot(
                steps,
                values,
                color=MUTED if train else CHALLENGER,
                linewidth=1 if train else 2,
                marker=None if train else "o",
                markersize=4,
                label=names[name] if together == 1 else f"{names[name]}, means of {together}",
            )
        axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
        axes.legend(loc="upper right")

    last = "; ".join(f"{names[name]} loss ends at {points[-1][1]:.4f}" for name, points in curves.items())
    return draw("losses", "Losses of the chosen trial", last, SQUARE, plot)
