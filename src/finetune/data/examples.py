"""The rows of a split under the task's column names."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Examples:
    """The rows of one split under the task's column names."""

    frame: pd.DataFrame
    """The task's text columns (str), `label` (str), and what else is kept; the index is the row's in the source."""
    origin: str
    dropped: Mapping[str, int]
    """Rows left out, by reason."""
