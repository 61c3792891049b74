"""Schedules through the real client: kept, listed, switched, fired by hand."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from azure.ai.ml import MLClient, load_job
from azure.ai.ml.entities import CronTrigger, JobSchedule, RecurrencePattern, RecurrenceTrigger
from azure.ai.ml.entities._load_functions import load_schedule
from azure.core.exceptions import HttpResponseError

from amlocal.run.records import RUNNING
from amlocal.testing import InProcessWorkspace, in_process
from amlocal.workspace.errors import ArmError
from amlocal.workspace.schedules import check_trigger, fired

JOB = """
type: pipeline
experiment_name: nightly
settings: {default_compute: azureml:cpu-cluster}
inputs: {day: '${{create_context.trigger_time}}'}
jobs:
  say:
    type: command
    command: echo ${{inputs.day}}
    environment: {image: none}
    inputs: {day: '${{parent.inputs.day}}'}
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yml"
    path.write_text(JOB)
    return path


@pytest.fixture
def nightly(in_process_client: MLClient, job: Path) -> JobSchedule:
    schedule = JobSchedule(name="nightly", trigger=CronTrigger(expression="0 3 * * 1-5"), create_job=load_job(job))
    return in_process_client.schedules.begin_create_or_update(schedule).result()


def listed(client: MLClient, view: str = "All") -> list[str]:
    return [schedule.name for schedule in client.schedules.list(list_view_type=view)]


def test_a_schedule_is_kept(nightly: JobSchedule, in_process_client: MLClient) -> None:
    found = in_process_client.schedules.get("nightly")

    assert nightly.is_enabled
    assert found.trigger.expression == "0 3 * * 1-5"
    assert list(found.create_job.jobs) == ["say"]
    assert listed(in_process_client, "EnabledOnly") == ["nightly"]
    assert list(in_process_client.jobs.list()) == []


def test_it_outlives_its_workspace(tmp_path: Path, job: Path) -> None:
    with in_process(tmp_path / "home") as workspace:
        schedule = JobSchedule(name="weekly", trigger=CronTrigger(expression="0 3 * * 1"), create_job=load_job(job))
        workspace.client().schedules.begin_create_or_update(schedule).result()

    with in_process(tmp_path / "home") as workspace:
        assert listed(workspace.client()) == ["weekly"]


def test_recurrence_from_yaml(in_process_client: MLClient, job: Path) -> None:
    path = job.with_name("schedule.yml")
    path.write_text(
        "name: weekly\n"
        "trigger: {type: recurrence, frequency: week, interval: 2,"
        " schedule: {hours: [4], minutes: [30], week_days: [monday]}}\n"
        "create_job: ./job.yml\n"
    )

    created = in_process_client.schedules.begin_create_or_update(load_schedule(path)).result()

    assert (created.trigger.frequency, created.trigger.interval) == ("week", 2)
    assert created.trigger.schedule.week_days == ["monday"]


@pytest.mark.rule("Only an enabled schedule can be fired")
def test_enable_and_disable(nightly: JobSchedule, in_process_client: MLClient) -> None:
    schedules = in_process_client.schedules

    assert not schedules.begin_disable("nightly").result().is_enabled
    assert (listed(in_process_client, "EnabledOnly"), listed(in_process_client, "DisabledOnly")) == ([], ["nightly"])
    with pytest.raises(HttpResponseError, match="Schedule nightly is disabled; enable it first"):
        schedules.trigger("nightly")
    assert schedules.begin_enable("nightly").result().is_enabled


def test_firing_one_runs_its_job(
    nightly: JobSchedule, in_process_client: MLClient, in_process_workspace: InProcessWorkspace
) -> None:
    first = in_process_client.schedules.trigger("nightly").job_name
    second = in_process_client.schedules.trigger("nightly").job_name

    assert re.match(r"nightly-\d{8}T\d{6}Z", first)
    assert first != second
    ran = in_process_client.jobs.get(first)
    assert (ran.status, ran.display_name, ran.experiment_name) == (RUNNING, first, "nightly")
    assert ran.properties["azureml.schedulename"] == "nightly"
    document = (in_process_workspace.home / "workspace" / "jobs" / f"{first}.yml").read_text()
    assert re.search(r"day: '\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ'", document)


def test_the_job_may_be_one_that_ran(nightly: JobSchedule, in_process_client: MLClient) -> None:
    ran = in_process_client.schedules.trigger("nightly").job_name
    schedule = JobSchedule(name="again", trigger=CronTrigger(expression="0 3 * * *"), create_job=ran)

    in_process_client.schedules.begin_create_or_update(schedule).result()

    again = in_process_client.schedules.trigger("again").job_name
    assert list(in_process_client.jobs.get(again).jobs) == ["say"]


def test_delete(nightly: JobSchedule, in_process_client: MLClient) -> None:
    in_process_client.schedules.begin_delete("nightly").result()

    assert listed(in_process_client) == []
    for verb in ("get", "begin_delete", "trigger"):
        with pytest.raises(HttpResponseError, match="Schedule nightly does not exist"):
            getattr(in_process_client.schedules, verb)("nightly")


def test_a_schedule_whose_job_cannot_run_is_refused(in_process_client: MLClient, job: Path) -> None:
    job.write_text(JOB.replace("cpu-cluster", "no-cluster"))
    schedule = JobSchedule(name="broken", trigger=CronTrigger(expression="0 3 * * *"), create_job=load_job(job))

    with pytest.raises(HttpResponseError, match="compute no-cluster does not exist"):
        in_process_client.schedules.begin_create_or_update(schedule)

    assert listed(in_process_client) == []


@pytest.mark.rule("A cron expression has five parts")
@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        (CronTrigger(expression="every day"), "expected MINUTES HOURS DAYS MONTHS DAYS-OF-WEEK"),
        (CronTrigger(expression="0 3 *"), "expected MINUTES HOURS DAYS MONTHS DAYS-OF-WEEK"),
        (
            RecurrenceTrigger(frequency="day", interval=0, schedule=RecurrencePattern(hours=1, minutes=1)),
            "expected a whole number of at least 1",
        ),
    ],
)
def test_triggers_that_say_no_times(trigger: object, message: str, in_process_client: MLClient, job: Path) -> None:
    schedule = JobSchedule(name="odd", trigger=trigger, create_job=load_job(job))

    with pytest.raises(HttpResponseError, match=message):
        in_process_client.schedules.begin_create_or_update(schedule)


@pytest.mark.parametrize(
    "trigger", [None, {"triggerType": "Moon"}, {"triggerType": "Recurrence", "frequency": "decade", "interval": 1}]
)
def test_other_triggers(trigger: object) -> None:
    with pytest.raises(ArmError, match="expected"):
        check_trigger(trigger)


def test_the_time_goes_wherever_the_job_asks_for_it() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    definition = {"inputs": {"day": {"value": "on ${{create_context.trigger_time}}"}}, "properties": {"a": "b"}}

    assert fired(definition, "nightly", at) == {
        "inputs": {"day": {"value": "on 2026-01-02T03:04:05Z"}},
        "properties": {"a": "b", "azureml.schedulename": "nightly"},
    }
