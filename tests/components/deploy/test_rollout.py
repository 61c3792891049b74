"""What a rollout does to an endpoint, against a workspace in memory."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from rollout_support import FakeWorkspace, answer

from finetune.errors import InputError


def puts(workspace: FakeWorkspace) -> list[str]:
    return [call.removeprefix("put ") for call in workspace.calls if call.startswith("put traffic")]


def names(journal: dict) -> list[str]:
    return [step["step"] for step in journal["steps"]]


def test_the_first_model_gets_an_endpoint(roll_out: Any) -> None:
    workspace = FakeWorkspace()
    journal = roll_out(workspace)
    assert (workspace.live, workspace.models) == ({"m:2": 100}, {"blue": "m:2"})
    assert puts(workspace) == ["traffic blue 100"]
    assert journal["state"] == "live"
    assert names(journal) == [
        *("endpoint created", "blue created", "smoke checked", "traffic for canary 100 %", "canary 100 % checked"),
        *("hold checked", "committed", "lock given back"),
    ]
    assert [step["traffic"] for step in journal["steps"]][2:4] == [{}, {"blue": 100}]
    assert not any(name.startswith("rollout_lock") for name in workspace.endpoint["tags"])


def test_a_new_version_goes_through_mirror_and_canaries_and_the_old_one_goes(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")
    journal = roll_out(workspace)
    assert (workspace.live, workspace.models) == ({"m:2": 100}, {"green": "m:2"})
    assert puts(workspace) == [
        "traffic blue 100 mirror green 20",
        "traffic blue 90, green 10",
        "traffic blue 50, green 50",
        "traffic green 100",
    ]
    assert journal["state"] == "live"
    assert workspace.endpoint["tags"]["team"] == "x"
    assert workspace.endpoint["tags"]["rollout_state"] == "live"
    checks = {
        step["step"]: {check["name"] for check in step["checks"]} for step in journal["steps"] if "checks" in step
    }
    assert checks["smoke checked"] == {"the model's own example"}
    assert {"error rate", "p95 ms", "endpoint's error rate", "agreement", "tracebacks"} == checks["mirror checked"]
    assert {"error rate", "p95 ms", "endpoint's error rate", "agreement"} == checks["canary 50 % checked"]
    assert "the model's own example" in checks["canary 100 % checked"]
    assert (workspace.clock.now().minute, workspace.clock.now().second) == (0, 52)


def test_without_mirroring_the_canaries_follow_the_smoke_test(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(green="m:1")
    roll_out(workspace, mirror_percent=0, canary_percents=(100,))
    assert puts(workspace) == ["traffic blue 100"]


def test_the_serving_version_is_left_alone(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(green="m:2", prod="m:7")
    journal = roll_out(workspace)
    assert (journal["state"], journal["reasons"]) == ("unchanged", ["m:2 serves already"])
    assert workspace.calls == ["get endpoint", "list deployments"]


def test_what_is_left_over_beside_the_serving_version_is_removed(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(green="m:2", blue="m:1", prod="m:7")
    workspace.endpoint["mirror"] = {"blue": 10}
    assert roll_out(workspace)["state"] == "unchanged"
    assert workspace.models == {"green": "m:2", "prod": "m:7"}
    assert workspace.live == {"m:2": 100}


def test_a_deployment_of_another_name_is_an_incumbent_like_any_other_and_idle_ones_are_not_ours(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(production="m:1", experiment="m:9")
    roll_out(workspace)
    assert workspace.models == {"blue": "m:2", "experiment": "m:9"}


@pytest.mark.parametrize("state", ["Succeeded", "Failed"])
def test_an_idle_colour_is_made_anew(roll_out: Any, state: str) -> None:
    workspace = FakeWorkspace().serve(blue="m:1", green="m:2")
    workspace.deployments["green"]["state"] = state
    assert roll_out(workspace)["state"] == "live"
    assert workspace.models == {"green": "m:2"}
    assert workspace.calls.index("delete green") < workspace.calls.index("create green")


def test_a_colour_that_is_being_updated_is_waited_for(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1", green="m:9")
    workspace.deployments["green"].update(state="Creating", looks=4)
    assert roll_out(workspace)["state"] == "live"
    assert workspace.models == {"green": "m:2"}


def test_an_operation_that_does_not_end_is_said_after_half_an_hour(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1", green="m:9")
    workspace.deployments["green"].update(state="Updating", looks=10**6)
    refused(roll_out, workspace, "an operation on green has not ended after 1800 s")
    assert workspace.clock.now().minute >= 30


def test_a_candidate_that_is_never_made_stays_for_the_next_run(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")
    workspace.faults = {"poll create green": "reset before"}

    def never(name: str) -> None:
        if "green" in workspace.deployments:
            workspace.deployments["green"]["looks"] = 9

    workspace.on_call = never
    with pytest.raises(ServiceRequestError):
        roll_out(workspace)
    journal = roll_out.journal()
    assert (journal["state"], workspace.live) == ("rollback failed", {"m:1": 100})
    assert "an operation on green has not ended" in journal["reasons"][1]
    assert "failed: green removed" in journal["reasons"][2]
    tags = workspace.endpoint["tags"]
    assert (tags["rollout_state"], "rollout_lock_owner" in tags) == ("in progress", False)
    workspace.on_call = lambda name: None
    assert roll_out(workspace)["state"] == "live"


def test_traffic_to_nothing_is_a_first_rollout(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")
    workspace.endpoint["traffic"] = {}
    roll_out(workspace)
    assert workspace.models == {"blue": "m:2"}
    assert workspace.live == {"m:2": 100}


def refused(roll_out: Any, workspace: FakeWorkspace, match: str, **options: Any) -> None:
    before = (dict(workspace.endpoint or {}), workspace.models)
    with pytest.raises(InputError, match=match):
        roll_out(workspace, **options)
    assert (workspace.endpoint or {}, workspace.models) == before
    assert {call.split()[0] for call in workspace.calls} <= {"get", "list"}


def test_traffic_that_was_split_by_hand_is_left_alone(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1", green="m:3")
    workspace.endpoint["traffic"] = {"blue": 60, "green": 40}
    refused(roll_out, workspace, r"its traffic is split \(blue 60 %, green 40 %\)")


def test_traffic_that_was_mirrored_by_hand_is_left_alone(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1", shadow="m:3")
    workspace.endpoint["mirror"] = {"shadow": 40}
    refused(roll_out, workspace, r"its traffic is mirrored \(shadow 40 %\), and not by a rollout")


def test_an_endpoint_that_failed_is_left_alone(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")
    workspace.endpoint["state"] = "Failed"
    refused(roll_out, workspace, "endpoint messages is in state Failed; expected Succeeded: update or delete it")


def test_an_incumbent_that_failed_is_nothing_to_go_back_to(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")
    workspace.deployments["blue"]["state"] = "Failed"
    refused(
        roll_out, workspace, "blue gets all traffic and is in state Failed; expected Succeeded: there would be noth"
    )


def test_a_model_that_may_not_follow_the_incumbent_touches_nothing(roll_out: Any) -> None:
    def check(serving: Any) -> None:
        raise InputError(f"compared with m:0, and {serving} serves")

    refused(roll_out, FakeWorkspace().serve(blue="m:1"), "and m:1 serves", check_incumbent=check)
    refused(roll_out, FakeWorkspace(), "and None serves", check_incumbent=check)


def test_a_definition_that_the_client_does_not_take_touches_nothing(roll_out: Any, tmp_path: Path) -> None:
    folder = tmp_path / "definition"
    folder.mkdir()
    (folder / "endpoint.yml").write_text("auth_mode: password\n")
    (folder / "deployment.yml").write_text("instance_count: 1\n")
    refused(roll_out, FakeWorkspace().serve(blue="m:1"), "auth_mode", definition=folder)
    (folder / "deployment.yml").unlink()
    refused(roll_out, FakeWorkspace(), "deployment.yml: no such file", definition=folder)


BAD = [
    ("status 500, expected 200: boom", "status 500"),
    ({"error": "x"}, "expected a list of 1 rows"),
    ([], "expected a list of 1 rows"),
    ([1], "expected an object with label, score, probabilities"),
    (answer(label="b"), "label is 'b'; the model itself answered 'a'"),
    (answer(probabilities={"a": 0.7, "b": 0.3}), "probabilities.a is 0.7; the model itself answered"),
    (answer(probabilities={"a": 0.9, "c": 0.1}), "expected an object with a, b"),
    (answer(probabilities={"a": 0.9, "b": None}), "probabilities.b is None; the model itself answered"),
    (answer(probabilities={"a": 0.9, "b": float("nan")}), "probabilities.b is nan; the model itself answered"),
    (answer(probabilities={"a": 0.9, "b": float("inf")}), "probabilities.b is inf; the model itself answered"),
    (answer(probabilities=[0.9, 0.1]), "expected an object with a, b"),
]


@pytest.mark.parametrize(("said", "message"), BAD)
def test_a_colour_that_fails_its_smoke_test_never_gets_traffic(roll_out: Any, said: Any, message: str) -> None:
    workspace = FakeWorkspace(answers={"m:2": said}, logs={"m:2": "line 1\nline 2"}).serve(blue="m:1")
    with pytest.raises(InputError, match=message):
        roll_out(workspace)
    assert (workspace.live, workspace.models, puts(workspace)) == ({"m:1": 100}, {"blue": "m:1"}, [])
    journal = roll_out.journal()
    assert (journal["state"], journal["failed_step"]) == ("rolled back", "smoke")
    assert message in journal["reasons"][0]
    assert [step["log"] for step in journal["steps"] if "log" in step] == [["line 1", "line 2"]]
    assert workspace.endpoint["tags"]["rollout_state"] == "rolled back"


@pytest.mark.parametrize("said", ["status 500, expected 200: boom", answer(label="b")])
def test_a_first_version_that_fails_its_smoke_test_leaves_no_endpoint(roll_out: Any, said: Any) -> None:
    workspace = FakeWorkspace(answers={"m:2": said})
    with pytest.raises(InputError):
        roll_out(workspace)
    assert workspace.endpoint is None
    assert roll_out.journal()["state"] == "rolled back"


def test_a_first_version_in_an_endpoint_that_was_there_leaves_it_without_traffic(roll_out: Any) -> None:
    workspace = FakeWorkspace(answers={"m:2": []}).serve(prod="m:1")
    workspace.endpoint["traffic"] = {}
    with pytest.raises(InputError):
        roll_out(workspace)
    assert (workspace.live, workspace.models) == ({}, {"prod": "m:1"})


@pytest.mark.parametrize(
    ("stage", "put"),
    [("mirror", 1), ("canary 10 %", 2), ("canary 50 %", 3), ("canary 100 %", 4)],
)
@pytest.mark.parametrize("fault", ["errors", "slow", "other answers"])
def test_a_version_that_turns_bad_at_a_stage_goes_back_from_there(
    roll_out: Any, stage: str, put: int, fault: str
) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")

    def turn_bad(name: str) -> None:
        if name == "score" and len(puts(workspace)) == put:
            if fault == "errors":
                workspace.answers["m:2"] = "status 503, expected 200: gone"
            elif fault == "slow":
                workspace.seconds["m:2"] = 0.03
            else:
                workspace.answers["m:2"] = answer(label="b")

    workspace.on_call = turn_bad
    with pytest.raises(InputError, match=f"^{stage}: "):
        roll_out(workspace)
    assert (workspace.live, workspace.models) == ({"m:1": 100}, {"blue": "m:1"})
    assert puts(workspace)[put:] == ["traffic blue 100"]
    journal = roll_out.journal()
    assert (journal["state"], journal["failed_step"]) == ("rolled back", stage)
    (failed,) = [step for step in journal["steps"] if step["step"] == f"{stage} failed"]
    wrong = {check["name"]: check for check in failed["checks"] if not check["passed"]}
    expected = {"errors": "error rate", "slow": "p95 ms", "other answers": "agreement"}[fault]
    assert expected in wrong
    assert wrong[expected]["candidate"] is not None
    assert wrong[expected]["limit"] is not None


def test_a_version_that_turns_bad_while_it_is_held_goes_back(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")
    scores: list[int] = []

    def turn_bad(name: str) -> None:
        scores.append(len(puts(workspace)))
        if name == "score" and workspace.clock.now().second > 45:
            workspace.answers["m:2"] = "status 503, expected 200: gone"

    workspace.on_call = turn_bad
    with pytest.raises(InputError, match=r"^hold: "):
        roll_out(workspace)
    assert workspace.live == {"m:1": 100}


def test_tracebacks_in_the_log_stop_a_mirrored_version(roll_out: Any) -> None:
    workspace = FakeWorkspace(logs={"m:2": "Traceback (most recent call last)"}).serve(blue="m:1")

    def log(name: str) -> None:
        if name == "score":
            workspace.logs["m:2"] += "\nTraceback (most recent call last)"

    workspace.on_call = log
    with pytest.raises(InputError, match="mirror: tracebacks: 12 tracebacks in its log"):
        roll_out(workspace)


def test_a_deployment_that_does_not_become_healthy_is_removed(roll_out: Any) -> None:
    workspace = FakeWorkspace(unhealthy={"m:2"}).serve(blue="m:1")
    with pytest.raises(HttpResponseError, match="did not become healthy"):
        roll_out(workspace)
    assert (workspace.live, workspace.models) == ({"m:1": 100}, {"blue": "m:1"})
    assert roll_out.journal()["failed_step"] == "green created"


def test_traffic_that_someone_changes_meanwhile_goes_back_to_the_incumbent(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")

    def change(name: str) -> None:
        if name == "score" and workspace.endpoint["traffic"].get("green") == 10:
            workspace.endpoint["traffic"] = {"blue": 70, "green": 30}

    workspace.on_call = change
    with pytest.raises(InputError, match="someone else changed the traffic: found blue 70 %, green 30 %"):
        roll_out(workspace)
    assert workspace.live == {"m:1": 100}


def test_an_incumbent_that_dies_meanwhile_stops_the_rollout_and_what_cannot_be_undone_is_said(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")

    def die(name: str) -> None:
        if name == "score" and workspace.endpoint["traffic"] == {"green": 100}:
            workspace.deployments["blue"]["state"] = "Failed"

    workspace.on_call = die
    with pytest.raises(InputError, match="blue, which served before, is no longer healthy"):
        roll_out(workspace)
    assert roll_out.journal()["state"] == "rollback failed"
    assert workspace.live == {"m:2": 100}
    workspace.on_call = lambda name: None
    assert roll_out(workspace)["state"] == "live"
    assert workspace.live == {"m:2": 100}
    assert set(workspace.models.values()) == {"m:2"}


@pytest.mark.parametrize(
    ("failing", "said"),
    [("put traffic blue 100", "failed: traffic put back"), ("delete green", "failed: green removed")],
)
def test_a_way_back_that_fails_is_said_and_the_rest_of_it_still_taken(roll_out: Any, failing: str, said: str) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")
    workspace.always = {"put traffic green 100": "500 before", failing: "500 before"}
    with pytest.raises(HttpResponseError):
        roll_out(workspace)
    journal = roll_out.journal()
    assert journal["state"] == "rollback failed"
    assert journal["reasons"][0].startswith("HttpResponseError: ")
    assert journal["reasons"][1].startswith(said)
    assert workspace.calls.count(failing) == 3
    assert "delete green" in workspace.calls
    workspace.always = {}
    assert roll_out(workspace)["state"] == "live"
    assert (workspace.live, workspace.models) == ({"m:2": 100}, {"green": "m:2"})


def test_an_old_colour_that_cannot_be_removed_is_said_and_removed_by_the_next_run(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(old="m:1")
    workspace.always = {"delete old": "500 before"}
    with pytest.raises(InputError, match="m:2 serves, and something is left over: failed: old removed"):
        roll_out(workspace)
    assert roll_out.journal()["state"] == "live"
    assert workspace.live == {"m:2": 100}
    workspace.always = {}
    assert roll_out(workspace)["state"] == "unchanged"
    assert workspace.models == {"blue": "m:2"}
