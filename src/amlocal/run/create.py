"""Creates and runs a job: ``amlocal job create``."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from amlocal.errors import AmlocalError
from amlocal.job_variable import JOB_VARIABLE
from amlocal.lint.check import read_checked_plan
from amlocal.reader.assets import parse_mappings
from amlocal.reader.plan import Plan, Step
from amlocal.run.digest import DigestCache
from amlocal.run.downloads import DownloadView, NoDownloadView, fetch, urls_of
from amlocal.run.engine import Engine
from amlocal.run.environments.provide import Environments, plan_environments
from amlocal.run.execute import RunContext
from amlocal.run.files import JobFolder, link, write_atomically
from amlocal.run.guard import end_what_is_left, guarded
from amlocal.run.jobs import NO_PROCESS, RunningMark, settle, this_process
from amlocal.run.journal import Journal
from amlocal.run.process import GRACE_SECONDS
from amlocal.run.records import CANCELED, COMPLETED, FAILED, RUNNING, JobRecord, StepRecord, to_json
from amlocal.run.reuse import Output, ResultCache
from amlocal.run.services import Backend, Services
from amlocal.run.tracking import FAILED as RUN_FAILED
from amlocal.run.tracking import FINISHED, JOB_TAG, KILLED, MlflowTracking, RunEnds, Tracking
from amlocal.run.turns import Turns
from amlocal.workspace.layout import make_home
from amlocal.workspace.registry import Registry

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_LEAST_CONCURRENT_STEPS = 4

Watcher = Callable[[Journal], AbstractContextManager[object]]
"""Shows a job while it runs; entered before its first step."""


@dataclass(frozen=True)
class WorkspaceBackend:
    """The workspace of a home folder, started when needed.

    Attributes:
        azure_tracking: give steps the tracking address that they get on Azure, instead of the MLflow server's.
    """

    home: Path
    azure_tracking: bool = False

    def connect(self) -> tuple[Tracking, Mapping[str, str]]:
        """Start the workspace and connect to its MLflow server."""
        from amlocal.workspace import names
        from amlocal.workspace.lifecycle import start

        connection = start(self.home)
        environment = connection.client_environment()
        if self.azure_tracking:
            environment["MLFLOW_TRACKING_URI"] = names.STEP_TRACKING_URI
        return MlflowTracking(connection.mlflow_tracking_uri, connection.key), environment


@dataclass(frozen=True)
class Request:
    """What to run, and how.

    Attributes:
        overrides: ``--set`` texts.
        name: the job's name; None for the file's own or a new one.
        rerun: reuse nothing.
        poll_seconds: how often a trial's metric is read.
        mappings: ``--map`` texts.
        isolated: run each command in an environment built for it, instead of the calling Python.
        azure_tracking: see ``WorkspaceBackend``.
        warm: see ``Services``.
        concurrent_steps: how many steps may run at the same time; None for as many as there are cores, at least four.
    """

    file: Path
    home: Path
    overrides: Sequence[str] = ()
    name: str | None = None
    rerun: bool = False
    poll_seconds: float = 1.0
    mappings: Sequence[str] = ()
    isolated: bool = False
    azure_tracking: bool = False
    warm: bool = True
    concurrent_steps: int | None = None


def _workspace(request: Request) -> WorkspaceBackend:
    return WorkspaceBackend(request.home, request.azure_tracking)


def no_watcher(journal: Journal) -> AbstractContextManager[object]:
    """Show nothing."""
    del journal
    return nullcontext()


@dataclass(frozen=True)
class PreparedJob:
    """A job that can be run: checked, named, recorded.

    Attributes:
        environments: how its steps get their Python.
        downloads: where the content of each URL lies.
    """

    request: Request
    plan: Plan
    environments: Environments
    downloads: Mapping[str, Path]
    folder: JobFolder
    journal: Journal


def create_job(
    request: Request,
    backend: Backend | None = None,
    watcher: Watcher = no_watcher,
    downloads: DownloadView | None = None,
) -> tuple[JobRecord, int]:
    """Prepare a job and run it to its end; see ``prepare_job`` and ``run_job``."""
    return run_job(prepare_job(request, downloads), backend, watcher)


def prepare_job(request: Request, downloads: DownloadView | None = None) -> PreparedJob:
    """Check a job file, download what it names by URL, and give the job its folder.

    Args:
        request: what to run.
        downloads: shows what is downloaded.

    Raises:
        AmlocalError: when the file cannot be run as written, or the job's name is taken.
    """
    mappings = parse_mappings(request.mappings)
    plan = read_checked_plan(request.file, request.overrides, Registry(request.home), mappings)
    environments = plan_environments(plan, request.home, isolated=request.isolated)
    make_home(request.home)
    downloaded = _fetch(plan, request.home, downloads or NoDownloadView())
    folder, record = _new_folder(request, plan, environments)
    return PreparedJob(request, plan, environments, downloaded, folder, Journal(record, folder.record))


def run_job(job: PreparedJob, backend: Backend | None = None, watcher: Watcher = no_watcher) -> tuple[JobRecord, int]:
    """Run a job to its end.

    Args:
        job: what to run.
        backend: the workspace; the home folder's own by default.
        watcher: shows the job meanwhile.

    Returns:
        The job's record and the exit code: 0 when completed, 1 when failed, 128 + N when ended by signal N.

    Raises:
        AmlocalError: when the workspace does not start, or the job's record cannot be written.
    """
    journal, folder = job.journal, job.folder
    signals: list[signal.Signals] = []
    try:
        with guarded(folder.root):
            asyncio.run(_run(job, backend or _workspace(job.request), watcher, signals))
    except asyncio.CancelledError:
        journal.job(status=CANCELED, ended=time.time(), error=f"ended by {signals[-1].name}", **NO_PROCESS)
        return journal.record, 128 + signals[-1]
    except BaseException as error:
        with suppress(OSError):  # a full disk, say, is no reason to hide what went wrong
            message = str(error) or type(error).__name__
            journal.job(status=FAILED, ended=time.time(), error=message, **NO_PROCESS)
        if isinstance(error, OSError):
            raise AmlocalError(f"job {folder.name} cannot go on: {error}") from error
        raise
    return journal.record, 0 if journal.record.status == COMPLETED else 1


async def _run(job: PreparedJob, backend: Backend, watcher: Watcher, signals: list[signal.Signals]) -> None:
    stop = threading.Event()
    _cancel_on_signals(signals)
    request, plan, folder, journal = job.request, job.plan, job.folder, job.journal
    journal.job(status=RUNNING, started=time.time(), **this_process())
    mark = RunningMark(folder)
    mark.set()
    digests = DigestCache(request.home / "cache" / "digests.sqlite", stop)
    turns = Turns(request.home / "cache" / "turns")
    writing = asyncio.create_task(journal.keep_written())
    try:
        with watcher(journal):
            of_this_job = {JOB_VARIABLE: str(folder.root)}
            interpreters = await job.environments.ready(lambda text: journal.job(message=text), cores(), of_this_job)
            tracking, environment = await asyncio.to_thread(backend.connect)
            await asyncio.to_thread(settle, request.home, tracking)
            experiment = journal.record.experiment_name
            experiment_id = await asyncio.to_thread(tracking.experiment, experiment)
            run_id = await asyncio.to_thread(
                tracking.start_run, experiment_id, folder.name, None, {**plan.job.tags, JOB_TAG: folder.name}
            )
            journal.job(run_id=run_id)
            variables = {**environment, **of_this_job}
            ends = RunEnds(tracking)
            services = Services(
                folder=folder,
                journal=journal,
                tracking=tracking,
                ends=ends,
                context=RunContext(folder.name, experiment, experiment_id, variables),
                digests=digests,
                results=ResultCache(request.home, digests),
                registry=Registry(request.home),
                turns=turns,
                root_run=run_id,
                standalone=plan.job.kind != "pipeline",
                rerun=request.rerun or plan.job.settings.force_rerun,
                identity=str(plan.job.file),
                interpreters=interpreters,
                cores=cores(),
                warm=request.warm,
                poll_seconds=request.poll_seconds,
                downloads=job.downloads,
                default_datastore=plan.job.settings.default_datastore,
            )
            engine = Engine(plan, services, request.concurrent_steps or max(_LEAST_CONCURRENT_STEPS, cores()))
            status = KILLED
            try:
                _finish(journal, plan, folder, await engine.run())
                status = FINISHED if journal.record.status == COMPLETED else RUN_FAILED
            except AmlocalError:
                status = RUN_FAILED
                raise
            finally:
                ends.end(run_id, status)
                try:
                    await ends.done()
                    mark.clear()
                except AmlocalError as error:
                    if journal.record.status != COMPLETED:
                        raise
                    # Its results are there; the mark stays, so that the next job ends its runs.
                    journal.job(message=f"its MLflow runs are still open: {error}")
    finally:
        stop.set()  # else asyncio would wait for threads that read to the end what nobody needs any more
        grace = 0.0 if journal.record.status == COMPLETED else GRACE_SECONDS
        await end_what_is_left(folder.root, grace, lambda: len(signals) > 1)
        writing.cancel()
        digests.close()
        turns.close()


def _finish(journal: Journal, plan: Plan, folder: JobFolder, done: Mapping[str, Mapping[str, Output] | None]) -> None:
    outputs: dict[str, str] = {}
    for name, source in plan.outputs.items():
        written = None if source is None else (done[source.step] or {}).get(source.output)
        if written is not None:
            link(folder.outputs / name, written.path)
            outputs[name] = str(folder.outputs / name)
    steps = journal.record.steps.values()
    failed = [step.name for step in steps if step.status == FAILED]
    canceled = [step.name for step in steps if step.status == CANCELED]
    status = COMPLETED if all(step.status == COMPLETED for step in steps) else FAILED
    error = f"{', '.join(failed)} failed" if failed else None
    if canceled and not failed:
        error = f"{', '.join(canceled)} did not complete"
    journal.job(status=status, ended=time.time(), outputs=outputs, error=error, **NO_PROCESS)


def _cancel_on_signals(signals: list[signal.Signals]) -> None:
    """Have the first signal end all steps in good order, and another one end them at once."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def cancel(number: signal.Signals) -> None:
        signals.append(number)
        if task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, cancel, number)


