from pathlib import Path

import pytest
from support import load_component

from finetune.errors import InputError


@pytest.mark.parametrize(
    ("argument", "value", "said"),
    [
        ("maximum_loss", "1", "--maximum_loss 1.0: expected a share from 0 to below 1"),
        ("maximum_loss", "nan", "--maximum_loss nan: expected a share"),
        ("maximum_loss", "-0.1", "--maximum_loss -0.1: expected a share"),
        ("calibration_rows", "0", "--calibration_rows 0: expected at least 1"),
        ("timed_rows", "0", "--timed_rows 0: expected at least 1"),
    ],
)
def test_amounts_that_make_no_sense_are_refused(tmp_path: Path, argument: str, value: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_component("compress").main(
            ["--dataset", "d", "--model", "m", "--compressed", str(tmp_path / "c"), f"--{argument}", value]
        )
    assert not (tmp_path / "c").exists()
