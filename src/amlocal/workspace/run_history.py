"""The part of Azure's run history that azure-ai-ml asks for jobs: details, children, outputs, changes.

Source of the paths: azure-ai-ml's ``_restclient/runhistory`` and ``_restclient/dataset_dataplane``.
"""

from __future__ import annotations

import asyncio
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from amlocal.run.records import JobRecord
from amlocal.workspace import names
from amlocal.workspace.credentials import issue_sas
from amlocal.workspace.errors import bad_request, not_found
from amlocal.workspace.job_files import RUNS, RunArtifacts
from amlocal.workspace.job_runs import JobRun
from amlocal.workspace.job_shapes import ABOUT, output_address, run_details, run_resource
from amlocal.workspace.jobs import Jobs
from amlocal.workspace.store import Json

HISTORY = f"/history/v1.0{names.WORKSPACE_ARM_ID}"
DATA = f"/data/v1.0{names.WORKSPACE_ARM_ID}"
_ASSET = re.compile(r"/data/azureml_(?P<run>.+)_output_data_(?P<output>.+)/versions/1$")
_IN_HISTORY = {"hidden": "isArchived"}


@dataclass(frozen=True)
class RunHistory:
    """The runs of one workspace's jobs.

    Attributes:
        jobs: The jobs.
        artifacts: Gives the logs of runs.
        key: The workspace's key, which signs the addresses of logs.
    """

    jobs: Jobs
    artifacts: RunArtifacts
    key: str

    def routes(self) -> list[Route]:
        """Build the routes of the data-plane host."""
        one = f"{HISTORY}/runs/{{run}}"
        return [
            Route(one, self._get, methods=["GET"]),
            Route(f"{one}/children", self._children, methods=["GET"]),
            Route(f"{one}/details", self._details, methods=["GET"]),
            Route(f"{HISTORY}/experiments/{{experiment}}/runs/{{run}}", self._patch, methods=["PATCH"]),
            Route(f"{HISTORY}/rundata", self._run_data, methods=["POST"]),
            Route(f"{DATA}/dataversion/batchGetResolvedUris", self._resolved, methods=["POST"]),
        ]

    async def _get(self, request: Request) -> Response:
        return JSONResponse(self._resource(*await self._find(str(request.path_params["run"]))))

    async def _children(self, request: Request) -> Response:
        run, record = await self._find(str(request.path_params["run"]))
        children = await asyncio.to_thread(self.jobs.records.children, run.id)
        top = request.query_params.get("$top", "")
        # All at once: azure-ai-ml asks for no second page.
        chosen = children[: int(top)] if top.isdecimal() else children
        return JSONResponse({"value": [self._resource(child, record) for child in chosen]})

    async def _details(self, request: Request) -> Response:
        run, record = await self._find(str(request.path_params["run"]))
        signature = issue_sas(self.key, names.ARTIFACT_CONTAINER)
        address = f"https://{names.BLOB_HOST}/{names.ARTIFACT_CONTAINER}/{RUNS}{urllib.parse.quote(run.id)}"
        found = await asyncio.to_thread(self.artifacts, run, record)
        logs = {name: f"{address}/{name}?{signature}" for name, path in found.items() if path.is_file()}
        return JSONResponse(run_details(run, record, self.jobs.said(record.name), logs))

    async def _patch(self, request: Request) -> Response:
        run, record = await self._find(str(request.path_params["run"]))
        if run.parent is not None:
            raise bad_request(f"{run.id} is a part of job {run.job}; only a whole job can be changed.")
        body = await _object(request)
        said = {_IN_HISTORY.get(key, key): value for key, value in body.items()}
        self.jobs.update(record, {key: said[key] for key in ABOUT if key in said})
        return JSONResponse(self._resource(run, record))

    async def _run_data(self, request: Request) -> Response:
        body = await _object(request)
        return JSONResponse({"runMetadata": self._resource(*await self._find(str(body.get("runId"))))})

    async def _resolved(self, request: Request) -> Response:
        body = await _object(request)
        values = {}
        for asset in body.get("values") or []:
            match = _ASSET.search(str(asset))
            run, _ = await self._find(match["run"]) if match else (None, None)
            if match is None or run is None or match["output"] not in run.outputs:
                raise not_found(f"data {asset}")
            output = match["output"]
            address = output_address(run.id, output) + ("/" if run.outputs[output].is_dir() else "")
            values[asset] = {"uri": address, "type": "uri_folder" if run.outputs[output].is_dir() else "uri_file"}
        return JSONResponse({"values": values})

    async def _find(self, run_id: str) -> tuple[JobRun, JobRecord]:
        run = await asyncio.to_thread(self.jobs.records.run, run_id)
        record = None if run is None else self.jobs.records.find(run.job)
        if run is None or record is None:
            raise not_found(f"Run {run_id}")
        return run, record

    def _resource(self, run: JobRun, record: JobRecord) -> Json:
        return run_resource(run, record, self.jobs.said(record.name))


async def _object(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise bad_request(f"The request body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise bad_request("The request body must be an object.")
    return body
