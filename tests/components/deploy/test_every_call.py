"""Every single call of a rollout fails, in every way, and the process dies at each: what the endpoint is then."""

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import AzureError
from rollout_support import FakeWorkspace, Killed

from finetune.errors import InputError

POLICY = {"canary_percents": (50, 100), "probes": 1}


@pytest.fixture(autouse=True)
def _load_once(deploy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the definition's YAML out of some thousand rollouts."""

    def load(path: Any, params_override: list[dict]) -> SimpleNamespace:
        values = {name: value for override in params_override for name, value in override.items()}
        return SimpleNamespace(**{"tags": {}, "traffic": {}, "mirror_traffic": {}, **values})

    for name in ("load_online_endpoint", "load_online_deployment"):
        monkeypatch.setattr(deploy.service, name, load)


def first() -> FakeWorkspace:
    return FakeWorkspace()


def upgrade() -> FakeWorkspace:
    return FakeWorkspace().serve(blue="m:1")


def bad_smoke() -> FakeWorkspace:
    return FakeWorkspace(answers={"m:2": []}).serve(blue="m:1")


def bad_canary() -> FakeWorkspace:
    workspace = FakeWorkspace().serve(blue="m:1")

    def turn_bad(name: str) -> None:
        if name == "score" and workspace.endpoint["traffic"].get("green") == 50:
            workspace.answers["m:2"] = "status 503, expected 200: gone"

    workspace.on_call = turn_bad
    return workspace


REFUSED = ("500 before", "429 before", "timeout before", "reset before")
"""To the rollout these are one kind, an error of the client's and nothing done; each call meets one of them."""
SCENARIOS = {"first": first, "upgrade": upgrade, "bad smoke": bad_smoke, "bad canary": bad_canary}


def calls_of(make: Callable[[], FakeWorkspace], roll_out: Any) -> list[str]:
    workspace = make()
    with contextlib.suppress(InputError):
        roll_out(workspace, **POLICY)
    assert len(workspace.calls) > 20
    return workspace.calls


def state_of(workspace: FakeWorkspace) -> str:
    """Name the state when it is one of the two that may be left: nothing but what serves, with all traffic."""
    if workspace.endpoint is None or (not workspace.live and not workspace.models):
        return "nothing"
    (only,) = workspace.models.values()
    assert workspace.live == {only: 100}
    assert not workspace.endpoint["mirror"]
    return only


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("fault", ["refused", "500 after", "reset after", "interrupted before", "interrupted after"])
def test_a_call_that_fails_leaves_all_new_or_all_old(roll_out: Any, scenario: str, fault: str) -> None:
    make = SCENARIOS[scenario]
    old = "nothing" if scenario == "first" else "m:1"
    for number, call in enumerate(calls_of(make, roll_out)):
        workspace = make()
        workspace.faults = {number: REFUSED[number % len(REFUSED)] if fault == "refused" else fault}
        with contextlib.suppress(InputError, AzureError, SystemExit):
            roll_out(workspace, **POLICY)
        said, state = roll_out.journal()["state"], state_of(workspace)
        where = f"call {number} ({call}), {fault}: {said}, {state}"
        if said == "in progress":
            # It failed before anything was touched; deploy.main says "unchanged" then.
            assert state == old, where
            assert not any(called.startswith(("put", "create", "delete")) for called in workspace.calls), where
        else:
            assert (said, state) in {("live", "m:2"), ("rolled back", old)}, where
        assert not any(tag.startswith("rollout_lock") for tag in (workspace.endpoint or {}).get("tags", {})), where


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("fault", ["killed before", "killed after"])
def test_a_run_after_a_process_that_died_converges(roll_out: Any, scenario: str, fault: str) -> None:
    make = SCENARIOS[scenario]
    for number, call in enumerate(calls_of(make, roll_out)):
        workspace = make()
        workspace.faults = {number: fault}
        left: list[dict] = []

        def note(workspace: FakeWorkspace = workspace, left: list[dict] = left) -> None:
            left.append(roll_out.journal())

        workspace.on_kill = note
        with pytest.raises(Killed):
            roll_out(workspace, job="first", **POLICY)
        where = f"call {number} ({call}), {fault}"
        workspace.check()
        (journal,) = left
        recorded = journal["steps"][-1]["traffic"] if journal["steps"] else None
        traffic = workspace.endpoint["traffic"] if workspace.endpoint else {}
        if journal["state"] == "in progress" and recorded not in (None, traffic):
            assert "traffic" in journal["current_step"], where
        workspace.next_process()
        workspace.answers, workspace.on_call = {}, lambda name: None
        workspace.jobs = {"first": "Failed"}
        again = roll_out(workspace, job="second", **POLICY)
        assert again["state"] in ("live", "unchanged"), where
        assert state_of(workspace) == "m:2", where
        assert not any(tag.startswith("rollout_lock") for tag in workspace.endpoint["tags"]), where


def test_a_run_that_dies_again_and_again_converges(roll_out: Any) -> None:
    workspace = upgrade()
    for number in range(12, 60, 7):
        workspace.faults = {len(workspace.calls) + number: "killed after"}
        with contextlib.suppress(Killed):
            roll_out(workspace, take_over=True, **POLICY)
        workspace.check()
        assert set(workspace.live) <= {"m:1", "m:2"}
        assert sum(workspace.live.values()) == 100
        workspace.next_process()
    roll_out(workspace, take_over=True, **POLICY)
    assert state_of(workspace) == "m:2"
