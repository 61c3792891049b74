import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
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
        (["--data", "{tmp}", "--seed", "-1"], "--seed -1: expected 0 to"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, arguments: list[str], message: str) -> None:
    write_csv(tmp_path / "train.csv", [(f"text {i}", "ab"[i % 2]) for i in range(40)])
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    with pytest.raises(InputError, match=message):
        load_component("prep").main([*given, "--dataset", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.fixture
def refusing_proxy() -> Iterator[str]:
    """A proxy like amlocal's where there is no network: it answers 502 for every host."""

    class Refuse(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 502 Host cannot be reached\r\nContent-Length: 0\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refuse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--checkpoint", "owner/model"],
            "error: --checkpoint owner/model: no such folder, and the hub cannot be reached",
        ),
        (["--hub_dataset", "owner/data"], "error: --hub_dataset owner/data: cannot be loaded: "),
    ],
)
def test_a_hub_behind_a_refusing_proxy_is_one_message(
    refusing_proxy: str, message_data: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--data", str(message_data), "--dataset", str(tmp_path / "out"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HTTPS_PROXY": refusing_proxy, "HF_HOME": str(tmp_path / "hub"), "NO_PROXY": ""},
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(message)
    assert "Traceback" not in done.stderr
