"""Trials that start warm, run for real: what a script sees, how it ends, and what makes a trial start by itself."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from amlocal.job_variable import JOB_VARIABLE

JOB = """\
type: sweep
trial:
  command: COMMAND
  code: ./code
  environment: azureml:any:1
  environment_variables: VARIABLES
inputs: {greeting: hello world}
outputs: {out: {type: uri_folder}}
search_space:
  x: {type: choice, values: [1, 2, 3]}
sampling_algorithm: grid
objective: {goal: maximize, primary_metric: score}
limits: {max_total_trials: 3, max_concurrent_trials: 2}
"""
COMMAND = "python -u train.py '${{inputs.greeting}}' --x ${{search_space.x}} --out ${{outputs.out}}"
SCORE = """\
import os, pathlib, sys
def arg(name): return sys.argv[sys.argv.index(name) + 1]
x, out = int(arg("--x")), pathlib.Path(arg("--out"))
def score(value):
    with open(f"{os.environ['METRICS']}/{os.environ['MLFLOW_RUN_ID']}.score", "a") as stream:
        stream.write(f"{value}\\n")
"""


WARM = re.compile(r"warm: the imports of train\.py are done once, in [0-9.]+ CPU-seconds")
RUNNER = """\
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from conftest import FileBackend

from amlocal.run.create import Request, create_job

home = Path({home!r})
create_job(Request(Path({job!r}), home, poll_seconds=0.05), FileBackend(home / "metrics"))
"""


def left_of(home: Path) -> list[psutil.Process]:
    """Everything that runs for a home's jobs."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            marked = process.environ().get(JOB_VARIABLE, "").startswith(f"{home}/")
            if marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture
def packages(tmp_path, monkeypatch) -> Callable[..., None]:
    """Install modules, as far as the trials can tell."""
    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))

    def install(**modules: str) -> None:
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text)

    return install


@pytest.fixture
def sweep(write) -> Callable[..., Path]:
    """Write a sweep over a script."""

    def make(script: str, command: str = COMMAND, variables: str = "{}", **files: str) -> Path:
        write("code/train.py", script)
        write("code/score.py", SCORE)
        for name, text in files.items():
            write(f"code/{name.replace('__', '/')}.py", text)
        return write("job.yml", JOB.replace("COMMAND", json.dumps(command)).replace("VARIABLES", variables))

    return make


def outcome(machine, record, number: int, name: str = "facts.json"):
    path = machine.home / "jobs" / record.name / "steps" / "sweep" / "trials" / str(number) / "outputs" / "out" / name
    return json.loads(path.read_text())


FACTS = """\
import json
import multiprocessing.spawn
import os
import random
import signal
import site
import subprocess
import sys
import sysconfig
import threading
import time

import numpy

from score import out, score, x


class Thing:
    pass


if __name__ == "__main__":
    import __main__
    import atexit
    import pickle

    import helper

    print("said by the script")
    score(x)
    assert type(pickle.loads(pickle.dumps(Thing()))) is Thing
    facts = {
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "child": subprocess.check_output(["env"], text=True).splitlines(),
        "main": [__main__.__file__, __main__.__name__, str(__main__.__spec__), __main__.__loader__.name],
        "path": sys.path,
        "prefix": [sys.prefix, sys.exec_prefix, *site.PREFIXES, *site.getsitepackages()],
        "executable": [sys.executable, os.fsdecode(multiprocessing.spawn.get_executable())],
        "purelib": sysconfig.get_path("purelib"),
        "helper": helper.__file__,
        "origin": multiprocessing.process.ORIGINAL_DIR,
        "threads": [thread.name for thread in threading.enumerate()],
        "leads": [os.getpid() == os.getpgid(0), os.getpid() == os.getsid(0)],
        "signals": [str(signal.getsignal(number)) for number in range(1, 32)],
        "stdin": os.read(0, 10).decode(),
        "descriptors": sorted(os.listdir("/proc/self/fd"))[:-1],
    }
    (out / "facts.json").write_text(json.dumps(facts))
    (out / "chance.json").write_text(json.dumps([random.random(), float(numpy.random.random())]))
    atexit.register(lambda: (out / "atexit").write_text(__main__.__file__))
    threading.Thread(target=lambda: (time.sleep(0.2), (out / "thread").write_text("done"))).start()
"""
SHELLS_OWN = {"_", "SHLVL", "OLDPWD"}


