"""Runs the trials of a sweep: as many at a time as allowed, ended early when a policy says so."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amlocal.reader.literals import coerce
from amlocal.reader.plan import Step
from amlocal.reader.search import Literal, SweepSpec
from amlocal.run.automl.leaderboard import LEADERBOARD, leaderboard
from amlocal.run.execute import Execution, execute, output_paths, thread_variables
from amlocal.run.files import WorkFolder, link, write_atomically
from amlocal.run.fingerprint import Fingerprint
from amlocal.run.process import ProcessResult, tail
from amlocal.run.records import CANCELED, COMPLETED, FAILED, RUNNING, TrialRecord
from amlocal.run.reuse import Output
from amlocal.run.services import Given, Services
from amlocal.run.snapshot import Snapshot
from amlocal.run.sweep.choice import best_trial, best_value
from amlocal.run.sweep.judge import Judge
from amlocal.run.sweep.sampling import Sampler, make_sampler
from amlocal.run.sweep.savings import estimate
from amlocal.run.sweep.table import TABLE, trial_table
from amlocal.run.sweep.trial_reuse import find_trial, keep_trial, trial_fingerprint
from amlocal.run.tracking import FAILED as RUN_FAILED
from amlocal.run.tracking import FINISHED, JOB_TAG, KILLED
from amlocal.run.warm.start import WarmStart


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended.

    Attributes:
        status: Completed, Failed or Canceled.
        error: why it did not complete.
        best: the best completed trial's number.
        outputs: the best trial's outputs, by name.
        cut_short: what ended it before all its trials were over, although it counts as completed.
    """

    status: str
    error: str | None = None
    best: int | None = None
    outputs: Mapping[str, Path] = field(default_factory=dict)
    cut_short: str | None = None


