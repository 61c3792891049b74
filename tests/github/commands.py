"""Programs on PATH whose work is done by a function of the test: what they are called with arrives there."""

import json
import os
import socketserver
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOCKET = "TEST_COMMANDS_SOCKET"

PROGRAM = f"""#!{sys.executable} -IS
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(os.environ[{SOCKET!r}])
    call = {{"program": os.path.basename(sys.argv[0]), "arguments": sys.argv[1:], "folder": os.getcwd()}}
    connection.sendall(json.dumps(dict(call, environment=dict(os.environ))).encode() + b"\\n")
    answer = json.loads(connection.makefile().readline())
sys.stdout.write(answer["out"])
sys.stderr.write(answer["error"])
sys.exit(answer["code"])
"""


@dataclass(frozen=True)
class Call:
    """How a program was called."""

    program: str
    arguments: list[str]
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What a program printed, and its exit code."""

    out: str = ""
    error: str = ""
    code: int = 0


@contextmanager
def programs(folder: Path, handlers: Mapping[str, Callable[[Call], Answer]]) -> Iterator[dict[str, str]]:
    """Put programs into a folder for as long as the context lasts.

    Yields:
        The variable that they need in their environment.
    """
    folder.mkdir(parents=True)
    for name in handlers:
        path = folder / name
        path.write_text(PROGRAM)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            said = json.loads(self.rfile.readline())
            call = Call(said["program"], said["arguments"], Path(said["folder"]), said["environment"])
            answer = handlers[call.program](call)
            self.wfile.write(json.dumps(vars(answer)).encode() + b"\n")

    # A socket's address holds about a hundred bytes, and pytest's folders have long names.
    address = f"/tmp/commands-{os.getpid()}-{id(handlers)}"  # noqa: S108
    with socketserver.UnixStreamServer(address, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield {SOCKET: address}
        finally:
            server.shutdown()
            thread.join()
            Path(address).unlink()
