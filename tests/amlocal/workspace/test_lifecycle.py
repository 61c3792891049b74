"""Start, stop, crash and restart of the daemon."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from amlocal.cli.main import main
from amlocal.errors import AmlocalError
from amlocal.job_variable import JOB_VARIABLE
from amlocal.testing import processes_of, running_workspace
from amlocal.workspace import lifecycle
from amlocal.workspace.connection import WorkspaceConnection
from amlocal.workspace.layout import Layout


def wait_until(condition: object, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.05)


def answers(connection: WorkspaceConnection) -> bool:
    address = f"{connection.mlflow_tracking_uri}/health"
    return requests.get(address, headers={"Authorization": f"Bearer {connection.key}"}, timeout=5).ok


def experiments(connection: WorkspaceConnection, method: str, path: str, **body: str) -> Any:
    address = f"{connection.mlflow_tracking_uri}/api/2.0/mlflow/experiments/{path}"
    headers = {"Authorization": f"Bearer {connection.key}"}
    # While MLflow is started again, the request waits.
    where = {"json": body} if method == "POST" else {"params": body}
    answer = requests.request(method, address, headers=headers, timeout=60, **where)
    answer.raise_for_status()
    return answer.json()


def test_start_stop_kill_and_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOB_VARIABLE, str(tmp_path / "jobs" / "one"))  # started from within a step, which it outlives
    with ThreadPoolExecutor(3) as pool:
        connections = list(pool.map(lambda _: lifecycle.start(tmp_path, allow_egress=False), range(3)))
    with running_workspace(tmp_path) as connection:
        assert connections == [connection] * 3
        state = lifecycle.status(tmp_path)
        assert state.running
        assert answers(connection)
        record = tmp_path / "workspace" / "workspace.json"
        assert stat.S_IMODE(record.stat().st_mode) == 0o600
        assert stat.S_IMODE(record.parent.stat().st_mode) == 0o700
        assert connection.key not in repr(connection)
        assert len(processes_of(tmp_path)) == 2
        assert not any(JOB_VARIABLE in process.environ() for process in processes_of(tmp_path))

        second = subprocess.run(
            [sys.executable, "-m", "amlocal.workspace.serve", "--home", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert "another workspace already serves" in second.stderr

        (mlflow,) = [each for each in processes_of(tmp_path) if "mlflow_server" in " ".join(each.cmdline())]
        mlflow.kill()
        mlflow.wait(5)
        created = experiments(connection, "POST", "create", name="kept")

        assert state.pid is not None
        os.kill(state.pid, signal.SIGKILL)
        wait_until(lambda: not processes_of(tmp_path))
        assert not lifecycle.status(tmp_path).running
        assert lifecycle.stop(tmp_path) is False

        again = lifecycle.start(tmp_path, allow_egress=False)
        assert again == connection  # same key, same ports
        found = experiments(again, "GET", "get-by-name", experiment_name="kept")
        assert found["experiment"]["experiment_id"] == created["experiment_id"]

        assert lifecycle.stop(tmp_path) is True
        assert processes_of(tmp_path) == []
        assert json.loads(record.read_text())["pid"] is None
    log = (tmp_path / "workspace" / "daemon.log").read_text()
    assert "Traceback" not in log
    assert connection.key not in log


def test_a_daemon_that_cannot_start_says_why(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    layout.database.write_text("this is no database, and long enough to be recognised as none" * 100)
    with pytest.raises(AmlocalError, match="did not start") as caught:
        lifecycle.start(tmp_path)
    assert "file is not a database" in str(caught.value)
    assert processes_of(tmp_path) == []


def test_a_broken_record_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = Layout(tmp_path)
    layout.create()
    layout.connection_file.write_text("{")
    assert main(["--home", str(tmp_path), "workspace", "status"]) == 1
    assert str(layout.connection_file) in capsys.readouterr().err


def test_status_and_stop_of_what_was_never_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(tmp_path), "workspace", "status"]) == 3
    assert main(["--home", str(tmp_path), "workspace", "stop"]) == 0
    assert "not running" in capsys.readouterr().out
    assert not (tmp_path / "workspace").exists()
