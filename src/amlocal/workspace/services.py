"""The parts of one workspace, put together: the same in the daemon and in a test's own process."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from starlette.types import ASGIApp

from amlocal.endpoints.router import Router
from amlocal.endpoints.serving import Serving
from amlocal.workspace.application import https_app
from amlocal.workspace.blob_files import open_blobs
from amlocal.workspace.deployment_files import DeploymentFiles
from amlocal.workspace.layout import Layout
from amlocal.workspace.online_deployments import OnlineDeployments
from amlocal.workspace.online_endpoints import OnlineEndpoints
from amlocal.workspace.operations import Hold, Operations, no_hold
from amlocal.workspace.store import Store


@dataclass(frozen=True)
class Addresses:
    """Where clients are told to find what the https port does not answer.

    Attributes:
        mlflow_uri: The workspace's tracking server.
        scoring_base_url: The router of online endpoints.
    """

    mlflow_uri: str
    scoring_base_url: str


@dataclass(frozen=True)
class Services:
    """The applications of a running workspace.

    Attributes:
        https: Management, identity and blobs, told apart by host name.
        scoring: The router of online endpoints.
    """

    https: ASGIApp
    scoring: ASGIApp


@contextlib.asynccontextmanager
async def running_services(
    layout: Layout,
    key: str,
    addresses: Addresses,
    make_serving: Callable[[Router], Serving],
    hold: Hold = no_hold,
) -> AsyncIterator[Services]:
    """Run a workspace's applications, and the deployments that it had, while the context lasts.

    Args:
        layout: Where the workspace keeps its state; its folders exist.
        key: The workspace's secret.
        addresses: What clients are told.
        make_serving: Makes what starts and stops deployments.
        hold: What long-running operations wait for before they begin.
    """
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(contextlib.closing(Store(layout.database)))
        blobs = open_blobs(store, layout)
        blobs.discard_unfinished()
        router = Router()
        serving = make_serving(router)
        operations = Operations(store, hold)
        endpoints = OnlineEndpoints(store, serving, operations, addresses.scoring_base_url, layout.deployments)
        files = DeploymentFiles(store, blobs, layout.models, layout.deployments)
        deployments = OnlineDeployments(store, files, endpoints, serving, operations, router.metrics)
        stack.push_async_callback(serving.close)
        stack.push_async_callback(operations.close)
        await deployments.restore()
        more = [*endpoints.routes(), *deployments.routes(), *operations.routes()]
        yield Services(
            https_app(key, store, blobs, addresses.mlflow_uri, more), router.application([router.metrics.route(key)])
        )
