"""Roll models out, good and bad, under a constant load, and look at every single answer.

A process of its own sends requests at a constant rate. Meanwhile the deploy component, as a process with its own
command line, rolls out models: good ones, and ones that answer wrongly, are slow, do not load, die, or go wrong only
under the live traffic of a canary. No request may fail or be lost; every answer names its model, which must have had
traffic at that moment, in the share that the rollout's journal says. Exits 1 when an answer is wrong or missing, a
rollout does not end as it should, or fewer than 50 requests a second were sent.

Example:
    python benchmarks/soak.py --rollouts 30 --rate 60 --plot docs/images/soak.png
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Model
from azure.identity import DefaultAzureCredential
from traffic_windows import Answer, Split, count, find_wrong_answers, find_wrong_shares, join, pool, splits_of

from amlocal.testing import running_workspace
from amlocal.workspace.connection import WorkspaceConnection
from finetune.evidence import add_evidence
from finetune.files import file_sha256, folder_sha256, read_json
from finetune.registration import (
    CHAMPION_TAG,
    MODEL_DIGEST_TAG,
    NO_CHAMPION,
    PROMOTED,
    VALID_UNTIL_TAG,
    VERDICT_DIGEST_TAG,
    VERDICT_TAG,
    Registration,
    write_registration,
)
from finetune.verdict import VERDICT_FILE
from finetune.workspace import ModelVersion

REPOSITORY = Path(__file__).parents[1]
DEFINITION = Path(__file__).with_name("soak_endpoint")
ENDPOINT = MODEL = "soak"
COLOURS = {"blue", "green"}
GOOD = "good"
LIVE_ONLY = "wrong under load"
"""Passes the smoke test and the mirrored traffic, and has live traffic until a canary's check finds it out."""
BEHAVIOURS = (GOOD, "wrong", GOOD, LIVE_ONLY, GOOD, "slow", GOOD, "does not load", GOOD, "dies")
"""What models are like, in turn."""
MINIMUM_RATE = 50.0
"""Requests per second that have to be sent for the soak to prove anything."""
TEXTS = ("where is my parcel", "I was charged twice")
ROLLOUT_SECONDS = 600.0
SETTLE_SECONDS = 1.0
LOAD_SECONDS = 60.0
"""For the answers under way when the load is ended."""


@dataclass(frozen=True)
class Candidate:
    """A registered model."""

    version: ModelVersion
    behaviour: str
    sha256: str
    verdict_sha256: str
    valid_until: str


@dataclass(frozen=True)
class Outcome:
    """What became of a rollout."""

    candidate: Candidate
    started: float
    ended: float
    exit_code: int
    state: str
    reasons: tuple[str, ...]
    splits: tuple[Split, ...]

    @property
    def problem(self) -> str | None:
        """What is wrong with it, if anything: good models serve, and all others are rolled back.

        Those served nobody, but for the one that only live traffic finds out.
        """
        good = self.candidate.behaviour == GOOD
        name = str(self.candidate.version)
        if (self.state, self.exit_code == 0) != (("live", True) if good else ("rolled back", False)):
            said = "; ".join(self.reasons)
            return f"{name} ({self.candidate.behaviour}): {self.state}, exit code {self.exit_code}: {said}"
        had_traffic = any(name in split.shares for split in self.splits)
        if had_traffic != (good or self.candidate.behaviour == LIVE_ONLY):
            return f"{name} ({self.candidate.behaviour}) had {'' if had_traffic else 'no '}live traffic"
        return None


