"""Jobs whose process was killed, downloads, and following a job from outside."""

import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from amlocal.errors import AmlocalError
from amlocal.run.create import Request, prepare_job
from amlocal.run.download import download
from amlocal.run.files import JobFolder, write_atomically
from amlocal.run.follow import Follower
from amlocal.run.jobs import RunningMark, is_running, job_folders, read_record, settle, this_process
from amlocal.run.records import JobRecord, StepRecord, TrialRecord, to_json

JOB = """\
type: pipeline
outputs:
  data: {type: uri_folder}
jobs:
  make:
    type: command
    environment: azureml:any:1
    command: echo hello; mkdir ${{outputs.out}}/in; echo x > ${{outputs.out}}/in/x.txt; echo y > outputs/y.txt
    outputs: {out: "${{parent.outputs.data}}"}
  tune:
    type: sweep
    trial:
      type: command
      environment: azureml:any:1
      inputs: {x: {type: integer}}
      command: echo trial ${{inputs.x}}; echo ${{inputs.x}} > $METRICS/$MLFLOW_RUN_ID.score
    search_space: {x: {type: choice, values: [1, 2]}}
    sampling_algorithm: grid
    objective: {goal: maximize, primary_metric: score}
    limits: {max_total_trials: 2}
"""


def all_records(home):
    return [read_record(folder) for folder in job_folders(home)]


def killed(machine, name="killed", **process):
    """Record a job as a killed amlocal leaves it: one step done, one running with a trial, one to come."""
    runs = machine.backend
    root = runs.start_run("experiment-exp", name, None, {"amlocal.job": name})
    done, busy, trial = (runs.start_run("experiment-exp", "x", root, {"amlocal.job": name}) for _ in range(3))
    steps = {
        "done": StepRecord("done", "command", "Completed", run_id=done),
        "busy": StepRecord("busy", "sweep", "Running", run_id=busy, trials={0: TrialRecord(0, {}, "Running")}),
        "later": StepRecord("later", "command"),
    }
    record = JobRecord(name, "pipeline", "job.yml", "exp", status="Running", run_id=root, steps=steps, **process)
    folder = JobFolder(machine.home, name)
    write_atomically(folder.record, to_json(record))
    RunningMark(folder).set()
    return folder, {"root": root, "done": done, "busy": busy, "trial": trial}


@pytest.fixture
def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return {"pid": process.pid, "pid_started": 1.0}


def test_job_whose_process_is_gone_counts_as_canceled(machine, ended_process):
    folder, _ = killed(machine, **ended_process)

    record = read_record(folder)

    assert (record.status, record.error) == ("Canceled", "the process that ran it is gone")
    assert [step.status for step in record.steps.values()] == ["Completed", "Canceled", "NotStarted"]
    assert record.steps["busy"].trials[0].status == "Canceled"
    assert [found.status for found in all_records(machine.home)] == ["Canceled"]


def test_job_that_was_killed_before_it_started_counts_as_canceled(machine, write, ended_process):
    job = write("job.yml", "type: command\ncommand: 'true'\nenvironment: azureml:any:1\n")
    prepared = prepare_job(Request(job, machine.home, name="early"))
    assert read_record(prepared.folder).status == "NotStarted"

    write_atomically(prepared.folder.record, to_json(replace(prepared.journal.record, **ended_process)))

    assert read_record(prepared.folder).status == "Canceled"


def test_a_process_that_got_its_number_later_is_another_one(machine):
    mine = JobRecord("x", "pipeline", "job.yml", "exp", status="Running", **this_process())

    assert is_running(mine)
    assert not is_running(replace(mine, pid_started=mine.pid_started - 60))


def test_next_run_settles_what_a_killed_one_left_open(machine, write, ended_process):
    folder, runs = killed(machine, **ended_process)
    _, open_runs = killed(machine, "alive", **this_process())
    job = write("job.yml", "type: command\ncommand: 'true'\nenvironment: azureml:any:1\n")

    machine.create(job, name="next")

    statuses = {name: machine.backend.runs[run].status for name, run in runs.items()}
    assert statuses == {"root": "KILLED", "done": "FINISHED", "busy": "KILLED", "trial": "KILLED"}
    assert '"status": "Canceled"' in folder.record.read_text()
    assert {machine.backend.runs[run].status for run in open_runs.values()} == {"RUNNING"}
    assert [path.name for path in (machine.home / "running").iterdir()] == ["alive"]


def test_what_cannot_be_settled_is_left_for_the_next_time(machine, monkeypatch, ended_process):
    folder, _ = killed(machine, **ended_process)

    def broken(*_):
        raise AmlocalError("no MLflow today")

    with monkeypatch.context() as patch:
        patch.setattr(machine.backend, "end_run", broken, raising=False)
        settle(machine.home, machine.backend)
    assert '"status": "Running"' in folder.record.read_text()

    settle(machine.home, machine.backend)
    assert '"status": "Canceled"' in folder.record.read_text()
    assert not any((machine.home / "running").iterdir())


