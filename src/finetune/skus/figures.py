"""The comparison's charts."""

import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from finetune import report
from finetune.report.svg import CHALLENGER, CHAMPION, INK, LINE, MUTED, Drawing, draw, short
from finetune.skus.compared import Compared

_PHASES = {
    "start-up": CHAMPION,
    "training steps": CHALLENGER,
    "validation and checkpoints": MUTED,
    "saving": LINE,
}


_LINE = 0.24
"""Inches from a name to the next."""


def page_style() -> str:
    """Return the style sheet that all of the project's pages have."""
    return (Path(report.__file__).parent / "page.css").read_text(encoding="utf-8")


def pareto(rows: Sequence[Compared], currency: str, recommended: str | None) -> Drawing | None:
    """Draw a run's time against its cost, the ranges of repeats, and the front; None without costs."""
    priced = [(row, row.cost) for row in rows if row.cost is not None]
    if not priced:
        return None
    height = max(3.9, 0.8 + _LINE * len(priced))
    on_front = sorted((row.seconds.median, cost.run.median) for row, cost in priced if cost.on_front)

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot(*zip(*on_front, strict=True), color=CHALLENGER, linewidth=1, linestyle=(0, (4, 2)))
        for row, cost in priced:
            x, y = row.seconds, cost.run
            colour = CHALLENGER if cost.on_front else MUTED
            axes.plot([x.low, x.high], [y.median, y.median], color=colour, linewidth=1)
            axes.plot([x.median, x.median], [y.low, y.high], color=colour, linewidth=1)
            chosen = row.name == recommended
            axes.plot(
                [x.median], [y.median], color=colour, marker="D" if chosen else "o", markersize=9 if chosen else 6
            )
        axes.margins(x=0.06, y=0.08)
        right, top = axes.get_xlim()[1], axes.get_ylim()[1] or 1.0
        axes.set(xlabel="seconds of a run", ylabel=f"{short(currency)} a run", xlim=(0, right), ylim=(0, top))
        # Names stand beside the plot, as points that lie close would have theirs on one another.
        places = apart([cost.run.median / top for _, cost in priced], _LINE / height)
        for (row, cost), place in zip(priced, places, strict=True):
            axes.annotate(
                short(row.name, 30),
                (row.seconds.median, cost.run.median),
                xytext=(1.04, place),
                textcoords="axes fraction",
                va="center",
                color=INK,
                fontsize=8,
                arrowprops={"arrowstyle": "-", "color": LINE, "linewidth": 0.8, "shrinkA": 1, "shrinkB": 4},
            )

    names = ", ".join(row.name for row, cost in priced if cost.on_front)
    description = f"On the front, where none is both faster and cheaper: {names}. All figures are in the table."
    return draw("pareto", "Time against cost", description, (7.2, height), plot)


def apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Return places from 0 to 1 near the wanted ones, in the same order and at least a gap apart where all fit."""
    order = sorted(range(len(wanted)), key=lambda number: wanted[number])
    places = [0.0] * len(wanted)
    lowest = gap / 2
    for number in order:
        places[number] = max(wanted[number], lowest)
        lowest = places[number] + gap
    highest = 1.0 - gap / 2
    for number in reversed(order):
        places[number] = min(places[number], highest)
        highest = places[number] - gap
    return places


def phases(rows: Sequence[Compared]) -> Drawing:
    """Draw what each run's seconds went into."""

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = range(len(rows))
        left = [0.0] * len(rows)
        for phase, colour in _PHASES.items():
            seconds = [row.phases[phase] for row in rows]
            axes.barh(places, seconds, left=left, color=colour, linewidth=0, height=0.62, label=phase)
            left = [start + more for start, more in zip(left, seconds, strict=True)]
        axes.set_yticks(places, [short(row.name, 30) for row in rows])
        axes.tick_params(axis="y", labelcolor=INK, length=0)
        axes.set(xlabel="seconds of a run, mean of the repeats", ylim=(len(rows) - 0.5, -0.5))
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside lower center", ncols=4)

    description = "; ".join(
        f"{row.name}: " + ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in row.phases.items()) for row in rows
    )
    return draw("phases", "What the time went into", description, (6.6, 1.4 + 0.32 * len(rows)), plot)


def scaling(rows: Sequence[Compared]) -> Drawing | None:
    """Draw speedups over the factor in processes, beside the line of linear scaling; None when nothing scales."""
    scaled = [(row, row.scaling) for row in rows if row.scaling is not None]
    if not scaled:
        return None
    lines: dict[str, list[tuple[float, float]]] = {}
    for row, found in scaled:
        lines.setdefault(found.base, [(1.0, 1.0)]).append((row.processes / found.base_processes, found.speedup))
    most = max(x for points in lines.values() for x, _ in points)

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([1, most], [1, most], color=LINE, linewidth=1.5, label="linear")
        styles = ((CHALLENGER, "-", "o"), (CHAMPION, (0, (4, 2)), "s"), (MUTED, (0, (1, 1)), "^"))
        for number, (base, points) in enumerate(lines.items()):
            colour, dashes, marker = styles[number % len(styles)]
            x, y = zip(*sorted(points), strict=True)
            axes.plot(
                x, y, color=colour, linestyle=dashes, marker=marker, markersize=5, label=f"from {short(base, 30)}"
            )
        axes.set(xlabel="times as many processes", ylabel="times the rows a second", xlim=(0.9, None), ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.legend(loc="upper left")

    description = "; ".join(f"{row.name}: {found.speedup:.2f} times {found.base}" for row, found in scaled)
    return draw("scaling", "Scaling over processes", description, (4.6, 3.4), plot)


def standalone(drawing: Drawing) -> str:
    """Return a drawing as an SVG file of its own, in the page's colours, light or dark."""
    rules = re.findall(r"(?:@media \(prefers-color-scheme: dark\) \{\s*)?:root \{[^}]*\}(?:\s*\})?", page_style())
    style = "".join(rules[:2]) + " svg { background: var(--page); font-family: sans-serif; }"
    body = drawing.svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return body.replace("<title", f"<style>{style}</style><title", 1) + "\n"
