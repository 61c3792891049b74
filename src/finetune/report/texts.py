"""Texts from the data, which nobody has vetted, as a reader can be shown them."""

import re
import unicodedata

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    # What turns the direction of all that follows, so that a text reads as another: bidirectional controls (UAX 9).
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    # Interlinear annotations and tags, which are not shown at all.
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)

_SPECIAL = re.compile(r"[!-/:-@\[-`{-~]")
_LINK_MAKERS = "@#"
"""Would notify people and link issues, even when escaped: a zero-width space after them prevents it."""
_HARMLESS = " ,-()=%+"
"""Stay as they are but for a text's first character: in the middle of a line they mean nothing to Markdown."""


def visible(text: str) -> str:
    """Return a text with its control characters named, as "[U+202E]": they do nothing, and can be seen."""
    return _HIDDEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)


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
