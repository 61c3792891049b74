"""Asking a deployment, or an endpoint: what is sent, and what came back."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

TIMEOUT_SECONDS = 60.0
"""Azure lets a request take up to 180 s; one that takes this long is an error to whoever waits for it."""
DECISIONS = ("label", "labels", "tags", "answer", "value")
"""Keys of an answer that say what it comes to; others say how sure the model is, or where it looked."""
DEPLOYMENT_HEADER = "azureml-model-deployment"


@dataclass(frozen=True)
class ScoringTarget:
    """Where to send requests."""

    uri: str
    key: str
    deployment: str | None
    """A deployment that is asked whatever the traffic is; None to follow the traffic."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    seconds: float
    value: Any = None
    """The answer's JSON; None with a problem."""
    problem: str | None = None
    """Why there is no answer that can be used."""

    @property
    def decisions(self) -> tuple[Any, ...]:
        """What each row's answer comes to, in order: label, labels, tags, text or value; None where there is none."""
        rows = self.value if isinstance(self.value, list) else []
        stated = [row if isinstance(row, dict) else {} for row in rows]
        return tuple(next((row[key] for key in DECISIONS if key in row), None) for row in stated)


Ask = Callable[[ScoringTarget, Any], Answer]


def make_ask() -> Ask:
    """Return what sends one request, once: a retry would hide what is to be found.

    The address is called and not `online_endpoints.invoke`, which keeps a deployment that it was once told for all
    later calls of its process, and retries. Each request has a connection of its own, as those of most callers. The
    certificates are read once: that takes longer than a small model's answer, and would be measured as a part of it.
    """
    certificates = httpx.create_ssl_context()

    def ask(target: ScoringTarget, body: Any) -> Answer:
        headers = {"Authorization": f"Bearer {target.key}"}
        if target.deployment is not None:
            headers[DEPLOYMENT_HEADER] = target.deployment
        started = time.perf_counter()
        try:
            response = httpx.post(target.uri, json=body, headers=headers, timeout=TIMEOUT_SECONDS, verify=certificates)
        except httpx.HTTPError as error:
            return Answer(time.perf_counter() - started, problem=f"no answer: {error!r}")
        seconds = time.perf_counter() - started
        if response.status_code != 200:
            return Answer(seconds, problem=f"status {response.status_code}, expected 200: {response.text[:300]}")
        try:
            return Answer(seconds, response.json())
        except ValueError:
            return Answer(seconds, problem=f"the answer is not JSON: {response.text[:300]}")

    return ask


@dataclass(frozen=True)
class Sample:
    """Answers to a series of requests, in order."""

    answers: tuple[Answer, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong."""
        return tuple(answer.problem for answer in self.answers if answer.problem is not None)

    @property
    def error_rate(self) -> float | None:
        """Share of requests without a usable answer; None without requests."""
        return len(self.problems) / len(self.answers) if self.answers else None

    @property
    def p95_ms(self) -> float | None:
        """95th percentile of the times of usable answers, nearest rank, in milliseconds; None without any."""
        times = sorted(answer.seconds for answer in self.answers if answer.problem is None)
        return times[math.ceil(0.95 * len(times)) - 1] * 1000 if times else None


@dataclass(frozen=True)
class Probing:
    """What one stage's probes brought."""

    bodies: int
    """How many different requests there are; they are sent in turn."""
    candidate: Sample
    incumbent: Sample
    endpoint: Sample


def probe(
    targets: Sequence[ScoringTarget | None],
    bodies: Sequence[Any],
    rounds: int,
    seconds: float,
    maximum_error_rate: float,
    send: Ask,
    sleep: Callable[[float], None],
    now: Callable[[], datetime],
) -> Probing:
    """Ask candidate, incumbent and endpoint in turns, evenly over a time, or until too much went wrong.

    Args:
        targets: candidate, incumbent and endpoint; None for one that is not asked.
        bodies: the requests, sent one after another and over again.
        rounds: how often each is asked.
        seconds: the time over which the rounds are spread.
        maximum_error_rate: the first round with which candidate or endpoint can no longer keep within it is the last.
        send: sends one request.
        sleep: waits for seconds.
        now: the time.
    """
    answers: list[list[Answer]] = [[] for _ in targets]
    started = now()
    for number in range(rounds):
        for target, received in zip(targets, answers, strict=True):
            if target is not None:
                received.append(send(target, bodies[number % len(bodies)]))
        failed = (sum(answer.problem is not None for answer in answers[judged]) for judged in (0, 2))
        if max(failed) > maximum_error_rate * rounds:
            break
        ahead = seconds * (number + 1) / rounds - (now() - started).total_seconds()
        # A clock that is set back meanwhile must not make one pause longer than all.
        sleep(min(seconds / rounds, max(0.0, ahead)))
    return Probing(len(bodies), *(Sample(tuple(received)) for received in answers))
