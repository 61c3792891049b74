"""What a rollout does next: a function of the endpoint as it is now, the policy and the checks that were passed.

Nothing here calls the service. What the endpoint says decides, so that a process that takes over from a dead one goes
on from what is there, whatever that one had in mind.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from actions import (
    Action,
    Check,
    Commit,
    CreateDeployment,
    Done,
    Fail,
    Release,
    RemoveDeployment,
    RemoveEndpoint,
    SetTraffic,
    Stage,
    Wait,
)
from live import IN_PROGRESS, LIVE, ROLLED_BACK, SUCCEEDED, Endpoint, Record
from opening import leftovers, spell
from policy import RolloutPolicy

SMOKE = "smoke"
MIRROR = "mirror"
HOLD = "hold"


def stages(record: Record, policy: RolloutPolicy) -> tuple[Stage, ...]:
    """List the states of the traffic that a candidate goes through, in order."""
    everything = {record.candidate: 100}
    hold = Stage(HOLD, everything, {}, policy.hold_seconds)
    if record.incumbent is None:
        return Stage(SMOKE, {}, {}, 0), Stage("canary 100 %", everything, {}, policy.canary_seconds), hold
    baseline = {record.incumbent: 100}
    mirror = Stage(MIRROR, baseline, {record.candidate: policy.mirror_percent}, policy.mirror_seconds)
    canaries = [
        Stage(f"canary {share} %", _split(record.incumbent, record.candidate, share), {}, policy.canary_seconds)
        for share in policy.canary_percents
    ]
    return Stage(SMOKE, baseline, {}, 0), *([mirror] if policy.mirror_percent else []), *canaries, hold


def next_action(
    live: Endpoint | None, owner: str, policy: RolloutPolicy, passed: Collection[str], expected: SetTraffic | None
) -> Action:
    """Return the next step forward.

    Args:
        live: the endpoint now.
        owner: of the lock, as this process wrote it.
        policy: rollout.yml.
        passed: names of the stages that this process has checked.
        expected: the traffic that this process set last; None before it did.
    """
    if live is None or live.record is None or not has_lock(live, owner):
        return Fail("the endpoint was removed, or another rollout took it over")
    record = live.record
    if moving := live.moving(record.candidate, record.incumbent):
        return Wait(moving)
    if expected is not None and not _is(live, expected.traffic, expected.mirror):
        return Fail(
            f"someone else changed the traffic: found {spell(live.traffic)}, mirrored {spell(live.mirror)}; "
            f"expected {spell(expected.traffic)}, mirrored {spell(expected.mirror)}"
        )
    if record.incumbent is not None and not live.healthy(record.incumbent):
        return Fail(f"{record.incumbent}, which served before, is no longer healthy")
    candidate = live.find(record.candidate)
    if candidate is None or candidate.rollout != record.id:
        baseline = baseline_of(record)
        if not _is(live, baseline, {}):
            return SetTraffic("traffic of an unfinished rollout put back", baseline)
        return CreateDeployment(record.candidate) if candidate is None else RemoveDeployment(record.candidate)
    if candidate.provisioning_state != SUCCEEDED:
        return Fail(f"{candidate.name} is in state {candidate.provisioning_state}; expected {SUCCEEDED}")
    for stage in stages(record, policy):
        if stage.name not in passed:
            if not _is(live, stage.traffic, stage.mirror):
                return SetTraffic(f"traffic for {stage.name}", stage.traffic, stage.mirror)
            return Check(stage)
    return Commit()


def next_tidy(live: Endpoint | None, owner: str, skipped: Collection[Action]) -> Action:
    """Return the next step of removing what no longer serves.

    Args:
        live: the endpoint now.
        owner: of the lock, as this process wrote it.
        skipped: steps that failed too often.
    """
    if live is None or live.record is None or not has_lock(live, owner):
        return Done()
    record = live.record
    names = leftovers(live, record.candidate)
    if live.find(record.incumbent) is not None and record.incumbent not in names:
        # What served before may have any name, and its time is over.
        names.append(str(record.incumbent))
    idle = [name for name in names if name != record.candidate and not live.traffic.get(name)]
    if (wait := Wait(live.moving(*idle))).names and wait not in skipped:
        return wait
    unmirror = SetTraffic("mirror taken away", live.traffic)
    if set(live.mirror) & set(idle) and unmirror not in skipped:
        return unmirror
    for action in map(RemoveDeployment, idle):
        if action not in skipped:
            return action
    return Done() if Release(LIVE) in skipped else Release(LIVE)


def next_undo(live: Endpoint | None, owner: str, skipped: Collection[Action]) -> Action:
    """Return the next step of the way back.

    Args:
        live: the endpoint now.
        owner: of the lock, as this process wrote it. What another one has is left alone.
        skipped: steps that failed too often.
    """
    if live is None or live.record is None or not has_lock(live, owner):
        return Done()
    record = live.record
    if (wait := Wait(live.moving())).names and wait not in skipped:
        return wait
    back = SetTraffic("traffic put back", baseline_of(record))
    if not _is(live, back.traffic, {}) and back not in skipped:
        return back
    if (wait := Wait(live.moving(record.candidate))).names and wait not in skipped:
        return wait
    remove = RemoveDeployment(record.candidate)
    candidate = live.find(record.candidate)
    if candidate is not None and candidate.rollout == record.id and remove not in skipped:
        return remove
    if record.made_endpoint and not live.deployments and RemoveEndpoint() not in skipped:
        return RemoveEndpoint()
    # What could not be undone stays "in progress": the next run takes it up from there.
    release = Release(IN_PROGRESS if skipped else ROLLED_BACK)
    return Done() if release in skipped else release


def next_release(live: Endpoint | None, owner: str, skipped: Collection[Action]) -> Action:
    """Return the lock if it is the owner's, and change nothing else; arguments as of `next_undo`."""
    if live is None or live.record is None or not has_lock(live, owner):
        return Done()
    release = Release(live.record.state)
    return Done() if release in skipped else release


def ended(live: Endpoint, record: Record, state: str) -> Record:
    """Return the record of a rollout that is over; what is gone is no longer named."""
    return replace(record, state=state, incumbent=record.incumbent if live.find(record.incumbent) else None)


def has_lock(live: Endpoint, owner: str) -> bool:
    """Tell whether the endpoint's lock is the owner's."""
    return live.lock is not None and live.lock.owner == owner


def baseline_of(record: Record) -> dict[str, int]:
    """Return the traffic from before."""
    return {} if record.incumbent is None else {record.incumbent: 100}


def _split(incumbent: str, candidate: str, share: int) -> dict[str, int]:
    return {name: percent for name, percent in ((incumbent, 100 - share), (candidate, share)) if percent}


def _is(live: Endpoint, traffic: Mapping[str, int], mirror: Mapping[str, int]) -> bool:
    return dict(live.traffic) == dict(traffic) and dict(live.mirror) == dict(mirror)