def _fetch(plan: Plan, home: Path, view: DownloadView) -> dict[str, Path]:
    urls = urls_of(plan)
    if not urls:
        return {}
    with closing(DigestCache(home / "cache" / "digests.sqlite")) as digests:
        return fetch(urls, home / "cache" / "downloads", digests, view)


def cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _new_folder(request: Request, plan: Plan, environments: Environments) -> tuple[JobFolder, JobRecord]:
    """Make a job's folder with its first record in it, at once, so that no other job gets the name."""
    stated = request.name or plan.job.name
    if stated is not None and not _NAME.fullmatch(stated):
        raise AmlocalError(f"job name {stated!r}: expected letters, digits, dots, dashes and underscores")
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", plan.job.file.stem).strip("-") or "job"
    base = stated or f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    staged = JobFolder(request.home, f".new-{uuid.uuid4().hex}")
    number = 1
    try:
        while True:
            folder = JobFolder(request.home, base if number == 1 else f"{base}-{number}")
            record = _first_record(folder.name, plan, environments)
            write_atomically(staged.record, to_json(record))
            try:
                staged.root.rename(folder.root)
            except OSError:
                if not folder.root.exists():
                    raise
            else:
                return folder, record
            if stated is not None:
                raise AmlocalError(f"job {stated!r} exists already; give another --name")
            number += 1
    except OSError as error:
        raise AmlocalError(f"job {base} cannot be recorded: {error}") from error
    finally:
        shutil.rmtree(staged.root, ignore_errors=True)


