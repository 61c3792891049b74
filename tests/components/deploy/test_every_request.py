"""The unmodified client's requests of a rollout fail one at a time, against the workspace in this process.

Here faults strike what the client sends, below its own retries; test_every_call.py strikes the calls of `MLClient`
themselves, all of them in all ways. By default every request of a first deployment and of an upgrade that changes
something fails in every way but one; ROLLOUT_EVERY_REQUEST=1 takes the requests that only look, the upload of code that
is new each time, and a 500 whose request was carried out, too (`make chaos`).
"""

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint, Model
from azure.core.exceptions import AzureError, ResourceNotFoundError

from amlocal.testing import InProcessWorkspace, ProcessKilled, in_process
from amlocal.workspace.online_endpoints import OnlineEndpoints
from amlocal.workspace.store import Resource
from finetune.errors import InputError
from finetune.workspace import ModelVersion

GOOD = [{"label": "a", "score": 0.9, "probabilities": {"a": 0.9, "b": 0.1}}]
ENDPOINT = "auth_mode: key\nname: x\n"
DEPLOYMENT = """\
name: blue
endpoint_name: x
code_configuration:
  code: .
  scoring_script: score.py
environment:
  name: serving
  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04
instance_type: Standard_DS3_v2
instance_count: 1
"""
SCRIPT = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"
POLICY = {"canary_percents": (50, 100), "probes": 1, "p95_slack_ms": 1000.0}
POLICY |= {"mirror_seconds": 0.0, "canary_seconds": 0.0, "hold_seconds": 0.0}
ATTEMPTS = 4
"""Of azure-core for one request, unless it is told otherwise."""
EVERY = bool(os.environ.get("ROLLOUT_EVERY_REQUEST"))
FAILS = ("500", "429", "reset", "timeout, answer lost", *(("500, answer lost",) if EVERY else ()))
KILLS = ("killed before", "killed after")
FIRST, UPGRADE = "first", "upgrade"


@dataclass
class Site:
    """A workspace with the models m:1 and m:2, and what its endpoints were seen to do."""

    workspace: InProcessWorkspace
    client: MLClient
    definition: Path
    journal: Path
    published: list[tuple[dict[str, int], dict[str, int], list[str]]] = field(default_factory=list)
    """Traffic, mirrored traffic and healthy deployments, whenever the service took a change of an endpoint."""
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def prepare(self, scenario: str) -> str:
        """Name an endpoint that is not there, or make one that m:1 serves."""
        name = f"messages-{next(self.numbers)}"
        if EVERY:
            self.script.write_text(f"{SCRIPT}\n\nnumber = {name!r}\n")
        if scenario == UPGRADE:
            self.serve(name)
        self.published.clear()
        self.workspace.faults.forget_calls()
        return name

    @property
    def script(self) -> Path:
        """The scoring script, which is uploaded when it has changed."""
        return self.definition / "score.py"

    def serve(self, name: str) -> None:
        """Make an endpoint that m:1 serves."""
        from azure.ai.ml import load_online_deployment

        endpoint = ManagedOnlineEndpoint(name=name)
        self.client.online_endpoints.begin_create_or_update(endpoint).result()
        override = [{"name": "blue"}, {"endpoint_name": name}, {"model": "azureml:m:1"}]
        deployment = load_online_deployment(self.definition / "deployment.yml", params_override=override)
        self.client.online_deployments.begin_create_or_update(deployment).result()
        endpoint.traffic = {"blue": 100}
        self.client.online_endpoints.begin_create_or_update(endpoint).result()

    def state(self, endpoint: str) -> str | None:
        """Return the model that serves alone, with all traffic; None when there is no endpoint."""
        try:
            found = self.client.online_endpoints.get(endpoint)
        except ResourceNotFoundError:
            return None
        (only,) = self.client.online_deployments.list(endpoint)
        assert found.traffic == {only.name: 100}
        assert not found.mirror_traffic
        assert not [tag for tag in found.tags if "lock" in tag]
        model = str(only.model).split("/")
        return f"{model[-3]}:{model[-1]}"

    def check(self, scenario: str, where: str) -> None:
        """All traffic was on healthy deployments, all the time; a first deployment begins with none."""
        for traffic, mirror, healthy in self.published:
            assert sum(traffic.values()) == 100 or (scenario == FIRST and not traffic), where
            assert {*traffic, *mirror} <= set(healthy), where


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    model, definition = folder / "model", folder / "definition"
    model.mkdir()
    definition.mkdir()
    (model / "MLmodel").write_text("flavors: {}\n")
    (definition / "endpoint.yml").write_text(ENDPOINT)
    (definition / "deployment.yml").write_text(DEPLOYMENT)
    (definition / "score.py").write_text(SCRIPT)
    publish = OnlineEndpoints.publish
    with in_process(folder / "home") as workspace:
        client = workspace.client()
        site = Site(workspace, client, definition, folder / "rollout.json")

        def watched(self: OnlineEndpoints, endpoint: Resource) -> None:
            publish(self, endpoint)
            properties = endpoint.body["properties"]
            ready = self.ready_deployments(endpoint.name)
            site.published.append((properties.get("traffic") or {}, properties.get("mirrorTraffic") or {}, ready))

        monkeypatch.setattr(OnlineEndpoints, "publish", watched)
        for version in ("1", "2"):
            client.models.create_or_update(Model(path=str(model), name="m", version=version))
            workspace.deployments.answer_with(lambda request: GOOD, model=f"m:{version}")
        site.serve("before")  # what is uploaded once, is
        yield site


