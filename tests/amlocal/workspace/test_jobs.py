"""Jobs through the real client: in this process, with jobs that run in name only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.ai.ml import Input, MLClient, Output, command, load_job
from azure.ai.ml.constants import ListViewType
from azure.ai.ml.entities import Environment, Job
from azure.ai.ml.exceptions import JobException
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from amlocal.errors import AmlocalError
from amlocal.run.files import JobFolder, write_atomically
from amlocal.run.records import (
    CANCELED,
    COMPLETED,
    FAILED,
    RUNNING,
    JobRecord,
    Savings,
    StepRecord,
    TrialRecord,
    to_json,
)
from amlocal.testing import InProcessWorkspace
from amlocal.workspace.errors import ArmError
from amlocal.workspace.job_log import execution_log
from amlocal.workspace.job_runs import JobRecords, runs_of
from amlocal.workspace.jobs import Jobs
from amlocal.workspace.operations import Operations
from amlocal.workspace.store import Store

PIPELINE = """
type: pipeline
experiment_name: words
description: Says a word.
settings: {default_compute: azureml:cpu-cluster}
tags: {owner: ada}
inputs: {word: hello}
outputs: {text: {type: uri_folder}}
jobs:
  say:
    type: command
    command: echo ${{inputs.word}} > ${{outputs.text}}/said.txt
    environment: {image: none}
    inputs: {word: '${{parent.inputs.word}}'}
    outputs: {text: '${{parent.outputs.text}}'}
