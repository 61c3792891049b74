"""Two rollouts of one endpoint: the second keeps away, or takes over from one that is dead."""

from datetime import timedelta
from typing import Any

import pytest
from rollout_support import FakeWorkspace, Killed

from finetune.errors import InputError


def half_way(roll_out: Any, job: str = "first") -> FakeWorkspace:
    """A rollout that died with half of the traffic on the new version."""
    workspace = FakeWorkspace().serve(blue="m:1")
    workspace.faults = {"put traffic blue 50, green 50": "killed after"}
    with pytest.raises(Killed):
        roll_out(workspace, job=job)
    workspace.next_process()
    assert workspace.live == {"m:1": 50, "m:2": 50}
    return workspace


@pytest.mark.parametrize("model", ["m:2", "m:3"])
def test_a_second_rollout_refuses_and_touches_nothing(roll_out: Any, model: str) -> None:
    workspace = half_way(roll_out)
    workspace.jobs = {"first": "Running"}
    workspace.calls.clear()
    with pytest.raises(InputError, match=r"another rollout has it \(job first, until 2026-11-20 01:00:.*--lock"):
        roll_out(workspace, model, job="second")
    assert workspace.live == {"m:1": 50, "m:2": 50}
    assert {call.split()[0] for call in workspace.calls} == {"get", "list"}


def test_the_lock_is_renewed_with_every_change_and_given_back(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")
    seen: list[str] = []
    workspace.on_call = lambda name: seen.append(workspace.endpoint["tags"].get("rollout_lock_until", ""))
    roll_out(workspace, job="first", canary_seconds=600.0)
    held = [until for until in dict.fromkeys(seen) if until]
    assert held == sorted(held)
    assert len(held) >= 5
    assert not any("lock" in tag for tag in workspace.endpoint["tags"])


@pytest.mark.parametrize(
    ("jobs", "second", "hours", "take_over"),
    [
        ({"first": "Failed"}, "second", 0, False),
        ({"first": "Canceled"}, "second", 0, False),
        ({"first": "Running"}, "first", 0, False),
        ({}, "second", 2, False),
        ({"first": "Running"}, "second", 0, True),
    ],
    ids=["failed", "cancelled", "the same job again", "expired", "by a person"],
)
def test_a_dead_rollout_is_undone_and_the_next_one_done(
    roll_out: Any, jobs: dict[str, str], second: str, hours: int, take_over: bool
) -> None:
    workspace = half_way(roll_out)
    workspace.jobs = jobs
    workspace.clock.time += timedelta(hours=hours)
    workspace.calls.clear()
    journal = roll_out(workspace, "m:3", job=second, take_over=take_over)
    assert journal["state"] == "live"
    assert (journal["incumbent"], workspace.live, workspace.models) == ("blue", {"m:3": 100}, {"green": "m:3"})
    changes = [call for call in workspace.calls if call.startswith(("put traffic", "create", "delete"))]
    assert changes[:3] == ["put traffic blue 100", "delete green", "create green"]


def test_the_model_to_follow_is_the_one_that_served_before_the_unfinished_rollout(roll_out: Any) -> None:
    workspace = half_way(roll_out)
    workspace.endpoint["traffic"] = {"green": 100}
    asked = []
    roll_out(workspace, "m:3", take_over=True, check_incumbent=asked.append)
    assert list(map(str, asked)) == ["m:1"]


def test_of_two_that_begin_at_the_same_moment_one_gives_way(roll_out: Any, deploy: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")

    def other_writes(name: str) -> None:
        # The other one saw the endpoint unlocked, too, and writes after us.
        if name == "poll put tags":
            workspace.endpoint["tags"]["rollout_lock_owner"] = "other"

    workspace.on_call = other_writes
    with pytest.raises(InputError, match="another rollout began at the same moment"):
        roll_out(workspace)
    assert roll_out.journal()["state"] == "superseded"
    assert (workspace.live, workspace.models) == ({"m:1": 100}, {"blue": "m:1"})


def test_a_rollout_that_was_taken_over_touches_nothing_more(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")

    def take_over(name: str) -> None:
        if name == "score" and workspace.endpoint["traffic"].get("green") == 50:
            workspace.endpoint["tags"]["rollout_lock_owner"] = "other"

    workspace.on_call = take_over
    with pytest.raises(InputError, match="or another rollout took it over"):
        roll_out(workspace)
    assert roll_out.journal()["state"] == "superseded"
    assert workspace.live == {"m:1": 50, "m:2": 50}


def test_a_failure_after_another_took_over_undoes_nothing(roll_out: Any) -> None:
    workspace = FakeWorkspace().serve(blue="m:1")

    def take_over(name: str) -> None:
        if name == "score" and workspace.endpoint["traffic"].get("green") == 50:
            workspace.endpoint["tags"]["rollout_lock_owner"] = "other"
            workspace.answers["m:2"] = "status 503, expected 200: gone"

    workspace.on_call = take_over
    with pytest.raises(InputError, match="canary 50 %: error rate"):
        roll_out(workspace)
    journal = roll_out.journal()
    assert journal["state"] == "superseded"
    assert journal["reasons"][1] == "endpoint messages: another rollout took it over"
    assert workspace.live == {"m:1": 50, "m:2": 50}


def test_tags_that_someone_edited_are_said(roll_out: Any) -> None:
    workspace = half_way(roll_out)
    del workspace.endpoint["tags"]["rollout_incumbent"]
    with pytest.raises(InputError, match=r"endpoint messages: its tags .* cannot be read .*'rollout_incumbent'"):
        roll_out(workspace, take_over=True)
    workspace.endpoint["tags"] = {"rollout_lock_owner": "x", "rollout_lock_job": "y", "rollout_lock_until": "soon"}
    with pytest.raises(InputError, match="cannot be read"):
        roll_out(workspace)