def test_a_script_sees_what_it_sees_in_a_process_of_its_own(machine, sweep):
    file = sweep(FACTS, helper="")
    warm, cold = machine.create(file), machine.create(file, rerun=True, warm=False)

    assert WARM.fullmatch(warm.steps["sweep"].start)
    assert cold.steps["sweep"].start is None
    for number in range(3):
        facts = []
        for record in (warm, cold):
            run_id = record.steps["sweep"].trials[number].run_id
            text = json.dumps(outcome(machine, record, number)).replace(record.name, "JOB").replace(run_id, "RUN")
            found = json.loads(text)
            found["environment"] = {k: v for k, v in found["environment"].items() if k not in SHELLS_OWN}
            found["child"] = sorted(line for line in found["child"] if line.split("=")[0] not in SHELLS_OWN)
            facts.append(found)
        assert facts[0] == facts[1]
        log = Path(warm.steps["sweep"].trials[number].log)
        assert log.read_text() == "said by the script\n"
        out = log.parents[1] / "outputs" / "out"
        assert (out / "atexit").read_text() == str(log.parents[1] / "snapshot" / "train.py")
        assert (out / "thread").read_text() == "done"
    assert not (machine.home / "jobs" / warm.name / "steps" / "sweep" / "warm").exists()


def test_each_trial_has_chance_of_its_own(machine, sweep):
    record = machine.create(sweep(FACTS, helper=""))

    drawn = [value for number in range(3) for value in outcome(machine, record, number, "chance.json")]
    assert len(set(drawn)) == 6


def test_imports_are_done_once_and_count_once(machine, sweep, packages):
    packages(slow="import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass\nprint('slow')")
    record = machine.create(sweep("import slow\nfrom score import score, x\nscore(x)\nprint('done')"))

    step = record.steps["sweep"]
    assert WARM.fullmatch(step.start)
    used = [trial.cpu_seconds for trial in step.trials.values()]
    assert max(used) < 0.4
    assert sum(used) + 0.5 <= step.cpu_seconds < sum(used) + 1.0
    assert {Path(trial.log).read_text() for trial in step.trials.values()} == {"slow\ndone\n"}


ENDS = """\
import numpy
from score import score, x
import os, signal, sys
score(x)
if x == 1:
    sys.exit("said at the end")
if x == 2:
    os.kill(os.getpid(), signal.SIGSEGV)
def inner():
    raise KeyError("lost")
inner()
"""


def test_ends_as_a_process_of_its_own_does(machine, sweep):
    file = sweep(ENDS)
    records = [machine.create(file), machine.create(file, rerun=True, warm=False)]

    assert WARM.fullmatch(records[0].steps["sweep"].start)
    ends = []
    for record in records:
        trials = record.steps["sweep"].trials
        logs = [Path(trials[number].log).read_text().replace(record.name, "JOB") for number in range(3)]
        ends.append(([trials[number].reason for number in range(3)], logs))
    assert ends[0][0] == ["exit code 1: said at the end", "exit code 139", "exit code 1: KeyError: 'lost'"]
    assert ends[0] == ends[1]


def test_syntax_errors_are_told_as_usual(machine, sweep):
    file = sweep("import numpy\nfrom score import score, x\ndef broken(:\n")
    step = machine.create(file).steps["sweep"]
    assert step.error.startswith("all trials failed; trial 0: exit code 1: SyntaxError")


SLEEPS = """\
import numpy
from score import out, score, x
import os, pathlib, signal, subprocess, sys, time
def ended(*_):
    print("cleaned", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, ended)
if x == 1:
    score(10)
    sys.exit()
while not list(pathlib.Path(os.environ["METRICS"]).glob("*.score")): time.sleep(0.02)
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
end = time.process_time() + 0.3
while time.process_time() < end: pass
score(1)
time.sleep(60)
"""


def test_early_termination_lets_a_trial_clean_up_and_tells_what_it_used(machine, sweep):
    policy = "early_termination={type: bandit, slack_amount: 5}"
    record = machine.create(sweep(SLEEPS), policy)

    step = record.steps["sweep"]
    assert WARM.fullmatch(step.start)
    assert [trial.ended_early for _, trial in sorted(step.trials.items())] == [False, True, True]
    assert all(step.trials[number].cpu_seconds >= 0.3 for number in (1, 2))
    assert all(Path(step.trials[number].log).read_text() == "cleaned\n" for number in (1, 2))
    assert not left_of(machine.home)


def test_timeout_of_a_trial(machine, sweep):
    record = machine.create(sweep(SLEEPS), "limits.trial_timeout=3")

    trials = record.steps["sweep"].trials
    assert WARM.fullmatch(record.steps["sweep"].start)
    assert trials[1].reason == "the trial's timeout of 3 s passed"
    assert Path(trials[1].log).read_text() == "cleaned\n"
    assert not left_of(machine.home)


def test_canceled_while_it_imports(machine, sweep, packages):
    packages(slow="import time\ntime.sleep(300)")
    record = machine.create(sweep("import slow"), "limits.timeout=2")

    assert record.steps["sweep"].status == "Canceled"
    assert not left_of(machine.home)


