"""MLflow's server as Azure ML offers it: with its limits, without logged models, under ``azureml://`` addresses.

The same application answers two addresses: the plain one, which steps and browsers use, and Azure's, below which
azureml-mlflow's calls arrive. Runs logged by either are the same runs.
"""

import json
import re

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amlocal.workspace import names
from amlocal.workspace.mlflow_limits import (
    Json,
    LimitExceeded,
    RunNames,
    RunNamesCache,
    check_experiment,
    check_numbers,
    check_sizes,
    error_body,
    read_logged,
)

_OPERATION = re.compile(r"/(?:api|ajax-api)/2\.0/(?:preview/)?mlflow/(.+)")
_LOGGED_MODELS = "/api/2.0/mlflow/logged-models"
_LOG_BATCH = "/api/2.0/mlflow/runs/log-batch"
_LOG_BATCH_ASYNC = "/api/2.0/preview/mlflow/runs/log-batch-async"
_BATCH_STATUS = "/api/2.0/preview/mlflow/runs/get-run-data-status"
_STORED = re.compile(r"mlflow-artifacts:/(?P<experiment>[^/]+)(?:/(?P<run>[^/]+)/artifacts)?")
_RUNS = f"azureml://{names.API_HOST}/mlflow/v2.0{names.WORKSPACE_ARM_ID}/experiments"

Call = tuple[Scope, Receive, Send]
"""A request as an ASGI application takes it."""


def with_limits(app: ASGIApp) -> ASGIApp:
    """Wrap MLflow's application: requests that Azure ML would refuse are refused whole, with MLflow's error object.

    The user interface still reads logged models, by an address of its own.

    Args:
        app: MLflow's application.
    """
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")

    async def get_run(run_id: str) -> Json | None:
        answer = await client.get("/api/2.0/mlflow/runs/get", params={"run_id": run_id})
        return answer.json()["run"] if answer.status_code == 200 else None

    runs = RunNamesCache(get_run)

    async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path.startswith(_LOGGED_MODELS):
            await _answer(send, 404, _no_logged_models())
            return
        match = _OPERATION.fullmatch(path)
        if match is None or scope["method"] != "POST" or not match[1].startswith(("runs/", "experiments/")):
            await app(scope, receive, send)
            return
        body = await _read_body(receive)
        try:
            await _pass_on(app, runs, match[1], body, (scope, _replay(body, receive), send))
        except LimitExceeded as error:
            await _answer(send, 400, error_body(str(error)))

    return wrapper


async def _pass_on(app: ASGIApp, runs: RunNamesCache, operation: str, body: bytes, call: Call) -> None:
    """Pass a request on if Azure ML would take it."""
    request = _parse(body)
    if operation in ("experiments/create", "experiments/set-experiment-tag"):
        check_experiment(operation, request)
    run_id = str(request.get("run_id") or request.get("run_uuid") or "")
    if operation == "runs/delete-tag":
        runs.forget(run_id)
    logged = read_logged(operation, request)
    if logged is None:
        await app(*call)
        return
    check_sizes(logged)
    run = await runs.get(run_id) if run_id else RunNames()
    if run.has(logged):
        await app(*call)
        return
    # Two requests that bring new names to a run at once cannot pass together.
    async with run.lock:
        check_numbers(logged, run)
        scope, receive, send = call
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await app(scope, receive, watch)
        if status == 200:
            run.add(logged)


def with_azure_addresses(app: ASGIApp) -> ASGIApp:
    """Wrap an application for azureml-mlflow: artefacts lie at ``azureml://`` addresses, batches are logged at once.

    Args:
        app: MLflow's application with its limits.
    """

    async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if not _OPERATION.fullmatch(path):
            message = f"{path} is nothing that Azure ML's MLflow backend answers"
            await _answer(send, 404, json.dumps({"error_code": "ENDPOINT_NOT_FOUND", "message": message}).encode())
            return
        if path == _BATCH_STATUS:
            await _answer(send, 200, b'{"is_complete": true}')
            return
        asynchronous = path == _LOG_BATCH_ASYNC
        target = _LOG_BATCH if asynchronous else path
        status, body = await _collect(app, {**scope, "path": target, "raw_path": target.encode()}, receive)
        if asynchronous and status == 200:
            # No tracking id: the client then takes the batch for stored, which it is.
            body = b'{"batch_tracking_id": ""}'
        elif b"mlflow-artifacts:/" in body:
            body = json.dumps(_translate(json.loads(body))).encode()
        await _answer(send, status, body)

    return wrapper


def _translate(value: object) -> object:
    """Replace the addresses of MLflow's artefacts in an answer."""
    if isinstance(value, list):
        return [_translate(item) for item in value]
    if isinstance(value, dict):
        return {
            key: _azure_address(item)
            if key in ("artifact_uri", "artifact_location") and isinstance(item, str)
            else _translate(item)
            for key, item in value.items()
        }
    return value


def _azure_address(uri: str) -> str:
    match = _STORED.fullmatch(uri)
    if match is None:
        return uri.replace("mlflow-artifacts:/", "azureml://artifacts/", 1)
    experiment = f"{_RUNS}/{match['experiment']}"
    return experiment if match["run"] is None else f"{experiment}/runs/{match['run']}/artifacts"


def _no_logged_models() -> bytes:
    message = (
        "Azure ML's MLflow backend has no logged models, so MLflow 3's log_model fails there. Save the model "
        "(mlflow.<flavor>.save_model), log the folder (log_artifacts) or make it an output, and register that."
    )
    return json.dumps({"error_code": "ENDPOINT_NOT_FOUND", "message": message}).encode()


def _parse(body: bytes) -> Json:
    """Read a request; what is no JSON object is MLflow's to refuse."""
    try:
        request = json.loads(body)
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


async def _read_body(receive: Receive) -> bytes:
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read once more, and then what comes after it."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again


async def _collect(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[int, bytes]:
    """Run a request and keep its answer: status and body."""
    status = 500
    parts: list[bytes] = []

    async def keep(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        parts.append(message.get("body", b""))

    await app(scope, receive, keep)
    return status, b"".join(parts)


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
