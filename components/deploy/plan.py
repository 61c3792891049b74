"""What a rollout does next: a function of the endpoint as it is now, the policy and the checks that were passed.

Nothing here calls the service. What the endpoint says decides, so that a process that takes over from a dead one goes
on from what is there, whatever that one had in mind.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from live import COLOURS, IN_PROGRESS, LIVE, ROLLED_BACK, SUCCEEDED, Endpoint, Record
from policy import RolloutPolicy

from finetune.errors import InputError
from finetune.workspace import ModelVersion

SMOKE = "smoke"
MIRROR = "mirror"
HOLD = "hold"


@dataclass(frozen=True)
class Wait:
    """Something is being changed by an operation that has to end first."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Begin:
    """Take the lock and write down what is going to happen; a record that says live only tidies up."""

    record: Record


@dataclass(frozen=True)
class Unchanged:
    """The version serves already, and nothing is left over."""

    deployment: str


@dataclass(frozen=True)
class SetTraffic:
    """Change live and mirrored shares."""

    step: str
    traffic: Mapping[str, int]
    mirror: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CreateDeployment:
    """Make the candidate and wait until it is healthy."""

    name: str


@dataclass(frozen=True)
class RemoveDeployment:
    """Remove a deployment that gets no traffic."""

    name: str


@dataclass(frozen=True)
class RemoveEndpoint:
    """Remove an endpoint that the rollout made."""


@dataclass(frozen=True)
class Stage:
    """A state of the traffic that is held for a while, and checked."""

    name: str
    traffic: Mapping[str, int]
    mirror: Mapping[str, int]
    seconds: float


@dataclass(frozen=True)
class Check:
    """Check the candidate at a stage whose traffic is set."""

    stage: Stage


@dataclass(frozen=True)
class Commit:
    """Write down that the candidate serves from now on."""


@dataclass(frozen=True)
class Release:
    """Write the record's last state and give the lock back."""

    state: str


@dataclass(frozen=True)
class Done:
    """Nothing is left to do."""


@dataclass(frozen=True)
class Fail:
    """The rollout cannot go on, and is undone."""

    reason: str


Opening = Wait | Begin | Unchanged
Action = (
    Wait | SetTraffic | CreateDeployment | RemoveDeployment | RemoveEndpoint | Check | Commit | Release | Done | Fail
)


def check_lock(endpoint_name: str, live: Endpoint, now: datetime, owner_is_gone: bool) -> None:
    """Refuse while another rollout has the endpoint.

    Args:
        endpoint_name: for the message.
        live: the endpoint.
        now: the time, with a time zone.
        owner_is_gone: the job that took the lock is known to have ended, or a person takes the lock over.

    Raises:
        InputError: it has.
    """
    lock = live.lock
    if lock is None or owner_is_gone or now >= lock.until:
        return
    raise InputError(
        f"endpoint {endpoint_name}: another rollout has it (job {lock.job}, until {lock.until:%Y-%m-%d %H:%M:%S %Z}); "
        "wait for it, or give --lock take-over once you know that it is dead"
    )


def choose_opening(endpoint_name: str, live: Endpoint | None, model: ModelVersion, rollout: str) -> Opening:
    """Decide what to do with an endpoint that no other rollout has.

    Args:
        endpoint_name: for messages.
        live: the endpoint; None when there is none.
        model: what is to serve.
        rollout: id of this rollout.

    Raises:
        InputError: nothing can be rolled out here without a person's decision: traffic is split or mirrored by hand,
            or what serves, or the endpoint itself, is not healthy.
    """
    if live is None:
        return Begin(Record(rollout, IN_PROGRESS, str(model), None, COLOURS[0], made_endpoint=True))
    if moving := live.moving(*COLOURS, *live.traffic):
        return Wait(moving)
    unfinished = live.record if live.record is not None and live.record.state == IN_PROGRESS else None
    if live.provisioning_state != SUCCEEDED and unfinished is None:
        raise InputError(
            f"endpoint {endpoint_name} is in state {live.provisioning_state}; expected {SUCCEEDED}: update or delete it"
        )
    incumbent = _find_incumbent(endpoint_name, live, unfinished)
    serving = live.find(incumbent)
    others = [name for name in live.mirror if name not in COLOURS and name not in leftovers(live, incumbent)]
    if others:
        raise InputError(
            f"endpoint {endpoint_name}: its traffic is mirrored ({spell(live.mirror)}), and not by a rollout; take "
            "that away first"
        )
    if unfinished is None and serving is not None and serving.model == model:
        old = live.record.incumbent if live.record is not None and live.record.candidate == serving.name else None
        if not leftovers(live, serving.name) and live.find(old) is None and live.lock is None:
            return Unchanged(serving.name)
        return Begin(Record(rollout, LIVE, str(model), old, serving.name, made_endpoint=False))
    candidate = next(colour for colour in COLOURS if colour != incumbent)
    made = unfinished is not None and unfinished.made_endpoint and incumbent is None
    return Begin(Record(rollout, IN_PROGRESS, str(model), incumbent, candidate, made))


def _find_incumbent(endpoint_name: str, live: Endpoint, unfinished: Record | None) -> str | None:
    """Return the deployment that all traffic goes back to; None when nothing serves.

    After a rollout that a crash left unfinished it is the one which that rollout recorded, however far the traffic
    went. When that one is gone, or there was none, it is the one that gets all traffic.

    Raises:
        InputError: there is no such deployment, or it is not healthy.
    """
    if unfinished is not None and set(live.traffic) <= {unfinished.incumbent, unfinished.candidate}:
        if live.healthy(unfinished.incumbent):
            return unfinished.incumbent
        if unfinished.incumbent is None and not live.healthy(unfinished.candidate):
            return None
    if len(live.traffic) > 1:
        raise InputError(
            f"endpoint {endpoint_name}: its traffic is split ({spell(live.traffic)}); give one deployment all of it "
            "first"
        )
    if not live.traffic:
        return None
    (name,) = live.traffic
    if not live.healthy(name):
        found = live.find(name)
        state = "not there" if found is None else f"in state {found.provisioning_state}"
        raise InputError(
            f"endpoint {endpoint_name}: {name} gets all traffic and is {state}; expected {SUCCEEDED}: there would be "
            "nothing to go back to; repair it, or take its traffic away"
        )
    return name


def leftovers(live: Endpoint, serving: str | None) -> list[str]:
    """Name what rollouts left: idle colours and whatever carries a rollout's tag. Other deployments are not ours."""
    return [
        deployment.name
        for deployment in live.deployments
        if deployment.name != serving
        and (deployment.name in COLOURS or deployment.rollout is not None)
        and not live.traffic.get(deployment.name)
    ]


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


def spell(traffic: Mapping[str, int]) -> str:
    """Write shares for people."""
    return ", ".join(f"{name} {share} %" for name, share in sorted(traffic.items())) or "none"


def _split(incumbent: str, candidate: str, share: int) -> dict[str, int]:
    return {name: percent for name, percent in ((incumbent, 100 - share), (candidate, share)) if percent}


def _is(live: Endpoint, traffic: Mapping[str, int], mirror: Mapping[str, int]) -> bool:
    return dict(live.traffic) == dict(traffic) and dict(live.mirror) == dict(mirror)
