"""From a merge to production and back, told by the workflows' own blocks against a workspace of this machine.

The tests are chapters of one story and run in order.
"""

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from github.conftest import Reviewers
from github.files import ACTIONS, ROOT, WORKFLOWS, steps
from github.gh import Dispatch
from github.runner import Cancellation, Event, Run, Runner
from support import MESSAGES, WORDS, write_csv

from finetune.workspace import serving_model

pytestmark = pytest.mark.story

MODEL = "messages"


@pytest.fixture(scope="module")
def repository(repository: Path, tiny_checkpoint: Path) -> Path:
    """The repository of somebody with other data and a model that trains in seconds: one trial of one epoch."""
    generator = random.Random(5)
    rows = []
    for i in range(900):
        label = list(MESSAGES)[i % len(MESSAGES)]
        # Other words among the telling ones: three learning rates then give three clearly different models.
        words = [*generator.choice(MESSAGES[label]).split(), *generator.choices(WORDS, k=4)]
        generator.shuffle(words)
        rows.append((" ".join(words), label))
    write_csv(repository / "data" / "messages" / "train.csv", rows)
    path = repository / "pipelines" / "train.yml"
    pipeline = yaml.safe_load(path.read_text())
    pipeline["inputs"]["data"]["path"] = "../data/messages"
    pipeline["inputs"] |= {"text_column": "text", "label_column": "label", "epochs": 1}
    pipeline["inputs"]["checkpoint"] = str(tiny_checkpoint)
    sweep = pipeline["jobs"]["sweep"]
    sweep["limits"] |= {"max_total_trials": 1, "max_concurrent_trials": 1}
    path.write_text(yaml.safe_dump(pipeline, sort_keys=False))
    set_learning_rate(repository, -6.5)
    # tests/components has the states of a rollout; here it goes straight to all traffic.
    path = repository / "endpoints" / "text-classifier" / "rollout.yml"
    policy = yaml.safe_load(path.read_text())
    policy |= {"mirror_percent": 0, "canary_percents": [100], "canary_seconds": 0, "hold_seconds": 0, "probes": 4}
    path.write_text(yaml.safe_dump({**policy, "p95_slack_ms": 5000}))
    return repository


def set_learning_rate(repository: Path, logarithm: float) -> None:
    path = repository / "pipelines" / "train.yml"
    pipeline = yaml.safe_load(path.read_text())
    rate = pipeline["jobs"]["sweep"]["search_space"]["learning_rate"]
    rate |= {"min_value": logarithm - 0.05, "max_value": logarithm + 0.05}
    path.write_text(yaml.safe_dump(pipeline, sort_keys=False))


def merge(runner: Runner, number: int) -> Run:
    """Merge a pull request into main: train.yml runs."""
    commit = f"{number:040x}"
    merged = {"number": number, "merged_at": "2026-11-20T10:00:00Z", "base": {"ref": "main"}}
    runner.github.pulls[commit] = [merged]
    return runner.run("train", Event("push", sha=commit))


def promote(runner: Runner, dispatch: Dispatch) -> Run:
    assert (dispatch.workflow, dispatch.ref) == ("promote.yml", "main")
    return runner.run("promote", Event("workflow_dispatch", inputs=dispatch.inputs))


def serving(runner: Runner) -> str:
    return str(serving_model(runner.client, MODEL))


def results(run: Run) -> dict[str, str]:
    return {name: job.result for name, job in run.jobs.items()}