class SweepRun:
    """One run of one sweep.

    Args:
        step: the step; its node has a sweep.
        sweep: that sweep.
        given: the inputs that every trial gets.
        snapshot: the trial's code.
        fingerprint: what the sweep's result depends on.
        folder: the step's folder.
        run_id: the step's MLflow run.
        services: the job's surroundings.
    """

    def __init__(
        self,
        step: Step,
        sweep: SweepSpec,
        given: Mapping[str, Given],
        snapshot: Snapshot,
        fingerprint: Fingerprint,
        folder: WorkFolder,
        run_id: str,
        services: Services,
    ) -> None:
        self._name = step.name
        self._step = step
        self._sweep = sweep
        self._given = given
        self._snapshot = snapshot
        self._fingerprint = fingerprint
        self._folder = folder
        self._run_id = run_id
        self._services = services
        self._concurrent = min(sweep.limits.max_concurrent_trials, services.cores)
        policy = sweep.early_termination
        self._judge = None if policy is None else Judge(policy, sweep.goal)
        self._trials: dict[int, TrialRecord] = {}
        self._outputs: dict[int, Mapping[str, Path]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._executing: set[int] = set()
        self._ending: dict[int, str] = {}
        self._warm: WarmStart | None = None

    @property
    def shared_cpu_seconds(self) -> float:
        """What was used for all trials together, besides what each of them used."""
        return 0.0 if self._warm is None else self._warm.cpu_seconds

    async def run(self) -> SweepOutcome:
        """Run all trials and choose the best.

        Returns:
            The outcome; a failed trial does not fail the sweep as long as another one completes.

        Raises:
            asyncio.CancelledError: when canceled, after every trial has been ended.
        """
        try:
            async with asyncio.timeout(self._sweep.limits.timeout):
                await self._run_trials()
            outcome = await self._outcome()
        except TimeoutError:
            outcome = await self._timed_out()
        finally:
            self._write_table(None)
        self._write_table(outcome.best)
        if self._judge is not None:
            self._services.journal.step(self._name, early_termination=estimate(self._trials.values()))
        text = trial_table(self._metric, self._trials.values(), outcome.best)
        await asyncio.to_thread(self._services.tracking.log_text, self._run_id, TABLE, text)
        if self._step.node.automl:
            text = leaderboard(self._metric, self._trials.values())
            write_atomically(self._folder.root / LEADERBOARD, text)
            await asyncio.to_thread(self._services.tracking.log_text, self._run_id, LEADERBOARD, text)
        return outcome

    async def _run_trials(self) -> None:
        sampler = await asyncio.to_thread(make_sampler, self._sweep, self._concurrent)
        watcher = asyncio.create_task(self._watch())
        try:
            if sampler.window is None:
                await self._run_independent(sampler, watcher)
            else:
                await self._run_learning(sampler, sampler.window, watcher)
            await self._until(lambda: not self._tasks, watcher)
        finally:
            left = [watcher, *self._tasks.values()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            if self._warm is not None:
                await self._warm.close()

    def _start_warm(self, trials: int) -> None:
        """Have trials start from one process that has done their imports; for a single one that gains nothing."""
        services = self._services
        if not services.warm or trials < 2:
            return
        if self._step.processes is not None:
            services.journal.step(self._name, start="cold: each trial is several processes")
            return

        def note(text: str) -> None:
            services.journal.step(self._name, start=text)

        interpreter = services.interpreters[self._name]
        self._warm = WarmStart(self._snapshot.folder, interpreter, self._folder.warm, note)

    async def _run_independent(self, sampler: Sampler, watcher: asyncio.Task[None]) -> None:
        """Reuse all trials that can be, then run the others: so these are judged alike, whenever they run."""
        left: dict[int, dict[str, Literal]] = {}
        for number in range(self._sweep.limits.max_total_trials):
            proposed = sampler.propose()
            if proposed is None:
                break
            parameters = self._typed(proposed)
            if not await self._reuse(number, parameters):
                left[number] = parameters
        self._start_warm(len(left))
        for number, parameters in left.items():
            await self._until(lambda: len(self._tasks) < self._concurrent, watcher)
            self._tasks[number] = asyncio.create_task(self._trial(number, parameters))

    async def _run_learning(self, sampler: Sampler, window: int, watcher: asyncio.Task[None]) -> None:
        """Run trials that are proposed from the results of earlier ones."""
        self._start_warm(self._sweep.limits.max_total_trials)
        for number in range(self._sweep.limits.max_total_trials):
            # What the sampler knows at a proposal must not depend on how fast trials end.
            last = number - window
            await self._until(functools.partial(self._has_ended, last), watcher)
            if last >= 0:
                trial = self._trials[last]
                sampler.tell(last, trial.best if trial.status == COMPLETED else None)
            proposed = sampler.propose()
            if proposed is None:
                break
            parameters = self._typed(proposed)
            if not await self._reuse(number, parameters):
                self._tasks[number] = asyncio.create_task(self._trial(number, parameters))

    def _has_ended(self, last: int) -> bool:
        return all(number > last for number in self._tasks)

    async def _until(self, condition: Callable[[], bool], watcher: asyncio.Task[None]) -> None:
        """Wait for trials to end until a condition holds."""
        while not condition():
            await asyncio.wait({watcher, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
            if watcher.done():
                watcher.result()
            for number in [number for number, task in self._tasks.items() if task.done()]:
                self._tasks.pop(number).result()

    def _typed(self, proposed: Mapping[str, Literal]) -> dict[str, Literal]:
        """Turn hyperparameters into the types of the trial's inputs; a standalone sweep's have none.

        Fractions stay what they are where an input is an integer: Azure ML hands them to the script.
        """
        space = self._sweep.search_space
        inputs = self._step.node.component.inputs
        types = {name: inputs[name].type if name in inputs else None for name in proposed}
        fractions = {name for name, kind in types.items() if kind == "integer" and not space[name].whole}
        return {
            name: coerce(value, kind) if (kind := types[name]) and name not in fractions else value
            for name, value in proposed.items()
        }

    async def _reuse(self, number: int, parameters: Mapping[str, Literal]) -> bool:
        """Take a trial over from an earlier job, where it completed; tell whether it did."""
        services = self._services
        if services.rerun or not self._step.node.component.deterministic:
            return False
        fingerprint = trial_fingerprint(self._fingerprint, parameters, self._metric)
        found = await asyncio.to_thread(find_trial, services.results, fingerprint, services.folder.name)
        if found is None:
            return False
        trial, outputs = found
        best = best_value(self._sweep.goal, trial.curve)
        self._outputs[number] = {name: output.path for name, output in outputs.items()}
        for name in self._step.node.component.outputs.keys() & outputs.keys():
            link(self._folder.trial(number).outputs / name, outputs[name].path)
        self._put(dataclasses.replace(trial, number=number, best=best))
        return True

    async def _trial(self, number: int, parameters: Mapping[str, Literal]) -> None:
        tracking = self._services.tracking
        self._put(TrialRecord(number, parameters, RUNNING, started=time.time()))
        job = self._services.folder.name
        tags = {JOB_TAG: job, "hyperparameters": json.dumps(dict(parameters)), "amlocal.trial": str(number)}
        name = f"{self._name}-{number}"
        experiment = self._services.context.experiment_id
        try:
            run_id = await asyncio.to_thread(tracking.start_run, experiment, name, self._run_id, tags)
            execution = self._execution(number, parameters, run_id)
            self._change(number, run_id=run_id, log=str(execution.folder.log))
            result = await self._execute(number, execution)
            status, reason = self._status(result, execution)
            if status == COMPLETED:
                await self._keep(number, run_id)
        except asyncio.CancelledError:
            if number not in self._ending:
                await self._end(number, CANCELED, "the sweep was ended")
                raise
            status, reason = CANCELED, self._ending[number]
        except OSError as error:
            status, reason = FAILED, str(error)
        await self._end(number, status, reason)

    async def _execute(self, number: int, execution: Execution) -> ProcessResult:
        def note_end(result: ProcessResult) -> None:
            self._executing.discard(number)
            self._change(number, cpu_seconds=result.cpu_seconds, ended=time.time())

        self._executing.add(number)
        try:
            return await execute(execution, self._services.context, note_end, self._warm)
        finally:
            self._executing.discard(number)

    async def _keep(self, number: int, run_id: str) -> None:
        """Note a completed trial's curve and outputs, and keep them for later jobs."""
        services, component = self._services, self._step.node.component
        self._set_curve(number, await asyncio.to_thread(services.tracking.curve, run_id, self._metric))
        paths = output_paths(component, self._folder.trial(number))
        self._outputs[number] = paths
        if not component.deterministic:
            return
        trial = dataclasses.replace(self._trials[number], status=COMPLETED)
        fingerprint = trial_fingerprint(self._fingerprint, trial.parameters, self._metric)

        def store() -> None:
            outputs = {name: Output(path, services.digests.tree(path)) for name, path in paths.items() if path.exists()}
            keep_trial(services.results, fingerprint, services.folder.name, trial, outputs)

        await asyncio.to_thread(store)

    async def _end(self, number: int, status: str, reason: str | None) -> None:
        tracking, run_id = self._services.tracking, self._trials[number].run_id
        if run_id is not None and status != COMPLETED:
            self._set_curve(number, await asyncio.to_thread(tracking.curve, run_id, self._metric))
        ended = self._trials[number].ended or time.time()
        early = status == CANCELED and number in self._ending
        self._change(number, status=status, reason=reason, ended=ended, ended_early=early)
        self._write_table(None)
        if run_id is not None:  # else it was canceled before it had one
            run_status = {COMPLETED: FINISHED, CANCELED: KILLED}.get(status, RUN_FAILED)
            note = {} if reason is None else {"amlocal.reason": reason}
            await asyncio.to_thread(tracking.end_run, run_id, run_status, note)

    def _status(self, result: ProcessResult, execution: Execution) -> tuple[str, str | None]:
        if result.timed_out:
            return CANCELED, f"the trial's timeout of {execution.timeout:g} s passed"
        if result.exit_code != 0:
            last = tail(result.log or execution.folder.log, 1)
            failure = result.failure or f"exit code {result.exit_code}"
            return FAILED, failure + (f": {last[0][:200]}" if last else "")
        return COMPLETED, None

    def _execution(self, number: int, parameters: Mapping[str, Literal], run_id: str) -> Execution:
        component, limits = self._step.node.component, self._sweep.limits
        texts = {name: str(value) for name, value in parameters.items()}
        given = {name: value.text for name, value in self._given.items()}
        swept = {name: text for name, text in texts.items() if name in component.inputs}
        processes = self._step.processes
        return Execution(
            component=component,
            inputs={**given, **swept},
            search_space=texts,
            snapshot=self._snapshot.folder,
            folder=self._folder.trial(number),
            interpreter=self._services.interpreters[self._name],
            run_id=run_id,
            variables=thread_variables(self._concurrent * (processes.count if processes else 1), self._services.cores),
            timeout=limits.trial_timeout or self._step.timeout,
            processes=processes,
        )

    @property
    def _metric(self) -> str:
        return self._sweep.primary_metric

    async def _watch(self) -> None:
        """Read the running trials' metric again and again, and apply the policy to what is new."""
        while True:
            await asyncio.sleep(self._services.poll_seconds)
            for number in list(self._executing):
                run_id = self._trials[number].run_id or ""
                curve = await asyncio.to_thread(self._services.tracking.curve, run_id, self._metric)
                # A trial whose command has ended meanwhile has nothing left to end.
                if number in self._executing and len(curve) > len(self._trials[number].curve):
                    self._set_curve(number, curve)
                    self._end_if_behind(number)

    def _end_if_behind(self, number: int) -> None:
        if self._judge is None or number in self._ending:
            return
        reason = self._judge.reason_to_end(self._trials, number)
        if reason is not None:
            self._ending[number] = reason
            self._tasks[number].cancel()

    def _set_curve(self, number: int, curve: tuple[float, ...]) -> None:
        self._change(number, curve=curve, best=best_value(self._sweep.goal, curve))

    async def _outcome(self) -> SweepOutcome:
        trials = self._trials.values()
        best = best_trial(self._sweep.goal, trials)
        if best is not None:
            return SweepOutcome(COMPLETED, best=best.number, outputs=self._outputs[best.number])
        completed = [trial for trial in trials if trial.status == COMPLETED]
        if completed:
            logged = await asyncio.to_thread(self._services.tracking.metrics_of, completed[0].run_id or "")
            found = f"trial {completed[0].number} logged {', '.join(logged) or 'no metric at all'}"
            if self._metric in logged:
                return SweepOutcome(FAILED, f"the primary metric {self._metric!r} was never a finite number")
            return SweepOutcome(FAILED, f"no trial logged the primary metric {self._metric!r}; {found}")
        failed = [trial for trial in trials if trial.status == FAILED]
        if failed:
            first = failed[0]
            what = "all trials failed" if len(failed) == len(trials) else "no trial completed"
            return SweepOutcome(FAILED, f"{what}; trial {first.number}: {first.reason}; its log: {first.log}")
        return SweepOutcome(FAILED, "no trial completed; each was ended early")

    async def _timed_out(self) -> SweepOutcome:
        """Azure ML cancels a sweep whose time is up, with all its trials ("Set limits for your sweep job")."""
        what = "AutoML" if self._step.node.automl else "the sweep"
        message = f"{what}'s timeout of {self._sweep.limits.timeout} s passed"
        if self._sweep.keeps_best:
            outcome = await self._outcome()
            if outcome.best is not None:
                completed = sum(trial.status == COMPLETED for trial in self._trials.values())
                of = f"after {completed} of {self._sweep.limits.max_total_trials} trials"
                return dataclasses.replace(outcome, cut_short=f"{message} {of}; a later run goes on from them")
        if self._step.node.component.deterministic:
            message += "; a later run reuses the trials that completed"
        return SweepOutcome(CANCELED, message)

    def _change(self, number: int, **changes: Any) -> None:
        self._put(dataclasses.replace(self._trials[number], **changes))

    def _put(self, trial: TrialRecord) -> None:
        self._trials[trial.number] = trial
        self._services.journal.trial(self._name, trial)

    def _write_table(self, best: int | None) -> None:
        text = trial_table(self._metric, self._trials.values(), best)
        write_atomically(self._folder.root / TABLE, text)
