"""A workspace in memory, strict as the service is, that fails, dies or is interrupted at any call a test names."""

import copy
import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from azure.core.exceptions import (
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
)

LABELS = ("a", "b")
GOOD = {"label": "a", "score": 0.9, "probabilities": {"a": 0.9, "b": 0.1}}


class State(enum.Enum):
    """What the client gives for a deployment's state; for an endpoint's it gives text."""

    CREATING = "Creating"
    UPDATING = "Updating"
    DELETING = "Deleting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Killed(BaseException):
    """The process is gone: nothing that it still does reaches the service."""


def answer(**change: Any) -> list[dict]:
    """Return the good answer, changed."""
    return [{**GOOD, **change}]


def _refuse(status: int, message: str) -> HttpResponseError:
    error = HttpResponseError(message)
    error.status_code = status
    return error


BEFORE = {
    "500 before": lambda: _refuse(500, "internal error"),
    "429 before": lambda: _refuse(429, "too many requests"),
    "timeout before": lambda: ServiceRequestTimeoutError("timed out"),
    "reset before": lambda: ServiceRequestError("connection reset"),
    "killed before": Killed,
    "interrupted before": lambda: SystemExit(143),
}
AFTER = {
    "500 after": lambda: _refuse(500, "internal error"),
    "reset after": lambda: ServiceResponseError("connection reset"),
    "killed after": Killed,
    "interrupted after": lambda: SystemExit(143),
}


