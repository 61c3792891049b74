import dataclasses
import io
from dataclasses import replace

import pytest
from rich.console import Console

from amlocal.run.journal import Journal
from amlocal.run.records import JobRecord, Savings, StepRecord, TrialRecord
from amlocal.run.sweep.savings import described
from amlocal.run.view import live, sparkline, summary, tree


def console(terminal=False):
    return Console(file=io.StringIO(), width=140, force_terminal=terminal, color_system=None)


def printed(target: Console) -> str:
    return target.file.getvalue()


@pytest.fixture
def record(tmp_path):
    log = tmp_path / "std_log.txt"
    log.write_text("\n".join(f"line {number}" for number in range(100)) + "\nthe [reason]\n")
    trials = {
        0: TrialRecord(0, {"rate": 0.123456}, "Completed", started=10, ended=20, curve=(0.5, 0.4), best=0.5),
        1: TrialRecord(1, {"rate": 0.2}, "Canceled", "bandit", started=10, ended=12, curve=(0.1,), best=0.1),
        2: TrialRecord(2, {"rate": 0.3}, "Running", started=12),
    }
    steps = {
        "prep": StepRecord("prep", "command", "Completed", reason="reuses job one", started=1, ended=1),
        "tune": StepRecord("tune", "sweep", "Running", "never run before", started=10, trials=trials, best_trial=0),
        "bad": StepRecord("bad", "command", "Failed", error="exit code 3", started=10, ended=75, log=str(log)),
        "last": StepRecord("last", "command", error="not started: bad did not complete"),
    }
    return JobRecord(
        "job", "pipeline", "job.yml", "exp", status="Failed", started=0, ended=100, steps=steps,
        ignored={"compute": "job.yml:3"}, outputs={"model": "/x/model"}, error="bad failed",
    )  # fmt: skip


def test_tree_shows_steps_trials_scores_and_times(record):
    target = console()
    target.print(tree(record, now=30.0))

    assert [line.strip("│├└─ ") for line in printed(target).splitlines()] == [
        "✘ job  1m40s",
        "✔ prep 0.0s (reuses job one)",
        "▶ tune 20.0s (never run before)",
        "✔ trial 0 [rate=0.1235] Completed 0.4 (best 0.5) 10.0s ★ best",
        "■ trial 1 [rate=0.2] Canceled 0.1 2.0s: bandit",
        "▶ trial 2 [rate=0.3] Running 18.0s",
        "✘ bad 1m05s (exit code 3)",
        "· last (not started: bad did not complete)",
    ]


def test_summary_explains_a_failure_with_the_end_of_its_log(record):
    target = console()
    summary(record, target)

    text = printed(target)
    assert "bad failed: exit code 3\n" in text
    assert "  | the [reason]\n  log: " in text
    assert "line 90" in text
    assert "line 10\n" not in text
    assert "output model: /x/model" in text
    assert text.endswith("job job: Failed: bad failed\n")


def test_many_trials_show_the_newest():
    trials = {n: TrialRecord(n, {}, "Completed") for n in range(30)}
    steps = {"tune": StepRecord("tune", "sweep", trials=trials)}
    target = console()
    target.print(tree(JobRecord("job", "sweep", "f", "e", steps=steps), 0.0))

    assert "… 18 earlier trials" in printed(target)
    assert "trial 29" in printed(target)
    assert "trial 17 " not in printed(target)


def watched(record, tmp_path, target):
    journal = Journal(record, tmp_path / "job.json")
    with live(journal, target):
        journal.step("last", status="Running", reason="never run before", started=1.0, error=None)
        journal.step("last", log="x")
        trial = TrialRecord(3, {"rate": 0.4}, "Running")
        journal.trial("tune", trial)
        for value in range(5):
            journal.trial("tune", TrialRecord(3, {"rate": 0.4}, "Running", curve=(float(value),)))
        journal.step("last", status="Completed", ended=3.5)
    return printed(target)


def test_outside_a_terminal_one_line_per_change_of_status(record, tmp_path):
    assert watched(record, tmp_path, console()).splitlines()[:2] == [
        "job job (pipeline, job.yml)",
        "ignored on this machine: compute (job.yml:3)",
    ]
    lines = watched(record, tmp_path, console()).splitlines()[2:]
    assert len(lines) == 3
    assert lines[0].startswith("last: Running")
    assert lines[1] == "tune: trial 3 [rate=0.4] Running"
    assert lines[2] == "last: Completed 2.5s (never run before)"


