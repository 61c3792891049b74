"""A scoring process as a deployment of this workspace starts it, for benchmarks: started, asked, weighed, ended."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from amlocal import endpoints
from amlocal.endpoints.environment import available_cores, scoring_environment
from amlocal.endpoints.spec import DeploymentSpec

PROCESS = Path(endpoints.__file__).parent / "scoring_process.py"
QUEUE = 256
START_SECONDS = 180.0
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    head: bytes
    """Status line and headers."""
    body: bytes


@dataclass(frozen=True)
class Server:
    """A scoring process and its workers."""

    path: Path
    """Its Unix socket."""
    process: subprocess.Popen[bytes]
    began: float
    """When it was started, by the monotonic clock."""
    log: Path
    """What it printed."""

    def ask(self, body: bytes, headers: Mapping[str, str] = JSON, timeout: float = 60.0) -> Answer:
        """Post a body to /score by a connection of its own, as the server closes each after one answer.

        By a bare socket, for the client shares the cores with what it measures. A server that refuses a body before it
        has read it closes the connection, and what it said is there all the same.

        Raises:
            OSError: no answer.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST /score HTTP/1.1\r\nHost: scoring\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode()
        pieces = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(self.path))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(head + body)
            for _ in range(2):
                with contextlib.suppress(ConnectionResetError):
                    while piece := connection.recv(1 << 16):
                        pieces.append(piece)
        head, _, content = b"".join(pieces).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 "):
            raise ConnectionError(f"the server answered {head[:100]!r}")
        return Answer(int(head.split(maxsplit=2)[1]), head, content)

    def wait(self, body: bytes) -> float:
        """Wait for the first good answer; return the seconds from the process's start to it.

        Raises:
            SystemExit: it ended, or does not serve.
        """
        answer = self.ask(body, timeout=START_SECONDS)
        if answer.status != 200:
            raise SystemExit(f"does not serve: status {answer.status}: {answer.body[:300]!r}; its log: {self.log}")
        return time.monotonic() - self.began

    def family(self) -> list[psutil.Process]:
        """Return the process and its workers."""
        leader = psutil.Process(self.process.pid)
        return [leader, *leader.children(recursive=True)]


@contextmanager
def serving(script: Path, model: Path, workers: int, log: Path, **variables: str) -> Iterator[Server]:
    """Start a scoring script with a model as a deployment does: the same entry point, environment and kind of socket.

    Args:
        script: the folder of score.py.
        model: the model's folder.
        workers: processes that answer.
        log: file that gets what the server prints.
        variables: more of the deployment's environment variables.
    """
    spec = DeploymentSpec(
        endpoint="benchmark",
        name="blue",
        app_root=script.resolve(),
        scoring_script="score.py",
        model_dir=model.resolve(),
        log=log,
        environment_variables={"WORKER_COUNT": str(workers), **variables},
        request_timeout=30.0,
    )
    environment = scoring_environment(spec, os.environ, available_cores())
    # A socket's path must not be longer than about 100 bytes.
    with tempfile.TemporaryDirectory() as folder, log.open("wb") as output:
        path = Path(folder, "0")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(QUEUE)
            began = time.monotonic()
            # Its standard input is the sign that this process lives, and at its end it ends its whole group.
            process = subprocess.Popen(
                [sys.executable, str(PROCESS), str(listener.fileno())],
                env={**environment, "HF_HUB_OFFLINE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"},
                cwd=spec.app_root,
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        server = Server(path, process, began, log)
        try:
            yield server
        finally:
            family = server.family() if process.poll() is None else []
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _, alive = psutil.wait_procs(family, timeout=5)
            for each in alive:
                each.kill()
