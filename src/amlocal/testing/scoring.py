"""Deployments whose answers a test gives, in place of scoring processes."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from amlocal.endpoints.exchange import Scored, Scoring
from amlocal.endpoints.instance import STOP_GRACE, ProvisioningError
from amlocal.endpoints.spec import DeploymentSpec


@dataclass(frozen=True)
class ScoringRequest:
    """A request that reached a deployment.

    Attributes:
        endpoint: The endpoint.
        deployment: The deployment, live, pinned or mirrored to.
        model: Its model as ``name:version``; ``None`` where it has none.
        headers: Headers that the router passed on.
        body: The body.
    """

    endpoint: str
    deployment: str
    model: str | None
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class ScoringAnswer:
    """What a scoring script answers.

    Attributes:
        body: Anything that JSON can say.
        status: HTTP status of the scoring server; the router makes 424 of any but 200.
        seconds: How long it takes. Really waited for, unless it is longer than the deployment's request timeout, which
            then passes at once.
    """

    body: object = None
    status: int = 200
    seconds: float = 0.0


class ScoringProcessDied(Exception):
    """Raised by a test's function: the scoring process ends without an answer."""


AnswerFunction = Callable[[ScoringRequest], object]
"""Returns a :class:`ScoringAnswer`, or the body of one; called in the workspace's event loop, so it must not wait."""


@dataclass
class ScoringScripts:
    """What the deployments of a workspace answer, and which of them fail to provision."""

    _answers: dict[tuple[str, str], AnswerFunction] = field(default_factory=dict)
    _failures: list[tuple[str, str]] = field(default_factory=list)

    def answer_with(self, answer: AnswerFunction, *, deployment: str | None = None, model: str | None = None) -> None:
        """Give the answers of a deployment, of a model version wherever it is deployed, or of all others.

        Args:
            answer: Called for every request.
            deployment: ``<deployment>`` or ``<endpoint>/<deployment>``; comes before the model.
            model: ``<name>:<version>``.
        """
        if deployment is not None and model is not None:
            raise ValueError("give a deployment or a model, not both")
        self._answers[("deployment", deployment) if deployment else ("model", model) if model else ("", "")] = answer

    def fail_provisioning(self, deployment: str, reason: str, *, times: int = 1) -> None:
        """Let a deployment fail to become healthy.

        Args:
            deployment: ``<deployment>`` or ``<endpoint>/<deployment>``.
            reason: The last line of its log, and the operation's error.
            times: How many attempts.
        """
        self._failures += [(deployment, reason)] * times

    def find(self, spec: DeploymentSpec) -> AnswerFunction | None:
        """Find what answers for a deployment."""
        keys = [("deployment", name) for name in _names(spec)]
        keys += [("model", _model(spec) or ""), ("", "")]
        return next((self._answers[key] for key in keys if key in self._answers), None)

    def take_failure(self, spec: DeploymentSpec) -> str | None:
        """Take the next reason for which a deployment fails to provision, if there is one."""
        for failure in self._failures:
            if failure[0] in _names(spec):
                self._failures.remove(failure)
                return failure[1]
        return None


class ScriptedInstance:
    """Stands in for one scoring process.

    Args:
        spec: The deployment.
        scripts: What it answers.
    """

    def __init__(self, spec: DeploymentSpec, scripts: ScoringScripts) -> None:
        self.busy = 0
        self.ready = asyncio.Event()
        self.ready.set()
        self._spec = spec
        self._scripts = scripts

    async def start(self) -> None:
        """Nothing to start."""

    async def wait_until_ready(self) -> None:
        """Be ready, unless the test wants otherwise.

        Raises:
            ProvisioningError: The test asked for it, or gave no answers.
        """
        reason = self._scripts.take_failure(self._spec)
        if reason is None and self._scripts.find(self._spec) is None:
            name = f"{self._spec.endpoint}/{self._spec.name} with model {_model(self._spec)}"
            reason = f"the test says nothing about the answers of {name}; call answer_with(...)"
        if reason is not None:
            with self._spec.log.open("a", encoding="utf-8") as file:
                file.write(f"{reason}\n")
            raise ProvisioningError(reason)

    def keep_running(self, on_restart: Callable[[], None]) -> None:
        """Nothing to watch."""

    async def send(self, scoring: Scoring) -> Scored:
        """Let the test's function answer.

        Raises:
            httpx.ReadError: It says that the process died.
            TimeoutError: It takes longer than the deployment's request timeout.
        """
        self.busy += 1
        try:
            return await self._answer(scoring)
        finally:
            self.busy -= 1

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """Nothing to stop."""

    async def _answer(self, scoring: Scoring) -> Scored:
        function = self._scripts.find(self._spec)
        if function is None:
            raise AssertionError("a deployment without answers was provisioned")
        spec = self._spec
        request = ScoringRequest(spec.endpoint, spec.name, _model(spec), dict(scoring.headers), scoring.body)
        try:
            found = function(request)
        except ScoringProcessDied as error:
            raise httpx.ReadError("the scoring process ended") from error
        answer = found if isinstance(found, ScoringAnswer) else ScoringAnswer(found)
        if answer.seconds > spec.request_timeout:
            raise TimeoutError
        await asyncio.sleep(answer.seconds)
        built = httpx.Response(answer.status, json=answer.body)
        return Scored(answer.status, built.reason_phrase, built.headers.multi_items(), built.content)


def _names(spec: DeploymentSpec) -> tuple[str, str]:
    return f"{spec.endpoint}/{spec.name}", spec.name


def _model(spec: DeploymentSpec) -> str | None:
    """Read the model version out of its folder, ``models/<name>/<version>``."""
    folder: Path | None = spec.model_dir
    return None if folder is None else f"{folder.parent.name}:{folder.name}"