def test_a_job_that_completed_stays_so_when_mlflow_is_gone_at_its_end(machine, write, monkeypatch):
    def gone(*_):
        raise AmlocalError("MLflow cannot be reached")

    job = write("job.yml", "type: command\ncommand: 'true'\nenvironment: azureml:any:1\n")
    with monkeypatch.context() as patch:
        patch.setattr(machine.backend, "end_run", gone, raising=False)
        record = machine.create(job, name="lone")
    assert (record.status, record.error) == ("Completed", None)
    assert "MLflow cannot be reached" in (record.message or "")
    assert [path.name for path in (machine.home / "running").iterdir()] == ["lone"]

    settle(machine.home, machine.backend)

    assert {run.status for run in machine.backend.runs.values()} == {"FINISHED"}
    assert not any((machine.home / "running").iterdir())


def test_download_of_everything_holds_logs_outputs_and_no_links(machine, write, tmp_path):
    record = machine.create(write("job.yml", JOB))

    made = download(JobFolder(machine.home, record.name), tmp_path / "got", everything=True)

    assert made == (tmp_path / "got" / "artifacts", tmp_path / "got" / "named-outputs" / "data")
    texts = {
        path.relative_to(tmp_path / "got").as_posix(): path.read_text()
        for path in (tmp_path / "got").rglob("*")
        if path.is_file() and path.suffix == ".txt"
    }
    assert texts == {
        "artifacts/make/logs/std_log.txt": "hello\n",
        "artifacts/make/outputs/y.txt": "y\n",
        "artifacts/tune/trials/0/logs/std_log.txt": "trial 1\n",
        "artifacts/tune/trials/1/logs/std_log.txt": "trial 2\n",
        "named-outputs/data/in/x.txt": "x\n",
    }
    assert (tmp_path / "got" / "artifacts" / "tune" / "trials.json").is_file()
    assert not any(path.is_symlink() for path in (tmp_path / "got").rglob("*"))


def test_download_of_a_reused_job_has_the_logs_of_the_one_that_ran(machine, write, tmp_path):
    machine.create(write("job.yml", JOB))
    again = machine.create(write("job.yml", JOB))

    download(JobFolder(machine.home, again.name), tmp_path / "got")

    assert (tmp_path / "got" / "artifacts" / "make" / "logs" / "std_log.txt").read_text() == "hello\n"
    assert not (tmp_path / "got" / "named-outputs").exists()


def test_download_overwrites_nothing_and_leaves_nothing_half_done(machine, write, tmp_path, monkeypatch):
    folder = JobFolder(machine.home, machine.create(write("job.yml", JOB)).name)
    target = tmp_path / "got"
    (target / "named-outputs" / "data").mkdir(parents=True)

    with pytest.raises(AmlocalError, match=r"named-outputs/data exists already; give another --download-path"):
        download(folder, target, everything=True)
    with pytest.raises(AmlocalError, match="has no output 'none'; its outputs: data"):
        download(folder, target, output="none")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.copytree", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(AmlocalError, match=r"cannot be downloaded: .* No space left"):
            download(folder, target)

    assert [path.name for path in target.iterdir()] == ["named-outputs"]


def test_running_job_is_not_downloaded(machine, tmp_path):
    folder, _ = killed(machine, **this_process())

    with pytest.raises(AmlocalError, match="job killed is Running"):
        download(folder, tmp_path)


def test_follower_tells_what_changed_until_the_end(machine, monkeypatch):
    folder, _ = killed(machine, **this_process())
    seen = []
    looked = threading.Event()
    monkeypatch.setattr("amlocal.run.follow._LOOK_SECONDS", 0.01)
    follower = Follower(folder)
    follower.listen(lambda record, step, trial: (seen.append((step, trial, record.status)), looked.set()))
    thread = threading.Thread(target=follower.follow)
    thread.start()
    assert looked.wait(10)
    record = read_record(folder)
    busy = replace(record.steps["busy"], status="Completed")
    ended = replace(record, status="Completed", pid=None, steps={**record.steps, "busy": busy})
    write_atomically(folder.record, to_json(ended))
    thread.join(10)

    assert seen == [
        ("done", None, "Running"),
        ("busy", 0, "Running"),
        ("busy", None, "Running"),
        ("later", None, "Running"),
        ("busy", None, "Completed"),
    ]
    assert follower.record.status == "Completed"


def test_a_folder_that_is_being_made_is_no_job(machine):
    staged = machine.home / "jobs" / ".new-1"
    staged.mkdir(parents=True)
    (staged / "job.json").write_text("{")

    assert all_records(machine.home) == []
