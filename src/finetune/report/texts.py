"""Texts from the data, which nobody has vetted, as a reader can be shown them."""

import re

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    # What turns the direction of all that follows, so that a text reads as another: bidirectional controls (UAX 9).
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    # Interlinear annotations and tags, which are not shown at all.
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Return a text with its control characters named, as "[U+202E]": they do nothing, and can be seen."""
    return _HIDDEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)
