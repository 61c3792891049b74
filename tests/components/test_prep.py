import subprocess
import sys
from pathlib import Path

import pytest
from support import load_component, write_csv

from finetune.data.manifest import read_manifest
from finetune.errors import InputError

SCRIPT = Path(__file__).parents[2] / "components" / "prep" / "prep.py"


def test_prep_runs_alone(message_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(SCRIPT), "--data", str(message_data), "--dataset", str(tmp_path / "out")),
            *("--checkpoint", str(tiny_checkpoint), "--validation_share", "0.2", "--test_share", "0.2"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "out").labels == ("account", "billing", "delivery")
    assert "train: 36 rows (account 12, billing 12, delivery 12)" in done.stderr


def test_bad_input_is_one_line_and_a_status(tmp_path: Path, tiny_checkpoint: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a", "label": "x"}\n{broken\n')
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--data", str(tmp_path), "--dataset", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: {tmp_path}/train.jsonl:2: not JSON: Expecting property name enclosed in double quotes at column 2"
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "neither --data nor --hub_dataset is given"),
        (["--data", "{tmp}/none"], "no such file or folder"),
        (["--data", "{tmp}", "--text_column", "body"], "no column 'body'; found text, label"),
        (["--data", "{tmp}", "--checkpoint", "../no/such/checkpoint"], "no such folder"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, arguments: list[str], message: str) -> None:
    write_csv(tmp_path / "train.csv", [(f"text {i}", "ab"[i % 2]) for i in range(40)])
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    with pytest.raises(InputError, match=message):
        load_component("prep").main([*given, "--dataset", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