@pytest.fixture
def run(deploy: Any, policy: Any, site: Site) -> Callable[..., dict]:
    """Roll m:2 out at an endpoint; what is raised is left to the caller."""

    def roll_out(endpoint: str, **options: Any) -> dict:
        example = deploy.smoke.OwnExample(
            [{"text": "t"}], [{"label": "a", "score": 0.9, "probabilities": [0.9, 0.1]}], ["a", "b"]
        )
        request = deploy.request.RolloutRequest(
            ModelVersion("m", "2"), endpoint, site.definition, example, (), policy(**POLICY), **options
        )
        journal = deploy.journal.Journal(site.journal, endpoint, "m:2")
        world = deploy.request.World(sleep=lambda seconds: None)
        deploy.rollout.roll_out(site.client, request, journal, world)
        return json.loads(site.journal.read_text())

    return roll_out


@dataclass(frozen=True)
class Struck:
    """A request to strike: a pattern, and how many like it come before."""

    pattern: str
    before: int

    def at(self, endpoint: str) -> str:
        return self.pattern.replace("ENDPOINT", endpoint)


def requests_of(site: Site, run: Callable[..., dict], scenario: str) -> list[Struck]:
    """Roll out once, and list the requests that this takes."""
    endpoint = site.prepare(scenario)
    assert run(endpoint)["state"] == "live"
    assert site.state(endpoint) == "m:2"
    site.check(scenario, "without a fault")
    seen_traffic = {tuple(sorted(traffic.items())) for traffic, _, _ in site.published}
    if scenario == UPGRADE:
        assert seen_traffic == {(("blue", 100),), (("blue", 50), ("green", 50)), (("green", 100),)}
    else:
        assert seen_traffic == {(), (("blue", 100),)}
    seen: list[Struck] = []
    for call in site.workspace.calls:
        words = str(call).replace(f"/{endpoint}", "/ENDPOINT").split("/")
        # Numbers of operations and snapshots are others every time.
        pairs = zip(["", *words], words, strict=False)
        pattern = "/".join("*" if before in ("operations", "codes", "LocalUpload") else word for before, word in pairs)
        seen.append(Struck(pattern, sum(other.pattern == pattern for other in seen)))
    return seen if EVERY else [struck for struck in seen if changes(struck)]


def check_struck(site: Site, struck: Struck, endpoint: str, where: str) -> None:
    """See that there was such a request."""
    assert sum(call.matches(struck.at(endpoint)) for call in site.workspace.calls) > struck.before, where


def changes(struck: Struck) -> bool:
    return struck.pattern.startswith(("PUT", "DELETE"))


def strike(site: Site, struck: Struck, endpoint: str, fault: str) -> None:
    faults, pattern = site.workspace.faults, struck.at(endpoint)
    if fault in ("500", "429"):
        faults.fail(pattern, status=int(fault), times=ATTEMPTS, skip=struck.before)
    elif fault == "500, answer lost":
        faults.fail(pattern, status=500, times=ATTEMPTS, skip=struck.before, lost_answer=True)
    elif fault == "reset":
        faults.reset(pattern, times=ATTEMPTS, skip=struck.before)
    elif fault == "timeout, answer lost":
        faults.time_out(pattern, times=ATTEMPTS, skip=struck.before, lost_answer=True)
    else:
        faults.kill(pattern, skip=struck.before, lost_answer=fault == "killed after")


@pytest.mark.parametrize("scenario", [FIRST, UPGRADE])
def test_a_request_that_fails_leaves_all_new_or_all_old(site: Site, run: Callable[..., dict], scenario: str) -> None:
    old = "m:1" if scenario == UPGRADE else None
    outcomes = set()
    for struck, fault in itertools.product(requests_of(site, run, scenario), FAILS):
        endpoint = site.prepare(scenario)
        strike(site, struck, endpoint, fault)
        with contextlib.suppress(InputError, AzureError):
            run(endpoint)
        site.workspace.faults.clear()
        where = f"{struck}, {fault}"
        check_struck(site, struck, endpoint, where)
        site.check(scenario, where)
        said = json.loads(site.journal.read_text())["state"]
        assert (said, site.state(endpoint)) in {
            ("live", "m:2"),
            ("rolled back", old),
            *([("in progress", old)] if not site.published else []),
        }, where
        outcomes.add(said)
    assert outcomes >= {"live", "rolled back"}, "what is removed in the end may fail, what comes before goes back"


@pytest.mark.parametrize("scenario", [FIRST, UPGRADE])
def test_a_run_after_a_process_that_died_converges(site: Site, run: Callable[..., dict], scenario: str) -> None:
    for struck, fault in itertools.product(requests_of(site, run, scenario), KILLS):
        endpoint = site.prepare(scenario)
        strike(site, struck, endpoint, fault)
        with pytest.raises(ProcessKilled):
            run(endpoint, job="first")
        site.workspace.faults.clear()
        where = f"{struck}, {fault}"
        site.check(scenario, where)
        assert run(endpoint, job="first")["state"] in ("live", "unchanged"), where
        site.check(scenario, where)
        assert site.state(endpoint) == "m:2", where
