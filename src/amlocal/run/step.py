"""One step: reuse its result, or run it and keep the result."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from amlocal.errors import AmlocalError
from amlocal.reader.expressions import Kind, references
from amlocal.reader.plan import Step
from amlocal.run.automl.leaderboard import LEADERBOARD, leaderboard
from amlocal.run.automl.tables import write_tables
from amlocal.run.delivery import deliver
from amlocal.run.execute import Execution, execute, output_paths, thread_variables
from amlocal.run.files import WorkFolder, link, write_atomically
from amlocal.run.fingerprint import Fingerprint, LastRun, explain
from amlocal.run.input_files import changes as input_changes
from amlocal.run.input_files import input_states
from amlocal.run.mounts import begun, keep, mount, reason_to_run
from amlocal.run.parallel.launch import ParallelRun
from amlocal.run.process import ProcessResult
from amlocal.run.records import CANCELED, COMPLETED, FAILED, RUNNING, trials_from
from amlocal.run.reuse import Output, Result
from amlocal.run.services import Given, Services
from amlocal.run.snapshot import Snapshot
from amlocal.run.sweep.runner import SweepRun
from amlocal.run.sweep.table import TABLE, trial_table
from amlocal.run.tracking import FAILED as RUN_FAILED
from amlocal.run.tracking import FINISHED, JOB_TAG, KILLED


async def run_step(
    step: Step, snapshot: Snapshot, given: Mapping[str, Given], services: Services
) -> Mapping[str, Output] | None:
    """Give a step's outputs, from an earlier run where nothing it depends on has changed.

    An equal step that is under way, in this job or another, is waited for and its result reused.

    Args:
        step: the step.
        snapshot: its code.
        given: its inputs' values.
        services: the job's surroundings.

    Returns:
        Its outputs; None when it failed, which the journal then says.

    Raises:
        asyncio.CancelledError: when canceled.
        AmlocalError: when MLflow cannot be reached.
        OSError: when its folders cannot be made or its outputs cannot be read.
    """
    fingerprint = fingerprint_of(step, snapshot, given, services)
    previous = services.results.last(_identity(step, services))
    if previous != LastRun(fingerprint):
        services.results.remember(_identity(step, services), LastRun(fingerprint))
    if not step.node.component.deterministic:
        return await _run(step, snapshot, given, fingerprint, "is not deterministic, so it always runs", services)
    if services.rerun or step.force_rerun:
        return await _run(step, snapshot, given, fingerprint, "asked to run again", services)

    def waits() -> None:
        reason = "waits for an equal step that is under way"
        services.journal.step(step.name, status=RUNNING, started=time.time(), reason=reason)

    async with services.turns.turn(fingerprint.key, waits):
        result = await asyncio.to_thread(services.results.find, fingerprint)
        if result is None:
            return await _run(step, snapshot, given, fingerprint, explain(previous, fingerprint), services)
        places = await asyncio.to_thread(mount, step, services)
        reason = await asyncio.to_thread(reason_to_run, places, result, services.digests)
        if reason is None:
            return await _reuse(step, fingerprint, result, services)
        return await _run(step, snapshot, given, fingerprint, reason, services)


def _identity(step: Step, services: Services) -> str:
    return f"{services.identity}#{step.name}"


def fingerprint_of(step: Step, snapshot: Snapshot, given: Mapping[str, Given], services: Services) -> Fingerprint:
    """Gather everything that the step's result depends on."""
    component, sweep = step.node.component, step.node.sweep
    inputs = {name: value.content for name, value in given.items()}
    templates = (component.command, *component.environment_variables.values())
    if any(reference.kind is Kind.MACRO for template in templates for reference, _ in references(template)):
        inputs["${{name}}"] = services.context.job
    definition = None if sweep is None else _without_places(asdict(sweep))
    return Fingerprint(
        command=component.command.text,
        inputs=inputs,
        files=snapshot.files,
        environment=component.environment.definition if component.environment else "",
        packages=services.interpreters[step.name].packages,
        variables={name: template.text for name, template in component.environment_variables.items()},
        outputs={name: spec.type for name, spec in component.outputs.items()},
        sweep="" if definition is None else json.dumps(definition, sort_keys=True),
        distribution="" if step.processes is None else json.dumps(asdict(step.processes), sort_keys=True),
        parallel=_parallel(step),
    )


