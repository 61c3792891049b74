"""Schedules: kept as they were put, and fired when somebody asks for it; nothing on this machine fires them by time."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from amlocal.workspace.arm_shapes import arm_resource
from amlocal.workspace.assets import read_json
from amlocal.workspace.errors import bad_request, conflict, not_found
from amlocal.workspace.jobs import Jobs
from amlocal.workspace.operations import Operations
from amlocal.workspace.store import Json, Resource, Store
from amlocal.workspace.versions import NAME

COLLECTION = "schedules"
VIEWS = {"EnabledOnly": (True,), "DisabledOnly": (False,), "All": (True, False)}
TRIGGER_TIME = "${{create_context.trigger_time}}"
"""What Azure replaces by the time at which a schedule fires."""
SCHEDULE_PROPERTY = "azureml.schedulename"
_CRON = re.compile(r"(?:[\d*/,-]+ +){2}[\d*/,-]+ +[\w*/,-]+ +[\w*/,-]+")
_FREQUENCIES = ("minute", "hour", "day", "week", "month")


@dataclass(frozen=True)
class Schedules:
    """The schedules of one workspace.

    Attributes:
        store: Where they are kept.
        jobs: Runs the jobs that they create.
        operations: Where long work is registered.
    """

    store: Store
    jobs: Jobs
    operations: Operations

    def routes(self) -> list[Route]:
        """Build the routes of ``schedules``."""
        one = f"/{COLLECTION}/{{schedule}}"
        return [
            Route(f"/{COLLECTION}", self._list, methods=["GET"]),
            Route(one, self._get, methods=["GET"]),
            Route(one, self._put, methods=["PUT"]),
            Route(one, self._delete, methods=["DELETE"]),
            Route(one + "/trigger", self._trigger, methods=["POST"]),
        ]

    async def _list(self, request: Request) -> Response:
        view = request.query_params.get("listViewType", "EnabledOnly")
        if view not in VIEWS:
            raise bad_request(f"listViewType is {view!r}; expected one of {', '.join(VIEWS)}.")
        found = [schedule for schedule in self.store.members(COLLECTION) if _is_enabled(schedule) in VIEWS[view]]
        return JSONResponse({"value": [arm_resource(schedule) for schedule in found]})

    async def _get(self, request: Request) -> Response:
        return JSONResponse(arm_resource(self._find(request)))

    async def _put(self, request: Request) -> Response:
        name = str(request.path_params["schedule"])
        if NAME.fullmatch(name) is None:
            raise bad_request(f"{name!r} is no name of a schedule; expected letters, digits, '-', '_' and '.'.")
        body = await read_json(request)
        properties = {"isEnabled": True, **body["properties"], "provisioningState": "Succeeded"}
        check_trigger(properties.get("trigger"))
        await self.jobs.check(name, fired(self._definition(properties), name, _now()))
        existing = self.store.get(COLLECTION, name)
        schedule = self.store.put(COLLECTION, name, {**body, "properties": properties})
        headers = self.operations.begin(_done())
        return JSONResponse(arm_resource(schedule), 201 if existing is None else 200, headers)

    async def _delete(self, request: Request) -> Response:
        self.store.delete(COLLECTION, self._find(request).name)
        return Response(status_code=202, headers=self.operations.begin(_done()))

    async def _trigger(self, request: Request) -> Response:
        schedule = self._find(request)
        if not _is_enabled(schedule):
            raise conflict(f"Schedule {schedule.name} is disabled; enable it first.")
        now = _now()
        # Azure's own form of these names.
        base = f"{schedule.name}-{now:%Y%m%dT%H%M%SZ}"
        name, number = base, 1
        while self.jobs.find(name) is not None:
            number += 1
            name = f"{base}-{number}"
        definition = fired(self._definition(schedule.body["properties"]), schedule.name, now)
        await self.jobs.submit(name, {**definition, "displayName": name})
        return JSONResponse({"submissionId": name, "scheduleActionType": "CreateJob"})

    def _definition(self, properties: Json) -> Json:
        """Give the job that a schedule creates, stated or named by its id.

        Raises:
            ArmError: There is none, or it names a job that clients did not submit.
        """
        action = properties.get("action")
        if not isinstance(action, dict) or action.get("actionType") != "CreateJob":
            raise bad_request("A schedule on this machine creates a job; the action must be of type CreateJob.")
        definition = action.get("jobDefinition")
        if not isinstance(definition, dict):
            raise bad_request("The action must have an object named jobDefinition.")
        source = definition.get("sourceJobId")
        if not source or definition.get("jobs") or definition.get("componentId"):
            return definition
        name = str(source).rpartition("/")[2].removeprefix("azureml:")
        said = self.jobs.said(name)
        if said is None or "jobType" not in said.body.get("properties", {}):
            raise not_found(f"Job {name}, as submitted by a client,")
        return dict(said.body["properties"])

    def _find(self, request: Request) -> Resource:
        name = request.path_params["schedule"]
        schedule = self.store.get(COLLECTION, name)
        if schedule is None:
            raise not_found(f"Schedule {name}")
        return schedule


def check_trigger(trigger: Any) -> None:
    """Refuse a trigger that says no times.

    Args:
        trigger: As azure-ai-ml sends it.

    Raises:
        ArmError: It is neither a cron expression nor a recurrence.
    """
    stated = trigger if isinstance(trigger, dict) else {}
    kind = stated.get("triggerType")
    if kind == "Cron":
        expression = str(stated.get("expression"))
        if _CRON.fullmatch(expression.strip()) is None:
            raise bad_request(
                f"The cron expression {expression!r} is none: expected MINUTES HOURS DAYS MONTHS DAYS-OF-WEEK."
            )
        return
    if kind != "Recurrence":
        raise bad_request(f"The trigger is of type {kind}; expected Cron or Recurrence.")
    frequency, interval = str(stated.get("frequency")), stated.get("interval")
    if frequency.lower() not in _FREQUENCIES:
        raise bad_request(f"The frequency is {frequency!r}; expected one of {', '.join(_FREQUENCIES)}.")
    if not isinstance(interval, int) or interval < 1:
        raise bad_request(f"The interval is {interval!r}; expected a whole number of at least 1.")


def fired(definition: Json, schedule: str, at: datetime) -> Json:
    """Make a schedule's definition the job that it creates at a time.

    Args:
        definition: The job's properties.
        schedule: The schedule's name, which the job keeps as a property.
        at: The time.
    """
    text = json.dumps(definition).replace(TRIGGER_TIME, f"{at:%Y-%m-%dT%H:%M:%SZ}")
    job: Json = json.loads(text)
    return {**job, "properties": {**(job.get("properties") or {}), SCHEDULE_PROPERTY: schedule}}


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def _is_enabled(schedule: Resource) -> bool:
    return bool(schedule.body["properties"].get("isEnabled", True))


async def _done() -> None:
    """Nothing is left to do: what was put is stored already."""
