"""The workspace's data-plane host: MLflow's calls passed on, artefacts and tokens of runs for azureml-mlflow.

Source of the paths: azureml-mlflow's own REST clients.
"""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from amlocal.workspace import names
from amlocal.workspace.blobs import BlobStore
from amlocal.workspace.credentials import issue_sas, issue_token
from amlocal.workspace.errors import bad_request, not_found
from amlocal.workspace.store import Json

ARTIFACT_PATH = 5000
"""Characters of an artefact's path that Azure takes (https://aka.ms/azure-machine-learning-limits)."""

_PART = re.compile(r"[\w.:-]+")
_METHODS = ["GET", "POST", "PATCH", "DELETE"]
_NOT_PASSED_ON = frozenset({"host", "authorization", "content-length", "connection", "transfer-encoding", "origin"})


@dataclass(frozen=True)
class ArtifactFolder:
    """Where a group of artefacts lies.

    Attributes:
        origin: Azure's word for what made them, as in ``ExperimentRun``.
        group: Azure's "container": the run, or an upload.
        container: Blob container.
        prefix: Beginning of the blobs' names, with a slash at its end.
    """

    origin: str
    group: str
    container: str
    prefix: str


def tracking_routes(mlflow: httpx.AsyncClient) -> list[Mount]:
    """Build the routes that pass MLflow's calls on.

    Args:
        mlflow: Client whose base is the address of MLflow's server for azureml-mlflow, and that has its key.
    """

    async def pass_on(request: Request) -> Response:
        headers = [(name, value) for name, value in request.headers.items() if name not in _NOT_PASSED_ON]
        call = mlflow.build_request(
            request.method,
            f"/{request.path_params['rest']}",
            params=request.url.query.encode(),
            headers=headers,
            content=await request.body(),
        )
        try:
            answer = await mlflow.send(call, stream=True)
        except httpx.HTTPError as error:
            message = f"MLflow's server does not answer: {error or type(error).__name__}"
            return JSONResponse({"error_code": "TEMPORARILY_UNAVAILABLE", "message": message}, 503)
        kept = {name: value for name, value in answer.headers.items() if name not in _NOT_PASSED_ON}
        return StreamingResponse(_pieces(answer), answer.status_code, kept)

    routes = [Route("/{rest:path}", pass_on, methods=_METHODS)]
    return [Mount(f"/mlflow/{version}{names.WORKSPACE_ARM_ID}", routes=routes) for version in ("v1.0", "v2.0")]


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()


def artifact_routes(blobs: BlobStore, key: str) -> list[Mount]:
    """Build the routes of run artefacts, of uploaded artefacts and of runs' tokens.

    Args:
        blobs: Where artefacts lie.
        key: The workspace's key, which signs addresses and tokens.
    """

    async def token(_request: Request) -> Response:
        value, expiry = issue_token(key, f"https://{names.MANAGEMENT_HOST}")
        return JSONResponse({"token": value, "expiryTimeUtc": datetime.fromtimestamp(expiry, UTC).isoformat()})

    run = "/{kind:str}/{experiment}/runs/{run}"
    history = [*_folder_routes(blobs, key, f"{run}/artifacts", _run_folder), Route(f"{run}/token", token)]
    uploads = _folder_routes(blobs, key, "/artifacts/{origin}/{group}", _upload_folder)
    return [
        Mount(f"/history/v1.0{names.WORKSPACE_ARM_ID}", routes=history),
        Mount(f"/artifact/v2.0{names.WORKSPACE_ARM_ID}", routes=uploads),
    ]


def _folder_routes(blobs: BlobStore, key: str, base: str, find: Callable[[Request], ArtifactFolder]) -> list[Route]:
    async def listing(request: Request) -> Response:
        folder = find(request)
        found = [blob.name.removeprefix(folder.prefix) for blob in blobs.find(folder.container, folder.prefix)]
        return JSONResponse({"value": [_artifact(folder, path) for path in found]})

    async def content(request: Request) -> Response:
        folder = find(request)
        path = request.query_params.get("path", "")
        if blobs.get(folder.container, folder.prefix + path) is None:
            raise not_found(f"artifact {folder.origin}/{folder.group}/{path}")
        return JSONResponse(_content(folder, path, key))

    async def create(request: Request) -> Response:
        folder = find(request)
        artifacts, contents, errors = {}, {}, {}
        for path in await _paths(request):
            if blobs.get(folder.container, folder.prefix + path) is not None:
                message = f"ArtifactId {folder.origin}/{folder.group}/{path} already exists."
                errors[path] = {"error": {"code": "Resource Conflict", "message": message}}
            else:
                artifacts[path] = _artifact(folder, path)
                contents[path] = _content(folder, path, key)
        return JSONResponse({"artifacts": artifacts, "artifactContentInformation": contents, "errors": errors})

    return [
        Route(base, listing),
        Route(f"{base}/contentinfo", content),
        Route(f"{base}/batch/metadata", create, methods=["POST"]),
    ]


async def _paths(request: Request) -> list[str]:
    try:
        body = await request.json()
        paths = [str(item["path"]) for item in body["paths"]]
    except (ValueError, TypeError, KeyError):
        raise bad_request('The request body must be {"paths": [{"path": …}, …]}.') from None
    for path in paths:
        if len(path) > ARTIFACT_PATH or not path or ".." in path.split("/") or path.startswith("/"):
            raise bad_request(f"{path[:100]!r} is no path of an artifact; expected up to {ARTIFACT_PATH} characters.")
    return paths


def _run_folder(request: Request) -> ArtifactFolder:
    experiment, run = _checked(request, "experiment"), _checked(request, "run")
    if request.path_params["kind"] not in ("experiments", "experimentids"):
        raise not_found(request.url.path)
    prefix = f"{experiment}/{run}/artifacts/"
    return ArtifactFolder("ExperimentRun", f"dcid.{run}", names.ARTIFACT_CONTAINER, prefix)


def _upload_folder(request: Request) -> ArtifactFolder:
    origin, group = _checked(request, "origin"), _checked(request, "group")
    container = names.ARTIFACT_CONTAINER if origin == names.MODEL_FOLDERS else names.DEFAULT_CONTAINER
    return ArtifactFolder(origin, group, container, f"{origin}/{group}/")


def _checked(request: Request, name: str) -> str:
    """Read a part of the path that becomes a part of blobs' names."""
    part = str(request.path_params[name])
    if _PART.fullmatch(part) is None or not part.strip("."):
        raise bad_request(f"{part!r} is no name of an experiment, run or upload.")
    return part


def _artifact(folder: ArtifactFolder, path: str) -> Json:
    return {
        "artifactId": f"{folder.origin}/{folder.group}/{path}",
        "origin": folder.origin,
        "container": folder.group,
        "path": path,
    }


def _content(folder: ArtifactFolder, path: str, key: str) -> Json:
    name = f"{folder.prefix}{path}"
    address = httpx.URL(f"https://{names.BLOB_HOST}/", path=f"/{folder.container}/{name}")
    return {
        "contentUri": f"{address}?{issue_sas(key, folder.container)}",
        "origin": folder.origin,
        "container": folder.group,
        "path": path,
    }