def _without_places(value: Any) -> Any:
    """Leave out where in a file something stands."""
    if not isinstance(value, dict):
        return value
    return {key: _without_places(inner) for key, inner in value.items() if key != "place"}


def _parallel(step: Step) -> str:
    """Give what a parallel node's result depends on; not how many processes work on it, nor what they log."""
    spec, batches = step.node.component.parallel, step.mini_batches
    if spec is None or batches is None:
        return ""
    append = spec.append_row_to.text if spec.append_row_to else None
    return json.dumps([{**asdict(batches), "workers": None}, spec.entry_script, append], sort_keys=True)


async def _reuse(step: Step, fingerprint: Fingerprint, result: Result, services: Services) -> Mapping[str, Output]:
    folder = services.folder.step(step.name)
    _link_outputs(step, folder, result.outputs)
    extra = dict(result.extra)
    if step.node.sweep is not None:
        metric = step.node.sweep.primary_metric
        extra["trials"] = trials_from(extra["trials"])
        extra["primary_metric"] = metric
        table = trial_table(metric, extra["trials"].values(), extra["best_trial"])
        write_atomically(folder.root / TABLE, table)
        if step.node.automl:
            write_atomically(folder.root / LEADERBOARD, leaderboard(metric, extra["trials"].values()))
        extra["trial_table"] = str(folder.root / TABLE)
        if services.standalone:
            await asyncio.to_thread(services.tracking.log_text, services.root_run, TABLE, table)
    registered = await asyncio.to_thread(partial(deliver, step, result.outputs, services, reused=True))
    now = time.time()
    services.journal.step(
        step.name,
        status=COMPLETED,
        reason=f"reuses job {result.job}",
        reused_from=result.job,
        started=now,
        ended=now,
        key=fingerprint.key,
        run_id=result.run_id,
        warnings=_not_written(step, result.outputs),
        outputs={name: str(output.path) for name, output in result.outputs.items()},
        registered=registered,
        **extra,
    )
    return result.outputs


async def _run(
    step: Step,
    snapshot: Snapshot,
    given: Mapping[str, Given],
    fingerprint: Fingerprint,
    reason: str,
    services: Services,
) -> Mapping[str, Output] | None:
    journal, tracking, name = services.journal, services.tracking, step.name
    folder = services.folder.step(name)
    started = time.time()
    journal.step(name, status=RUNNING, reason=reason, started=started, key=fingerprint.key)
    run_id = services.root_run
    if not services.standalone:
        tags = {JOB_TAG: services.folder.name, "amlocal.step": name}
        experiment = services.context.experiment_id
        run_id = await asyncio.to_thread(tracking.start_run, experiment, name, services.root_run, tags)
    log = None if step.node.sweep else str(folder.log)
    journal.step(name, run_id=run_id, log=log)
    states = partial(input_states, step.inputs, given, services.folder.home, services.digests.go_on)
    try:
        before = await asyncio.to_thread(states)
        read = await asyncio.to_thread(write_tables, given, folder.root / "tables") if step.node.automl else given
        places = await asyncio.to_thread(mount, step, services)
        resumed = begun(places)
        paths, changes = await _command_or_sweep(step, snapshot, read, fingerprint, folder, run_id, places, services)
        outputs = await asyncio.to_thread(_digested, paths, services)
        warnings = tuple(input_changes(before, await asyncio.to_thread(states)))
    except asyncio.CancelledError:
        _end_run(run_id, KILLED, services)
        raise
    except (OSError, AmlocalError):
        _end_run(run_id, RUN_FAILED, services)
        raise
    cut_short = changes.pop("cut_short", None)
    warnings += () if cut_short is None else (cut_short,)
    if changes["status"] == COMPLETED:
        warnings += _not_written(step, outputs)
    journal.step(name, warnings=warnings)
    if changes["status"] != COMPLETED:
        if changes["status"] == FAILED:
            services.results.remember(_identity(step, services), LastRun(fingerprint, failed=True))
        journal.step(name, ended=time.time(), **changes)
        _end_run(run_id, KILLED if changes["status"] == CANCELED else RUN_FAILED, services)
        return None
    if step.node.component.deterministic and cut_short is None:
        extra: dict[str, Any] = {"log": log}
        if step.node.sweep is not None:
            trials = journal.record.steps[name].trials
            extra["best_trial"] = changes["best_trial"]
            extra["trials"] = {str(number): asdict(trial) for number, trial in trials.items()}
        result = Result(services.folder.name, outputs, time.time() - started, run_id, extra, resumed)
        services.results.store(fingerprint, result)
    try:
        # The result is kept by now: when only this fails, the step need not run again.
        registered = await asyncio.to_thread(partial(deliver, step, outputs, services, reused=False))
    except asyncio.CancelledError:
        _end_run(run_id, KILLED, services)
        raise
    except (OSError, AmlocalError):
        _end_run(run_id, RUN_FAILED, services)
        raise
    _end_run(run_id, FINISHED, services)
    listed = {output: str(value.path) for output, value in outputs.items()}
    journal.step(name, outputs=listed, registered=registered, ended=time.time(), **changes)
    return outputs


