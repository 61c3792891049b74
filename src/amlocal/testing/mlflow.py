"""MLflow's server in the process that tests: the daemon's own, loaded when it is first asked."""

import asyncio
from dataclasses import dataclass, field

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from amlocal.workspace.layout import Layout
from amlocal.workspace.mlflow_server import mlflow_app, server_settings

_STORES = ("_tracking_store", "_model_registry_store", "_artifact_repo")
"""What mlflow's server opens once in a process, for the workspace that it was loaded for."""


@dataclass
class InProcessMlflow:
    """The server of one workspace, as an ASGI application.

    Loading it takes seconds, which tests without MLflow are to be spared.

    Attributes:
        layout: Where the workspace keeps its state.
        key: The workspace's key.
        patch: Undoes what mlflow keeps for the whole process.
    """

    layout: Layout
    key: str
    patch: pytest.MonkeyPatch
    _app: ASGIApp | None = None
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        async with self._loading:
            if self._app is None:
                self._app = await asyncio.to_thread(self._load)
        await self._app(scope, receive, send)

    def _load(self) -> ASGIApp:
        for name, value in server_settings(self.layout).items():
            self.patch.setenv(name, value)
        from mlflow.server import handlers

        for store in _STORES:
            self.patch.setattr(handlers, store, None)
        with pytest.MonkeyPatch.context() as once:
            # A server's process has no other use for these; here they are the clients'.
            once.setattr(handlers.utils, "set_tracking_uri", lambda uri: None)
            once.setattr(handlers.registry_utils, "set_registry_uri", lambda uri: None)
            return mlflow_app(self.layout, self.key)
