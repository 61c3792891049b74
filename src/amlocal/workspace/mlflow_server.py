"""MLflow's own tracking server, behind the workspace's key; a child process of the daemon.

It answers under ``/mlflow`` and, as azureml-mlflow wants it, under ``/azureml``.

A process of its own because mlflow takes seconds to import (the daemon answers meanwhile) and works in
threads whose garbage and locks would be felt by scoring requests.
"""

import argparse
import base64
import os
import socket
import sqlite3
import sys
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from amlocal.endpoints.parent_watch import end_with_parent
from amlocal.workspace.credentials import matches, token_is_valid
from amlocal.workspace.layout import Layout
from amlocal.workspace.mlflow_azure import with_azure_addresses, with_limits

PREFIX = "/mlflow"
AZURE_PREFIX = "/azureml"
KEY_VARIABLE = "AMLOCAL_WORKSPACE_KEY"


def guarded(app: ASGIApp, key: str) -> ASGIApp:
    """Wrap an application: mounted under ``/mlflow`` and ``/azureml``, and 401 without the key.

    A token made from the key, or the key itself, is accepted as bearer token (mlflow's clients); the key as
    password of basic authentication (a browser).

    Args:
        app: MLflow's application; sees paths as if it were mounted at the root.
        key: The workspace's key.
    """
    by_prefix = {PREFIX: app, AZURE_PREFIX: with_azure_addresses(app)}

    async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        path: str = scope.get("path", "")
        prefix = "/" + path.lstrip("/").partition("/")[0]
        if scope["type"] != "http" or prefix not in by_prefix:
            await _answer(send, 404, b"not found")
        elif not _has_key(scope, key):
            await _answer(send, 401, b"the workspace's key is missing or wrong")
        else:
            stripped = path.removeprefix(prefix) or "/"
            await by_prefix[prefix]({**scope, "path": stripped, "raw_path": stripped.encode()}, receive, send)

    return wrapper


def _has_key(scope: Scope, key: str) -> bool:
    header = next((value for name, value in scope["headers"] if name == b"authorization"), b"").decode("latin-1")
    kind, _, credential = header.partition(" ")
    if kind.lower() == "bearer":
        return matches(credential, key) or token_is_valid(key, credential)
    if kind.lower() == "basic":
        try:
            _, _, password = base64.b64decode(credential).decode().partition(":")
        except ValueError:
            return False
        return matches(password, key)
    return False


async def _answer(send: Send, status: int, text: bytes) -> None:
    headers = [(b"content-type", b"text/plain")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="amlocal"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def server_settings(layout: Layout) -> dict[str, str]:
    """Return the variables by which mlflow's server is told where database, artifacts and registered models are."""
    return {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{layout.mlflow / 'mlflow.db'}",
        "_MLFLOW_SERVER_REGISTRY_STORE": f"amlocal://{layout.home}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": layout.run_artifacts.as_uri(),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def mlflow_app(layout: Layout, key: str) -> ASGIApp:
    """Load mlflow's server as this workspace offers it: with Azure ML's limits, behind the key.

    Args:
        layout: Where the workspace keeps its state.
        key: The workspace's key.
    """
    return guarded(with_limits(load_mlflow(layout)), key)


def load_mlflow(layout: Layout) -> ASGIApp:
    """Import mlflow's server and bring its database to the current schema.

    Args:
        layout: Where database, artifacts and registered models are kept.

    Returns:
        MLflow's application, ready to answer.
    """
    artifacts = layout.run_artifacts
    artifacts.mkdir(parents=True, exist_ok=True)
    settings = server_settings(layout)
    # mlflow reads its settings from variables when its modules are imported; there is no other way in.
    os.environ.update(settings)
    from mlflow.server import handlers
    from mlflow.server.fastapi_app import app
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    from amlocal.workspace.mlflow_models import WorkspaceModels

    # The documented way is an entry point, which would offer this store to every mlflow of this Python.
    handlers._model_registry_store_registry.register("amlocal", lambda *_, **__: WorkspaceModels(layout.home))
    if not event.contains(Engine, "connect", _write_ahead):
        event.listen(Engine, "connect", _write_ahead)
    handlers.initialize_backend_stores(
        settings["_MLFLOW_SERVER_FILE_STORE"],
        settings["_MLFLOW_SERVER_REGISTRY_STORE"],
        default_artifact_root=settings["_MLFLOW_SERVER_ARTIFACT_ROOT"],
    )
    result: ASGIApp = app
    return result


def _write_ahead(connection: sqlite3.Connection, _: object) -> None:
    """Spare a wait for the disk at each of MLflow's many small changes.

    SQLite keeps the database whole at a power cut in this mode, too; the last changes may be missing then.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def main(arguments: list[str]) -> None:
    """Serve MLflow on an inherited listening socket, so that the address outlives this process.

    Args:
        arguments: Command line without the program's name.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder that holds the workspace's state")
    parser.add_argument("--socket", type=int, required=True, help="file descriptor of the listening socket")
    options = parser.parse_args(arguments)
    end_with_parent()
    key = os.environ.pop(KEY_VARIABLE)
    config = uvicorn.Config(
        mlflow_app(Layout(options.home), key),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=3,
    )
    listener = socket.socket(fileno=options.socket)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1:])