def _size_notes(step: Step) -> Iterator[tuple[str, str]]:
    batches, spec = step.mini_batches, step.node.component.parallel
    if batches is None or spec is None or batches.size is None or not batches.size.stated_in_bytes:
        return
    if step.node.component.inputs[batches.input].type in {"uri_file", "uri_folder"}:
        meant = f"Azure ML would take {batches.size.number} files"
        yield f"{step.name}: mini_batch_size groups files by size here; {meant}", str(spec.place)


def _kind(step: Step) -> str:
    if step.node.sweep:
        return "automl" if step.node.automl else "sweep"
    return "parallel" if step.mini_batches else "command"


def _first_record(name: str, plan: Plan, environments: Environments) -> JobRecord:
    job = plan.job
    ignored = {setting: str(place) for setting, place in {**job.ignored, **environments.passed_over}.items()}
    for step in plan.steps:
        instances, sweep = step.node.component.instance_count, step.node.sweep
        batches = step.mini_batches
        if batches is not None and batches.workers is not None and batches.workers > cores():
            ignored[f"{batches.workers} processes of {step.name}, capped at {cores()} cores,"] = str(step.node.place)
        if step.processes is None and batches is None and instances is not None and instances.value != 1:
            ignored["resources instance_count"] = str(instances.place)
        if sweep is not None and sweep.limits.max_concurrent_trials > cores():
            wanted = sweep.limits.max_concurrent_trials
            ignored[f"max_concurrent_trials {wanted}, capped at {cores()} cores,"] = str(sweep.place)
    notes = {note: place for step in plan.steps for note, place in _size_notes(step)}
    notes |= {
        f"{step.name} runs {step.processes.count} processes on {cores()} cores": str(step.node.place)
        for step in plan.steps
        if step.processes is not None and step.processes.count > cores()
    }
    notes.update({note: str(place) for note, place in environments.notes.items()})
    return JobRecord(
        name=name,
        kind=job.kind,
        file=str(job.file),
        # azure-ai-ml's own default: the folder the job is submitted from.
        experiment_name=job.experiment_name or Path.cwd().name.replace(" ", "") or "Default",
        display_name=job.display_name,
        tags=dict(job.tags),
        ignored=ignored,
        notes=notes,
        steps={step.name: StepRecord(step.name, _kind(step)) for step in plan.steps},
        # From the first moment on, so that a job whose process is killed before it starts is known to be gone.
        **this_process(),
    )
