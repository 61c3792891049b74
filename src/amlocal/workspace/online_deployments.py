"""Online deployments as Azure Resource Manager has them: provision, logs, delete."""

import asyncio
import logging
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from amlocal.endpoints.instance import ProvisioningError
from amlocal.endpoints.log_file import tail
from amlocal.endpoints.metrics import ServingMetrics
from amlocal.endpoints.serving import Serving
from amlocal.workspace import names
from amlocal.workspace.arm_shapes import arm_resource
from amlocal.workspace.assets import read_json
from amlocal.workspace.deployment_body import DeploymentRequest, parse_deployment
from amlocal.workspace.deployment_files import DeploymentFiles, remove_other_snapshots
from amlocal.workspace.deployment_python import EnvironmentMode, read_mode
from amlocal.workspace.errors import ArmError, bad_request, conflict, not_found
from amlocal.workspace.online_endpoints import (
    BUSY,
    OnlineEndpoints,
    check_name,
    deployments_of,
    provisioned_of,
    provisioning_state,
)
from amlocal.workspace.operations import Operations
from amlocal.workspace.store import Json, Resource, Store

LOG_LINES = 1000
MAX_DEPLOYMENTS = 20
"""Per endpoint: Azure's quota, which can be raised there."""
MODE = "amlocalEnvironment"
"""In the body with which a deployment was provisioned: whether its environment was built."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnlineDeployments:
    """The deployments of one workspace.

    Attributes:
        store: Where they are kept.
        files: Lays out their models, code and logs.
        endpoints: The endpoints they belong to.
        serving: Runs them.
        operations: Where long work is registered.
        metrics: What they did.
    """

    store: Store
    files: DeploymentFiles
    endpoints: OnlineEndpoints
    serving: Serving
    operations: Operations
    metrics: ServingMetrics

    def routes(self) -> list[Route]:
        """Build the routes of ``onlineEndpoints/<endpoint>/deployments``."""
        many = "/onlineEndpoints/{endpoint}/deployments"
        one = many + "/{deployment}"
        return [
            Route(many, self._list, methods=["GET"]),
            Route(one, self._get, methods=["GET"]),
            Route(one, self._put, methods=["PUT"]),
            Route(one, self._delete, methods=["DELETE"]),
            Route(one + "/getLogs", self._get_logs, methods=["POST"]),
        ]

    async def restore(self) -> None:
        """Bring endpoints and deployments back to what they were when the daemon ended."""
        for endpoint in self.store.members("onlineEndpoints"):
            if provisioning_state(endpoint) == "Deleting":
                await self.endpoints.forget(endpoint.name)
                continue
            self.endpoints.publish(endpoint)
            for deployment in self.store.members(deployments_of(endpoint.name)):
                await self._restore(endpoint.name, deployment)

    async def _restore(self, endpoint: str, deployment: Resource) -> None:
        provisioned = self.store.get(provisioned_of(endpoint), deployment.name)
        state = provisioning_state(deployment)
        if state == "Deleting":
            await self._forget(endpoint, deployment.name)
            return
        if state in BUSY:
            self._set_state(endpoint, deployment.name, "Failed")
        if provisioned is None:
            return
        try:
            mode: EnvironmentMode = "isolated" if provisioned.body.get(MODE) == "isolated" else "current"
            spec = await self.files.prepare(endpoint, deployment.name, parse_deployment(provisioned.body), mode)
            await asyncio.to_thread(remove_other_snapshots, spec.app_root)
            await self.serving.restore(spec)
        except (ArmError, ProvisioningError, OSError) as error:
            log.error("deployment %s/%s cannot be started again: %s", endpoint, deployment.name, error)
            self._set_state(endpoint, deployment.name, "Failed")

    async def _list(self, request: Request) -> Response:
        endpoint = self.endpoints.find(request.path_params["endpoint"])
        deployments = self.store.members(deployments_of(endpoint.name))
        return JSONResponse({"value": [_answer(deployment) for deployment in deployments]})

    async def _get(self, request: Request) -> Response:
        return JSONResponse(_answer(self._find(request)))

    async def _put(self, request: Request) -> Response:
        endpoint, name = request.path_params["endpoint"], request.path_params["deployment"]
        check_name("deployment", name)
        body = await read_json(request)
        self.endpoints.find(endpoint)
        wanted = parse_deployment(body)
        self.files.check_references(wanted)
        mode = read_mode(self.store)
        if mode == "isolated":
            # It may have to ask another interpreter, and requests are routed meanwhile.
            await asyncio.to_thread(self.files.pythons.check, wanted.environment)
        # From here to the stored state nothing waits: of two changes at once the second sees the first.
        if provisioning_state(self.endpoints.find(endpoint)) == "Deleting":
            raise conflict(f"Endpoint {endpoint} is being deleted.")
        existing = self.store.get(deployments_of(endpoint), name)
        if existing is not None and provisioning_state(existing) in BUSY:
            raise conflict(f"Deployment {name} is in state {provisioning_state(existing)}; wait for it first.")
        if existing is None and len(self.store.members(deployments_of(endpoint))) >= MAX_DEPLOYMENTS:
            raise bad_request(f"Endpoint {endpoint} has {MAX_DEPLOYMENTS} deployments; expected no more.")
        body["properties"] |= {"provisioningState": "Creating" if existing is None else "Updating"}
        deployment = self.store.put(deployments_of(endpoint), name, body)
        headers = self.operations.begin(self._provision(endpoint, name, wanted, {**body, MODE: mode}))
        return JSONResponse(_answer(deployment), 201 if existing is None else 200, headers)

    async def _delete(self, request: Request) -> Response:
        endpoint, name = request.path_params["endpoint"], request.path_params["deployment"]
        if self.store.get(deployments_of(endpoint), name) is None:
            return Response(status_code=204)
        deployment = self._find(request)
        if provisioning_state(deployment) in BUSY:
            raise conflict(f"Deployment {name} is in state {provisioning_state(deployment)}; wait for it first.")
        properties = self.endpoints.find(endpoint).body["properties"]
        for kind in ("traffic", "mirrorTraffic"):
            share = (properties.get(kind) or {}).get(name)
            if share:
                raise bad_request(f"Deployment {name} gets {share} % of {kind}; take that away before deleting it.")
        self._set_state(endpoint, name, "Deleting")
        return Response(status_code=202, headers=self.operations.begin(self._remove(endpoint, name)))

    async def _get_logs(self, request: Request) -> Response:
        deployment = self._find(request)
        wanted = await request.json()
        endpoint = request.path_params["endpoint"]
        lines = int(wanted.get("tail") or LOG_LINES)
        printed = await asyncio.to_thread(tail, self.files.log(endpoint, deployment.name), lines)
        summary = self.metrics.of(endpoint, deployment.name).summary()
        return JSONResponse({"content": f"{printed}amlocal: {summary}\n"})

    async def _provision(self, endpoint: str, name: str, wanted: DeploymentRequest, body: Json) -> None:
        """Start a deployment; what ran under its name before goes on if that fails."""
        state = "Failed"
        try:
            spec = await self.files.prepare(endpoint, name, wanted, body[MODE])
            await self.serving.deploy(spec)
            self.store.put(provisioned_of(endpoint), name, body)
            await asyncio.to_thread(remove_other_snapshots, spec.app_root)
            state = "Succeeded"
        except ArmError as error:
            raise ProvisioningError(error.message) from error
        finally:
            self._set_state(endpoint, name, state)

    async def _remove(self, endpoint: str, name: str) -> None:
        await self.serving.remove(endpoint, name)
        await self._forget(endpoint, name)

    async def _forget(self, endpoint: str, name: str) -> None:
        # Files first: once it is forgotten, another one may take its name and its folder.
        await asyncio.to_thread(self.files.remove, endpoint, name)
        with self.store.transaction():
            self.store.delete(provisioned_of(endpoint), name)
            self.store.delete(deployments_of(endpoint), name)

    def _find(self, request: Request) -> Resource:
        endpoint, name = request.path_params["endpoint"], request.path_params["deployment"]
        self.endpoints.find(endpoint)
        deployment = self.store.get(deployments_of(endpoint), name)
        if deployment is None:
            raise not_found(f"Deployment {name} of endpoint {endpoint}")
        return deployment

    def _set_state(self, endpoint: str, name: str, state: str) -> None:
        deployment = self.store.get(deployments_of(endpoint), name)
        if deployment is None:
            return
        properties = deployment.body["properties"] | {"provisioningState": state}
        self.store.put(deployments_of(endpoint), name, {**deployment.body, "properties": properties})


def _answer(deployment: Resource) -> Json:
    properties = {
        "endpointComputeType": "Managed",
        "scaleSettings": {"scaleType": "Default"},
        "properties": {},
        **{key: value for key, value in deployment.body["properties"].items() if value is not None},
    }
    return arm_resource(
        deployment,
        properties=properties,
        location=names.LOCATION,
        kind="Managed",
        sku={"name": "Default", "capacity": 1, **(deployment.body.get("sku") or {})},
        tags=deployment.body.get("tags") or {},
    )