@dataclass
class Clock:
    """Time that passes only when it is slept."""

    time: datetime = datetime(2026, 11, 20, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class FakeWorkspace:
    """Endpoint "messages" and its deployments; the calls of `MLClient` that deploy makes."""

    clock: Clock = field(default_factory=Clock)
    endpoint: dict[str, Any] | None = None
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    """Model → what its deployments answer: rows, or a problem's text."""
    seconds: dict[str, float] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    faults: dict[int | str, str] = field(default_factory=dict)
    """Number or name of a call → how it fails, once."""
    always: dict[str, str] = field(default_factory=dict)
    """Name of a call → how it fails, each time."""
    unhealthy: set[str] = field(default_factory=set)
    """Models whose deployments do not become healthy."""
    on_call: Callable[[str], None] = lambda name: None
    on_kill: Callable[[], None] = lambda: None
    dead: bool = False
    turn: int = 0

    def serve(self, **models: str) -> "FakeWorkspace":
        """Make an endpoint with deployments, the first of which gets all traffic."""
        self.endpoint = {
            "traffic": {next(iter(models)): 100},
            "mirror": {},
            "tags": {"team": "x"},
            "state": "Succeeded",
        }
        for name, model in models.items():
            self.deployments[name] = {"model": model, "tags": {}, "state": "Succeeded", "looks": 0}
        return self

    @property
    def live(self) -> dict[str, int]:
        """Model → share of traffic."""
        shares = self.endpoint["traffic"] if self.endpoint else {}
        return {self.deployments[name]["model"]: share for name, share in shares.items() if share}

    @property
    def models(self) -> dict[str, str]:
        return {name: deployment["model"] for name, deployment in self.deployments.items()}

    @property
    def client(self) -> Any:
        call = self._call
        return SimpleNamespace(
            online_endpoints=SimpleNamespace(
                get=lambda name: call("get endpoint", self._get_endpoint),
                begin_create_or_update=self._put_endpoint,
                begin_delete=lambda name: self._poller("delete endpoint", self._delete_endpoint),
                get_keys=lambda name: call("get keys", lambda: SimpleNamespace(primary_key="key")),
            ),
            online_deployments=SimpleNamespace(
                list=lambda name: call("list deployments", self._list),
                begin_create_or_update=self._put_deployment,
                begin_delete=lambda name, endpoint_name: self._poller(
                    f"delete {name}", lambda: self._delete_deployment(name)
                ),
                get_logs=lambda name, endpoint, lines: call("get logs", lambda: self._log(name)),
            ),
            jobs=SimpleNamespace(get=lambda name: call("get job", lambda: self._job(name))),
        )

    def send(self, target: Any, body: Any) -> Any:
        """Answer as the asked deployment's model does; without a name, in turns by traffic."""
        from probes import Answer

        return self._call("score", lambda: self._score(target, Answer))

    def next_process(self) -> None:
        """The next process starts: what killed the last one is over, and what it began has ended."""
        self.dead = False
        self.faults.clear()
        for deployment in self.deployments.values():
            deployment["looks"] = 0

    def _score(self, target: Any, make: Any) -> Any:
        name = target.deployment
        if name is None:
            self.turn = (self.turn + 37) % 100
            hundred = [name for name, share in self.endpoint["traffic"].items() for _ in range(share)]
            if not hundred:
                return make(0.01, problem="status 404, expected 200: no deployment with traffic")
            name = hundred[self.turn]
        if name not in self.deployments:
            return make(0.01, problem=f"status 404, expected 200: no deployment {name}")
        model = self.deployments[name]["model"]
        found = self.answers.get(model, answer())
        seconds = self.seconds.get(model, 0.01)
        return make(seconds, problem=found) if isinstance(found, str) else make(seconds, found)

    def _call(self, name: str, work: Callable[[], Any]) -> Any:
        if self.dead:
            raise Killed
        number = len(self.calls)
        self.calls.append(name)
        self.on_call(name)
        fault = self.always.get(name) or self.faults.pop(number, None) or self.faults.pop(name, None)
        if fault is not None and fault.startswith("killed"):
            self.on_kill()
        if fault in BEFORE:
            self.dead = fault == "killed before"
            raise BEFORE[fault]()
        try:
            return work()
        finally:
            if not name.startswith(("get", "list", "score")):
                self.check()
            if fault in AFTER:
                self.dead = fault == "killed after"
                raise AFTER[fault]()

    def check(self) -> None:
        """Traffic sums to 0 or 100, and all of it goes to healthy deployments."""
        if self.endpoint is None:
            return
        traffic, mirror = self.endpoint["traffic"], self.endpoint["mirror"]
        assert sum(traffic.values()) in (0, 100), traffic
        for name, share in {**traffic, **mirror}.items():
            assert not share or self.deployments[name]["state"] == "Succeeded", (name, share)
        assert not set(traffic) & set(mirror), (traffic, mirror)

    def _poller(self, name: str, work: Callable[[], Any]) -> Any:
        value = self._call(name, work)
        return SimpleNamespace(result=lambda: self._call(f"poll {name}", lambda: value))

    def _get_endpoint(self) -> SimpleNamespace:
        if self.endpoint is None:
            raise ResourceNotFoundError("messages")
        made = copy.deepcopy(self.endpoint)
        # As the client does: deployments without a share appear with 0.
        zeros = {name: 0 for name in self.deployments if not made["mirror"].get(name)}
        return SimpleNamespace(
            name="messages",
            traffic={**zeros, **made["traffic"]},
            mirror_traffic=made["mirror"],
            tags=made["tags"],
            provisioning_state=made["state"],
            scoring_uri="http://endpoint",
        )

    def _put_endpoint(self, endpoint: Any) -> Any:
        traffic = {name: share for name, share in (endpoint.traffic or {}).items() if share}
        mirror = {name: share for name, share in (endpoint.mirror_traffic or {}).items() if share}
        tags = dict(endpoint.tags or {})
        said = ", ".join(f"{name} {share}" for name, share in sorted(traffic.items()))
        said += "".join(f" mirror {name} {share}" for name, share in mirror.items())
        unchanged = self.endpoint is not None and (traffic, mirror) == (
            self.endpoint["traffic"],
            self.endpoint["mirror"],
        )
        name = "put endpoint" if self.endpoint is None else "put tags" if unchanged else f"put traffic {said}"
        return self._poller(name, lambda: self._store(traffic, mirror, tags))

    def _store(self, traffic: dict[str, int], mirror: dict[str, int], tags: dict[str, str]) -> None:
        if sum(traffic.values()) not in (0, 100) or set(traffic) & set(mirror) or sum(mirror.values()) > 50:
            raise _refuse(400, f"traffic {traffic}, mirrored {mirror}")
        for name in (*traffic, *mirror):
            if self.deployments.get(name, {}).get("state") != "Succeeded":
                raise _refuse(400, f"deployment {name} is not there or not provisioned")
        self.endpoint = {"traffic": traffic, "mirror": mirror, "tags": tags, "state": "Succeeded"}

    def _delete_endpoint(self) -> None:
        if self.endpoint is None:
            raise ResourceNotFoundError("messages")
        self.endpoint, self.deployments = None, {}

    def _list(self) -> list[SimpleNamespace]:
        if self.endpoint is None:
            raise ResourceNotFoundError("messages")
        return list(self._entities())

    def _entities(self) -> Iterator[SimpleNamespace]:
        for name, deployment in self.deployments.items():
            if deployment["looks"] > 0:
                deployment["looks"] -= 1
            elif deployment["state"] == "Creating":
                deployment["state"] = "Succeeded"
            yield SimpleNamespace(
                name=name,
                model=f"azureml:{deployment['model']}",
                tags=dict(deployment["tags"]),
                provisioning_state=State(deployment["state"]),
            )

    def _put_deployment(self, deployment: Any) -> Any:
        name, model = deployment.name, deployment.model.removeprefix("azureml:")
        state = self.deployments.get(name, {}).get("state")
        if self.endpoint is None or state in ("Creating", "Updating", "Deleting"):
            raise _refuse(409, f"{name} is in state {state}")
        made = {"model": model, "tags": dict(deployment.tags), "state": "Creating", "looks": 3}

        def end() -> None:
            failed = model in self.unhealthy
            made.update(looks=0, state="Failed" if failed else "Succeeded")
            if failed:
                raise _refuse(400, f"{name} did not become healthy")

        self._call(f"create {name}", lambda: self.deployments.update({name: made}))
        return SimpleNamespace(result=lambda: self._call(f"poll create {name}", end))

    def _delete_deployment(self, name: str) -> None:
        if name not in self.deployments:
            raise ResourceNotFoundError(name)
        if self.deployments[name]["state"] in ("Creating", "Updating", "Deleting"):
            raise _refuse(409, f"{name} is in state {self.deployments[name]['state']}")
        if self.endpoint["traffic"].get(name) or self.endpoint["mirror"].get(name):
            raise _refuse(400, f"{name} gets traffic")
        del self.deployments[name]

    def _log(self, name: str) -> str:
        if name not in self.deployments:
            raise ResourceNotFoundError(name)
        return self.logs.get(self.deployments[name]["model"], "")

    def _job(self, name: str) -> SimpleNamespace:
        if name not in self.jobs:
            raise ResourceNotFoundError(name)
        return SimpleNamespace(status=self.jobs[name])
