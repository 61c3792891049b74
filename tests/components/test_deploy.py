"""Deploy's decisions and its rollout, against a workspace in memory that fails where it is told to."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from support import load_component

from finetune.errors import InputError
from finetune.registration import Registration, write_registration
from finetune.workspace import ModelVersion

DEFINITION = Path(__file__).parents[2] / "endpoints" / "text-classifier"
ANSWER = [{"label": "a", "score": 0.9, "probabilities": {"a": 0.9, "b": 0.1}}]
NEW = ModelVersion("m", "2")


class Poller:
    """An operation; while it runs, its workspace refuses to undo it. An interrupt leaves it running.

    Like azure-core's under Python 3.11, it says that it is done once its wait was interrupted.
    """

    def __init__(self, value: Any = None, workspace: "Workspace | None" = None, interrupted: bool = False) -> None:
        self.value = value
        self.workspace = workspace
        self.interrupted = interrupted
        if workspace is not None:
            workspace.looks_until_done = 3

    def result(self) -> Any:
        if self.interrupted:
            self.interrupted = False
            raise SystemExit(143)
        if self.workspace is not None:
            self.workspace.looks_until_done = 0
        return self.value


class Workspace:
    """One workspace. `fail_at` names calls that fail, `interrupt_at` one that is interrupted."""

    def __init__(self, serving: dict[str, str] | None) -> None:
        self.endpoint = SimpleNamespace(scoring_uri="http://x", traffic={}) if serving is not None else None
        self.models = dict(serving or {})
        if self.endpoint:
            self.endpoint.traffic = {name: 100 if i == 0 else 0 for i, name in enumerate(self.models)}
        self.calls: list[str] = []
        self.fail_at: list[str] = []
        self.interrupt_at: str | None = None
        self.looks_until_done = 0
        self.interrupt_before_answer = False
        self.online_endpoints = SimpleNamespace(
            get=self.get_endpoint,
            begin_create_or_update=self.put_endpoint,
            begin_delete=self.delete_endpoint,
            get_keys=lambda name: SimpleNamespace(primary_key="key"),
        )
        self.online_deployments = SimpleNamespace(
            get=lambda name, endpoint: self.part(name, model=self.models[name]),
            begin_create_or_update=self.put_deployment,
            begin_delete=self.delete_deployment,
            list=self.list_deployments,
        )

    def called(self, call: str) -> None:
        self.calls.append(call)
        if self.looks_until_done > 0:
            raise HttpResponseError(f"{call}: wait for the operation before it")
        if call in self.fail_at:
            self.fail_at.remove(call)
            raise HttpResponseError(f"{call} failed")

    def poller(self, call: str, value: Any = None) -> Poller:
        return Poller(value, self, interrupted=call == self.interrupt_at)

    @property
    def live(self) -> dict[str, str]:
        assert self.endpoint is not None
        return {self.models[name]: share for name, share in self.endpoint.traffic.items() if share}

    def get_endpoint(self, name: str) -> SimpleNamespace:
        if self.endpoint is None:
            raise ResourceNotFoundError(name)
        return self.part(name, scoring_uri="http://x", traffic=dict(self.endpoint.traffic))

    def put_endpoint(self, endpoint: Any) -> Poller:
        traffic = dict(endpoint.traffic or {})
        call = f"traffic {traffic}" if traffic else "create endpoint"
        self.called(call)
        assert sum(traffic.values()) in (0, 100)
        assert all(name in self.models for name, share in traffic.items() if share)
        self.endpoint = SimpleNamespace(scoring_uri="http://x", traffic=traffic)
        return self.poller(call, self.endpoint)

    def delete_endpoint(self, name: str) -> Poller:
        self.called("delete endpoint")
        if self.endpoint is None:
            raise ResourceNotFoundError(name)
        self.endpoint, self.models = None, {}
        return Poller()

    def part(self, name: str, **more: Any) -> SimpleNamespace:
        state = "Creating" if self.looks_until_done > 0 else "Succeeded"
        return SimpleNamespace(name=name, provisioning_state=state, **more)

    def list_deployments(self, endpoint: str) -> list[SimpleNamespace]:
        self.looks_until_done -= 1
        return [self.part(name) for name in self.models]

    def put_deployment(self, deployment: Any) -> Poller:
        self.called(f"create {deployment.name}")
        self.models[deployment.name] = deployment.model.removeprefix("azureml:")
        if self.interrupt_before_answer:
            self.looks_until_done = 3
            raise SystemExit(143)
        return self.poller(f"create {deployment.name}")

    def delete_deployment(self, name: str, endpoint_name: str) -> Poller:
        self.called(f"delete {name}")
        if name not in self.models:
            raise ResourceNotFoundError(name)
        assert not self.endpoint.traffic.get(name), "deleted under traffic"
        del self.models[name]
        return Poller()


@pytest.fixture
def roll_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict]:
    load_component("deploy")
    import sys

    folder = str(Path(__file__).parents[2] / "components" / "deploy")
    monkeypatch.syspath_prepend(folder)
    rollout, smoke, journal = (__import__(name) for name in ("rollout", "smoke", "journal"))
    assert sys.modules["smoke"].__file__.startswith(folder)
    monkeypatch.setattr(rollout, "POLL_SECONDS", 0.0)

    def run(
        workspace: Workspace,
        answer: Any = ANSWER,
        status: int = 200,
        broken_after: int | None = None,
        definition: Path = DEFINITION,
    ) -> dict:
        asked: list[str | None] = []

        def post(uri: str, json: Any, headers: dict, timeout: float, trust_env: bool) -> Any:
            asked.append(headers.get("azureml-model-deployment"))
            bad = broken_after is not None and len(asked) > broken_after
            import httpx

            response = httpx.Response(500 if bad else status, json=answer, request=httpx.Request("POST", uri))
            response.elapsed = __import__("datetime").timedelta(seconds=0.01)
            return response

        monkeypatch.setattr(smoke.httpx, "post", post)
        golden = smoke.GoldenRequest(
            [{"text": "t"}], [{"label": "a", "score": 0.9, "probabilities": [0.9, 0.1]}], ["a", "b"]
        )
        request = rollout.RolloutRequest(NEW, "messages", definition, golden)
        rollout.roll_out(workspace, request, journal.Journal(tmp_path / "rollout.json", "messages", str(NEW)))
        return json.loads((tmp_path / "rollout.json").read_text())

    run.journal = tmp_path / "rollout.json"
    return run


def test_the_first_model_gets_an_endpoint(roll_out: Any) -> None:
    workspace = Workspace(None)
    journal = roll_out(workspace)
    assert workspace.live == {"m:2": 100}
    assert workspace.calls == ["create endpoint", "create blue", "traffic {'blue': 100}"]
    assert journal["state"] == "live"
    assert [step["traffic"] for step in journal["steps"]][-1] == {"blue": 100}


def test_a_new_version_takes_the_idle_colour_and_the_old_one_goes(roll_out: Any) -> None:
    workspace = Workspace({"blue": "m:1"})
    assert roll_out(workspace)["state"] == "live"
    assert workspace.models == {"green": "m:2"}
    assert workspace.live == {"m:2": 100}


def test_a_leftover_of_an_earlier_crash_is_replaced(roll_out: Any) -> None:
    workspace = Workspace({"green": "m:1", "blue": "m:9"})
    roll_out(workspace)
    assert workspace.models == {"blue": "m:2"}


def test_the_serving_version_is_left_alone(roll_out: Any) -> None:
    workspace = Workspace({"green": "m:2"})
    journal = roll_out(workspace)
    assert journal["state"] == "unchanged"
    assert workspace.calls == []


def test_an_old_colour_that_cannot_be_removed_is_removed_by_the_next_run(roll_out: Any) -> None:
    workspace = Workspace({"blue": "m:1"})
    workspace.fail_at = ["delete blue"]
    with pytest.raises(HttpResponseError, match="delete blue failed"):
        roll_out(workspace)
    assert json.loads(roll_out.journal.read_text())["state"] == "live"
    assert workspace.live == {"m:2": 100}
    assert roll_out(workspace)["state"] == "unchanged"
    assert workspace.models == {"green": "m:2"}


CALLS = ["create green", "traffic {'blue': 0, 'green': 100}"]


@pytest.mark.parametrize("call", CALLS)
def test_an_interrupt_during_an_operation_waits_for_it_and_undoes_it(roll_out: Any, call: str) -> None:
    workspace = Workspace({"blue": "m:1"})
    workspace.interrupt_at = call
    with pytest.raises(SystemExit):
        roll_out(workspace)
    assert workspace.models == {"blue": "m:1"}
    assert workspace.live == {"m:1": 100}
    assert json.loads(roll_out.journal.read_text())["state"] == "rolled back"


@pytest.mark.parametrize("serving", [{"blue": "m:1"}, None])
def test_an_interrupt_before_the_service_answered_waits_until_it_is_done(
    roll_out: Any, serving: dict[str, str] | None
) -> None:
    workspace = Workspace(serving)
    workspace.interrupt_before_answer = True
    with pytest.raises(SystemExit):
        roll_out(workspace)
    assert workspace.models == (serving or {})
    assert json.loads(roll_out.journal.read_text())["state"] == "rolled back"


@pytest.mark.parametrize("call", ["create endpoint", "create blue", "traffic {'blue': 100}"])
def test_an_interrupted_first_rollout_leaves_no_endpoint(roll_out: Any, call: str) -> None:
    workspace = Workspace(None)
    workspace.interrupt_at = call
    with pytest.raises(SystemExit):
        roll_out(workspace)
    assert workspace.endpoint is None
    assert json.loads(roll_out.journal.read_text())["state"] == "rolled back"


@pytest.mark.parametrize(
    ("failing", "left"),
    [("traffic {'blue': 100}", "could not put the traffic back"), ("delete green", "could not remove green")],
)
def test_a_way_back_that_fails_is_said_and_the_rest_of_it_still_taken(roll_out: Any, failing: str, left: str) -> None:
    workspace = Workspace({"blue": "m:1"})
    workspace.fail_at = ["traffic {'blue': 0, 'green': 100}", failing]
    with pytest.raises(HttpResponseError, match="'green': 100"):
        roll_out(workspace)
    journal = json.loads(roll_out.journal.read_text())
    assert journal["state"] == "rollback failed"
    assert journal["reasons"][0].startswith("HttpResponseError: traffic")
    assert journal["reasons"][1].startswith(left)
    assert workspace.live == {"m:1": 100}
    assert "delete green" in workspace.calls


def test_traffic_that_was_split_by_hand_is_left_alone(roll_out: Any) -> None:
    workspace = Workspace({"blue": "m:1", "green": "m:3"})
    workspace.endpoint.traffic = {"blue": 60, "green": 40}
    with pytest.raises(InputError, match=r"its traffic is split \(blue 60 %, green 40 %\)"):
        roll_out(workspace)
    assert workspace.calls == []


def test_a_definition_that_the_client_does_not_take_touches_nothing(roll_out: Any, tmp_path: Path) -> None:
    workspace = Workspace({"blue": "m:1"})
    folder = tmp_path / "definition"
    folder.mkdir()
    (folder / "endpoint.yml").write_text("auth_mode: password\n")
    (folder / "deployment.yml").write_text("instance_count: 1\n")
    with pytest.raises(InputError, match="auth_mode"):
        roll_out(workspace, definition=folder)
    assert workspace.calls == []


@pytest.mark.parametrize("call", CALLS)
def test_a_refused_call_puts_the_old_state_back(roll_out: Any, call: str) -> None:
    workspace = Workspace({"blue": "m:1"})
    workspace.fail_at = [call]
    with pytest.raises(HttpResponseError, match="failed"):
        roll_out(workspace)
    assert workspace.models == {"blue": "m:1"}
    assert workspace.live == {"m:1": 100}
    journal = json.loads(roll_out.journal.read_text())
    assert journal["state"] == "rolled back"
    assert call in journal["reasons"][0]


@pytest.mark.parametrize("call", ["create endpoint", "create blue", "traffic {'blue': 100}"])
def test_a_first_rollout_that_fails_leaves_no_endpoint(roll_out: Any, call: str) -> None:
    workspace = Workspace(None)
    workspace.fail_at = [call]
    with pytest.raises(HttpResponseError):
        roll_out(workspace)
    assert workspace.endpoint is None
    assert workspace.models == {}
    assert json.loads(roll_out.journal.read_text())["state"] == "rolled back"


def wrong(**change: Any) -> list[dict]:
    return [{**ANSWER[0], **change}]


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (ANSWER, 500, "status 500, expected 200"),
        (ANSWER, 404, "status 404"),
        ({"error": "x"}, 200, "expected a list of 1 rows"),
        ([], 200, "expected a list of 1 rows"),
        ([1], 200, "expected probabilities"),
        (wrong(label="b"), 200, "label 'b'; the model itself answered 'a'"),
        (wrong(probabilities={"a": 0.7, "b": 0.3}), 200, "probability of 'a' is 0.7000"),
        (wrong(probabilities={"a": 0.9, "c": 0.1}), 200, "expected probabilities of a, b"),
        (wrong(probabilities={"a": 0.9, "b": None}), 200, "not a finite number"),
        (wrong(probabilities=[0.9, 0.1]), 200, "expected probabilities of a, b"),
    ],
)
def test_a_colour_that_fails_its_smoke_test_never_gets_traffic(
    roll_out: Any, answer: Any, status: int, message: str
) -> None:
    workspace = Workspace({"blue": "m:1"})
    with pytest.raises(InputError, match=message):
        roll_out(workspace, answer, status)
    assert workspace.live == {"m:1": 100}
    assert workspace.models == {"blue": "m:1"}
    assert all("'green': 100" not in call for call in workspace.calls)


def test_an_endpoint_that_fails_after_the_switch_goes_back(roll_out: Any) -> None:
    workspace = Workspace({"blue": "m:1"})
    with pytest.raises(InputError, match="status 500"):
        roll_out(workspace, broken_after=1)
    assert workspace.live == {"m:1": 100}
    assert workspace.models == {"blue": "m:1"}
    assert "traffic {'blue': 0, 'green': 100}" in workspace.calls


def test_infinite_probabilities_are_a_difference() -> None:
    load_component("deploy")
    import sys

    sys.path.insert(0, str(Path(__file__).parents[2] / "components" / "deploy"))
    try:
        from smoke import GoldenRequest, difference
    finally:
        sys.path.pop(0)
    golden = GoldenRequest([{"text": "t"}], [{"label": "a", "probabilities": [1.0, 0.0]}], ["a", "b"])
    assert difference(wrong(probabilities={"a": math.inf, "b": 0.0}), golden) == (
        "row 1: a probability is not a finite number"
    )


def arguments(**given: str | None) -> Any:
    deploy = load_component("deploy")
    return deploy, deploy.DeployArguments("messages", str(DEFINITION), "rollout.json", **given)


def test_the_version_comes_from_the_registration(tmp_path: Path) -> None:
    registered = Registration(
        True, (), ModelVersion("m", "10"), "abc", "verdict", "2999-01-01T00:00:00+00:00", "m:9", {}
    )
    write_registration(tmp_path / "r.json", registered)
    deploy, given = arguments(registration=str(tmp_path / "r.json"))
    target, _ = deploy.choose_target(given)
    assert (str(target.model), target.model_sha256, target.verdict_sha256) == ("m:10", "abc", "verdict")


def test_a_registration_whose_verdict_has_expired_is_refused(tmp_path: Path) -> None:
    registered = Registration(
        True, (), ModelVersion("m", "10"), "abc", "verdict", "2026-01-01T00:00:00+00:00", None, {}
    )
    write_registration(tmp_path / "r.json", registered)
    deploy, given = arguments(registration=str(tmp_path / "r.json"))
    with pytest.raises(InputError, match="the verdict was valid until 2026-01-01"):
        deploy.choose_target(given)


def test_what_was_not_registered_leaves_the_endpoint_alone(tmp_path: Path) -> None:
    write_registration(tmp_path / "r.json", Registration(False, ("too weak",)))
    deploy, _ = arguments()
    deploy.main(
        [
            *("--registration", str(tmp_path / "r.json"), "--endpoint_name", "messages"),
            *("--endpoint_definition", str(DEFINITION), "--rollout", str(tmp_path / "rollout.json")),
        ]
    )
    journal = json.loads((tmp_path / "rollout.json").read_text())
    assert (journal["state"], journal["reasons"]) == ("unchanged", ["not promoted", "too weak"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "expected --registration, or --model_name with --model_version"),
        ({"model_name": "m"}, "expected --registration, or"),
        ({"model_name": "m", "model_version": "latest"}, "m, version 'latest': expected an exact version number"),
        ({"model_name": "m", "model_version": "1", "registration": "r.json"}, "expected one of the two ways"),
        ({"registration": "no-such-file.json"}, "no such file; expected the file that register writes"),
    ],
)
def test_a_version_that_is_not_exact_is_refused(given: dict, message: str) -> None:
    deploy, parsed = arguments(**given)
    with pytest.raises(InputError, match=message):
        deploy.choose_target(parsed)


@pytest.mark.parametrize(
    ("tags", "content", "message"),
    [
        ({"model_sha256": "x"}, "x", "its tag verdict is None; only a model tagged 'promoted' is deployed"),
        ({"verdict": "promoted", "model_sha256": "x"}, "y", "the model digests disagree"),
        ({"verdict": "promoted", "model_sha256": "y"}, "y", "the model digests disagree"),
        ({"verdict": "promoted"}, "x", "the model digests disagree"),
        ({"verdict": "promoted", "model_sha256": "x"}, "x", "the registration's verdict is v; the version was"),
        ({"verdict": "promoted", "model_sha256": "x", "verdict_sha256": "w"}, "x", "was registered with w"),
    ],
)
def test_only_the_promoted_model_itself_is_deployed(tags: dict, content: str, message: str) -> None:
    deploy, _ = arguments()
    with pytest.raises(InputError, match=message):
        deploy.check_registered(tags, deploy.Target(NEW, "x", "v"), content)
    right = {"verdict": "promoted", "model_sha256": "x", "verdict_sha256": "v", "verdict_valid_until": "2026"}
    deploy.check_registered(right, deploy.Target(NEW, "x", "v", "2026"), "x")
    with pytest.raises(InputError, match="valid until 2099; the version was registered with 2026"):
        deploy.check_registered(right, deploy.Target(NEW, "x", "v", "2099"), "x")
    deploy.check_registered(right, deploy.Target(NEW, "x", "v"), "x")
    deploy.check_registered({"verdict": "promoted", "model_sha256": "x"}, deploy.Target(NEW, "x"), "x")


@pytest.mark.parametrize(
    ("champion", "serving", "message"),
    [
        (
            "m:1",
            ModelVersion("m", "2"),
            "was compared with m:1, and m:2 serves at messages now; evaluate the model again",
        ),
        (None, ModelVersion("m", "2"), "was compared with no champion, and m:2 serves at messages now"),
        ("m:1", None, "was compared with m:1, and no model serves at messages now"),
    ],
)
def test_a_verdict_that_compared_with_another_champion_is_not_acted_upon(
    champion: str | None, serving: ModelVersion | None, message: str
) -> None:
    deploy, _ = arguments()
    compared = deploy.Target(ModelVersion("m", "7"), "x", compared=True, champion=champion)
    with pytest.raises(InputError, match=message):
        deploy.check_champion(compared, serving, "messages")


def test_the_champion_compared_with_the_target_itself_and_a_version_a_person_names_go_on() -> None:
    deploy, _ = arguments()
    new = ModelVersion("m", "7")
    deploy.check_champion(deploy.Target(new, "x", compared=True, champion="m:1"), ModelVersion("m", "1"), "messages")
    deploy.check_champion(deploy.Target(new, "x", compared=True, champion="m:1"), new, "messages")
    deploy.check_champion(deploy.Target(new, "x", compared=True), None, "messages")
    deploy.check_champion(deploy.Target(new), ModelVersion("m", "9"), "messages")
