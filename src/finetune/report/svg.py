"""Matplotlib figures as inline SVG: text stays text, and colours are the page's own, light or dark."""

import html
import io
import re
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from finetune.report.texts import visible

INK, MUTED, LINE, CHALLENGER, CHAMPION, BAD = (f"#11110{place}" for place in range(6))
"""Stand-ins that `draw` replaces by the page's CSS variables."""
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    CHALLENGER: "var(--challenger)",
    CHAMPION: "var(--champion)",
    BAD: "var(--bad)",
}
_LIGHT = {"ink": "#1b1f24", "muted": "#57606a", "line": "#d5dae0", "challenger": "#0a5dc2", "champion": "#b35309"}
_LIGHT |= {"bad": "#b42318", "page": "#ffffff"}
_DARK = {"ink": "#e7ebf0", "muted": "#a2adba", "line": "#3a434e", "challenger": "#6cb2ff", "champion": "#f5a65b"}
_DARK |= {"bad": "#ff8a80", "page": "#12161c"}
"""The values of page.css, for a figure that stands alone."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    # Labels come from the data: "$5" is no formula.
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "figure.facecolor": "none",
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.color": INK,
    "patch.edgecolor": INK,
}


@dataclass(frozen=True)
class Drawing:
    """A figure for the page."""

    name: str
    """Letters and hyphens; prefix of the ids in the figure."""
    title: str
    description: str
    """What it shows, for who does not see it."""
    svg: str
    width: int
    """Points it is drawn at."""


def draw(name: str, title: str, description: str, size: tuple[float, float], plot: Callable[[Figure], None]) -> Drawing:
    """Draw a figure.

    Args:
        name: letters and hyphens, not that of another figure of the page.
        title: read out as the figure's name.
        description: what it shows, for who does not see it.
        size: width and height in inches.
        plot: draws into the empty figure, with the colours of this module alone.
    """
    stream = io.StringIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The browser has the glyphs that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=size, layout="constrained")
        plot(figure)
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Drawing(name, title, description, _inline(stream.getvalue(), name, title, description), round(size[0] * 72))


def alone(drawing: Drawing) -> str:
    """Return a figure as an SVG file of its own, with the page's colours in it, light or dark."""
    (width, height) = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing.svg)[0]
    light, dark = ("".join(f"--{name}: {value}; " for name, value in colours.items()) for colours in (_LIGHT, _DARK))
    style = (
        f"svg {{ {light}background: var(--page); stroke-linejoin: round; font-family: system-ui, sans-serif; }} "
        f"@media (prefers-color-scheme: dark) {{ svg {{ {dark}}} }}"
    )
    start = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" '
    return drawing.svg.replace("<svg ", start, 1).replace("><title", f"><style>{style}</style><title", 1) + "\n"


def short(text: str, most: int = 22) -> str:
    """Return a name as a figure can hold it: without control characters, and cut."""
    clean = "".join(" " if unicodedata.category(character)[0] == "C" else character for character in text)
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"


def _inline(svg: str, name: str, title: str, description: str) -> str:
    body = svg[svg.index("<svg") :]
    view = re.search(r'viewBox="[^"]+"', body)
    assert view is not None  # noqa: S101 - matplotlib always writes one
    body = body[body.index(">") + 1 : body.rindex("</svg>")]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", body)
    body = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", body).replace("xlink:href", "href")
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = re.sub(r' (?:d|x|y)="[^"]*"', _rounded, body)
    body = re.sub(r"font: [^;\"]*?([\d.]+px)[^;\"]*", r"font-size: \1", body)
    body = re.sub(r"; font-family: [^;\"]*|font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r"\s*\n\s*", " ", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    return (
        f'<svg {view[0]} role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{html.escape(visible(title))}</title>'
        f'<desc id="{name}-desc">{html.escape(visible(description))}</desc>{body}</svg>'
    )


def _rounded(coordinates: re.Match[str]) -> str:
    """Return an attribute with hundredths of a point: more is not seen, and is most of a figure's size."""
    return re.sub(r"(\.\d\d)\d+", r"\1", coordinates[0])