def register(
    client: MLClient, folder: Path, number: int, behaviour: str, champion: str | None, busy: float
) -> Candidate:
    """Register a model.

    Args:
        client: The workspace.
        folder: A folder that does not exist.
        number: Its version.
        behaviour: One of ``BEHAVIOURS``.
        champion: What its verdict compares it with, as ``name:version``.
        busy: Requests per second that are a load to it.
    """
    version = ModelVersion(MODEL, str(number))
    folder.mkdir(parents=True)
    labels = ["billing", "delivery"]
    example = {
        "input": [{"text": text} for text in TEXTS],
        "output": [
            {"label": "delivery", "score": 0.9, "probabilities": [0.1, 0.9]},
            {"label": "billing", "score": 0.9, "probabilities": [0.9, 0.1]},
        ],
    }
    (folder / "MLmodel").write_text(yaml.safe_dump({"metadata": {"labels": labels}}), encoding="utf-8")
    (folder / "example_prediction.json").write_text(json.dumps(example), encoding="utf-8")
    (folder / "behaviour.json").write_text(
        json.dumps({"model": str(version), "behaviour": behaviour, "busy": busy}), encoding="utf-8"
    )
    sha256 = folder_sha256(folder)
    # A verdict is needed, and the tests know how to make one.
    sys.path.append(str(REPOSITORY / "tests"))
    from support import write_evaluation

    evaluation, policy = write_evaluation(folder.with_name(f"{folder.name}-evaluation"), sha256, champion)
    registered = folder.with_name(f"{folder.name}-registered")
    add_evidence(folder, evaluation, policy, registered)
    until = read_json(evaluation / VERDICT_FILE, "the verdict")["valid_until"]
    candidate = Candidate(version, behaviour, sha256, file_sha256(evaluation / VERDICT_FILE), until)
    tags = registration_of(candidate, champion).tags
    client.models.create_or_update(
        Model(name=MODEL, version=version.version, path=str(registered), type="mlflow_model", tags=tags)
    )
    return candidate


def registration_of(candidate: Candidate, champion: str | None) -> Registration:
    """Make what register would hand to deploy."""
    tags = {
        VERDICT_TAG: PROMOTED,
        MODEL_DIGEST_TAG: candidate.sha256,
        VERDICT_DIGEST_TAG: candidate.verdict_sha256,
        VALID_UNTIL_TAG: candidate.valid_until,
        CHAMPION_TAG: champion or NO_CHAMPION,
    }
    digests = (candidate.sha256, candidate.verdict_sha256)
    return Registration(True, (), candidate.version, *digests, candidate.valid_until, champion, tags)


def roll_out(
    candidate: Candidate, champion: str | None, live: dict[str, str], folder: Path, definition: Path
) -> Outcome:
    """Run the deploy component's command.

    Args:
        candidate: What to roll out.
        champion: What serves now, as ``name:version``.
        live: The model of each deployment that serves; brought up to date.
        folder: For the rollout's files.
        definition: The endpoint's folder.
    """
    folder.mkdir(parents=True)
    registration, journal = folder / "registration.json", folder / "rollout.json"
    write_registration(registration, registration_of(candidate, champion))
    script = REPOSITORY / "components" / "deploy" / "deploy.py"
    files = ["--registration", registration, "--endpoint_definition", definition, "--rollout", journal]
    started = time.time()
    with (folder / "deploy.log").open("w", encoding="utf-8") as log:
        process = subprocess.run(
            [sys.executable, script, "--endpoint_name", ENDPOINT, *files],
            stdout=log,
            stderr=log,
            timeout=ROLLOUT_SECONDS,
            check=False,
        )
    ended = time.time()
    if not journal.is_file():
        raise SystemExit(f"no journal; {log.name} says:\n{Path(log.name).read_text(encoding='utf-8')}")
    written = json.loads(journal.read_text(encoding="utf-8"))
    (colour, *_) = sorted(COLOURS - live.keys())
    models = {**live, colour: str(candidate.version)}
    splits = tuple(splits_of(started, written["steps"], models))
    if splits and str(candidate.version) in splits[-1].shares:
        live.clear()
        live[colour] = str(candidate.version)
    reasons = tuple(written.get("reasons", ()))
    return Outcome(candidate, started, ended, process.returncode, written["state"], reasons, splits)


@contextmanager
def load(client: MLClient, rate: float, path: Path) -> Iterator[None]:
    """Send requests from a process of its own while the context lasts.

    Args:
        client: The workspace.
        rate: Requests per second.
        path: Where answers go.
    """
    uri = client.online_endpoints.get(ENDPOINT).scoring_uri
    key = client.online_endpoints.get_keys(ENDPOINT).primary_key
    command = [sys.executable, Path(__file__).with_name("load.py"), "--uri", uri, "--rate", str(rate)]
    # A session of its own, with which Linux shares the processor out: rollouts are not to starve the load.
    process = subprocess.Popen(
        [*command, "--answers", path], env=os.environ | {"ENDPOINT_KEY": key}, start_new_session=True
    )
    try:
        yield
        end(process)
    finally:
        process.terminate()
        process.wait()


