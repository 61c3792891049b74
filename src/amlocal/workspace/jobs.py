"""Jobs as Azure Resource Manager has them: submit, get, list, update, cancel."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from amlocal.endpoints.instance import ProvisioningError
from amlocal.errors import AmlocalError
from amlocal.lint.check import read_checked_plan
from amlocal.run.records import ENDED, JobRecord
from amlocal.workspace import names
from amlocal.workspace.arm_shapes import arm_id
from amlocal.workspace.assets import read_json
from amlocal.workspace.errors import ArmError, bad_request, conflict, not_found
from amlocal.workspace.job_document import job_document
from amlocal.workspace.job_references import check_references
from amlocal.workspace.job_runner import JobRunner
from amlocal.workspace.job_runs import JobRecords, runs_of
from amlocal.workspace.job_shapes import ABOUT, CANCEL_REQUESTED, COLLECTION, child_resource, job_resource
from amlocal.workspace.layout import write_atomically
from amlocal.workspace.operations import Operations
from amlocal.workspace.registry import Registry
from amlocal.workspace.store import Json, Resource, Store
from amlocal.workspace.versions import NAME

PAGE = 100
# Azure's experiment of a job that names none.
DEFAULT_EXPERIMENT = "Default"


@dataclass(frozen=True)
class Jobs:
    """The jobs of one workspace.

    Records below the home folder say how jobs are, whoever started them; the store keeps what clients said of them.

    Attributes:
        store: Where what clients said is kept.
        records: The records of all jobs.
        runner: Runs them.
        operations: Where cancellations are registered.
        documents: Folder for the YAML of submitted jobs.
    """

    store: Store
    records: JobRecords
    runner: JobRunner
    operations: Operations
    documents: Path
    _starting: set[str] = field(default_factory=set)

    def routes(self) -> list[Route]:
        """Build the routes of ``jobs``."""
        one = "/jobs/{job}"
        return [
            Route("/jobs", self._list, methods=["GET"]),
            Route(one, self._get, methods=["GET"]),
            Route(one, self._put, methods=["PUT"]),
            Route(one + "/cancel", self._cancel, methods=["POST"]),
        ]

    def find(self, name: str) -> JobRecord | None:
        """Find a job.

        Raises:
            ArmError: Its record is damaged.
        """
        try:
            return self.records.find(name) if NAME.fullmatch(name) else None
        except AmlocalError as error:
            raise ArmError(500, "InternalServerError", f"Job {name}: {error}") from None

    def said(self, name: str) -> Resource | None:
        """Give what clients said of a job."""
        return self.store.get(COLLECTION, name)

    def update(self, record: JobRecord, changes: Mapping[str, object]) -> None:
        """Change what is said of a job; tags and properties are added to those that it has.

        Args:
            record: The job.
            changes: Some of :data:`ABOUT`.
        """
        stored = self.said(record.name)
        body = {} if stored is None else dict(stored.body)
        properties = dict(body.get("properties", {}))
        for key in ABOUT:
            value = changes.get(key)
            if isinstance(value, Mapping):
                properties[key] = {**(properties.get(key) or {}), **value}
            elif value is not None:
                properties[key] = value
        self.store.put(COLLECTION, record.name, {**body, "properties": properties})

    async def check(self, name: str, properties: Json) -> None:
        """See that a job could run, without running it.

        Args:
            name: What it is called in messages.
            properties: As azure-ai-ml sends them.

        Raises:
            ArmError: It could not.
        """
        check_references(self.store, properties)
        text = _yaml(properties)
        with tempfile.TemporaryDirectory(dir=self.documents, prefix=".check-") as folder:
            path = Path(folder, f"{name}.yml")
            path.write_bytes(text)
            try:
                await asyncio.to_thread(read_checked_plan, path, (), Registry(self.records.home))
            except AmlocalError as error:
                raise bad_request(f"The job of {name} cannot run as submitted: {error}") from None

    async def submit(self, name: str, properties: Json) -> None:
        """Start a job.

        Args:
            name: Its name, which no job has.
            properties: As azure-ai-ml sends them.

        Raises:
            ArmError: It cannot run as submitted, or another one of the name has just been made.
        """
        if name in self._starting:
            raise conflict(f"Job {name} is being created.")
        check_references(self.store, properties)
        text = _yaml(properties)
        self._starting.add(name)
        path = self.documents / f"{name}.yml"
        try:
            write_atomically(path, text)
            # Before the job: whoever sees the job sees what was submitted.
            self.store.put(COLLECTION, name, {"properties": properties})
            await self.runner.start(path, name)
        except AmlocalError as error:
            record = self.find(name)
            if record is None or Path(record.file) != path:  # nothing, or what somebody else has just made
                self.store.delete(COLLECTION, name)
                path.unlink(missing_ok=True)
            raise bad_request(f"Job {name} cannot run as submitted: {error}") from None
        finally:
            self._starting.discard(name)

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        views = {"ActiveOnly": (False,), "ArchivedOnly": (True,), "All": (False, True)}
        view = query.get("listViewType", "ActiveOnly")
        if view not in views:
            raise bad_request(f"listViewType is {view!r}; expected one of {', '.join(views)}.")
        answers = [self._answer(record) for record in await asyncio.to_thread(self.records.all)]
        chosen = [
            answer
            for answer in answers
            if answer["properties"]["isArchived"] in views[view]
            and query.get("jobType") in (None, answer["properties"]["jobType"])
            and (not query.get("tag") or query["tag"].partition("=")[0] in answer["properties"]["tags"])
        ]
        skip = query.get("$skip", "0")
        start = int(skip) if skip.isdecimal() else 0
        page: Json = {"value": chosen[start : start + PAGE]}
        if len(chosen) > start + PAGE:
            rest = request.url.include_query_params(**{"$skip": start + PAGE}).query
            page["nextLink"] = f"https://{names.MANAGEMENT_HOST}{arm_id(COLLECTION)}?{rest}"
        return JSONResponse(page)

    async def _get(self, request: Request) -> Response:
        name = str(request.path_params["job"])
        record = self.find(name)
        if record is not None:
            return JSONResponse(self._answer(record))
        run = await asyncio.to_thread(self.records.run, name)
        if run is None:
            raise not_found(f"Job {name}")
        return JSONResponse(child_resource(run))

    async def _put(self, request: Request) -> Response:
        name = str(request.path_params["job"])
        if NAME.fullmatch(name) is None:
            raise bad_request(f"{name!r} is no name of a job; expected letters, digits, '-', '_' and '.'.")
        body = await read_json(request)
        record = self.find(name)
        if record is not None:
            self._check_unchanged(record, body["properties"])
            self.update(record, {key: body["properties"].get(key) for key in ABOUT})
            return JSONResponse(self._answer(record))
        await self.submit(name, body["properties"])
        return JSONResponse(self._answer(self._found(name)), 201)

    async def _cancel(self, request: Request) -> Response:
        name = str(request.path_params["job"])
        record = self.find(name)
        if record is None:
            run = await asyncio.to_thread(self.records.run, name)
            if run is None:
                raise not_found(f"Job {name}")
            raise bad_request(f"{name} is a part of job {run.job}; only a whole job can be canceled.")
        if record.status in ENDED:
            raise bad_request(f"Job {name} is {record.status}; only a job that has not ended can be canceled.")
        stored = self.said(name)
        self.store.put(COLLECTION, name, {**(stored.body if stored is not None else {}), CANCEL_REQUESTED: True})
        return Response(status_code=202, headers=self.operations.begin(self._end(name)))

    async def _end(self, name: str) -> None:
        try:
            await self.runner.cancel(name)
        except AmlocalError as error:
            raise ProvisioningError(str(error)) from None

    def _answer(self, record: JobRecord) -> Json:
        return job_resource(record, next(runs_of(record)), self.said(record.name))

    def _found(self, name: str) -> JobRecord:
        record = self.find(name)
        if record is None:
            raise ArmError(500, "InternalServerError", f"Job {name} was started and has no record.")
        return record

    def _check_unchanged(self, record: JobRecord, properties: Json) -> None:
        """Refuse another job under the name of one that exists; sending the same one again is fine.

        Raises:
            ArmError: Something else than what can be updated differs.
        """
        stored = self.said(record.name)
        known = {} if stored is None else stored.body.get("properties", {})
        told = {"status", "services", "experimentName", *ABOUT}
        changed = [key for key, value in properties.items() if key not in told and value != known.get(key)]
        if changed:
            raise conflict(
                f"A job named {record.name} exists, and its {' and '.join(sorted(changed))} cannot be changed. "
                "Give a new job another name. Description, display name, tags and properties can be updated."
            )


def _yaml(properties: Json) -> bytes:
    document = {"experiment_name": DEFAULT_EXPERIMENT, **job_document(properties)}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()
