"""Runs the steps of a plan, each as soon as what it depends on is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from amlocal.errors import AmlocalError
from amlocal.reader.bind import Source
from amlocal.reader.model import LiteralBinding, PathBinding, UrlBinding
from amlocal.reader.plan import Plan, Step
from amlocal.run.digest import combined
from amlocal.run.records import CANCELED, ENDED, FAILED
from amlocal.run.reuse import Output
from amlocal.run.services import Given, Services
from amlocal.run.snapshot import Snapshot, take
from amlocal.run.step import run_step

Outputs = Mapping[str, Output]


class Engine:
    """One run of one plan.

    Args:
        plan: the steps.
        services: the job's surroundings.
        concurrent: how many steps may run at a time.
    """

    def __init__(self, plan: Plan, services: Services, concurrent: int) -> None:
        self._plan = plan
        self._services = services
        self._concurrent = concurrent
        self._done: dict[str, Outputs | None] = {}
        self._running: dict[asyncio.Task[Outputs | None], Step] = {}

    async def run(self) -> Mapping[str, Outputs | None]:
        """Run all steps that can be run.

        After a step failed, those that do not depend on it go on only with ``continue_on_step_failure``.

        Returns:
            Each step's outputs; None for those that failed or never ran.

        Raises:
            asyncio.CancelledError: when canceled, after every running step has been ended.
            AmlocalError: when the code of a step cannot be copied.
        """
        snapshots = await asyncio.to_thread(self._snapshots)
        waiting = list(self._plan.steps)
        stopped_by: str | None = None
        try:
            while True:
                waiting = self._start(waiting, snapshots, stopped_by)
                if not self._running:
                    return self._done
                finished, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    step = self._running.pop(task)
                    self._done[step.name] = None if task.cancelled() else task.result()
                    failed = self._done[step.name] is None and stopped_by is None
                    if failed and not self._plan.job.settings.continue_on_step_failure:
                        stopped_by = step.name
                        for other in self._running:
                            other.cancel(f"ended because {step.name} failed")
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def _start(self, waiting: list[Step], snapshots: Mapping[str, Snapshot], stopped_by: str | None) -> list[Step]:
        """Start what can be started; give the steps that still wait."""
        left: list[Step] = []
        for step in waiting:
            broken = [name for name in step.depends if name in self._done and self._done[name] is None]
            if broken or stopped_by is not None:
                self._done[step.name] = None
                cause = sorted(broken)[0] if broken else stopped_by
                self._services.journal.step(step.name, error=f"not started: {cause} did not complete")
            elif step.depends <= self._done.keys() and len(self._running) < self._concurrent:
                task = asyncio.create_task(self._step(step, snapshots[step.name]))
                self._running[task] = step
            else:
                left.append(step)
        return left

    async def _step(self, step: Step, snapshot: Snapshot) -> Outputs | None:
        journal = self._services.journal
        try:
            given = await asyncio.to_thread(self._given, step)
            return await run_step(step, snapshot, given, self._services)
        except (AmlocalError, OSError) as error:
            journal.step(step.name, status=FAILED, error=str(error), ended=time.time())
            return None
        except asyncio.CancelledError as error:
            if journal.record.steps[step.name].status not in ENDED:
                reason = str(error) or "the job was canceled"
                journal.step(step.name, status=CANCELED, error=reason, ended=time.time())
            raise

    def _given(self, step: Step) -> dict[str, Given]:
        return {name: self._value(name, source) for name, source in step.inputs.items()}

    def _value(self, name: str, source: Source) -> Given:
        if isinstance(source, LiteralBinding):
            return Given(str(source.value), str(source.value))
        if isinstance(source, PathBinding):
            return Given(str(source.path), f"sha256:{self._named_digest(source.path)}")
        if isinstance(source, UrlBinding):
            path = self._services.downloads[source.url]
            return Given(str(path), f"sha256:{self._named_digest(path)}")
        output = (self._done[source.step] or {}).get(source.output)
        if output is None:
            raise AmlocalError(f"input {name}: step {source.step} did not write its output {source.output}")
        return Given(str(output.path), f"sha256:{output.digest}")

    def _named_digest(self, path: Path) -> str:
        digest = self._services.digests.tree(path)
        # A program may read a .csv otherwise than a .tsv: a file's name is part of what it is.
        return combined({path.name: digest}) if path.is_file() else digest

    def _snapshots(self) -> dict[str, Snapshot]:
        store = self._services.folder.home / "cache" / "snapshots"
        taken: dict[tuple[Path | None, tuple[Path, ...]], Snapshot] = {}
        result: dict[str, Snapshot] = {}
        for step in self._plan.steps:
            code = step.node.component.code
            key = (code.root, code.includes)
            if key not in taken:
                taken[key] = take(code, self._services.digests, store)
            result[step.name] = taken[key]
        return result
