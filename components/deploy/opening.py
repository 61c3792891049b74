"""What becomes of an endpoint that a rollout finds: refused, left alone, or begun with which colour; pure."""

from collections.abc import Mapping
from datetime import datetime

from actions import Begin, Opening, Unchanged, Wait
from live import COLOURS, IN_PROGRESS, LIVE, SUCCEEDED, Endpoint, Record

from finetune.errors import InputError
from finetune.workspace import ModelVersion


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


def spell(traffic: Mapping[str, int]) -> str:
    """Write shares for people."""
    return ", ".join(f"{name} {share} %" for name, share in sorted(traffic.items())) or "none"
