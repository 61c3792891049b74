"""One line of what the data checks found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The rows of a split that a check found."""

    check: str
    split: str
    action: str
    """fail, drop or warn; "repaired" where the texts were."""
    rows: int
    of: int
    """Rows that were checked."""
    detail: str
    examples: tuple[str, ...] = ()
    """The first rows, counted from 1 in the source as it was given, as "12", or "12 = train 5" with a row like it."""
