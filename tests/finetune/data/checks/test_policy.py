from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from finetune.data.checks.policy import DEFAULT_CHECKS, read_data_checks
from finetune.errors import InputError

SHIPPED = Path(__file__).parents[4] / "endpoints" / "text-classifier" / "data_checks.yml"


def test_the_shipped_file_says_the_defaults() -> None:
    assert read_data_checks(SHIPPED) == DEFAULT_CHECKS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"duplicates": "ignore"}, "duplicates is 'ignore'; expected fail or drop or warn"),
        ({"duplicates": ["drop"]}, "duplicates is"),
        ({"imbalance": "drop"}, "imbalance is 'drop'; expected fail or warn"),
        ({"empty_text": "warn"}, "empty_text is 'warn'; expected fail or drop"),
        ({"truncated_limit": "many"}, "truncated_limit is 'many'; expected a number of at least 0"),
        ({"truncated_limit": True}, "truncated_limit is True"),
        ({"imbalance_limit": float("nan")}, "imbalance_limit is nan"),
        ({"duplicate": "warn"}, "duplicate is no check"),
    ],
)
def test_what_no_policy_can_say_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "data_checks.yml"
    path.write_text(yaml.safe_dump({**asdict(DEFAULT_CHECKS), **change}))
    with pytest.raises(InputError, match=message):
        read_data_checks(path)


def test_nothing_is_left_to_a_default(tmp_path: Path) -> None:
    path = tmp_path / "data_checks.yml"
    stated = asdict(DEFAULT_CHECKS)
    del stated["leakage"]
    path.write_text(yaml.safe_dump(stated))
    with pytest.raises(InputError, match="leakage is missing; expected exactly the keys"):
        read_data_checks(path)
    path.write_text("- a\n")
    with pytest.raises(InputError, match="found list"):
        read_data_checks(path)
    path.write_text("a: [\n")
    with pytest.raises(InputError, match="not YAML"):
        read_data_checks(path)
    with pytest.raises(InputError, match="no such file"):
        read_data_checks(tmp_path / "none.yml")
