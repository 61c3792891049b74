"""What a value of the label column is called: as it stands, by name, or by rating threshold."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from finetune.errors import InputError

AS_IS = "as-is"


@dataclass(frozen=True)
class LabelRule:
    """One `source:name` part of a label mapping."""

    name: str
    matches: Callable[[Any], bool]


@dataclass(frozen=True)
class LabelMapping:
    """A parsed label mapping; the first rule that matches names the label."""

    rules: tuple[LabelRule, ...]
    drops_unmatched: bool
    """Thresholds leave a middle out on purpose; names must cover every value."""

    def name_of(self, value: Any) -> str | None:
        """Return the label's name, or None when no rule covers the value."""
        if not self.rules:
            return _as_text(value)
        return next((rule.name for rule in self.rules if rule.matches(value)), None)


def parse_label_mapping(text: str) -> LabelMapping:
    """Parse a label mapping.

    Args:
        text: "as-is"; names, such as "0:different,1:same"; or rating thresholds, such as "<=2:negative,>=4:positive",
            where a rating that no threshold covers leaves the row out.

    Raises:
        InputError: a part is not `source:name`, thresholds and names are mixed, or a source is named twice.
    """
    if text == AS_IS:
        return LabelMapping((), drops_unmatched=False)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    threshold = [part.startswith(("<=", ">=")) for part in parts]
    if not parts or any(threshold) != all(threshold):
        raise InputError(
            f"--label_mapping {text!r}: expected 'as-is', names ('0:no,1:yes') or thresholds "
            "('<=2:negative,>=4:positive'), not a mix"
        )
    rules = tuple(_rule(part, text) for part in parts)
    sources = [part.rpartition(":")[0].strip() for part in parts]
    if len(set(sources)) != len(sources):
        raise InputError(f"--label_mapping {text!r}: a value is named twice")
    return LabelMapping(rules, drops_unmatched=all(threshold))


def _rule(part: str, text: str) -> LabelRule:
    source, colon, name = (piece.strip() for piece in part.rpartition(":"))
    if not (colon and source and name):
        raise InputError(f"--label_mapping {text!r}: {part!r} is not 'value:name'")
    if not source.startswith(("<=", ">=")):
        return LabelRule(name, lambda value: _as_text(value) == source)
    try:
        bound = float(source[2:])
    except ValueError:
        raise InputError(f"--label_mapping {text!r}: {source[2:]!r} in {part!r} is not a number") from None
    if source.startswith("<="):
        return LabelRule(name, lambda value: _as_number(value) <= bound)
    return LabelRule(name, lambda value: _as_number(value) >= bound)


def _as_text(value: Any) -> str:
    """Render 5, 5.0 and "5" alike, so that a mapping does not depend on the file format."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _as_number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"label {value!r} is not a number; thresholds need ratings") from None
    if math.isnan(number):
        raise InputError("a rating is NaN; thresholds need ratings")
    return number