def end(process: subprocess.Popen[bytes]) -> None:
    """End the load; whatever it did not do in good order ends the soak."""
    if process.poll() is not None:
        raise SystemExit(f"the load ended by itself with exit code {process.returncode}")
    process.terminate()
    if process.wait(LOAD_SECONDS) != 0:
        raise SystemExit(f"the load ended with exit code {process.returncode}")


def read_answers(path: Path) -> tuple[list[Answer], int]:
    """Read what the load wrote down: the answers, and how many requests it sent."""
    *lines, last = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    answers = [Answer(line["began"], line["ended"], line.get("model"), line.get("error")) for line in lines]
    return answers, int(last["sent"])


@dataclass(frozen=True)
class Soak:
    """What happened.

    Attributes:
        outcomes: What became of the rollouts.
        answers: What became of the requests, in the order in which answers came.
        sent: How many requests the load says that it sent.
        minimum_rate: Requests per second that it had to send.
    """

    outcomes: Sequence[Outcome]
    answers: Sequence[Answer]
    sent: int
    minimum_rate: float

    @property
    def splits(self) -> list[Split]:
        """All splits, in order."""
        return join(split for outcome in self.outcomes for split in outcome.splits)

    @property
    def rate(self) -> float:
        """Requests per second, from the first to the last one sent."""
        began = [answer.began for answer in self.answers]
        return (len(began) - 1) / (max(began) - min(began)) if len(began) > 1 else 0.0

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong."""
        failed = [f"a request failed at {each.ended:.3f}: {each.error}" for each in self.answers if each.model is None]
        rollouts = [outcome.problem for outcome in self.outcomes if outcome.problem is not None]
        shares = find_wrong_shares(self.answers, self.splits)
        load = []
        if len(self.answers) != self.sent:
            load.append(f"{self.sent} requests were sent, and {len(self.answers)} of them came to an end")
        if self.rate < self.minimum_rate:
            load.append(f"{self.rate:.1f} requests were sent per second; expected at least {self.minimum_rate:g}")
        return [*load, *rollouts, *failed, *find_wrong_answers(self.answers, self.splits), *shares]


def soak(
    connection: WorkspaceConnection,
    folder: Path,
    rollouts: int,
    rate: float,
    minimum_rate: float = MINIMUM_RATE,
    definition: Path = DEFINITION,
    behaviours: Sequence[str] = BEHAVIOURS,
) -> Soak:
    """Run it.

    Args:
        connection: A running workspace, to which the environment's variables point.
        folder: For its files.
        rollouts: How many.
        rate: Requests per second.
        minimum_rate: Requests per second that have to be reached.
        definition: The endpoint's folder.
        behaviours: What models are like, in turn.
    """
    names = (connection.subscription_id, connection.resource_group, connection.workspace_name)
    client = MLClient(DefaultAzureCredential(), *names)
    live: dict[str, str] = {}
    outcomes: list[Outcome] = []

    def next_rollout(number: int) -> None:
        behaviour = behaviours[number % len(behaviours)]
        champion = next(iter(live.values()), None)
        # More than mirrored requests and probes are, and less than a canary of half the traffic.
        busy = rate / 3
        candidate = register(client, folder / "models" / str(number + 1), number + 1, behaviour, champion, busy)
        outcome = roll_out(candidate, champion, live, folder / "rollouts" / str(number + 1), definition)
        outcomes.append(outcome)
        took = outcome.ended - outcome.started
        print(f"{candidate.version} ({behaviour}): {outcome.state} after {took:.1f} s", file=sys.stderr, flush=True)

    next_rollout(0)
    if outcomes[0].problem is not None:
        raise SystemExit(outcomes[0].problem)
    path = folder / "answers.jsonl"
    with load(client, rate, path):
        for number in range(1, rollouts):
            next_rollout(number)
        time.sleep(SETTLE_SECONDS)
    return Soak(outcomes, *read_answers(path), minimum_rate)


def describe(result: Soak) -> str:
    """Make the tables of docs/results.md."""
    answers = result.answers
    times = [(each.ended - each.began) * 1000 for each in answers]
    at = statistics.quantiles(times, n=1000, method="inclusive")
    lines = [
        "| model | rollouts | live | rolled back | seconds each, median | a typical reason |",
        "|---|---|---|---|---|---|",
    ]
    for behaviour in dict.fromkeys(BEHAVIOURS):
        found = [outcome for outcome in result.outcomes if outcome.candidate.behaviour == behaviour]
        if found:
            states = Counter(outcome.state for outcome in found)
            median = statistics.median(outcome.ended - outcome.started for outcome in found)
            reason = " ".join(found[-1].reasons[0].split())[:100] if found[-1].reasons else ""
            counts = f"{len(found)} | {states['live']} | {states['rolled back']}"
            lines.append(f"| {behaviour} | {counts} | {median:.1f} | {reason} |")
    failed = sum(answer.model is None for answer in answers)
    wrong = len(find_wrong_answers(answers, result.splits))
    lines += [
        "",
        "| sent | answered | per second | failed | by a model without traffic "
        "| p50, ms | p99, ms | p99.9, ms | most, ms |",
        "|---|---|---|---|---|---|---|---|---|",
        f"| {result.sent} | {len(answers)} | {result.rate:.1f} | {failed} | {wrong} "
        f"| {at[499]:.1f} | {at[989]:.1f} | {at[998]:.1f} | {max(times):.0f} |",
        "",
        "| split, % | times | requests inside | answered by the old, by the new model | new model's share, % |",
        "|---|---|---|---|---|",
    ]
    for each in pool(count(answers, result.splits)):
        split, counts = (" to ".join(map(str, values)) for values in (each.percents, each.counts))
        share = 100 * each.counts[-1] / each.requests if each.requests else 0.0
        lines.append(f"| {split} | {each.splits} | {each.requests} | {counts} | {share:.1f} |")
    return "\n".join(lines)


def plot(result: Soak, path: Path) -> None:
    """Draw answers per second by model over time, and where rollouts were rejected."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    began = result.answers[0].began
    length = int(result.answers[-1].ended - began)
    counts: dict[str, list[int]] = {}
    for answer in result.answers:
        second = int(answer.ended - began)
        if answer.model is not None and second < length:
            counts.setdefault(answer.model, [0] * length)[second] += 1
    figure, axes = pyplot.subplots(figsize=(11, 3.2), layout="constrained")
    colours = [pyplot.get_cmap("tab20")(index % 20) for index in range(len(counts))]
    axes.stackplot(range(length), list(counts.values()), colors=colours, step="post")
    for outcome in result.outcomes[1:]:
        if outcome.candidate.behaviour != GOOD:
            axes.axvspan(outcome.started - began, outcome.ended - began, ymin=0.93, color="black", alpha=0.75)
            middle = (outcome.started + outcome.ended) / 2 - began
            axes.annotate(
                outcome.candidate.behaviour, (middle, 1.01), xycoords=("data", "axes fraction"), fontsize=5, ha="center"
            )
    axes.set(xlabel="seconds", ylabel="answers per second", xlim=(0, length), ylim=(0, None))
    axes.set_title(
        "Answers by model; a colour is a model version, black a rollout that was rejected", fontsize=9, pad=14
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(arguments: list[str]) -> int:
    """Run the soak; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=30)
    parser.add_argument("--rate", type=float, default=60.0, help="requests per second")
    parser.add_argument("--plot", type=Path, help="PNG of the answers over time")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that nothing is left running
    with (
        tempfile.TemporaryDirectory(prefix="amlocal-soak-") as folder,
        running_workspace(Path(folder, "home")) as connection,
    ):
        os.environ.update(connection.client_environment())
        result = soak(connection, Path(folder), options.rollouts, options.rate)
    print(describe(result))
    if options.plot is not None:
        plot(result, options.plot)
    for problem in result.problems[:20]:
        print(f"error: {problem}", file=sys.stderr)
    return int(bool(result.problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
