"""finetune.yml and deploy.yml, run whole by amlocal in processes of their own: what promotion does to an endpoint.

The tests are chapters of one story and run in order, on one home.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from support import MESSAGES, WORDS, write_csv

ROOT = Path(__file__).parents[2]
ENDPOINT = "messages"

pytestmark = pytest.mark.story


@dataclass(frozen=True)
class Site:
    """A user's machine: a home for amlocal, data and a checkpoint."""

    home: Path
    data: Path
    checkpoint: Path

    def amlocal(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("amlocal")), "--home", str(self.home), *arguments],
            capture_output=True,
            text=True,
            timeout=900,
            cwd=ROOT,
            env={**os.environ, "CI": "true"},
        )

    def finetune(
        self, name: str, log_learning_rate: float, epochs: int, *more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run pipelines/finetune.yml with one trial at a given learning rate, as exp(log_learning_rate)."""
        return self.amlocal(
            *("job", "create", "--file", "pipelines/finetune.yml", "--name", name, "--set"),
            *(f"inputs.data.path={self.data}", f"inputs.checkpoint={self.checkpoint}", f"inputs.epochs={epochs}"),
            *("inputs.text_column=text", "inputs.label_column=label", "jobs.sweep.limits.max_total_trials=1"),
            *("jobs.sweep.limits.max_concurrent_trials=1", "inputs.slice_columns=channel"),
            *(f"inputs.model_name={ENDPOINT}", f"inputs.endpoint_name={ENDPOINT}"),
            f"jobs.sweep.search_space.learning_rate.min_value={log_learning_rate - 0.05}",
            f"jobs.sweep.search_space.learning_rate.max_value={log_learning_rate + 0.05}",
            *more,
        )

    def output(self, job: str, output: str) -> dict:
        return json.loads((self.home / "jobs" / job / "outputs" / output).read_text())

    def serving(self) -> str:
        """Return the version that the endpoint's own deployment names, by the unmodified client."""
        script = (
            f"from finetune.workspace import connect, serving_model\nprint(serving_model(connect(), {ENDPOINT!r}))\n"
        )
        done = self.amlocal("exec", "--", sys.executable, "-c", script)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()[-1]

    def predict(self, text: str) -> httpx.Response:
        script = (
            "from finetune.workspace import connect\n"
            "client = connect()\n"
            f"print(client.online_endpoints.get({ENDPOINT!r}).scoring_uri)\n"
            f"print(client.online_endpoints.get_keys({ENDPOINT!r}).primary_key)\n"
        )
        uri, key = self.amlocal("exec", "--", sys.executable, "-c", script).stdout.split()[-2:]
        return httpx.post(uri, json={"input_data": [text]}, headers={"Authorization": f"Bearer {key}"}, timeout=30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    generator = random.Random(5)
    rows = []
    for i in range(900):
        label = list(MESSAGES)[i % len(MESSAGES)]
        # Other words among the telling ones: three learning rates then give three clearly different models.
        words = [*generator.choice(MESSAGES[label]).split(), *generator.choices(WORDS, k=4)]
        generator.shuffle(words)
        rows.append((" ".join(words), label, ("web", "mail")[i % 2]))
    write_csv(folder / "data" / "train.csv", rows, ("text", "label", "channel"))
    site = Site(folder / "home", folder / "data", tiny_checkpoint)
    try:
        yield site
    finally:
        site.amlocal("workspace", "stop")
        assert _processes_naming(folder) == []


def _processes_naming(folder: Path) -> list[list[str]]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in part for part in process.info["cmdline"] or ()):
            found.append(process.info["cmdline"])
    return found


def test_a_worse_model_is_not_promoted_a_better_one_takes_over_and_a_reviewer_can_go_back(site: Site) -> None:
    first = site.finetune("first", -6.5, 1)
    assert first.returncode == 0, first.stdout + first.stderr
    assert site.output("first", "registration")["model"] == {"name": ENDPOINT, "version": "1"}
    assert site.output("first", "rollout")["state"] == "live"
    assert site.serving() == f"{ENDPOINT}:1"
    answer = site.predict("my card was charged")
    assert answer.status_code == 200
    assert set(answer.json()[0]["probabilities"]) == set(MESSAGES)

    worse = site.finetune("worse", -11.5, 1)
    assert worse.returncode == 0, worse.stdout + worse.stderr
    verdict = site.output("worse", "evaluation/verdict.json")
    metrics = site.output("worse", "evaluation/metrics.json")["metrics"]
    assert verdict["promoted"] is False
    assert verdict["champion"]["version"] == "1"
    assert metrics["challenger"]["f1_macro"] < metrics["champion"]["f1_macro"]
    assert any("short of the required" in reason for reason in verdict["reasons"])
    registration = site.output("worse", "registration")
    assert registration["registered"] is False
    assert registration["reasons"] == verdict["reasons"]
    rollout = site.output("worse", "rollout")
    assert (rollout["state"], rollout["reasons"][0]) == ("unchanged", "not promoted")
    assert site.serving() == f"{ENDPOINT}:1"
    assert site.predict("my card was charged").json() == answer.json()

    better = site.finetune("better", -4.8, 3, "jobs.sweep.limits.max_total_trials=2")
    assert better.returncode == 0, better.stdout + better.stderr
    verdict = site.output("better", "evaluation/verdict.json")
    assert verdict["promoted"] is True
    assert site.output("better", "registration")["model"]["version"] == "2"
    assert site.serving() == f"{ENDPOINT}:2"
    assert site.output("better", "rollout")["traffic"] == {"green": 100}
    assert site.predict("my card was charged").json() != answer.json()

    check_report(site.home / "jobs" / "better" / "outputs" / "evaluation")

    back = site.amlocal(
        *("job", "create", "--file", "pipelines/deploy.yml", "--name", "back", "--set"),
        *(f"inputs.model_name={ENDPOINT}", f"inputs.endpoint_name={ENDPOINT}", 'inputs.model_version="1"'),
        "inputs.purpose=rollback",
    )
    assert back.returncode == 0, back.stdout + back.stderr
    assert site.serving() == f"{ENDPOINT}:1"
    assert site.predict("my card was charged").json() == answer.json()


def check_report(evaluation: Path) -> None:
    """The report of a real sweep: its trials, losses, hardware and the source's column are drawn."""
    page = (evaluation / "report.html").read_text()
    drawn = {path.stem for path in (evaluation / "figures").iterdir()}
    assert {"scores", "learning-rates", "losses", "hardware", "slices"} <= drawn
    metrics = json.loads((evaluation / "metrics.json").read_text())
    for name in ("channel: mail", "channel: web"):
        assert metrics["test_rows"]["slices"][name] == metrics["comparison"]["slices"][name]["rows"] > 0
        assert name in (evaluation / "figures" / "slices.svg").read_text()
        assert f"<bdi>{name}</bdi>" in page
    assert "2 trials logged a score. The challenger is sweep-" in page.replace("\n", " ")
    assert "Trials: 2, ended early: 0" in (evaluation / "figures" / "scores.svg").read_text()
    assert "the table has no price for “" in page
    assert "not recorded" not in page


def test_a_second_run_reuses_prep_and_sweep_and_changes_nothing(site: Site) -> None:
    again = site.finetune("again", -6.5, 1)
    assert again.returncode == 0, again.stdout + again.stderr
    steps = {line.split(":")[0]: line for line in again.stdout.splitlines() if "Completed" in line}
    assert "reuses job" in steps["prep"]
    assert "reuses job" in steps["sweep"]
    assert "reuses job" not in steps["evaluate"]
    assert site.output("again", "rollout")["state"] == "unchanged"
    assert site.serving() == f"{ENDPOINT}:1"


def test_bad_input_fails_the_pipeline_and_touches_no_model(site: Site, tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [(f"my order {i}", "ab"[i % 2]) for i in range(40)])
    write_csv(tmp_path / "test.csv", [("my order", "c")])
    failed = site.finetune("failed", -6.5, 1, f"inputs.data.path={tmp_path}", "inputs.slice_columns=none")
    assert failed.returncode == 1
    assert "label 'c' (1 rows of the test split, first: row 1) does not occur in train" in failed.stdout + failed.stderr
    assert site.serving() == f"{ENDPOINT}:1"
    shown = site.amlocal("job", "show", "--name", "failed")
    assert "Failed" in shown.stdout
    deploy = site.amlocal(
        *("job", "create", "--file", "pipelines/deploy.yml", "--name", "unknown", "--set"),
        *(f"inputs.model_name={ENDPOINT}", f"inputs.endpoint_name={ENDPOINT}", 'inputs.model_version="99"'),
        "inputs.purpose=rollback",
    )
    assert deploy.returncode == 1
    assert "messages:99: no such model version in the workspace" in deploy.stdout + deploy.stderr
    assert site.serving() == f"{ENDPOINT}:1"
