"""The command line, against a real workspace on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

JOBS = Path(__file__).parents[1] / "fixtures" / "jobs"

SWEEP = """\
type: pipeline
experiment_name: end-to-end
settings: {default_compute: azureml:cpu-cluster}
outputs:
  best: {type: uri_folder}
jobs:
  tune:
    type: sweep
    trial: ./trial.yml
    search_space:
      x: {type: choice, values: [1, 2]}
    sampling_algorithm: grid
    objective: {goal: maximize, primary_metric: score}
    limits: {max_total_trials: 2, max_concurrent_trials: 2}
    outputs:
      model: ${{parent.outputs.best}}
"""
TRIAL = """\
type: command
name: trial
code: ./trial.py
environment: azureml:any:1
inputs:
  x: {type: integer}
outputs:
  model: {type: uri_folder}
command: python trial.py ${{inputs.x}} ${{outputs.model}}
"""
SCRIPT = """\
import sys
from pathlib import Path

import mlflow

with mlflow.start_run() as run:
    for step in range(3):
        mlflow.log_metric("score", float(sys.argv[1]) * step, step=step)
Path(sys.argv[2], "x.txt").write_text(sys.argv[1])
Path(sys.argv[2], "run.txt").write_text(run.info.run_id)
"""


def amlocal(home: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "amlocal", "--home", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    yield folder
    amlocal(folder, "workspace", "stop")


def test_sweep_logs_to_the_workspace_and_is_shown(home, tmp_path):
    for name, text in {"job.yml": SWEEP, "trial.yml": TRIAL, "trial.py": SCRIPT}.items():
        (tmp_path / name).write_text(text)

    created = amlocal(home, "job", "create", "--file", str(tmp_path / "job.yml"), "--name", "first")

    assert created.returncode == 0, created.stdout + created.stderr
    record = json.loads(amlocal(home, "job", "show", "--name", "first", "--output", "json").stdout)
    assert (record["status"], record["experiment_name"]) == ("Completed", "end-to-end")
    step = record["steps"]["tune"]
    assert step["best_trial"] == 1
    assert [step["trials"][number]["curve"] for number in "01"] == [[0, 1, 2], [0, 2, 4]]
    best = Path(record["outputs"]["best"])
    assert (best / "x.txt").read_text() == "2"
    # mlflow.start_run() in the trial picked up the run that the engine had made for it.
    assert (best / "run.txt").read_text() == step["trials"]["1"]["run_id"]
    assert "output best: " in created.stdout
    assert "job first: Completed\n" in created.stdout
    assert created.stdout.endswith(f"until: amlocal --home {home} workspace stop\n")

    script = (
        "import mlflow, sys\n"
        "client = mlflow.MlflowClient()\n"
        "for run_id in sys.argv[1:]:\n"
        "    run = client.get_run(run_id)\n"
        "    print(run.info.run_name, run.info.status, run.data.tags.get('mlflow.parentRunId'))\n"
    )
    ids = [record["run_id"], step["run_id"], step["trials"]["1"]["run_id"]]
    runs = amlocal(home, "exec", "--", "python", "-c", script, *ids)
    assert runs.stdout.splitlines() == [
        "first FINISHED None",
        f"tune FINISHED {record['run_id']}",
        f"tune-1 FINISHED {step['run_id']}",
    ], runs.stderr

    again = amlocal(home, "job", "create", "--file", str(tmp_path / "job.yml"))
    assert "(reuses job first)" in again.stdout
    header, *listed = [line.split()[:5] for line in amlocal(home, "job", "list").stdout.splitlines()]
    assert header == ["NAME", "STATUS", "TYPE", "EXPERIMENT", "STEPS"]
    assert [row[1:] for row in listed] == [["Completed", "pipeline", "end-to-end", "1/1"]] * 2
    assert listed[1][0] == "first"


@pytest.mark.parametrize("number", ["0", "-1", "two"])
def test_a_number_of_steps_at_the_same_time_that_means_nothing_is_refused(tmp_path, number):
    refused = amlocal(tmp_path, "job", "create", "--file", "job.yml", f"--concurrent-steps={number}")
    assert refused.returncode == 2
    assert f"'{number}': expected a whole number above 0" in refused.stderr


def test_failure_is_explained_and_its_exit_code_is_1(home, tmp_path):
    job = tmp_path / "job.yml"
    job.write_text("type: command\ncommand: echo the reason; exit 3\nenvironment: azureml:any:1\n")

    failed = amlocal(home, "job", "create", "--file", str(job), "--name", "failing")

    assert failed.returncode == 1
    assert "command failed: exit code 3\n  | the reason\n  log: " in failed.stdout
    shown = amlocal(home, "job", "show", "--name", "failing").stdout
    assert shown.endswith("job failing: Failed: command failed\n")


WAITING = """\
type: pipeline
experiment_name: background
outputs: {said: {type: uri_folder}}
jobs:
  first:
    type: command
    environment: azureml:any:1
    command: echo said > ${{outputs.out}}/x.txt
    outputs: {out: "${{parent.outputs.said}}"}
  second:
    type: command
    environment: azureml:any:1
    command: until test -e GO; do sleep 0.02; done
