"""What a sweep cost, by a dated table of prices that the user gives: nothing is guessed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from finetune.errors import InputError
from finetune.report.trials import Trial

_KEYS = ("currency", "date", "per_hour")


@dataclass(frozen=True)
class Prices:
    """The contents of a table of prices."""

    date: str
    """The day on which the prices were looked up, ISO 8601."""
    currency: str
    per_hour: Mapping[str, float]
    """Machine, as trials name it ("1 x NVIDIA H200"; "x86_64, 4 cores") → price of an hour."""


@dataclass(frozen=True)
class CostRow:
    """What the trials on one kind of machine cost."""

    machine: str
    trials: int
    hours: float
    per_hour: float

    @property
    def cost(self) -> float:
        """In the table's currency."""
        return self.hours * self.per_hour


def read_prices(path: Path) -> Prices:
    """Read a table of prices.

    Raises:
        InputError: it is missing or broken, has other keys than date, currency and per_hour, or a price is no number of
            at least 0.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a table of prices") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    if not isinstance(value, dict) or sorted(map(str, value)) != list(_KEYS):
        found = ", ".join(map(str, value)) if isinstance(value, dict) else type(value).__name__
        raise InputError(f"{path}: found {found}; expected exactly the keys {', '.join(_KEYS)}")
    looked_up, currency, per_hour = value["date"], value["currency"], value["per_hour"]
    if not isinstance(looked_up, date):
        raise InputError(f"{path}: date is {looked_up!r}; expected the day of the prices, as 2026-01-31")
    if not isinstance(currency, str) or not currency:
        raise InputError(f"{path}: currency is {currency!r}; expected its name, as EUR")
    if not isinstance(per_hour, dict) or not all(_is_price(price) for price in per_hour.values()):
        raise InputError(f"{path}: per_hour is {per_hour!r}; expected machine: price pairs, prices of at least 0")
    return Prices(looked_up.isoformat(), currency, {str(name): float(price) for name, price in per_hour.items()})


def _is_price(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value < math.inf


def sweep_costs(trials: "Sequence[Trial]", prices: Prices) -> tuple[list[CostRow], list[str]]:
    """Return a row per kind of machine that has a price, and what could not be priced.

    Each trial counts with the time from its start to its end, as if it had a machine of its own.
    """
    hours: dict[str, list[float]] = {}
    unknown = 0
    for trial in trials:
        if trial.machine is None or trial.seconds is None:
            unknown += 1
        else:
            hours.setdefault(trial.machine, []).append(trial.seconds / 3600)
    rows = [
        CostRow(machine, len(found), sum(found), prices.per_hour[machine])
        for machine, found in sorted(hours.items())
        if machine in prices.per_hour
    ]
    missing = [f"the table has no price for “{machine}”" for machine in sorted(hours) if machine not in prices.per_hour]
    if unknown:
        missing.append(f"of {unknown} trials machine or time is not recorded")
    return rows, missing
