"""data_checks.yml: what prep does about what it finds in the data."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from finetune.errors import InputError

Action = Literal["fail", "drop", "warn"]
WITHOUT_ROWS = ("imbalance", "truncated")
"""Checks of a whole split, which have no rows to drop."""
MAY_NOT_WARN = ("not_utf8", "missing_label", "unknown_label", "empty_text")
"""Checks of rows that nothing can be learnt from as they are."""


@dataclass(frozen=True)
class DataChecks:
    """The contents of data_checks.yml. Its keys are these fields, all of them; without a file these are the values.

    fail: prep ends with the place. drop: the rows are left out and counted. warn: they are counted and stay.
    """

    not_utf8: Action = "fail"
    """Bytes that are no UTF-8."""
    missing_label: Action = "fail"
    unknown_label: Action = "fail"
    """Rows of validation and test with a label that train lacks."""
    empty_text: Action = "drop"
    control_characters: Action = "warn"
    """C0 and C1 characters but for tab and line ends, and bidirectional controls."""
    html_entities: Action = "warn"
    """As "&quot;": the text was cut out of a page."""
    mojibake: Action = "warn"
    """As "cafÃ©": UTF-8 that was read as another encoding."""
    unbalanced_quotes: Action = "warn"
    """An odd number of quotation marks in a text, as a mistaken reading of csv leaves them."""
    tag_order: Action = "warn"
    """Tags that go on with an entity which does not stand before them, as I-PER after O."""
    conflicting_labels: Action = "warn"
    """The same texts with different labels within a split."""
    duplicates: Action = "warn"
    """Rows with the texts and label of an earlier one of the split; dropped are the later ones."""
    leakage: Action = "warn"
    """Rows of validation and test whose texts occur in train; dropped are train's."""
    normalised_leakage: Action = "warn"
    """Likewise but for case, punctuation and spaces."""
    group_leakage: Action = "warn"
    """Rows of validation and test whose group (--group_column) occurs in train; dropped are train's."""
    imbalance: Action = "warn"
    imbalance_limit: float = 10.0
    """Rows of train's most frequent label for one of its rarest."""
    truncated: Action = "warn"
    truncated_limit: float = 0.05
    """Share of a split's rows that are longer than the model takes."""

    def action(self, check: str) -> Action:
        """Return what is done about what a check finds."""
        found: Action = getattr(self, check)
        return found


DEFAULT_CHECKS = DataChecks()


def read_data_checks(path: Path) -> DataChecks:
    """Read data_checks.yml.

    Raises:
        InputError: the file is missing or broken, lacks a key or has an unknown one, or a value cannot be.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected what prep does about what it finds") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    expected = {field.name for field in fields(DataChecks)}
    if not isinstance(value, dict):
        raise InputError(f"{path}: found {type(value).__name__}; expected the keys {', '.join(sorted(expected))}")
    wrong = [f"{key} is missing" for key in sorted(expected - value.keys())]
    wrong += [f"{key} is no check" for key in sorted(map(str, value.keys() - expected))]
    if wrong:
        raise InputError(f"{path}: {', '.join(wrong)}; expected exactly the keys {', '.join(sorted(expected))}")
    for key in sorted(expected):
        _check_value(path, key, value[key])
    return DataChecks(**value)


def _check_value(path: Path, key: str, value: Any) -> None:
    if key.endswith("_limit"):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise InputError(f"{path}: {key} is {value!r}; expected a number of at least 0")
        return
    allowed = [action for action in get_args(Action) if not (action == "drop" and key in WITHOUT_ROWS)]
    allowed = [action for action in allowed if not (action == "warn" and key in MAY_NOT_WARN)]
    if value not in allowed:
        raise InputError(f"{path}: {key} is {value!r}; expected {' or '.join(allowed)}")