"""


def test_background_job_is_followed_to_its_end(home, tmp_path):
    job = tmp_path / "job.yml"
    job.write_text(WAITING.replace("GO", str(tmp_path / "go")))

    started = amlocal(home, "job", "create", "--file", str(job), "--no-stream", "--name", "quiet")
    assert (started.returncode, started.stdout, started.stderr) == (0, "quiet\n", "")
    running = json.loads(amlocal(home, "job", "list", "--status", "Running", "--output", "json").stdout)
    assert [row["name"] for row in running] == ["quiet"]
    early = amlocal(home, "job", "download", "--name", "quiet", "--all", cwd=tmp_path)
    assert (early.returncode, "is Running" in early.stderr) == (1, True)
    command = [sys.executable, "-m", "amlocal", "--home", str(home), "job", "stream", "--name", "quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stream:
        assert stream.stdout.readline().startswith("job quiet (pipeline, ")
        (tmp_path / "go").touch()
        told = stream.stdout.read()

    assert stream.returncode == 0
    assert "second: Completed" in told
    assert told.endswith("job quiet: Completed\n")
    log = (home / "jobs" / "quiet" / "amlocal.log").read_text()
    assert log.endswith("job quiet: Completed\n")
    after = amlocal(home, "job", "stream", "--name", "quiet")
    assert (after.returncode, after.stdout.splitlines()[-1]) == (0, "job quiet: Completed")

    got = amlocal(home, "job", "download", "--name", "quiet", "--output-name", "said", "--download-path", str(tmp_path))
    assert got.stdout == f"{tmp_path}/named-outputs/said\n"
    assert (tmp_path / "named-outputs" / "said" / "x.txt").read_text() == "said\n"


def test_background_job_is_canceled(home, tmp_path):
    job = tmp_path / "job.yml"
    job.write_text(WAITING.replace("GO", str(tmp_path / "go")))
    name = amlocal(home, "job", "create", "--file", str(job), "--no-stream").stdout.strip()

    canceled = amlocal(home, "job", "cancel", "--name", name)

    assert (canceled.returncode, canceled.stderr) == (0, "")
    assert canceled.stdout.splitlines()[-1] == f"job {name}: Canceled"
    shown = yaml.safe_load(amlocal(home, "job", "show", "--name", name, "--output", "yaml").stdout)
    assert (shown["status"], shown["error"], shown["pid"]) == ("Canceled", "ended by SIGTERM", None)
    again = amlocal(home, "job", "cancel", "--name", name)
    assert again.returncode == 1
    assert again.stderr == f"error: job {name} is not running: it is Canceled\n"
    assert amlocal(home, "job", "stream", "--name", name).returncode == 1


def test_background_job_that_cannot_run_says_so_at_once(home, tmp_path):
    job = tmp_path / "job.yml"
    job.write_text(WAITING)
    for name, expected in (("quiet", "job 'quiet' exists already"), ("a/b", "expected letters")):
        refused = amlocal(home, "job", "create", "--file", str(job), "--no-stream", "--name", name)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert expected in refused.stderr


def test_exec_passes_environment_and_exit_code(home):
    command = 'test -n "$MLFLOW_TRACKING_URI" && test -n "$AZUREML_ARM_WORKSPACE_NAME" && exit 7'

    assert amlocal(home, "exec", "--", "bash", "-c", command).returncode == 7
    missing = amlocal(home, "exec", "--", "no-such-command")
    assert (missing.returncode, missing.stderr) == (1, "error: no-such-command: command not found\n")
    assert amlocal(home, "exec").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["job", "create", "--file", "none.yml"], "none.yml:1: missing-file: no such file"),
        (["job", "show", "--name", "none"], "there is no job 'none'"),
        (["job", "create", "--file", "job.yml", "--set", "inputs"], "expected path=value"),
        (["job", "create", "--file", "job.yml"], "job.yml:2: required: job needs 'command'"),
    ],
)
def test_wrong_use_is_one_clear_line(tmp_path, arguments, message):
    (tmp_path / "job.yml").write_text("# nothing to run\ntype: command\n")

    failed = amlocal(tmp_path / "home", *arguments, cwd=tmp_path, env={**os.environ})

    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert message in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert not (tmp_path / "home").exists()


def test_validate_accepts_what_azure_accepts_without_a_workspace(tmp_path):
    job = JOBS / "sweep_node" / "job.yml"

    valid = amlocal(tmp_path / "home", "job", "validate", "--file", str(job))

    assert (valid.returncode, valid.stdout, valid.stderr) == (0, "", "")
    assert not (tmp_path / "home").exists()


def test_job_create_does_not_load_azure(tmp_path):
    script = (
        "import pathlib, sys\n"
        "from amlocal.cli.main import build_parser\n"
        "from amlocal.reader.plan import read_plan\n"
        "import amlocal.run.create, amlocal.run.view\n"
        "build_parser()\n"
        f"read_plan(pathlib.Path({str(JOBS / 'nested' / 'job.yml')!r}))\n"
        "print([name for name in ('azure.ai.ml', 'mlflow', 'optuna', 'scipy', 'numpy') if name in sys.modules])\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    assert found.stdout == "[]\n", found.stderr