"""


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """Loads a pipeline job, with changes to its text."""

    def load(name: str, *changes: tuple[str, str]) -> Job:
        text = PIPELINE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "job.yml").write_text(text)
        return load_job(tmp_path / "job.yml", params_override=[{"name": name}])

    return load


@pytest.fixture
def submitted(in_process_client: MLClient, job: Callable[..., Job]) -> Job:
    return in_process_client.jobs.create_or_update(job("spoken"))


def record(home: Path, **fields: object) -> JobRecord:
    """Keep the record of a job that ``amlocal job create`` ran."""
    made = JobRecord(**{"name": "local", "kind": "pipeline", "file": "job.yml", "experiment_name": "e", **fields})
    write_atomically(JobFolder(home, made.name).record, to_json(made))
    return made


def test_a_submitted_job_has_a_record_and_what_was_said_of_it(
    submitted: Job, in_process_client: MLClient, in_process_workspace: InProcessWorkspace
) -> None:
    found = in_process_client.jobs.get("spoken")

    assert submitted.status == found.status == RUNNING
    assert (found.type, found.experiment_name, found.description) == ("pipeline", "words", "Says a word.")
    assert found.tags == {"owner": "ada"}
    assert found.inputs["word"]._data == "hello"
    assert list(found.jobs) == ["say"]
    assert in_process_workspace.jobs.record("spoken").experiment_name == "words"
    assert list(in_process_workspace.jobs.record("spoken").steps) == ["say"]


@pytest.mark.parametrize("status", [COMPLETED, FAILED])
def test_the_end_of_a_job(
    status: str, submitted: Job, in_process_client: MLClient, in_process_workspace: InProcessWorkspace
) -> None:
    if status == COMPLETED:
        in_process_workspace.jobs.complete("spoken")
    else:
        in_process_workspace.jobs.fail("spoken", "out of words")

    assert in_process_client.jobs.get("spoken").status == status
    (child,) = in_process_client.jobs.list(parent_job_name="spoken")
    assert (child.display_name, child.status) == ("say", status)


def test_a_failed_job_says_why_when_it_is_streamed(
    submitted: Job, in_process_client: MLClient, in_process_workspace: InProcessWorkspace
) -> None:
    in_process_workspace.jobs.fail("spoken", "out of words")

    with pytest.raises(JobException, match="out of words"):
        in_process_client.jobs.stream("spoken")


def test_commands_and_sweeps_are_jobs_too(in_process_client: MLClient) -> None:
    in_process_client.environments.create_or_update(Environment(name="any", version="1", image="none"))
    fixtures = Path(__file__).parents[1] / "fixtures" / "jobs"

    for name in ("command_job", "sweep_job"):
        created = in_process_client.jobs.create_or_update(load_job(fixtures / name / "job.yml"))
        found = in_process_client.jobs.get(created.name)
        assert (found.type, found.status) == (name.partition("_")[0], RUNNING)


def test_a_job_built_in_code(in_process_client: MLClient, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a b")
    built = command(
        name="counted",
        command="wc ${{inputs.words}} > ${{outputs.count}}",
        environment=Environment(image="none"),
        inputs={"words": Input(type="uri_file", path=str(tmp_path / "words.txt"))},
        outputs={"count": Output(type="uri_file")},
    )

    created = in_process_client.jobs.create_or_update(built)

    assert created.command == "wc ${{inputs.words}} > ${{outputs.count}}"
    assert in_process_client.jobs.get("counted").outputs["count"].type == "uri_file"


def test_the_same_job_again_runs_nothing_twice(
    submitted: Job, in_process_client: MLClient, in_process_workspace: InProcessWorkspace, job: Callable[..., Job]
) -> None:
    """A client whose connection broke sends it again."""
    first = in_process_workspace.jobs.record("spoken")

    in_process_client.jobs.create_or_update(job("spoken", ("owner: ada", "reviewer: eve")))

    assert in_process_workspace.jobs.record("spoken") is first
    assert in_process_client.jobs.get("spoken").tags == {"owner": "ada", "reviewer": "eve"}


@pytest.mark.rule("What a job is cannot change once it exists; sending the same job again runs nothing twice")
def test_another_job_of_the_same_name_is_refused(
    submitted: Job, in_process_client: MLClient, job: Callable[..., Job]
) -> None:
    with pytest.raises((ResourceExistsError, HttpResponseError), match="its inputs cannot be changed") as caught:
        in_process_client.jobs.create_or_update(job("spoken", ("word: hello", "word: bye")))

    assert caught.value.status_code == 409
    assert "Give a new job another name" in str(caught.value)


def test_an_answer_that_got_lost(
    in_process_client: MLClient, in_process_workspace: InProcessWorkspace, job: Callable[..., Job]
) -> None:
    in_process_workspace.faults.fail("PUT …/jobs/spoken", status=503, times=1, lost_answer=True)

    assert in_process_client.jobs.create_or_update(job("spoken")).status == RUNNING


@pytest.mark.rule("A submitted job names environments, computes, components and data of its workspace")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("echo ${{inputs.word}}", "echo ${{inputs.wrod}}")], "wrod"),
        ([("environment: {image: none}", "environment: azureml:missing:7")], "missing"),
        ([("inputs: {word: hello}", "inputs: {word: {type: uri_file, path: azureml:missing:7}}")], "missing"),
    ],
    ids=["undeclared input", "environment", "data"],
)
def test_what_cannot_run_is_refused_and_leaves_nothing(
    changes: list[tuple[str, str]],
    message: str,
    in_process_client: MLClient,
    in_process_workspace: InProcessWorkspace,
    job: Callable[..., Job],
) -> None:
    with pytest.raises(Exception, match=message):
        in_process_client.jobs.create_or_update(job("spoken", *changes))

    assert list(in_process_client.jobs.list()) == []
    assert not list(in_process_workspace.home.glob("jobs/*"))
    assert not list((in_process_workspace.home / "workspace" / "jobs").iterdir())


def put(workspace: InProcessWorkspace, name: str, properties: object) -> HttpResponseError:
    """Put a job's body as it is, without azure-ai-ml's own checks."""
    operations = workspace.client().jobs.service_client_01_2024_preview_arm.jobs
    with pytest.raises(HttpResponseError) as caught:
        operations.create_or_update("amlocal", "local", name, {"properties": properties})
    return caught.value


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"jobType": "Spark"}, "Jobs of type Spark do not run"),
        ({"jobType": "Pipeline", "jobs": {"a": {"type": "command", "componentId": "azureml:none:1"}}}, "azureml:none"),
        ({"jobType": "Pipeline", "inputs": []}, "inputs"),
    ],
)
def test_bodies_that_no_client_of_ours_sends(
    properties: object, message: str, in_process_workspace: InProcessWorkspace
) -> None:
    error = put(in_process_workspace, "odd", properties)

    assert error.status_code == 400
    assert error.error is not None
    assert error.error.code == "BadRequest"
    assert message in str(error)


def test_names_do_not_lead_out_of_folders(in_process_workspace: InProcessWorkspace) -> None:
    assert "is no name of a job" in str(put(in_process_workspace, ".hidden", {"jobType": "Command"}))


def test_a_compute_that_is_not_there(in_process_client: MLClient, job: Callable[..., Job]) -> None:
    with pytest.raises(HttpResponseError, match="compute none-such does not exist in this workspace"):
        in_process_client.jobs.create_or_update(job("spoken", ("cpu-cluster", "none-such")))


@pytest.mark.rule("Cancel of a job that has ended, or of a part of a job")
def test_cancel(submitted: Job, in_process_client: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    in_process_client.jobs.begin_cancel("spoken").result()

    assert in_process_client.jobs.get("spoken").status == CANCELED
    with pytest.raises(HttpResponseError, match="Job spoken is Canceled; only a job that has not ended"):
        in_process_client.jobs.begin_cancel("spoken")


def test_a_job_whose_end_is_awaited(
    submitted: Job, in_process_client: MLClient, in_process_workspace: InProcessWorkspace
) -> None:
    in_process_workspace.operations.slow("POST …/jobs/spoken/cancel", polls=2)

    poller = in_process_client.jobs.begin_cancel("spoken", polling=False)

    assert in_process_client.jobs.get("spoken").status == "CancelRequested"
    del poller


@pytest.mark.rule("Unknown job or schedule")
@pytest.mark.parametrize("verb", ["get", "begin_cancel", "stream", "archive", "download"])
def test_an_unknown_job(verb: str, in_process_client: MLClient) -> None:
    with pytest.raises(ResourceNotFoundError, match="Job nobody does not exist in this workspace"):
        getattr(in_process_client.jobs, verb)("nobody")


@pytest.mark.rule("Tags and properties of a job are added to those that it has")
def test_tags_names_and_archive(submitted: Job, in_process_client: MLClient) -> None:
    jobs = in_process_client.jobs
    changed = jobs.update("spoken", tags={"reviewed": "yes"}, display_name="said", description="d")
    assert (changed.tags, changed.display_name) == ({"owner": "ada", "reviewed": "yes"}, "said")

    changed.tags["more"] = "1"
    assert jobs.create_or_update(changed).tags == {"owner": "ada", "reviewed": "yes", "more": "1"}

    jobs.archive("spoken")
    assert list(jobs.list()) == []
    assert [one.name for one in jobs.list(list_view_type=ListViewType.ARCHIVED_ONLY)] == ["spoken"]
    jobs.restore("spoken")
    assert [one.name for one in jobs.list()] == ["spoken"]


def test_more_jobs_than_a_page(in_process_client: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    for number in range(205):
        record(in_process_workspace.home, name=f"job{number}", started=float(number), status=COMPLETED)

    names = [found.name for found in in_process_client.jobs.list()]

    assert names == [f"job{number}" for number in reversed(range(205))]


def test_children_come_all_at_once(in_process_client: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    steps = {f"s{number}": StepRecord(f"s{number}", "command", COMPLETED, run_id=f"r{number}") for number in range(150)}
    record(in_process_workspace.home, status=COMPLETED, steps=steps)

    children = list(in_process_client.jobs.list(parent_job_name="local"))

    assert [child.name for child in children] == [f"r{number}" for number in range(150)]
    assert len(list(in_process_client.jobs.list(parent_job_name="local", max_results=7))) == 7


@pytest.mark.parametrize("kind", ["pipeline", "command", "sweep"])
def test_jobs_of_the_command_line_are_the_clients_too(
    kind: str, in_process_client: MLClient, in_process_workspace: InProcessWorkspace
) -> None:
    record(in_process_workspace.home, kind=kind, status=COMPLETED, steps={"s": StepRecord("s", "command", COMPLETED)})

    found = in_process_client.jobs.get("local")

    assert (found.name, found.type, found.status) == ("local", kind, COMPLETED)
    in_process_client.jobs.update("local", tags={"a": "b"})
    assert [one.tags for one in in_process_client.jobs.list()] == [{"a": "b"}]


def test_a_damaged_record_hides_no_other(
    submitted: Job, in_process_client: MLClient, in_process_workspace: InProcessWorkspace
) -> None:
    write_atomically(JobFolder(in_process_workspace.home, "broken").record, "{}")

    assert [one.name for one in in_process_client.jobs.list()] == ["spoken"]
    with pytest.raises(HttpResponseError, match="not a job record of this version"):
        in_process_client.jobs.get("broken")


def swept(home: Path) -> JobRecord:
    """A finished pipeline with a sweep, and a step that was taken over from another job."""
    root = home / "jobs" / "local" / "steps"
    for number in (0, 1):
        for path, text in (("logs/std_log.txt", f"trial {number}\n"), ("outputs/model/weights", str(number))):
            file = root / "tune" / "trials" / str(number) / path
            file.parent.mkdir(parents=True)
            file.write_text(text)
    (root / "prep" / "logs").mkdir(parents=True)
    (root / "prep" / "logs" / "std_log.txt").write_text("prepared\n")
    (root / "prep" / "artifacts" / "outputs").mkdir(parents=True)
    (root / "prep" / "artifacts" / "outputs" / "plot.svg").write_text("<svg/>")
    trials = {
        number: TrialRecord(
            number,
            {"lr": 0.1 * number},
            COMPLETED,
            started=10.0 + number,
            ended=12.0 + number,
            best=0.5 + number,
            run_id=f"t{number}",
            log=str(root / "tune" / "trials" / str(number) / "logs" / "std_log.txt"),
        )
        for number in (0, 1)
    }
    steps = {
        "prep": StepRecord(
            "prep",
            "command",
            COMPLETED,
            reason="reuses job earlier",
            reused_from="earlier",
            run_id="r-earlier",
            started=9.0,
            ended=9.0,
            log=str(root / "prep" / "logs" / "std_log.txt"),
            outputs={"artifacts": str(root / "prep" / "artifacts")},
        ),
        "tune": StepRecord(
            "tune",
            "sweep",
            COMPLETED,
            started=10.0,
            ended=14.0,
            run_id="r-tune",
            trials=trials,
            best_trial=1,
            primary_metric="score",
            early_termination=Savings(0, 2.0, None, 2),
            outputs={"model": str(root / "tune" / "trials" / "1" / "outputs" / "model")},
        ),
    }
    outputs = {"model": str(root / "tune" / "trials" / "1" / "outputs" / "model")}
    return record(home, status=COMPLETED, started=8.0, ended=15.0, steps=steps, outputs=outputs)


def test_steps_and_trials_are_children(in_process_client: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    swept(in_process_workspace.home)
    jobs = in_process_client.jobs

    prep, tune = jobs.list(parent_job_name="local")
    assert (prep.name, prep.properties) == ("local_prep", {"azureml.isreused": "true"})
    assert (tune.name, tune.properties) == ("r-tune", {"best_child_run_id": "t1"})
    assert [(trial.name, trial.display_name) for trial in jobs.list(parent_job_name="r-tune")] == [
        ("t0", "tune_0"),
        ("t1", "tune_1"),
    ]
    assert jobs.get("t1").status == COMPLETED
    with pytest.raises(HttpResponseError, match="t1 is a part of job local; only a whole job can be canceled"):
        jobs.begin_cancel("t1")


def test_download_logs_and_outputs(
    in_process_client: MLClient, in_process_workspace: InProcessWorkspace, tmp_path: Path
) -> None:
    swept(in_process_workspace.home)
    jobs = in_process_client.jobs

    jobs.download("local", download_path=tmp_path / "all", all=True)
    jobs.download("local", download_path=tmp_path / "one", output_name="model")
    jobs.download("local_prep", download_path=tmp_path / "step")
    jobs.download("t0", download_path=tmp_path / "trial", all=True)

    def files(name: str) -> dict[str, str]:
        root = tmp_path / name
        return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}

    log = files("all").pop("artifacts/logs/azureml/executionlogs.txt")
    assert "tune trial 1: Completed, best score 1.5" in log
    assert files("all")["named-outputs/model/weights"] == "1"
    assert files("one") == {"named-outputs/model/weights": "1"}
    assert files("step") == {"artifacts/user_logs/std_log.txt": "prepared\n", "artifacts/outputs/plot.svg": "<svg/>"}
    assert files("trial") == {"artifacts/user_logs/std_log.txt": "trial 0\n", "named-outputs/model/weights": "0"}


def test_a_job_that_runs_cannot_be_downloaded(submitted: Job, in_process_client: MLClient, tmp_path: Path) -> None:
    with pytest.raises(JobException, match="Download is allowed only in states"):
        in_process_client.jobs.download("spoken", download_path=tmp_path)


def test_the_log_of_a_pipeline_only_grows(tmp_path: Path) -> None:
    """The client prints the lines that it has not printed yet, by their number."""
    ended = swept(tmp_path)
    run = next(runs_of(ended))
    lines = execution_log(ended, run).splitlines()

    assert [line.partition(" ")[2] for line in lines] == [
        "prep: Completed (reuses job earlier)",
        "prep: Completed",
        "tune: started",
        "tune trial 0: lr=0.0",
        "tune trial 1: lr=0.1",
        "tune trial 0: Completed, best score 0.5",
        "tune trial 1: Completed, best score 1.5",
        "tune: Completed",
    ]


@dataclass
class TooLate:
    """A runner that is forestalled: ``amlocal job create`` makes a job of the same name."""

    home: Path

    async def start(self, document: Path, name: str) -> None:
        del document
        record(self.home, name=name)
        raise AmlocalError(f"job {name!r} exists already; give another --name")

    async def cancel(self, name: str) -> None:
        del name


def test_a_name_that_is_taken_at_the_same_moment(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    jobs = Jobs(store, JobRecords(tmp_path), TooLate(tmp_path), Operations(store), tmp_path / "documents")
    jobs.documents.mkdir()

    with pytest.raises(ArmError, match="exists already"):
        asyncio.run(jobs.submit("taken", {"jobType": "Command", "command": "true", "description": "mine"}))

    assert jobs.said("taken") is None
    assert jobs.find("taken") is not None
    assert not list(jobs.documents.iterdir())
    store.close()


def test_records_are_read_again_when_they_change(tmp_path: Path) -> None:
    records = JobRecords(tmp_path)
    record(tmp_path, status=RUNNING)
    before = records.find("local")

    record(tmp_path, status=COMPLETED)

    assert before is not None
    assert before.status == RUNNING
    assert records.find("local") == record(tmp_path, status=COMPLETED)
    assert records.find("other") is None
    assert records.run("../local") is None
