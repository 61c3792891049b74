"""One run of a component's command: expressions filled in, folders made, environment set, process run."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from amlocal.reader.distribution import Processes
from amlocal.reader.expressions import Kind, Reference, Template, render
from amlocal.reader.model import ARTIFACTS, CommandComponent
from amlocal.run.environments.interpreter import Interpreter, caller_variables
from amlocal.run.environments.overlay import make_overlay, overlay_variables
from amlocal.run.files import WorkFolder, link
from amlocal.run.parallel.launch import ParallelRun, failure, write_task
from amlocal.run.process import ProcessResult, run_process
from amlocal.run.ranks import ranks_of, run_ranks
from amlocal.run.warm.start import Start, WarmStart


@dataclass(frozen=True)
class RunContext:
    """What every command of a job gets to know about it.

    Attributes:
        job: the job's name, which is also the root run's id for a step.
        experiment: the experiment's name.
        experiment_id: its id in MLflow.
        client_environment: makes Azure's clients talk to the workspace.
    """

    job: str
    experiment: str
    experiment_id: str
    client_environment: Mapping[str, str]


@dataclass(frozen=True)
class Execution:
    """One command to run.

    Attributes:
        inputs: each set input as the command sees it: plain values as text, files and folders as paths.
        search_space: hyperparameters of a standalone sweep's trial, likewise.
        snapshot: the folder whose copy becomes the working directory.
        folder: where everything about this run goes.
        interpreter: the Python it runs in.
        variables: environment variables below the author's own.
        timeout: seconds; None for no limit.
        processes: what a distributed command runs as.
        parallel: how a parallel node is worked on.
        mounted: outputs that are written at a place of their own.
    """

    component: CommandComponent
    inputs: Mapping[str, str]
    search_space: Mapping[str, str]
    snapshot: Path
    folder: WorkFolder
    interpreter: Interpreter
    run_id: str
    variables: Mapping[str, str]
    timeout: float | None
    processes: Processes | None = None
    parallel: ParallelRun | None = None
    mounted: Mapping[str, Path] = field(default_factory=dict)


def output_paths(
    component: CommandComponent, folder: WorkFolder, mounted: Mapping[str, Path] | None = None
) -> dict[str, Path]:
    """Give the path of each output, the default ``artifacts`` included."""
    paths = {name: (mounted or {}).get(name, folder.outputs / name) for name in component.outputs}
    return {**paths, ARTIFACTS: folder.artifacts}


def resolve(execution: Execution, template: Template, job: str) -> str:
    """Fill a command or environment variable in."""
    return render(template, _lookup(execution, job))


def _lookup(execution: Execution, job: str) -> Callable[[Reference], str | None]:
    outputs = output_paths(execution.component, execution.folder, execution.mounted)

    def lookup(reference: Reference) -> str | None:
        if reference.kind is Kind.INPUT:
            return execution.inputs.get(reference.name)
        if reference.kind is Kind.SEARCH_SPACE:
            return execution.search_space.get(reference.name)
        if reference.kind is Kind.OUTPUT:
            return str(outputs[reference.name])
        return job

    return lookup


def environment(execution: Execution, context: RunContext) -> dict[str, str]:
    """Make the environment variables of a command.

    Those of the caller, without what it may have of another Azure ML or MLflow run; then the workspace's, the
    run's, and last the author's.
    """
    interpreter = execution.interpreter
    base = caller_variables(os.environ, isolated=interpreter.isolated)
    outputs = output_paths(execution.component, execution.folder, execution.mounted)
    return {
        **base,
        **context.client_environment,
        **overlay_variables(interpreter, execution.folder.overlay, base),
        "PYTHONUNBUFFERED": "1",
        "AZUREML_RUN_ID": execution.run_id,
        "AZUREML_ROOT_RUN_ID": context.job,
        "AZUREML_EXPERIMENT_NAME": context.experiment,
        "AZUREML_EXPERIMENT_ID": context.experiment_id,
        "AZUREML_ARM_PROJECT_NAME": context.experiment,
        "MLFLOW_RUN_ID": execution.run_id,
        "MLFLOW_EXPERIMENT_NAME": context.experiment,
        "MLFLOW_EXPERIMENT_ID": context.experiment_id,
        **{f"AZURE_ML_INPUT_{name}": value for name, value in execution.inputs.items()},
        **{f"AZURE_ML_OUTPUT_{name}": str(path) for name, path in outputs.items() if name != ARTIFACTS},
        **execution.variables,
        **{
            name: resolve(execution, template, context.job)
            for name, template in execution.component.environment_variables.items()
        },
    }


def thread_variables(processes: int, cores: int) -> dict[str, str]:
    """Share the cores between processes that run at the same time, as far as the caller has not decided."""
    if processes <= 1:
        return {}
    threads = str(max(1, cores // processes))
    return {name: threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name not in os.environ}


def prepare(execution: Execution) -> None:
    """Make the working directory, the layer for what the command installs and the outputs' folders.

    These are empty, but for those that are mounted.
    """
    folder = execution.folder
    if folder.root.exists():
        shutil.rmtree(folder.root)
    shutil.copytree(execution.snapshot, folder.snapshot)
    (folder.snapshot / "logs").mkdir(exist_ok=True)
    folder.artifacts.mkdir()
    working_outputs = folder.snapshot / "outputs"
    if working_outputs.is_dir():
        working_outputs.rename(folder.artifacts / "outputs")
    else:
        (folder.artifacts / "outputs").mkdir()
    link(working_outputs, folder.artifacts / "outputs")
    folder.outputs.mkdir(parents=True)
    for name, spec in execution.component.outputs.items():
        if name in execution.mounted:
            link(folder.outputs / name, execution.mounted[name])
        elif spec.type != "uri_file":
            (folder.outputs / name).mkdir()
    make_overlay(execution.interpreter, folder.overlay)


async def execute(
    execution: Execution,
    context: RunContext,
    on_end: Callable[[ProcessResult], None] | None = None,
    warm: WarmStart | None = None,
) -> ProcessResult:
    """Run a command to its end.

    Args:
        execution: the command.
        context: what it gets to know about its job.
        on_end: told how it ended, also when canceled.
        warm: starts it where it can, unless it is several processes.

    Raises:
        OSError: when its folders cannot be made.
        AmlocalError: when the input of a parallel node cannot be split.
    """
    prepare(execution)
    folder, timeout = execution.folder, execution.timeout
    try:
        if execution.parallel is not None:
            return await _execute_parallel(execution, execution.parallel, context, on_end)
        command = resolve(execution, execution.component.command, context.job)
        if execution.processes is None:
            variables = environment(execution, context)
            start = Start(command, folder.snapshot, variables, folder.log, folder.overlay)
            starter = None if warm is None else partial(warm.start, start)
            return await run_process(command, folder.snapshot, variables, folder.log, timeout, on_end, starter)
        ranks = [
            (rank, environment(replace(execution, variables={**execution.variables, **rank.variables}), context))
            for rank in ranks_of(execution.processes)
        ]
        return await run_ranks(command, folder.snapshot, ranks, folder.log, timeout, on_end)
    finally:
        _keep_artifacts(folder)
        await asyncio.to_thread(shutil.rmtree, folder.overlay, ignore_errors=True)


def _keep_artifacts(folder: WorkFolder) -> None:
    """Take in an ``outputs`` folder that the command made in place of the one it was given."""
    written = folder.snapshot / "outputs"
    if written.is_dir() and not written.is_symlink():
        kept = folder.artifacts / "outputs"
        shutil.rmtree(kept)
        written.rename(kept)
        link(written, kept)


async def _execute_parallel(
    execution: Execution, run: ParallelRun, context: RunContext, on_end: Callable[[ProcessResult], None] | None
) -> ProcessResult:
    folder, inputs, lookup = execution.folder, dict(execution.inputs), _lookup(execution, context.job)
    command = await asyncio.to_thread(write_task, execution.component, run, folder, inputs, lookup)
    variables = environment(execution, context)
    result = await run_process(command, folder.snapshot, variables, folder.log, execution.timeout, on_end)
    return replace(result, failure=await asyncio.to_thread(failure, folder))