def test_merge_train_report_approve_deploy(runner: Runner) -> None:
    # GitHub's assertions live for five minutes; here each is too old after a second, long before the training ends.
    runner.provider.seconds = 61.0
    training = merge(runner, 1)
    assert training.conclusion == "success", training.log
    assert results(training) == {"train": "success", "comment": "success", "promote": "success"}
    assert len(runner.provider.issued) > 3
    (comment,) = runner.github.comments["1"]
    assert "promoted" in comment.lower()
    assert comment in training.jobs["train"].summary
    registered = runner.client.models.get(MODEL, version="1")
    assert registered.tags["commit"] == f"{1:040x}"
    assert runner.github.dispatches == [Dispatch("promote.yml", "main", {"train_run": training.id})]

    promotion = promote(runner, runner.github.dispatches.pop())
    assert promotion.conclusion == "success", promotion.log
    reviewers: Any = runner.approve
    (page,) = reviewers.pages
    assert page.startswith("# Approve messages, version 1?")
    here = "https://github.com/acme/messages/actions/runs"
    links = (
        f"[training run {training.id}]({here}/{training.id}) · [report.html with all figures]({here}/{promotion.id}/"
    )
    assert links in page
    kept = runner.github.artifacts[promotion.id, "report"] / "report.html"
    assert kept.read_text() == (runner.github.artifacts[training.id, "candidate"] / "report.html").read_text()
    assert comment in page
    assert "# messages:1 at `messages`: live" in promotion.jobs["deploy"].summary
    assert serving(runner) == "messages:1"


def test_merge_train_report_reject(runner: Runner) -> None:
    set_learning_rate(runner.repository, -11.5)
    training = merge(runner, 2)
    assert training.conclusion == "success", training.log
    assert results(training) == {"train": "success", "comment": "success", "promote": "skipped"}
    (comment,) = runner.github.comments["2"]
    assert "not promoted" in comment.lower()
    assert runner.github.dispatches == []
    assert [model.version for model in runner.client.models.list(name=MODEL)] == ["1"]

    by_hand = promote(runner, Dispatch("promote.yml", "main", {"train_run": training.id}))
    assert results(by_hand) == {"report": "failure", "deploy": "skipped"}
    assert "there is nothing to approve" in by_hand.log
    assert serving(runner) == "messages:1"


@pytest.fixture(scope="module")
def better(runner: Runner) -> Iterator[Dispatch]:
    """A better model, trained by hand with other settings than the repository has."""
    settings = ";".join(
        f"jobs.sweep.search_space.learning_rate.{name}={value}"
        for name, value in (("min_value", -4.85), ("max_value", -4.75))
    )
    inputs = {"epochs": "3", "trials": "1", "settings": settings}
    training = runner.run("train", Event("workflow_dispatch", inputs=inputs))
    assert training.conclusion == "success", training.log
    return runner.github.dispatches.pop()


def test_a_promotion_that_a_reviewer_rejects_touches_nothing(runner: Runner, better: Dispatch) -> None:
    reviewers = Reviewers(approve=False)
    runner.approve = reviewers
    promotion = promote(runner, better)
    assert results(promotion) == {"report": "success", "deploy": "failure"}
    assert reviewers.pages[0].startswith("# Approve messages, version 2?")
    assert promotion.jobs["deploy"].steps == []
    assert serving(runner) == "messages:1"
    runner.approve = Reviewers()


def test_a_rollout_that_fails_is_undone_and_the_run_is_red(runner: Runner, better: Dispatch) -> None:
    script = runner.repository / "endpoints" / "text-classifier" / "score.py"
    whole = script.read_text()
    script.write_text("raise RuntimeError('broken by a later commit')\n")
    promotion = promote(runner, better)
    script.write_text(whole)
    assert results(promotion) == {"report": "success", "deploy": "failure"}
    assert "ended as Failed" in promotion.log
    # The outputs of a failed job cannot be downloaded here, so the journal is not on the run's page.
    assert "left no journal of its rollout" in promotion.log
    assert serving(runner) == "messages:1"


def test_the_exact_version_is_deployed_and_can_be_left_again(runner: Runner, better: Dispatch) -> None:
    promotion = promote(runner, better)
    assert promotion.conclusion == "success", promotion.log
    assert serving(runner) == "messages:2"

    inputs = {"model_version": "1", "reason": "version 2 is not understood", "lock": "respect"}
    back = runner.run("rollback", Event("workflow_dispatch", inputs=inputs))
    assert back.conclusion == "success", back.log
    assert "Go back to messages, version 1?" in back.jobs["report"].summary
    assert "version 2 is not understood" in back.jobs["report"].summary
    assert "# messages:1 at `messages`: live" in back.jobs["deploy"].summary
    assert serving(runner) == "messages:1"

    nowhere = runner.run(
        "rollback", Event("workflow_dispatch", inputs={"model_version": "99", "reason": "a typo", "lock": "respect"})
    )
    assert results(nowhere) == {"report": "failure", "deploy": "skipped"}
    assert serving(runner) == "messages:1"


