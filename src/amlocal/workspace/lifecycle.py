"""Start, stop and look at the workspace's daemon."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import filelock
import psutil

from amlocal.errors import AmlocalError
from amlocal.job_variable import without_job
from amlocal.workspace.connection import WorkspaceConnection
from amlocal.workspace.daemon_record import DaemonRecord, read_record
from amlocal.workspace.layout import Layout

# Usually 3 seconds; a machine that is busy training may need many more.
START_SECONDS = 120.0
STOP_SECONDS = 20.0
LOCK_SECONDS = START_SECONDS + STOP_SECONDS
LOG_LINES = 20


@dataclass(frozen=True)
class WorkspaceStatus:
    """What ``amlocal workspace status`` prints.

    Attributes:
        running: Whether a daemon serves the workspace.
        pid: Its process id.
        connection: How to reach it.
        log_file: The daemon's log.
    """

    running: bool
    pid: int | None
    connection: WorkspaceConnection | None
    log_file: Path


def start(home: Path, *, allow_egress: bool = True) -> WorkspaceConnection:
    """Make sure that the workspace of ``home`` is running.

    Args:
        home: Folder for its state; created when missing.
        allow_egress: Whether its proxy passes hosts other than the workspace's own; tests say no. Has no
            effect on a daemon that is running already.

    Returns:
        The connection, once the workspace answers.

    Raises:
        AmlocalError: The daemon did not come up; the message ends with the last lines of its log.
    """
    layout = Layout(home.resolve())
    layout.create()
    with _start_lock(layout):
        record = read_record(layout)
        if record is not None and record.is_alive():
            return record.connection(layout)
        process = _spawn(layout, allow_egress)
        return _wait_until_ready(layout, process).connection(layout)


def stop(home: Path) -> bool:
    """End the workspace's daemon and everything it runs.

    Args:
        home: Folder that holds its state.

    Returns:
        Whether it was running.
    """
    layout = Layout(home.resolve())
    if not layout.root.exists():
        return False
    with _start_lock(layout):
        record = read_record(layout)
        if record is None or not record.is_alive():
            return False
        _terminate(psutil.Process(record.pid))
        return True


def status(home: Path) -> WorkspaceStatus:
    """Look at the workspace of ``home`` without starting it.

    Args:
        home: Folder that holds its state.
    """
    layout = Layout(home.resolve())
    record = read_record(layout)
    if record is None or not record.is_alive():
        return WorkspaceStatus(False, None, None, layout.log_file)
    return WorkspaceStatus(True, record.pid, record.connection(layout), layout.log_file)


def _start_lock(layout: Layout) -> filelock.BaseFileLock:
    return filelock.FileLock(layout.start_lock, timeout=LOCK_SECONDS)


def _spawn(layout: Layout, allow_egress: bool) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "amlocal.workspace.serve", "--home", str(layout.home)]
    if not allow_egress:
        command.append("--refuse-egress")
    with layout.log_file.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=layout.root,
            start_new_session=True,
            env=without_job(os.environ) | {"PYTHONUNBUFFERED": "1"},
        )


def _wait_until_ready(layout: Layout, process: "subprocess.Popen[bytes]") -> DaemonRecord:
    """Wait for the record that the daemon writes when all its listeners answer."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        record = read_record(layout)
        if record is not None and record.pid == process.pid and record.is_alive():
            return record
        if process.poll() is not None:
            code = process.returncode
            raise AmlocalError(
                f"the workspace did not start (exit code {code}); last lines of {layout.log_file}:\n"
                + _tail(layout.log_file)
            )
        time.sleep(0.02)
    process.kill()
    raise AmlocalError(
        f"the workspace did not answer within {START_SECONDS:.0f} s; last lines of {layout.log_file}:\n"
        + _tail(layout.log_file)
    )


def _terminate(daemon: psutil.Process) -> None:
    """End the daemon gently, then by force; its children follow either way."""
    try:
        family = [daemon, *daemon.children(recursive=True)]
        daemon.terminate()
    except psutil.NoSuchProcess:
        return
    try:
        daemon.wait(STOP_SECONDS)
    except psutil.TimeoutExpired:
        daemon.kill()
    # Normally empty: children end before the daemon does.
    _, alive = psutil.wait_procs(family, timeout=2)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=5)


def _tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LOG_LINES:])