def _end_run(run_id: str, status: str, services: Services) -> None:
    if not services.standalone:
        services.ends.end(run_id, status)


async def _command_or_sweep(
    step: Step,
    snapshot: Snapshot,
    given: Mapping[str, Given],
    fingerprint: Fingerprint,
    folder: WorkFolder,
    run_id: str,
    places: Mapping[str, Path],
    services: Services,
) -> tuple[Mapping[str, Path], dict[str, Any]]:
    """Run the step's command or trials; give the outputs' paths and what its record shows."""
    component, sweep = step.node.component, step.node.sweep
    if sweep is not None:
        services.journal.step(step.name, primary_metric=sweep.primary_metric, trial_table=str(folder.root / TABLE))
        run = SweepRun(step, sweep, given, snapshot, fingerprint, folder, run_id, services)
        outcome = await run.run()
        trials = services.journal.record.steps[step.name].trials.values()
        used = [trial.cpu_seconds or 0.0 for trial in trials if trial.reused_from is None]
        services.journal.step(step.name, cpu_seconds=sum(used) + run.shared_cpu_seconds)
        if outcome.best is None:
            return {}, {"status": outcome.status, "error": outcome.error}
        _link_outputs(step, folder, {name: Output(path, "") for name, path in outcome.outputs.items()})
        return outcome.outputs, {"status": COMPLETED, "best_trial": outcome.best, "cut_short": outcome.cut_short}
    batches, cores = step.mini_batches, services.cores
    parallel = None if batches is None else ParallelRun(batches, min(batches.workers or cores, cores))
    processes = parallel.workers if parallel else step.processes.count if step.processes else 1
    execution = Execution(
        component=component,
        inputs={name: value.text for name, value in given.items()},
        search_space={},
        snapshot=snapshot.folder,
        folder=folder,
        interpreter=services.interpreters[step.name],
        run_id=run_id,
        variables=thread_variables(processes, services.cores),
        timeout=step.timeout,
        processes=step.processes,
        parallel=parallel,
        mounted=places,
    )

    def note(result: ProcessResult) -> None:
        services.journal.step(step.name, cpu_seconds=result.cpu_seconds)

    result = await execute(execution, services.context, note)
    if result.timed_out:
        error = f"ended after its timeout of {step.timeout} s"
        return {}, {"status": FAILED, "error": error, "exit_code": result.exit_code}
    if result.exit_code != 0:
        error = result.failure or f"exit code {result.exit_code}"
        log = str(result.log or folder.log)
        return {}, {"status": FAILED, "error": error, "exit_code": result.exit_code, "log": log}
    await asyncio.to_thread(keep, folder, places)
    return output_paths(component, folder), {"status": COMPLETED, "exit_code": 0}


def _digested(paths: Mapping[str, Path], services: Services) -> dict[str, Output]:
    # A file output that the command chose not to write is missed by whoever needs it, not here.
    return {name: Output(path.resolve(), services.digests.tree(path)) for name, path in paths.items() if path.exists()}


def _not_written(step: Step, outputs: Mapping[str, Output]) -> tuple[str, ...]:
    return tuple(f"output {name} was not written" for name in step.node.component.outputs if name not in outputs)


def _link_outputs(step: Step, folder: WorkFolder, outputs: Mapping[str, Output]) -> None:
    for name in step.node.component.outputs:
        if name in outputs:
            link(folder.outputs / name, outputs[name].path)
