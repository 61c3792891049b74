"""What can be seen of a row alone: its encoding, its marks."""

import html
import re
from collections.abc import Callable, Iterator, Sequence

import ftfy
import ftfy.badness
import numpy as np
import pandas as pd

from finetune.data.checks.findings import Problem
from finetune.errors import InputError

HTML, ENCODING, TAGS = "html", "encoding", "tags"
NO_REPAIR = "none"
UNDECODED = re.compile("[\udc80-\udcff]+")
"""What Python's "surrogateescape" makes of bytes that are no UTF-8."""
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def has_entities(text: str) -> bool:
    """Tell whether a text holds HTML entities that stand for something else."""
    return _ENTITY.search(text) is not None and html.unescape(text) != text


def has_mojibake(text: str) -> bool:
    """Tell whether a text looks like UTF-8 that was read as another encoding, by ftfy's heuristic."""
    return not text.isascii() and ftfy.badness.is_bad(text)


def has_control_characters(text: str) -> bool:
    """Tell whether a text holds control characters, line ends and tabs aside."""
    return _CONTROL.search(text) is not None


def has_unbalanced_quotes(text: str) -> bool:
    """Tell whether a text holds an odd number of straight quotation marks."""
    return text.count('"') % 2 == 1


_CHECKS: dict[str, tuple[Callable[[str], bool], str]] = {
    "control_characters": (has_control_characters, "control characters in the text"),
    "html_entities": (has_entities, "HTML entities in the text"),
    "mojibake": (has_mojibake, "text that was decoded as another encoding"),
    "unbalanced_quotes": (has_unbalanced_quotes, "an odd number of quotation marks"),
}


def text_problems(frame: pd.DataFrame, text_columns: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem per check of single texts; a row has it when one of its texts has."""
    for check, (has, detail) in _CHECKS.items():
        mask = np.zeros(len(frame), dtype=bool)
        for column in text_columns:
            mask |= np.fromiter(map(has, frame[column]), dtype=bool, count=len(frame))
        yield Problem(check, mask, detail)


def parse_repairs(text: str) -> tuple[str, ...]:
    """Parse --repair: "none", or some of html, encoding and tags, separated by commas.

    Raises:
        InputError: something else is named.
    """
    repairs = tuple(part.strip() for part in text.split(",") if part.strip())
    if repairs == (NO_REPAIR,):
        return ()
    if not repairs or not set(repairs) <= {HTML, ENCODING, TAGS}:
        raise InputError(f"--repair {text!r}: expected none, or {HTML}, {ENCODING} and {TAGS}, separated by commas")
    return repairs


def repair(text: str, repairs: Sequence[str]) -> str:
    """Return a text with stray encodings and HTML entities undone, as far as is asked.

    Bytes that are no UTF-8 are taken for Windows-1252, as browsers do.
    """
    if ENCODING in repairs and not text.isascii():
        text = UNDECODED.sub(lambda match: _windows(match[0]), text)
        text = ftfy.fix_encoding(text)
    return html.unescape(text) if HTML in repairs and "&" in text else text


def _windows(escaped: str) -> str:
    return escaped.encode("utf-8", "surrogateescape").decode("sloppy-windows-1252")
