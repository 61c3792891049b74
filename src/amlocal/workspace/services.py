"""The parts of one workspace, put together: the same in the daemon and in a test's own process."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import httpx
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from amlocal.endpoints.router import Router
from amlocal.endpoints.serving import Serving
from amlocal.workspace.api_host import artifact_routes, tracking_routes
from amlocal.workspace.application import https_app
from amlocal.workspace.blob_files import open_blobs
from amlocal.workspace.deployment_files import DeploymentFiles
from amlocal.workspace.deployment_python import DeploymentPythons
from amlocal.workspace.job_files import RunArtifacts, run_blobs
from amlocal.workspace.job_runner import JobRunner
from amlocal.workspace.job_runs import JobRecords
from amlocal.workspace.jobs import Jobs
from amlocal.workspace.layout import Layout
from amlocal.workspace.online_deployments import OnlineDeployments
from amlocal.workspace.online_endpoints import OnlineEndpoints
from amlocal.workspace.operations import Hold, Operations, no_hold
from amlocal.workspace.run_history import RunHistory
from amlocal.workspace.schedules import Schedules
from amlocal.workspace.store import Store

MLFLOW_SECONDS = 120.0
"""As long as mlflow's own client waits for an answer."""


@dataclass(frozen=True)
class Addresses:
    """Where clients are told to find what the https port does not answer.

    Attributes:
        tracking_uri: What the workspace names as its tracking address.
        scoring_base_url: The router of online endpoints.
        mlflow_server: MLflow's server, to which calls to the tracking address are passed on.
    """

    tracking_uri: str
    scoring_base_url: str
    mlflow_server: str


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
    job_runner: JobRunner,
    hold: Hold = no_hold,
    mlflow_transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Services]:
    """Run a workspace's applications, and the deployments that it had, while the context lasts.

    Args:
        layout: Where the workspace keeps its state; its folders exist.
        key: The workspace's secret.
        addresses: What clients are told.
        make_serving: Makes what starts and stops deployments.
        job_runner: Runs submitted jobs.
        hold: What long-running operations wait for before they begin.
        mlflow_transport: The way to MLflow's server; ``None`` for the network.
    """
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(contextlib.closing(Store(layout.database)))
        records = JobRecords(layout.home)
        blobs = open_blobs(store, layout, run_blobs(records, layout))
        blobs.discard_unfinished()
        router = Router()
        serving = make_serving(router)
        operations = Operations(store, hold)
        endpoints = OnlineEndpoints(store, serving, operations, addresses.scoring_base_url, layout.deployments)
        files = DeploymentFiles(store, blobs, layout.models, layout.deployments, DeploymentPythons(layout))
        deployments = OnlineDeployments(store, files, endpoints, serving, operations, router.metrics)
        stack.push_async_callback(serving.close)
        stack.push_async_callback(operations.close)
        await deployments.restore()
        jobs = Jobs(store, records, job_runner, operations, layout.job_documents)
        schedules = Schedules(store, jobs, operations)
        more = [*endpoints.routes(), *deployments.routes(), *jobs.routes(), *schedules.routes()]
        more += operations.routes()
        api_routes: list[BaseRoute] = [
            *RunHistory(jobs, RunArtifacts(layout.run_logs), key).routes(),
            *artifact_routes(blobs, key),
        ]
        mlflow = httpx.AsyncClient(
            base_url=addresses.mlflow_server,
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=MLFLOW_SECONDS,
            transport=mlflow_transport,
        )
        api_routes += tracking_routes(await stack.enter_async_context(mlflow))
        https = https_app(key, store, blobs, addresses.tracking_uri, more, api_routes)
        yield Services(https, router.application([router.metrics.route(key)]))