def test_what_a_script_installs_is_its_own(machine, sweep, tmp_path):
    (tmp_path / "wheel" / "extra").mkdir(parents=True)
    (tmp_path / "wheel" / "extra" / "__init__.py").write_text("")
    script = f"""\
import numpy
from score import out, score, x
import importlib, pathlib, shutil, subprocess, sys, sysconfig
try:
    import extra
    sys.exit("it is there already")
except ImportError:
    pass
shutil.copytree("{tmp_path}/wheel/extra", pathlib.Path(sysconfig.get_path("purelib"), "extra"))
importlib.invalidate_caches()
import extra
subprocess.run([sys.executable, "-c", "import extra"], check=True)
score(x)
"""
    record = machine.create(sweep(script))

    assert WARM.fullmatch(record.steps["sweep"].start)
    assert {trial.status for trial in record.steps["sweep"].trials.values()} == {"Completed"}


SCORES = "from score import out, score, x\nscore(x)\n"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(300,), daemon=True).start()", "threads: "),
        ("import os\nrun = os.environ.get('MLFLOW_RUN_ID')", "MLFLOW_RUN_ID differs from trial to trial"),
        ("import os\nhome = os.environ.get('HOME')", None),
        ("raise ImportError('not here')", "library cannot be imported: not here"),
        ("import os\nos._exit(3)", "the process that had done its imports has ended"),
        ("import os\nstream = os.open('/dev/null', 0)", None),
    ],
)
def test_what_an_import_does_decides(machine, sweep, packages, module, reason):
    packages(library=module)
    record = machine.create(sweep(f"import library\n{SCORES}"))

    start = record.steps["sweep"].start
    assert WARM.fullmatch(start) if reason is None else start.startswith("cold: "), start
    assert reason is None or reason in start


def test_a_variable_that_depends_on_the_trial(machine, sweep):
    file = sweep(f"import numpy\n{SCORES}", variables='{THREADS: "${{search_space.x}}", FIXED: "1"}')
    record = machine.create(file)

    assert record.steps["sweep"].start.startswith("cold: THREADS differs from trial to trial")
    assert record.status == "Completed"


def test_a_module_of_the_code_that_stands_in_for_an_installed_one(machine, sweep, packages):
    packages(library="import fractions")
    script = f"import library\n{SCORES}assert library.fractions.mine"
    record = machine.create(sweep(script, fractions="mine = True"))

    assert record.steps["sweep"].start == (
        "cold: the code has a module fractions of its own, and what it imports has loaded another one"
    )
    assert {trial.status for trial in record.steps["sweep"].trials.values()} == {"Completed"}


@pytest.mark.parametrize(
    "command", [f"{COMMAND} && echo done", f"X=1 {COMMAND}", f"{COMMAND} | cat", f"time {COMMAND}"]
)
def test_other_commands_start_cold(machine, sweep, command):
    record = machine.create(sweep(f"import numpy\n{SCORES}", command=command))

    assert record.steps["sweep"].start == "cold: the command is more than one plain call of a Python script"
    assert record.status == "Completed"


def test_a_single_trial_gains_nothing(machine, sweep):
    record = machine.create(sweep(f"import numpy\n{SCORES}"), "limits={max_total_trials: 1}")

    assert (record.status, record.steps["sweep"].start) == ("Completed", None)


def test_trials_of_several_processes_start_cold(machine, sweep):
    distributed = "trial.distribution={type: pytorch, process_count_per_instance: 2}"
    record = machine.create(sweep(f"import numpy\n{SCORES}"), distributed)

    assert (record.status, record.steps["sweep"].start) == ("Completed", "cold: each trial is several processes")


def test_the_process_that_did_the_imports_is_killed(machine, sweep):
    script = """\
import numpy
from score import score, x
import os, signal, time
score(x)
if x == 1:
    # A trial that started cold is a child of the tests' own process.
    with open(f"/proc/{os.getppid()}/cmdline") as stream:
        assert "warm/server.py" in stream.read()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
if x == 2:
    time.sleep(1)
"""
    record = machine.create(sweep(script), "limits.max_concurrent_trials=1")

    step = record.steps["sweep"]
    assert step.start == "cold: the process that had done its imports has ended"
    assert (step.trials[0].status, step.trials[0].reason) == (
        "Failed",
        "the process that had done its imports has ended",
    )
    assert [step.trials[number].status for number in (1, 2)] == ["Completed"] * 2
    assert not left_of(machine.home)


def test_no_trial_outlives_a_killed_amlocal(tmp_path, sweep):
    home = tmp_path / "home"
    program = RUNNER.format(tests=str(Path(__file__).parents[1]), home=str(home), job=str(sweep(SLEEPS)))
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        # The guard, the process that did the imports, two trials with their children.
        while sum("sleep" in each.cmdline() for each in left_of(home)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait(10)
    deadline = time.monotonic() + 30
    while left_of(home):
        assert time.monotonic() < deadline, left_of(home)
        time.sleep(0.05)
