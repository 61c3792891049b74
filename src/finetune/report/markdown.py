"""Texts, numbers and tables as GitHub's Markdown."""

import re
import unicodedata
from collections.abc import Callable, Sequence

from finetune.comparison import is_known
from finetune.gate import signed

_SPECIAL = re.compile(r"[!-/:-@\[-`{-~]")
_LINK_MAKERS = "@#"
"""Would notify people and link issues, even when escaped: a zero-width space after them prevents it."""
_HARMLESS = " ,-()=%+"
"""Stay as they are but for a text's first character: in the middle of a line they mean nothing to Markdown."""


def escaped(text: str, most: int) -> str:
    """Return a text that shows in Markdown as it is, on one line, and cut.

    Punctuation becomes character references, which Markdown never takes for its own marks.
    """
    clean = " ".join("".join(" " if unicodedata.category(mark)[0] == "C" else mark for mark in text).split())
    clean = clean if len(clean) <= most else f"{clean[: most - 1]}…"
    return _SPECIAL.sub(_reference, clean)


def _reference(match: re.Match[str]) -> str:
    mark = match[0]
    if match.start() > 0 and (mark in _HARMLESS or (mark == "." and not _starts_word(match))):
        return mark
    return f"&#{ord(mark)};" + ("&#8203;" if mark in _LINK_MAKERS else "")


def _starts_word(match: re.Match[str]) -> bool:
    """Tell whether a letter follows, as in an address, of which GitHub would make a link."""
    return match.string[match.end() : match.end() + 1].isalpha()


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
