"""Starts the trials of a sweep from one process that has done their imports: ``server.py``, seen from amlocal."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amlocal.run.environments.interpreter import Interpreter
from amlocal.run.environments.overlay import make_overlay
from amlocal.run.environments.stand_ins import STEP_PYTHON
from amlocal.run.process import Child, OwnChild
from amlocal.run.warm import server
from amlocal.run.warm.call import PythonCall, plain_call
from amlocal.run.warm.imports import local_names, shared_imports

_READY_SECONDS = 300.0
"""How long imports may take; a trial that needs longer is started without them."""
_OF_ONE_RUN = ("AZURE_ML_INPUT_", "AZURE_ML_OUTPUT_")
_RUN_VARIABLES = frozenset({"AZUREML_RUN_ID", "MLFLOW_RUN_ID", "PWD", "OLDPWD", "SHLVL", "_"})
_OVERLAY_VARIABLES = frozenset({"PATH", "VIRTUAL_ENV", STEP_PYTHON})
_GONE = "the process that had done its imports has ended"


@dataclass(frozen=True)
class Start:
    """One process to be started.

    Attributes:
        command: the command line.
        cwd: its working directory, absolute.
        environment: all of its environment variables.
        log: where its output and errors go.
        overlay: the layer over Python that it runs in.
    """

    command: str
    cwd: Path
    environment: Mapping[str, str]
    log: Path
    overlay: Path


class RefusedError(Exception):
    """A trial has to start by itself; the text says why."""


class WarmStart:
    """Starts the processes of one working directory and Python, the imports done once for all.

    Args:
        snapshot: the content of their working directories.
        interpreter: their Python.
        folder: for the process that does the imports; made, and removed at the end.
        note: told how they start, whenever that changes.
    """

    def __init__(self, snapshot: Path, interpreter: Interpreter, folder: Path, note: Callable[[str], None]) -> None:
        self._snapshot = snapshot
        self._interpreter = interpreter
        self._folder = folder
        self._note = note
        self._opening: asyncio.Task[_Server] | None = None
        self._process: OwnChild | None = None
        self._listening: asyncio.Task[None] | None = None
        self._told: str | None = None
        self.cpu_seconds = 0.0
        """What the imports took."""

    async def start(self, start: Start) -> Child | None:
        """Start a process.

        Args:
            start: what to start.

        Returns:
            The process; None when it has to be started in the usual way.

        Raises:
            asyncio.CancelledError: when canceled; it does not run then.
        """
        call = plain_call(start.command)
        if call is None:
            self._say("cold: the command is more than one plain call of a Python script")
            return None
        try:
            if self._opening is None:
                self._opening = asyncio.create_task(self._open(call, start))
            opened = await asyncio.shield(self._opening)
            child = await opened.fork(call, start)
        except RefusedError as reason:
            self._say(f"cold: {reason}")
            return None
        self._say(f"warm: the imports of {call.script} are done once, in {self.cpu_seconds:.1f} CPU-seconds")
        return child

    async def close(self) -> None:
        """End the process that did the imports; all that it started must have ended."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        if self._listening is not None:
            await self._listening
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _say(self, text: str) -> None:
        """Tell it once; one that started cold is worth more than others that did not."""
        if self._told is None or (text.startswith("cold: ") and not self._told.startswith("cold: ")):
            self._told = text
            self._note(text)

    async def _open(self, call: PythonCall, start: Start) -> _Server:
        """Start the server and have it import.

        Raises:
            RefusedError: when it cannot, or what it would start would not be what it is otherwise.
        """
        if not Path("/proc/self/task").is_dir():
            raise RefusedError("this system does not tell which threads there are")
        path = start.environment.get("PYTHONPATH")
        if path and not all(Path(entry).is_absolute() for entry in path.split(os.pathsep)):
            raise RefusedError("PYTHONPATH names a folder relative to the working directory")
        imports = await asyncio.to_thread(shared_imports, self._snapshot, call.script)
        if not imports:
            raise RefusedError(f"{call.script} imports nothing before it does something else")
        local = await asyncio.to_thread(local_names, (self._snapshot / call.script).parent)
        order = {"imports": [dataclasses.asdict(each) for each in imports], "local": sorted(local)}
        try:
            connection = self._launch(start)
        except OSError as error:
            raise RefusedError(f"the process for its imports cannot be started: {error}") from error
        reader, writer = await asyncio.open_connection(sock=connection)
        opened = _Server(call.script, self._folder / "printed.txt", writer)
        try:
            answer = await _answered(order, reader, writer)
            self.cpu_seconds = answer.get("cpu_seconds", 0.0)
            if not answer.get("ready"):
                raise RefusedError(answer.get("refused", _GONE))
        except BaseException:
            writer.close()
            raise
        self._listening = asyncio.create_task(opened.listen(reader))
        return opened

    def _launch(self, start: Start) -> socket.socket:
        overlay = self._folder / "environment"
        make_overlay(self._interpreter, overlay)
        variables = {
            name: value.replace(str(start.overlay), str(overlay)) if name in _OVERLAY_VARIABLES else value
            for name, value in start.environment.items()
            if name not in _RUN_VARIABLES and not name.startswith(_OF_ONE_RUN)
        }
        ours, theirs = socket.socketpair()
        with theirs, (self._folder / "printed.txt").open("ab") as printed:
            popen = subprocess.Popen(
                [str(overlay / "bin" / "python"), server.__file__, str(theirs.fileno())],
                cwd=self._folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        self._process = OwnChild(popen)
        return ours


async def _answered(
    order: Mapping[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> dict[str, Any]:
    """Have the server import; give what it tells then, nothing when it ends meanwhile."""
    try:
        writer.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(_READY_SECONDS):
            answer: dict[str, Any] = json.loads(await reader.readline() or b"{}")
            return answer
    except TimeoutError:
        raise RefusedError(f"its imports took more than {_READY_SECONDS:.0f} s") from None
    except ConnectionError:
        return {}


@dataclass
class _ForkedChild:
    """A process that the server waits for."""

    pid: int
    cpu_seconds: float = 0.0
    failure: str | None = None
    _code: int = 0
    _event: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ended(self) -> bool:
        """Whether the process has ended and been waited for."""
        return self._event.is_set()

    async def wait(self) -> int:
        """Wait for its end; give 0 to 255, or -N when ended by signal N."""
        await self._event.wait()
        return self._code

    def end(self, code: int, cpu_seconds: float) -> None:
        """Note how it ended."""
        self._code, self.cpu_seconds = code, max(self.cpu_seconds, cpu_seconds)
        self._event.set()


class _Server:
    """A server that is ready."""

    def __init__(self, script: str, printed: Path, writer: asyncio.StreamWriter) -> None:
        self._script = script
        self._printed = printed
        self._writer = writer
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[_ForkedChild]] = {}
        self._children: dict[int, _ForkedChild] = {}
        self._gone = False

    async def fork(self, call: PythonCall, start: Start) -> Child:
        """Start a process.

        Raises:
            RefusedError: when it has to be started in the usual way.
        """
        if call.script != self._script:
            raise RefusedError(f"{call.script} is another script than the first trial's {self._script}")
        if self._gone:
            raise RefusedError(_GONE)
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        task = {
            "number": number,
            "script": call.script,
            "arguments": call.arguments,
            "options": call.options,
            "cwd": str(start.cwd),
            "environment": dict(start.environment),
            "log": str(start.log),
            "printed": str(self._printed),
            "overlay": str(start.overlay),
        }
        self._writer.write(json.dumps(task).encode() + b"\n")
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            # It is there in a moment, and nobody else would know of it.
            with contextlib.suppress(RefusedError):
                child = await answer
                _kill(child.pid)
                await child.wait()
            raise

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Take in what the server tells, until it ends."""
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self._take(json.loads(line))
        self._gone = True
        self._writer.close()
        for answer in self._asked.values():
            answer.set_exception(RefusedError(_GONE))
        for child in self._children.values():
            _kill(child.pid)
            child.failure = _GONE
            child.end(-signal.SIGKILL, 0.0)
        self._asked.clear()
        self._children.clear()

    def _take(self, message: Mapping[str, Any]) -> None:
        number = message["number"]
        if "pid" in message:
            child = self._children[number] = _ForkedChild(message["pid"])
            self._asked.pop(number).set_result(child)
        elif "refused" in message:
            self._asked.pop(number).set_exception(RefusedError(message["refused"]))
        else:
            code = os.waitstatus_to_exitcode(message["status"])
            self._children.pop(number).end(code, message["cpu_seconds"])


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