def test_nothing_is_deployed_where_nobody_would_be_asked(runner: Runner, better: Dispatch) -> None:
    asks = runner.github.environments.pop("production")
    promotion = promote(runner, better)
    assert results(promotion) == {"report": "failure", "deploy": "skipped"}
    runner.github.environments["production"] = asks
    assert serving(runner) == "messages:1"


def test_a_training_of_another_branch_gets_no_login(runner: Runner) -> None:
    training = runner.run("train", Event("workflow_dispatch", inputs={}, ref="refs/heads/feature"))
    assert results(training) == {"train": "failure", "comment": "skipped", "promote": "skipped"}
    assert "AADSTS700213" in training.log


def test_a_run_that_somebody_cancels_cancels_its_job(runner: Runner) -> None:
    def newest() -> Any:
        jobs = [job for job in runner.client.jobs.list() if job.name.startswith("train-")]
        return max(jobs, key=lambda job: int(job.name.split("-")[1]))

    before = newest().name
    runner.cancellation = Cancellation("action/pipeline/2", lambda: newest().name != before)
    set_learning_rate(runner.repository, -9.5)  # another one, so that nothing is reused
    training = merge(runner, 3)
    assert training.conclusion == "cancelled", training.log
    assert results(training) == {"train": "cancelled", "comment": "skipped", "promote": "skipped"}
    assert {step.name: step.outcome for step in training.jobs["train"].steps}["action/pipeline/3"] == "success"
    job = newest()
    assert job.name == f"train-{training.id}-1"
    until = time.monotonic() + 60
    while (status := runner.client.jobs.get(job.name).status) not in ("Canceled", "Completed", "Failed"):
        assert time.monotonic() < until, status
        time.sleep(0.5)
    assert status == "Canceled"


def pull_request(repository: str) -> Event:
    payload = {"number": 7, "head": {"repo": {"full_name": repository}}, "user": {"login": "somebody"}}
    return Event("pull_request", {"pull_request": payload}, ref="refs/pull/7/merge")


def report(run: Run, runner: Runner) -> str:
    return (runner.github.artifacts[run.id, "report"] / "report.md").read_text()


def test_a_pull_request_is_checked_and_told_the_report(runner: Runner) -> None:
    """With `make run` as it is: data to live endpoint, on this machine."""
    run = runner.run("ci", pull_request("acme/messages"))
    assert run.conclusion == "success", run.log
    assert report(run, runner).startswith("## ✅ Promoted")
    assert "messages" in report(run, runner)
    assert report(run, runner) in run.jobs["pipeline"].summary
    assert runner.github.comments["7"] == [report(run, runner)]
    assert "pipelines/finetune.yml" in run.log, "make validate names what it has read"
    again = runner.run("ci", pull_request("acme/messages"))
    assert again.conclusion == "success", again.log
    assert len(runner.github.comments["7"]) == 1, "the comment is renewed, not repeated"


def test_a_pull_request_from_a_fork_has_the_report_on_its_page_alone(runner: Runner) -> None:
    runner.github.comments.clear()
    run = runner.run("ci", pull_request("mallory/messages"))
    assert results(run) == {"lint": "success", "test": "success", "pipeline": "success", "comment": "skipped"}
    assert report(run, runner) in run.jobs["pipeline"].summary
    assert runner.github.comments == {}


def test_what_ci_makes_are_targets_and_the_job_has_the_name_that_it_looks_for() -> None:
    shown = subprocess.run(["make", "--dry-run", "run", "JOB=ci"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--name ci " in shown.stdout
    assert "--outputs .amlocal/jobs/ci/outputs" in shown.stdout


def test_every_step_of_every_workflow_was_run(runner: Runner) -> None:
    known = {name for path in [*WORKFLOWS, *ACTIONS] for name, _ in steps(path)}
    # Run by the tests of infra.yml, on a repository and workspace of their own.
    known -= {name for name in known if name.startswith("infra/")}
    assert known - runner.performed == set()
