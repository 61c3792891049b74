"""The process that has done the imports, spoken to over its socket."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from amlocal.run.warm import server

ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[socket.socket]:
    """Start a server, to the end of its imports."""
    ours, theirs = socket.socketpair()
    ours.settimeout(15)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, server.__file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=tmp_path,
            env=ENVIRONMENT,
        )
    with ours:
        imports = {"module": "decimal", "names": [], "attributes": [], "optional": False}
        ours.sendall(json.dumps({"imports": [imports], "local": []}).encode() + b"\n")
        assert json.loads(ours.recv(4096))["ready"]
        yield ours
    assert process.wait(30) == 0


def told(connection: socket.socket, messages: int) -> list[dict[str, int]]:
    """Wait for so many messages."""
    received = b""
    while received.count(b"\n") < messages:
        received += connection.recv(4096)
        assert b"refused" not in received
    return [json.loads(line) for line in received.splitlines()]


def task(folder: Path, number: int) -> bytes:
    return json.dumps(
        {
            "number": number,
            "script": "script.py",
            "arguments": [str(number)],
            "options": [],
            "cwd": str(folder),
            "environment": ENVIRONMENT,
            "log": str(folder / f"{number}.txt"),
            "printed": os.devnull,
            "overlay": sys.prefix,
        }
    ).encode()


@pytest.mark.parametrize("cut", [None, 20])
def test_scripts_that_are_asked_for_at_once_all_start(
    connection: socket.socket, tmp_path: Path, cut: int | None
) -> None:
    """However the bytes arrive: what is read together must not wait for what comes after."""
    (tmp_path / "script.py").write_text("import sys\nprint('script', sys.argv[1])\nsys.exit(int(sys.argv[1]))\n")
    asked = b"".join(task(tmp_path, number) + b"\n" for number in range(3))
    for part in (asked[:cut], asked[cut:] if cut else b""):
        connection.sendall(part)
    messages = told(connection, 6)
    assert sorted(message["number"] for message in messages if "pid" in message) == [0, 1, 2]
    ends = {
        message["number"]: os.waitstatus_to_exitcode(message["status"]) for message in messages if "status" in message
    }
    assert ends == {0: 0, 1: 1, 2: 2}
    assert [(tmp_path / f"{number}.txt").read_text() for number in range(3)] == [f"script {n}\n" for n in range(3)]
