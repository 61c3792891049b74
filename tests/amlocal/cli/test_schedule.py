import time
import uuid
from pathlib import Path

import pytest
from azure.ai.ml import MLClient, load_job
from azure.ai.ml.entities import JobSchedule, RecurrencePattern, RecurrenceTrigger

from amlocal.cli.main import main
from amlocal.run.files import JobFolder
from amlocal.run.jobs import is_running, read_record
from amlocal.run.records import COMPLETED
from amlocal.workspace.connection import WorkspaceConnection

JOB = """
type: pipeline
settings: {default_compute: azureml:cpu-cluster}
jobs:
  say: {type: command, command: echo hello, environment: {image: none}}
"""


def test_a_schedule_is_listed_shown_and_fired(
    workspace: WorkspaceConnection, ml_client: MLClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job.yml").write_text(JOB)
    name = f"s-{uuid.uuid4().hex[:8]}"
    trigger = RecurrenceTrigger(frequency="day", interval=2, schedule=RecurrencePattern(hours=3, minutes=0))
    schedule = JobSchedule(name=name, trigger=trigger, create_job=load_job(tmp_path / "job.yml"))
    ml_client.schedules.begin_create_or_update(schedule).result()
    command = ["--home", str(workspace.home), "schedule"]
    capsys.readouterr()

    assert main([*command, "list"]) == 0
    assert f"{name}\tenabled\tevery 2 day\n" in capsys.readouterr().out
    assert main([*command, "show", "--name", name]) == 0
    assert "frequency: day" in capsys.readouterr().out
    assert main([*command, "run", "--name", name]) == 0

    fired = JobFolder(workspace.home, capsys.readouterr().out.strip())
    while is_running(read_record(fired)):
        time.sleep(0.05)
    assert read_record(fired).status == COMPLETED


def test_an_unknown_schedule_is_an_error(
    workspace: WorkspaceConnection, ml_client: MLClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(workspace.home), "schedule", "run", "--name", "none"]) == 1
    assert "schedule none: " in capsys.readouterr().err
