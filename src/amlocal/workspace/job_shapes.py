"""What jobs look like on the wire: as ARM resources, and as runs of the run history."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from amlocal.run.records import ENDED, JobRecord
from amlocal.workspace import names
from amlocal.workspace.arm_shapes import arm_resource, timestamp
from amlocal.workspace.job_document import KINDS
from amlocal.workspace.job_runs import JobRun
from amlocal.workspace.store import Json, Resource

COLLECTION = "jobs"
ABOUT = ("displayName", "description", "tags", "properties", "isArchived")
"""What can be changed of a job that exists."""

BEST_CHILD = "best_child_run_id"
"""Property by which azure-ai-ml finds a sweep's best trial."""
REUSED = "azureml.isreused"
CANCEL_REQUESTED = "cancelRequested"

_JOB_TYPES = {kind: job_type for job_type, kind in KINDS.items()}
# What azure-ai-ml must find in a job that was not submitted by it, whose definition is the file that it names.
_LEAST: Mapping[str, Json] = {
    "pipeline": {"jobs": {}, "settings": {}},
    "command": {"command": "", "environmentId": "", "environmentVariables": {}},
    "sweep": {"trial": {"command": "", "environmentId": ""}, "searchSpace": {}, "objective": {}, "limits": {}},
    "automl": {
        "taskDetails": {"taskType": "TextClassification", "trainingData": {"jobInputType": "mltable", "uri": ""}}
    },
}


def job_resource(record: JobRecord, run: JobRun, stored: Resource | None) -> Json:
    """Build a job's answer.

    Args:
        record: The job.
        run: Its own run.
        stored: What clients said of it; ``None`` for a job that ``amlocal job create`` started.
    """
    started = record.started or (stored.created if stored is not None else 0.0)
    resource = stored or Resource(COLLECTION, record.name, {}, started, started)
    properties = resource.body.get("properties", {})
    answered = {
        "displayName": record.display_name or record.name,
        "experimentName": record.experiment_name,
        "inputs": {},
        "outputs": {name: _output(record.name, name, path) for name, path in run.outputs.items()},
        **(_LEAST[record.kind] if "jobType" not in properties else {}),
        **properties,
        "jobType": _JOB_TYPES[record.kind],
        "status": status_of(record, stored),
        "isArchived": bool(properties.get("isArchived")),
        "tags": {**record.tags, **(properties.get("tags") or {})},
        "properties": _run_properties(run) | (properties.get("properties") or {}),
        "services": {},  # there is no studio; clients must find the key
    }
    return arm_resource(replace(resource, body={"properties": answered}))


def child_resource(run: JobRun) -> Json:
    """Build the answer for a step or a trial, which ARM has no properties for: clients then ask the run history."""
    started = run.started or 0.0
    return arm_resource(Resource(COLLECTION, run.id, {"properties": None}, started, started))


def status_of(record: JobRecord, stored: Resource | None) -> str:
    """Give a job's status in Azure's words."""
    asked = stored is not None and stored.body.get(CANCEL_REQUESTED)
    return "CancelRequested" if asked and record.status not in ENDED else record.status


def run_resource(run: JobRun, record: JobRecord, stored: Resource | None) -> Json:
    """Build a run's answer in the run history.

    Args:
        run: A job, a step or a trial.
        record: The job that it belongs to.
        stored: What clients said of that job.
    """
    said: Json = {} if stored is None or run.parent is not None else stored.body.get("properties", {})
    answer = {
        "runId": run.id,
        "parentRunId": run.parent,
        "rootRunId": run.job,
        "experimentId": record.experiment_name,
        "displayName": said.get("displayName") or run.display_name,
        "description": said.get("description"),
        "runType": f"azureml.{run.kind}",
        "status": status_of(record, stored) if run.parent is None else run.status,
        "tags": said.get("tags") or ({} if run.parent is not None else dict(record.tags)),
        "properties": _run_properties(run) | (said.get("properties") or {}),
        "hidden": bool(said.get("isArchived")),
        "outputs": {name: {"assetId": asset_id(run.id, name), "type": _type(path)} for name, path in _written(run)},
        "error": _error(run),
        "warnings": [{"source": "amlocal", "message": warning} for warning in run.warnings],
        **_times(run),
    }
    return {key: value for key, value in answer.items() if value is not None}


def run_details(run: JobRun, record: JobRecord, stored: Resource | None, log_files: Mapping[str, str]) -> Json:
    """Build the answer that streams are made of.

    Args:
        run: A job, a step or a trial.
        record: The job that it belongs to.
        stored: What clients said of that job.
        log_files: The address of each log.
    """
    shown = run_resource(run, record, stored)
    kept = ("runId", "parentRunId", "status", "tags", "properties", "error", "warnings", "startTimeUtc", "endTimeUtc")
    return {**{key: shown[key] for key in kept if key in shown}, "logFiles": dict(log_files)}


def asset_id(run: str, output: str) -> str:
    """Give the id of a run's output."""
    workspace = f"azureml://locations/{names.LOCATION}/workspaces/{names.TENANT_ID}"
    return f"{workspace}/data/azureml_{run}_output_data_{output}/versions/1"


def output_address(run: str, output: str) -> str:
    """Give the address of a run's output; the form is that of Azure's default one."""
    return f"azureml://datastores/{names.DEFAULT_DATASTORE}/paths/azureml/{run}/{output}"


def _written(run: JobRun) -> Iterable[tuple[str, Path]]:
    return ((name, path) for name, path in run.outputs.items() if path.exists())


def _type(path: Path) -> str:
    return "uri_folder" if path.is_dir() else "uri_file"


def _output(run: str, name: str, path: Path) -> Json:
    return {"jobOutputType": _type(path), "uri": output_address(run, name)}


def _run_properties(run: JobRun) -> dict[str, str]:
    best = {BEST_CHILD: run.best_child} if run.best_child is not None else {}
    return {**best, **({REUSED: "true"} if run.reused else {})}


def _error(run: JobRun) -> Json | None:
    if run.error is None:
        return None
    return {"error": {"code": "UserError", "message": run.error}}


def _times(run: JobRun) -> dict[str, str]:
    times = {"createdUtc": run.started, "startTimeUtc": run.started, "endTimeUtc": run.ended}
    return {name: timestamp(value) for name, value in times.items() if value is not None}
