"""Blue/green: looks at the endpoint, takes the step that `plan` names, and looks again.

Until the new version is committed, any failure puts the old state back; after that, only what is left is removed.
"""

import contextlib
import logging
import uuid
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from actions import (
    Action,
    Begin,
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
    Unchanged,
    Wait,
    describe,
)
from journal import Journal
from live import IN_PROGRESS, LIVE, Endpoint, Lock, Record
from opening import check_lock, choose_opening
from plan import ended, has_lock, next_action, next_release, next_tidy, next_undo
from probes import ScoringTarget
from request import NO_JOB, RolloutRequest, World
from service import CLIENT_FAILURES, Service
from stage_check import check_stage

from finetune.errors import InputError

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

LOGGER = logging.getLogger(__name__)
SETTLE_SECONDS = 1800.0
"""For so long an operation that is under way is waited for."""
LOCK_SETTLE_SECONDS = 2.0
"""Between writing a lock and reading it back: whoever saw the endpoint unlocked has written by then."""
ATTEMPTS = 3
ATTEMPT_PAUSE_SECONDS = 2.0
JOURNALLED_LOG_LINES = 30


class LockLostError(InputError):
    """Another rollout has the endpoint; nothing more may be changed."""


class RolloutFailedError(InputError):
    """The new version does not take over."""


class StillMovingError(InputError):
    """An operation that was waited for has not ended."""


def roll_out(client: "MLClient", request: RolloutRequest, journal: Journal, world: World | None = None) -> None:
    """Make an endpoint serve a model version, without a moment in which it serves none.

    Args:
        client: the workspace.
        request: what is to serve where.
        journal: gets every step.
        world: requests and time.

    Raises:
        InputError: the endpoint cannot be used as it is, or another rollout has it; nothing was touched.
        RolloutFailedError: the new version failed a check; it was undone, as the journal says.
        azure.core.exceptions.AzureError: the service refused or failed; it was undone, as the journal says.
    """
    _Rollout(client, request, journal, world or World()).run()