def test_how_trials_start_is_said_when_it_changes(record, tmp_path):
    target = console()
    journal = Journal(record, tmp_path / "job.json")
    with live(journal, target):
        for start in ("warm: once", "warm: once", "cold: why"):
            journal.step("tune", start=start)

    assert [line for line in printed(target).splitlines() if "trials start" in line] == [
        "tune: trials start warm: once",
        "tune: trials start cold: why",
    ]


def test_ci_has_no_live_tree_even_on_a_terminal(record, tmp_path, monkeypatch):
    monkeypatch.setenv("CI", "true")
    assert "last: Completed 2.5s" in watched(record, tmp_path, console(terminal=True))
    monkeypatch.delenv("CI")
    assert "last: Completed 2.5s" not in watched(record, tmp_path, console(terminal=True))


def test_sweep_shows_curves_reuse_and_what_early_termination_saved(record):
    trials = {
        0: TrialRecord(0, {"x": 1}, "Completed", curve=(0.1, 0.8, 0.45), best=0.8, reused_from="before"),
        1: TrialRecord(1, {"x": 2}, "Canceled", "bandit", started=1, ended=2, curve=(0.3, float("nan"), 0.3, 0.3)),
    }
    saved = Savings(trials=1, used=280.0, saved=120.0, basis=5)
    step = StepRecord(
        "tune",
        "sweep",
        "Completed",
        trials=trials,
        early_termination=saved,
        start="cold: why",
        trial_table="/x/trials.json",
        started=1,
        ended=3,
    )
    target = console()
    summary(dataclasses.replace(record, steps={"tune": step}), target)

    assert [line.strip("│├└─ ") for line in printed(target).splitlines()][1:7] == [
        "✔ tune 2.0s",
        "✔ trial 0 [x=1] Completed 0.45 (best 0.8) (reuses job before) ▁█▄",
        "■ trial 1 [x=2] Canceled 0.3 1.0s: bandit ▁▁▁",
        f"✔ {described(saved)}",
        "✔ trials start cold: why",
        "trials of tune: /x/trials.json",
    ]


def test_sparkline_needs_three_values_and_shows_the_last():
    assert sparkline((0.1, 0.2)) == ""
    assert sparkline(tuple(range(100))).strip() == "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██"


def large(completed, reused, running, waiting, reason="r" * 200):
    kinds = {"completed": completed, "reused": reused, "running": running, "waiting": waiting}
    status = {"completed": "Completed", "reused": "Completed", "running": "Running", "waiting": "NotStarted"}
    steps = {}
    for kind, count in kinds.items():
        for number in range(count):
            name = f"{kind}-{number}"
            job = "before" if kind == "reused" else None
            ended = float(number) if status[kind] == "Completed" else None
            steps[name] = StepRecord(name, "command", status[kind], reason, started=0.0, ended=ended, reused_from=job)
    return JobRecord("job", "pipeline", "f", "e", status="Running", steps=steps)


def test_large_job_fits_the_terminal_and_shows_what_runs():
    target = console(terminal=True)
    target.print(tree(large(100, 50, 4, 46), 0.0, most=20, clipped=True))

    lines = printed(target).splitlines()
    assert len(lines) <= 20
    assert sum("running-" in line for line in lines) == 4
    assert "completed-99" in printed(target)
    assert "completed-0 " not in printed(target)
    assert [line.strip("│├└─ ") for line in lines[-2:]] == [
        "· 46 more not started",
        "✔ 139 more completed, 50 of them reused",
    ]


def test_more_running_steps_than_lines_are_counted():
    target = console(terminal=True)
    target.print(tree(large(0, 0, 50, 0), 0.0, most=12, clipped=True))

    assert len(printed(target).splitlines()) <= 12
    assert "▶ 43 more running" in printed(target)


def test_summary_of_a_large_reused_job_is_short_but_never_hides_a_failure():
    record = large(0, 200, 0, 0, "reuses job before")
    bad = StepRecord("bad", "command", "Failed", error="exit code 3")
    target = console()
    summary(replace(record, steps={**record.steps, "bad": bad}), target)

    assert len(printed(target).splitlines()) < 70
    assert "✘ bad (exit code 3)" in printed(target)
    assert "more completed, 146 of them reused" in printed(target)
