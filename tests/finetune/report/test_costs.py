from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune.errors import InputError
from finetune.report.costs import CostRow, Prices, read_prices, sweep_costs
from finetune.report.trials import Trial

TABLE: dict[str, Any] = {"date": date(2026, 1, 31), "currency": "EUR", "per_hour": {"x86_64, 4 cores": 0.2}}


def trial(seconds: float | None, machine: str | None) -> Trial:
    return Trial("t", "FINISHED", {}, (), seconds=seconds, machine=machine)


def test_a_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "prices.yml").write_text(yaml.safe_dump(TABLE))
    assert read_prices(tmp_path / "prices.yml") == Prices("2026-01-31", "EUR", {"x86_64, 4 cores": 0.2})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"date": "last week"}, "date is 'last week'; expected the day of the prices"),
        ({"currency": ""}, "currency is ''"),
        ({"per_hour": {"a": -1}}, "expected machine: price pairs"),
        ({"per_hour": {"a": float("nan")}}, "expected machine: price pairs"),
        ({"per_hour": [1]}, "expected machine: price pairs"),
        ({"more": 1}, "expected exactly the keys currency, date, per_hour"),
    ],
)
def test_a_table_that_prices_nothing_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "prices.yml").write_text(yaml.safe_dump({**TABLE, **change}))
    with pytest.raises(InputError, match=message):
        read_prices(tmp_path / "prices.yml")
    with pytest.raises(InputError, match="no such file; expected a table of prices"):
        read_prices(tmp_path / "none.yml")


def test_only_what_is_known_is_priced() -> None:
    prices = Prices("2026-01-31", "EUR", {"small": 0.5})
    trials = [trial(3600, "small"), trial(1800, "small"), trial(60, "large"), trial(None, "small"), trial(60, None)]
    rows, missing = sweep_costs(trials, prices)
    assert rows == [CostRow("small", 2, 1.5, 0.5)]
    assert rows[0].cost == 0.75
    assert missing == ["the table has no price for “large”", "of 2 trials machine or time is not recorded"]
    assert sweep_costs([], prices) == ([], [])
