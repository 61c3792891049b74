"""Jobs that clients submit and that really run, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from azure.ai.ml import MLClient, load_job
from azure.ai.ml.entities import Environment, Job
from azure.ai.ml.operations._run_history_constants import RunHistoryConstants
from azure.core.exceptions import HttpResponseError

from amlocal.cli.main import main
from amlocal.run.files import JobFolder
from amlocal.run.jobs import is_running, read_record
from amlocal.run.records import CANCELED, COMPLETED, ENDED, FAILED
from amlocal.testing import running_workspace
from amlocal.workspace import lifecycle
from amlocal.workspace.connection import WorkspaceConnection

PIPELINE = """
type: pipeline
experiment_name: submitted
settings: {{default_compute: azureml:cpu-cluster}}
outputs:
  said: {{type: uri_folder, name: said-{name}}}
jobs:
  first:
    type: command
    command: {command}
    environment: {{image: none}}
    outputs: {{text: {{type: uri_folder}}}}
  second:
    type: command
    command: cp ${{{{inputs.text}}}}/* ${{{{outputs.said}}}}/ && echo copied
    environment: {{image: none}}
    inputs: {{text: '${{{{parent.jobs.first.outputs.text}}}}'}}
    outputs: {{said: '${{{{parent.outputs.said}}}}'}}
"""
LISTS_JOBS = """
import os, sys
from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

where = (os.environ["AZUREML_ARM_" + part] for part in ("SUBSCRIPTION", "RESOURCEGROUP", "WORKSPACE_NAME"))
job = MLClient(DefaultAzureCredential(), *where).jobs.get(os.environ["AZUREML_ROOT_RUN_ID"])
open(sys.argv[1], "w").write(f"{job.name} {job.status}")
"""
SECONDS = 60.0

Submit = Callable[..., Job]


@pytest.fixture
def submit(ml_client: MLClient, workspace: WorkspaceConnection, tmp_path: Path) -> Iterator[Submit]:
    """Submits a pipeline whose first step runs a command; what still runs at the end is ended."""
    names = []

    def submit(name: str, command: str, client: MLClient = ml_client) -> Job:
        path = tmp_path / f"{name}.yml"
        path.write_text(PIPELINE.format(name=name, command=command))
        names.append(name)
        return client.jobs.create_or_update(load_job(path, params_override=[{"name": name}]))

    yield submit
    for name in names:
        end(workspace.home, name)


def end(home: Path, name: str) -> None:
    """End a job that a failed test left behind."""
    folder = JobFolder(home, name)
    if folder.record.exists():
        record = read_record(folder)
        if is_running(record):
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid or 0, signal.SIGKILL)


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended(home: Path, name: str) -> bool:
    return read_record(JobFolder(home, name)).status in ENDED


def test_a_job_from_its_submission_to_its_download(
    submit: Submit,
    ml_client: MLClient,
    workspace: WorkspaceConnection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(RunHistoryConstants, "_WAIT_COMPLETION_POLLING_INTERVAL_MIN", 1)
    script = tmp_path / "lists.py"
    script.write_text(LISTS_JOBS)

    job = submit("whole", f"{sys.executable} {script} ${{{{outputs.text}}}}/jobs.txt")
    ml_client.jobs.stream(job.name)

    said = capsys.readouterr().out
    assert "first: started (never run before)" in said
    assert "second: Completed" in said
    assert "is data said-whole:1" in said
    assert ml_client.jobs.get("whole").status == COMPLETED
    children = {child.display_name: child for child in ml_client.jobs.list(parent_job_name="whole")}
    assert {name: child.status for name, child in children.items()} == {"first": COMPLETED, "second": COMPLETED}

    ml_client.jobs.download("whole", download_path=tmp_path / "job", all=True)
    ml_client.jobs.download(children["second"].name, download_path=tmp_path / "step")

    # What the step learned from the workspace about the job that it is a part of.
    assert (tmp_path / "job" / "named-outputs" / "said" / "jobs.txt").read_text() == "whole JobStatus.RUNNING"
    assert (tmp_path / "step" / "artifacts" / "user_logs" / "std_log.txt").read_text() == "copied\n"
    assert ml_client.data.get("said-whole", version="1").path.rstrip("/").endswith("azureml/whole/said")

    assert main(["--home", str(workspace.home), "job", "show", "--name", "whole"]) == 0
    assert "Completed" in capsys.readouterr().out


def test_cancel(submit: Submit, ml_client: MLClient, workspace: WorkspaceConnection, tmp_path: Path) -> None:
    started = tmp_path / "started"
    submit("endless", f"touch {started} && sleep 600")
    wait(started.exists)

    ml_client.jobs.begin_cancel("endless").result()

    assert ml_client.jobs.get("endless").status == CANCELED
    record = read_record(JobFolder(workspace.home, "endless"))
    assert record.pid is None
    assert record.steps["second"].status != COMPLETED


def test_a_step_that_fails(submit: Submit, ml_client: MLClient, workspace: WorkspaceConnection) -> None:
    submit("broken", "exit 3")
    wait(lambda: ended(workspace.home, "broken"))

    assert ml_client.jobs.get("broken").status == FAILED
    details = ml_client.jobs._runs_operations.get_run_details("broken")
    assert "first failed; first: exit code 3" in str(details.error.as_dict())


def test_what_the_real_runner_refuses(ml_client: MLClient, workspace: WorkspaceConnection, tmp_path: Path) -> None:
    path = tmp_path / "job.yml"
    path.write_text(
        "type: command\ncommand: cat ${{inputs.words}}\nenvironment: {image: none}\ncompute: azureml:cpu-cluster\n"
        "inputs: {words: {type: uri_file, path: 'azureml://datastores/workspaceblobstore/paths/never/was.txt'}}\n"
    )

    with pytest.raises(HttpResponseError, match=r"refused\.yml:\d+: .*never/was\.txt") as caught:
        ml_client.jobs.create_or_update(load_job(path, params_override=[{"name": "refused"}]))

    assert caught.value.status_code == 400
    assert "refused" not in {job.name for job in ml_client.jobs.list()}
    assert not list(workspace.home.rglob("refused.yml"))


def test_the_daemon_is_killed_while_a_job_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job does not notice when the workspace is started again soon; else it fails, and its record says why."""
    home = tmp_path / "home"
    with running_workspace(home) as connection:
        try:
            client = connected(connection, monkeypatch)
            client.environments.create_or_update(Environment(name="kept", image="none"))
            for name, restart in (("steady", True), ("alone", False)):
                started, go, path = (tmp_path / f"{name}.{suffix}" for suffix in ("started", "go", "yml"))
                waits = f"touch {started}; until [ -e {go} ]; do sleep 0.1; done; echo {name} > ${{{{outputs.text}}}}/a"
                path.write_text(PIPELINE.format(name=name, command=f'"{waits}"'))
                client.jobs.create_or_update(load_job(path, params_override=[{"name": name, "tags.owner": "ada"}]))
                wait(started.exists)
                daemon = psutil.Process(lifecycle.status(home).pid)
                daemon.kill()
                daemon.wait(10)

                assert is_running(read_record(JobFolder(home, name)))
                if restart:
                    lifecycle.start(home, allow_egress=False)
                else:
                    wait(lambda: not listens(connection.mlflow_tracking_uri))
                go.touch()
                wait(lambda job=name: not is_running(read_record(JobFolder(home, job))))

            assert "MLflow" in (read_record(JobFolder(home, "alone")).steps["second"].error or "")
            lifecycle.start(home, allow_egress=False)
            assert [(job.name, job.status, job.tags) for job in client.jobs.list()] == [
                ("alone", FAILED, {"owner": "ada"}),
                ("steady", COMPLETED, {"owner": "ada"}),
            ]
            assert client.environments.get("kept", label="latest").image == "none"
        finally:
            for name in ("steady", "alone"):
                end(home, name)


def listens(address: str) -> bool:
    host, _, port = urllib.parse.urlsplit(address).netloc.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def connected(connection: WorkspaceConnection, monkeypatch: pytest.MonkeyPatch) -> MLClient:
    from azure.identity import DefaultAzureCredential

    for name, value in connection.client_environment().items():
        monkeypatch.setenv(name, value)
    return MLClient(
        DefaultAzureCredential(), connection.subscription_id, connection.resource_group, connection.workspace_name
    )