class _Rollout:
    """One process's attempt."""

    def __init__(self, client: "MLClient", request: RolloutRequest, journal: Journal, world: World) -> None:
        self._service = Service(client, request.endpoint_name, request.definition)
        self._request = request
        self._journal = journal
        self._world = world
        self._owner = uuid.uuid4().hex
        self._passed: list[str] = []
        self._expected: SetTraffic | None = None
        self._waited = 0.0
        self._traffic: dict[str, int] = {}

    def run(self) -> None:
        name, request = self._request.endpoint_name, self._request
        # Read before anything is touched: a definition that cannot be used costs nothing.
        self._service.load("blue", request.model, self._owner)
        live, opening = self._open()
        if isinstance(opening, Unchanged):
            traffic = live.traffic if live is not None else {}
            self._journal.step(f"{request.model} serves already, as {opening.deployment}", traffic)
            self._unchanged(opening.deployment, traffic)
            return
        record = opening.record
        self._journal.begin(rollout=record.id, incumbent=record.incumbent, candidate=record.candidate)
        try:
            self._begin(live, record)
            if record.state == IN_PROGRESS:
                LOGGER.info("rolling out %s at %s as %s", request.model, name, record.candidate)
                self._forward()
        except LockLostError as error:
            self._journal.finish("superseded", [str(error)])
            raise
        except BaseException as error:
            if record.state == IN_PROGRESS:
                self._back(error)
            else:
                self._drive(next_release)
            raise
        self._tidy(record)

    def _open(self) -> tuple[Endpoint | None, Begin | Unchanged]:
        request = self._request
        while True:
            live = self._service.observe()
            if live is not None:
                lock = live.lock
                gone = request.take_over or (lock is not None and self._has_ended(lock))
                check_lock(request.endpoint_name, live, self._world.now(), gone)
            opening = choose_opening(request.endpoint_name, live, request.model, self._owner)
            if isinstance(opening, Begin) and opening.record.state == IN_PROGRESS:
                incumbent = live.find(opening.record.incumbent) if live is not None else None
                request.check_incumbent(incumbent.model if incumbent is not None else None)
            if not isinstance(opening, Wait):
                return live, opening
            self._wait(opening.names)

    def _has_ended(self, lock: Lock) -> bool:
        """Tell whether a lock's owner is known to be gone: a job that runs again has it from its own first attempt."""
        if lock.job == NO_JOB or self._world.now() >= lock.until:
            return False
        return lock.job == self._request.job or self._service.job_has_ended(lock.job)

    def _begin(self, live: Endpoint | None, record: Record) -> None:
        step = "endpoint created" if live is None else "lock taken"
        self._journal.start(step)
        if live is None:
            self._service.create_endpoint(record, self._lock())
        else:
            self._service.write(live, record, self._lock())
        self._world.sleep(LOCK_SETTLE_SECONDS)
        found = self._service.observe()
        if found is None or not has_lock(found, self._owner):
            raise LockLostError(f"endpoint {self._request.endpoint_name}: another rollout began at the same moment")
        self._journal.step(step, found.traffic)

    def _forward(self) -> None:
        """Go on until the new version is committed."""
        while True:
            live = self._service.observe()
            action = next_action(live, self._owner, self._request.policy, self._passed, self._expected)
            if isinstance(action, Fail):
                if live is None or not has_lock(live, self._owner):
                    raise LockLostError(f"endpoint {self._request.endpoint_name}: {action.reason}")
                raise RolloutFailedError(action.reason)
            if live is not None and live.record is not None:
                self._perform(action, live, live.record)
            if isinstance(action, Commit):
                return

    def _perform(self, action: Action, live: Endpoint, record: Record) -> None:
        """Take one step and record it."""
        if isinstance(action, Wait):
            self._wait(action.names)
            return
        self._waited = 0.0
        step = describe(action)
        self._journal.start(step)
        traffic, figures = dict(live.traffic), {"mirror": dict(live.mirror)} if live.mirror else {}
        match action:
            case SetTraffic():
                self._service.write(live, record, self._lock(), action.traffic, action.mirror)
                self._expected = action
                traffic, figures = dict(action.traffic), {"mirror": dict(action.mirror)} if action.mirror else {}
            case CreateDeployment():
                LOGGER.info("creating %s for %s", action.name, self._request.model)
                self._service.create_deployment(action.name, self._request.model, record.id)
            case RemoveDeployment():
                self._service.remove_deployment(action.name)
            case RemoveEndpoint():
                self._service.remove_endpoint()
            case Check():
                self._check(action.stage, record, live.scoring_uri)
                return
            case Commit():
                self._service.write(live, replace(record, state=LIVE), self._lock())
            case Release():
                self._service.write(live, ended(live, record, action.state), None)
        self._journal.step(step, traffic, **figures)

    def _check(self, stage: Stage, record: Record, uri: str) -> None:
        target = ScoringTarget(uri, self._service.key(), None)
        checks = check_stage(stage, record, target, self._request, self._service.logs, self._world)
        failed = [check for check in checks if not check.passed]
        self._journal.step(
            f"{stage.name} checked" if not failed else f"{stage.name} failed",
            stage.traffic,
            **({"mirror": dict(stage.mirror)} if stage.mirror else {}),
            checks=[check.figures() for check in checks],
        )
        if failed:
            said = "; ".join(f"{check.name}: {check.reason}" for check in failed)
            raise RolloutFailedError(f"{stage.name}: {said}")
        LOGGER.info("%s: %d checks passed", stage.name, len(checks))
        self._passed.append(stage.name)

    def _back(self, error: BaseException) -> None:
        """Put the state from before back, each step of it whatever becomes of the others."""
        reason = f"{type(error).__name__}: {error}" if not isinstance(error, InputError) else str(error)
        LOGGER.warning("rolling back: %s", reason)
        self._journal.failed(reason)
        self._waited = 0.0
        try:
            failures = self._drive(next_undo)
        except LockLostError as lost:
            self._journal.finish("superseded", [reason, str(lost)])
            return
        state = "rollback failed" if failures else "rolled back"
        self._journal.finish(state, [reason, *failures], traffic=self._traffic)

    def _tidy(self, record: Record) -> None:
        """Remove what no longer serves; the new version does, whatever becomes of this."""
        request = self._request
        if record.state == IN_PROGRESS:
            LOGGER.info("%s serves %s as %s", request.endpoint_name, request.model, record.candidate)
            passed = [f"{request.model} passed {', '.join(self._passed)}"]
            self._journal.finish("live", passed, deployment=record.candidate, traffic={record.candidate: 100})
        failures = self._drive(next_tidy)
        if record.state == LIVE:
            self._unchanged(record.candidate, {record.candidate: 100})
        if failures:
            self._journal.finish(self._journal.state, [*self._journal.reasons, *failures])
            raise RolloutFailedError(f"{request.model} serves, and something is left over: {'; '.join(failures)}")

    def _drive(self, choose: Callable[[Endpoint | None, str, Collection[Action]], Action]) -> list[str]:
        """Take the steps that `choose` names until it is done; what fails several times is left out and said."""
        skipped: list[Action] = []
        failures: list[str] = []
        failed_in_a_row = 0
        interrupt: SystemExit | None = None
        while True:
            action: Action | None = None
            try:
                live = self._service.observe()
                self._traffic = dict(live.traffic) if live is not None else {}
                if live is not None and live.lock is not None and not has_lock(live, self._owner):
                    raise LockLostError(f"endpoint {self._request.endpoint_name}: another rollout took it over")
                action = choose(live, self._owner, skipped)
                if isinstance(action, Done) or live is None or live.record is None:
                    break
                if isinstance(action, RemoveDeployment) and choose is next_undo:
                    self._keep_log(action.name, live)
                self._perform(action, live, live.record)
                failed_in_a_row = 0
            except LockLostError:
                raise
            except SystemExit as error:
                # The way back was begun for another reason, and has to be gone to its end first.
                if interrupt is not None:
                    raise
                interrupt = error
            except (*CLIENT_FAILURES, InputError) as error:
                failed_in_a_row += 1
                LOGGER.error("%s", error)
                if failed_in_a_row < ATTEMPTS and not isinstance(error, StillMovingError):
                    self._world.sleep(ATTEMPT_PAUSE_SECONDS)
                    continue
                failed_in_a_row = 0
                step = "look at the endpoint" if action is None else describe(action)
                failures.append(f"failed: {step}: {type(error).__name__}: {error}")
                if action is None:
                    break
                self._waited = 0.0
                skipped.append(action)
        if interrupt is not None and choose is not next_undo:
            raise interrupt
        return failures

    def _keep_log(self, deployment: str, live: Endpoint) -> None:
        """Record the end of a deployment's log before it goes with it."""
        with contextlib.suppress(*CLIENT_FAILURES):
            lines = self._service.logs(deployment).splitlines()[-JOURNALLED_LOG_LINES:]
            self._journal.step(f"log of {deployment}", live.traffic, log=lines)

    def _unchanged(self, deployment: str, traffic: object) -> None:
        reason = f"{self._request.model} serves already"
        self._journal.finish("unchanged", [reason], deployment=deployment, traffic=traffic)

    def _lock(self) -> Lock:
        until = self._world.now() + timedelta(minutes=self._request.policy.lock_minutes)
        return Lock(self._owner, self._request.job, until)

    def _wait(self, names: tuple[str, ...]) -> None:
        """Wait a moment for an operation that is under way.

        The service is asked, not the operation's poller: an interrupt may have come before there was one, and in
        Python 3.11 a poller whose wait was interrupted says that it is done.
        """
        if self._waited > SETTLE_SECONDS:
            raise StillMovingError(
                f"endpoint {self._request.endpoint_name}: an operation on {', '.join(names)} has not ended after "
                f"{SETTLE_SECONDS:.0f} s"
            )
        pause = min(10.0, 0.5 + self._waited / 10)
        self._world.sleep(pause)
        self._waited += pause
