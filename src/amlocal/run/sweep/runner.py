"""Runs the trials of a sweep: as many at a time as allowed, ended early when a policy says so."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from amlocal.reader.model import CommandNode
from amlocal.reader.search import Literal, SweepSpec
from amlocal.run.execute import Execution, execute
from amlocal.run.files import WorkFolder
from amlocal.run.process import ProcessResult, tail
from amlocal.run.records import CANCELED, COMPLETED, FAILED, RUNNING, TrialRecord
from amlocal.run.services import Given, Services
from amlocal.run.snapshot import Snapshot
from amlocal.run.sweep import termination
from amlocal.run.sweep.sampling import make_sampler
from amlocal.run.sweep.table import write_table
from amlocal.run.tracking import FAILED as RUN_FAILED
from amlocal.run.tracking import FINISHED, KILLED

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended.

    Attributes:
        status: Completed, Failed or Canceled.
        error: why it did not complete.
        best: the best completed trial's number.
    """

    status: str
    error: str | None = None
    best: int | None = None


class SweepRun:
    """One run of one sweep.

    Args:
        name: the step's name.
        node: the node; it has a sweep.
        given: the inputs that every trial gets.
        snapshot: the trial's code.
        folder: the step's folder.
        run_id: the step's MLflow run.
        services: the job's surroundings.
    """

    def __init__(
        self,
        name: str,
        node: CommandNode,
        sweep: SweepSpec,
        given: Mapping[str, Given],
        snapshot: Snapshot,
        folder: WorkFolder,
        run_id: str,
        services: Services,
    ) -> None:
        self._name = name
        self._node = node
        self._sweep = sweep
        self._given = given
        self._snapshot = snapshot
        self._folder = folder
        self._run_id = run_id
        self._services = services
        self._concurrent = min(sweep.limits.max_concurrent_trials, services.cores)
        self._trials: dict[int, TrialRecord] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._ending: dict[int, str] = {}
        self._judged: dict[int, int] = {}

    async def run(self) -> SweepOutcome:
        """Run all trials and choose the best.

        Returns:
            The outcome; a failed trial does not fail the sweep as long as another one completes.

        Raises:
            asyncio.CancelledError: when canceled, after every trial has been ended.
        """
        timeout = self._sweep.limits.timeout
        try:
            async with asyncio.timeout(timeout):
                await self._run_trials()
        except TimeoutError:
            return SweepOutcome(CANCELED, f"the sweep's timeout of {timeout} s passed")
        finally:
            self._write_table()
        return await self._choose()

    async def _run_trials(self) -> None:
        sampler = make_sampler(self._sweep, self._concurrent)
        total = self._sweep.limits.max_total_trials
        started = told = 0
        watcher = asyncio.create_task(self._watch())
        try:
            while True:
                while (
                    started < total
                    and len(self._running) < self._concurrent
                    and (sampler.window is None or started - told < sampler.window)
                ):
                    parameters = sampler.propose()
                    if parameters is None:
                        total = started
                        break
                    self._running[started] = asyncio.create_task(self._trial(started, parameters))
                    started += 1
                if not self._running:
                    return
                await asyncio.wait({watcher, *self._running.values()}, return_when=asyncio.FIRST_COMPLETED)
                if watcher.done():
                    watcher.result()
                for number in [number for number, task in self._running.items() if task.done()]:
                    self._running.pop(number).result()
                while told < started and told not in self._running:
                    trial = self._trials[told]
                    sampler.tell(told, trial.best if trial.status == COMPLETED else None)
                    told += 1
        finally:
            left = [watcher, *self._running.values()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _trial(self, number: int, parameters: Mapping[str, Literal]) -> None:
        tracking = self._services.tracking
        self._put(TrialRecord(number, parameters, RUNNING, started=time.time()))
        tags = {"hyperparameters": json.dumps(dict(parameters)), "amlocal.trial": str(number)}
        name = f"{self._name}-{number}"
        experiment = self._services.context.experiment_id
        try:
            run_id = await asyncio.to_thread(tracking.start_run, experiment, name, self._run_id, tags)
            execution = self._execution(number, parameters, run_id)
            self._put(dataclasses.replace(self._trials[number], run_id=run_id, log=str(execution.folder.log)))

            def used(result: ProcessResult) -> None:
                self._put(dataclasses.replace(self._trials[number], cpu_seconds=result.cpu_seconds))

            result = await execute(execution, self._services.context, used)
            status, reason = self._status(result, execution)
        except asyncio.CancelledError:
            if number not in self._ending:
                await self._end(number, CANCELED, "the sweep was ended")
                raise
            status, reason = CANCELED, self._ending[number]
        except OSError as error:
            status, reason = FAILED, str(error)
        await self._end(number, status, reason)

    async def _end(self, number: int, status: str, reason: str | None) -> None:
        tracking, trial = self._services.tracking, self._trials[number]
        run_id = trial.run_id
        if run_id is None:  # canceled before it had one
            self._put(dataclasses.replace(trial, status=status, reason=reason, ended=time.time()))
            return
        run_status = {COMPLETED: FINISHED, CANCELED: KILLED}.get(status, RUN_FAILED)
        note = {} if reason is None else {"amlocal.reason": reason}
        self._put(self._with_curve(trial, await asyncio.to_thread(tracking.curve, run_id, self._metric)))
        self._put(dataclasses.replace(self._trials[number], status=status, reason=reason, ended=time.time()))
        self._write_table()
        await asyncio.to_thread(tracking.end_run, run_id, run_status, note)

    def _status(self, result: ProcessResult, execution: Execution) -> tuple[str, str | None]:
        if result.timed_out:
            return CANCELED, f"the trial's timeout of {execution.timeout:g} s passed"
        if result.exit_code != 0:
            last = tail(execution.folder.log, 1)
            return FAILED, f"exit code {result.exit_code}" + (f": {last[0][:200]}" if last else "")
        return COMPLETED, None

    def _execution(self, number: int, parameters: Mapping[str, Literal], run_id: str) -> Execution:
        component, limits = self._node.component, self._sweep.limits
        texts = {name: str(value) for name, value in parameters.items()}
        given = {name: value.text for name, value in self._given.items()}
        swept = {name: text for name, text in texts.items() if name in component.inputs}
        threads = str(max(1, self._services.cores // self._concurrent))
        shared = {name: threads for name in _THREAD_VARIABLES if name not in os.environ}
        return Execution(
            component=component,
            inputs={**given, **swept},
            search_space=texts,
            snapshot=self._snapshot.folder,
            folder=self._folder.trial(number),
            interpreter=self._services.interpreters[self._name],
            run_id=run_id,
            variables=shared if self._concurrent > 1 else {},
            timeout=limits.trial_timeout or component.timeout,
        )

    @property
    def _metric(self) -> str:
        return self._sweep.primary_metric

    @property
    def _sign(self) -> float:
        return 1.0 if self._sweep.goal == "maximize" else -1.0

    async def _watch(self) -> None:
        """Read the running trials' metric again and again, and apply the policy to what is new."""
        while True:
            await asyncio.sleep(self._services.poll_seconds)
            for number in list(self._running):
                trial = self._trials.get(number)
                if trial is None or trial.run_id is None or trial.status != RUNNING:
                    continue
                curve = await asyncio.to_thread(self._services.tracking.curve, trial.run_id, self._metric)
                trial = self._trials[number]
                if trial.status == RUNNING and len(curve) > len(trial.curve):
                    self._put(self._with_curve(trial, curve))
                    self._judge(number)

    def _judge(self, number: int) -> None:
        policy = self._sweep.early_termination
        if policy is None or number in self._ending:
            return
        # A metric that is not a number is worse than any number.
        worst = -self._sign * math.inf
        curves = {
            trial.number: [worst if math.isnan(value) else value for value in trial.curve]
            for trial in self._trials.values()
        }
        for interval in range(self._judged.get(number, 0) + 1, len(curves[number]) + 1):
            self._judged[number] = interval
            if not termination.due(policy, interval):
                continue
            reason = termination.verdict(policy, self._sweep.goal, curves, number, interval)
            if reason is not None:
                self._ending[number] = reason
                self._running[number].cancel()
                return

    def _with_curve(self, trial: TrialRecord, curve: tuple[float, ...]) -> TrialRecord:
        numbers = [value for value in curve if not math.isnan(value)]
        best = max(numbers, key=lambda value: self._sign * value) if numbers else None
        return dataclasses.replace(trial, curve=curve, best=best)

    async def _choose(self) -> SweepOutcome:
        completed = [trial for trial in self._trials.values() if trial.status == COMPLETED]
        if not completed:
            failed = [trial for trial in self._trials.values() if trial.status == FAILED]
            if failed:
                first = failed[0]
                what = "all trials failed" if len(failed) == len(self._trials) else "no trial completed"
                message = f"{what}; trial {first.number}: {first.reason}; its log: {first.log}"
                return SweepOutcome(FAILED, message)
            return SweepOutcome(FAILED, "no trial completed; each was ended early")
        scored = {trial.number: trial.best for trial in completed if trial.best is not None}
        if not scored:
            run_id = completed[0].run_id or ""
            logged = await asyncio.to_thread(self._services.tracking.metrics_of, run_id)
            found = f"; trial {completed[0].number} logged {', '.join(logged) or 'no metric at all'}"
            return SweepOutcome(FAILED, f"no trial logged the primary metric {self._metric!r}{found}")
        best = max(scored, key=lambda number: (self._sign * scored[number], -number))
        return SweepOutcome(COMPLETED, best=best)

    def _put(self, trial: TrialRecord) -> None:
        self._trials[trial.number] = trial
        self._services.journal.trial(self._name, trial)

    def _write_table(self) -> None:
        write_table(self._folder.root, self._metric, self._trials.values())
