"""Online endpoints as Azure Resource Manager has them: create, traffic, keys, delete."""

import asyncio
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from amlocal.endpoints.serving import Serving
from amlocal.endpoints.traffic import find_fault
from amlocal.workspace import names
from amlocal.workspace.arm_shapes import arm_resource
from amlocal.workspace.assets import read_json
from amlocal.workspace.errors import bad_request, conflict, not_found
from amlocal.workspace.operations import Operations
from amlocal.workspace.store import Json, Resource, Store

COLLECTION = "onlineEndpoints"
KEYS = "endpointKeys"
NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]")
BUSY = ("Creating", "Updating", "Deleting")


def deployments_of(endpoint: str) -> str:
    """Name the collection of an endpoint's deployments."""
    return f"{COLLECTION}/{endpoint}/deployments"


def provisioned_of(endpoint: str) -> str:
    """Name the collection of bodies with which an endpoint's deployments were last provisioned.

    They are what is started again after a restart, even when a later update failed.
    """
    return f"provisionedDeployments/{endpoint}"


def provisioning_state(resource: Resource) -> str:
    """Read the state of an endpoint or deployment."""
    return str(resource.body["properties"].get("provisioningState"))


def check_name(kind: str, name: str) -> None:
    """Check the name of an endpoint or deployment.

    Args:
        kind: Which of the two, for the message.
        name: The name.

    Raises:
        ArmError: It breaks Azure's rule.
    """
    if NAME.fullmatch(name) is None:
        raise bad_request(
            f"The {kind} name {name!r} is not valid; expected 3 to 32 letters, digits and hyphens, "
            "beginning with a letter and not ending with a hyphen."
        )


class OnlineEndpoints:
    """The endpoints of one workspace.

    Args:
        store: Where they are kept.
        serving: Runs their deployments.
        operations: Where long work is registered.
        scoring_base_url: Address of the router.
        folder: Where deployments have their files, one folder per endpoint.
    """

    def __init__(
        self, store: Store, serving: Serving, operations: Operations, scoring_base_url: str, folder: Path
    ) -> None:
        self._store = store
        self._folder = folder
        self._serving = serving
        self._operations = operations
        self._base_url = scoring_base_url

    def routes(self) -> list[Route]:
        """Build the routes of ``onlineEndpoints``."""
        one = f"/{COLLECTION}/{{endpoint}}"
        return [
            Route(f"/{COLLECTION}", self._list, methods=["GET"]),
            Route(one, self._get, methods=["GET"]),
            Route(one, self._put, methods=["PUT"]),
            Route(one, self._delete, methods=["DELETE"]),
            Route(one + "/listKeys", self._list_keys, methods=["POST"]),
            Route(one + "/regenerateKeys", self._regenerate_keys, methods=["POST"]),
        ]

    def find(self, endpoint: str) -> Resource:
        """Look an endpoint up.

        Args:
            endpoint: Its name.

        Raises:
            ArmError: It does not exist.
        """
        resource = self._store.get(COLLECTION, endpoint)
        if resource is None:
            raise not_found(f"Endpoint {endpoint}")
        return resource

    def ready_deployments(self, endpoint: str) -> list[str]:
        """List the deployments of an endpoint that can answer: those that were provisioned, whatever came after."""
        return [
            deployment.name
            for deployment in self._store.members(provisioned_of(endpoint))
            if self._state_of(endpoint, deployment.name) != "Deleting"
        ]

    def _state_of(self, endpoint: str, deployment: str) -> str | None:
        found = self._store.get(deployments_of(endpoint), deployment)
        return None if found is None else provisioning_state(found)

    def publish(self, endpoint: Resource) -> None:
        """Tell the router an endpoint's keys and traffic."""
        properties = endpoint.body["properties"]
        keys = tuple(self._keys(endpoint.name).values())
        self._serving.publish(
            endpoint.name, keys, properties.get("traffic") or {}, properties.get("mirrorTraffic") or {}
        )

    async def _list(self, _request: Request) -> Response:
        return JSONResponse({"value": [self._answer(endpoint) for endpoint in self._store.members(COLLECTION)]})

    async def _get(self, request: Request) -> Response:
        return JSONResponse(self._answer(self.find(request.path_params["endpoint"])))

    async def _put(self, request: Request) -> Response:
        name = request.path_params["endpoint"]
        body = await read_json(request)
        existing = self._store.get(COLLECTION, name)
        self._check(name, body["properties"], existing)
        given = body["properties"].pop("keys", None) or {}
        body["properties"] |= {"provisioningState": "Succeeded"}
        with self._store.transaction():
            if existing is None:
                keys = {key: given.get(key) or secrets.token_urlsafe(32) for key in ("primaryKey", "secondaryKey")}
                self._store.put(KEYS, name, keys)
            endpoint = self._store.put(COLLECTION, name, body)
        # One assignment in the router: every request sees the old split or the new one.
        self.publish(endpoint)
        headers = self._operations.begin(asyncio.sleep(0))
        return JSONResponse(self._answer(endpoint), 201 if existing is None else 200, headers)

    async def _delete(self, request: Request) -> Response:
        name = request.path_params["endpoint"]
        endpoint = self._store.get(COLLECTION, name)
        if endpoint is None:
            return Response(status_code=204)
        self._refuse_while_busy(endpoint)
        body = dict(endpoint.body)
        body["properties"] = body["properties"] | {"provisioningState": "Deleting"}
        self._store.put(COLLECTION, name, body)
        return Response(status_code=202, headers=self._operations.begin(self._remove(name)))

    async def _list_keys(self, request: Request) -> Response:
        endpoint = self.find(request.path_params["endpoint"])
        return JSONResponse(self._keys(endpoint.name))

    async def _regenerate_keys(self, request: Request) -> Response:
        wanted = await request.json()
        endpoint = self.find(request.path_params["endpoint"])
        if provisioning_state(endpoint) == "Deleting":
            raise conflict(f"Endpoint {endpoint.name} is being deleted.")
        which = {"primary": "primaryKey", "secondary": "secondaryKey"}.get(str(wanted.get("keyType")).lower())
        if which is None:
            raise bad_request(f"keyType is {wanted.get('keyType')!r}; expected Primary or Secondary.")
        keys = self._keys(endpoint.name) | {which: secrets.token_urlsafe(32)}
        self._store.put(KEYS, endpoint.name, keys)
        self.publish(endpoint)
        return Response(status_code=202, headers=self._operations.begin(asyncio.sleep(0)))

    async def _remove(self, name: str) -> None:
        await self._serving.remove_endpoint(name)
        await self.forget(name)

    async def forget(self, name: str) -> None:
        """Delete all that is stored about an endpoint."""
        # Files first: once it is forgotten, another one may take its name and its folder.
        await asyncio.to_thread(shutil.rmtree, self._folder / name, ignore_errors=True)
        with self._store.transaction():
            for collection in (deployments_of(name), provisioned_of(name)):
                for deployment in self._store.members(collection):
                    self._store.delete(collection, deployment.name)
            self._store.delete(KEYS, name)
            self._store.delete(COLLECTION, name)

    def _check(self, name: str, properties: Json, existing: Resource | None) -> None:
        check_name("endpoint", name)
        if str(properties.get("authMode", "Key")).lower() != "key":
            raise bad_request(f"auth_mode is {properties['authMode']!r}; this machine's workspace knows only key.")
        if existing is not None and provisioning_state(existing) == "Deleting":
            raise conflict(f"Endpoint {name} is being deleted.")
        fault = find_fault(
            properties.get("traffic") or {},
            properties.get("mirrorTraffic") or {},
            self.ready_deployments(name),
        )
        if fault is not None:
            raise bad_request(f"Endpoint {name}: {fault}.")

    def _refuse_while_busy(self, endpoint: Resource) -> None:
        for resource in [endpoint, *self._store.members(deployments_of(endpoint.name))]:
            state = provisioning_state(resource)
            if state in BUSY:
                raise conflict(f"{resource.path} is in state {state}; wait for that operation first.")

    def _keys(self, endpoint: str) -> Json:
        keys = self._store.get(KEYS, endpoint)
        return keys.body if keys is not None else {}

    def _answer(self, endpoint: Resource) -> Mapping[str, object]:
        address = f"{self._base_url}/endpoints/{endpoint.name}"
        properties = {
            "authMode": "Key",
            "properties": {},
            "traffic": {},
            "mirrorTraffic": {},
            "publicNetworkAccess": "Disabled",
            **{key: value for key, value in endpoint.body["properties"].items() if value is not None},
            "scoringUri": f"{address}/score",
            "swaggerUri": f"{address}/swagger.json",
        }
        return arm_resource(
            endpoint,
            properties=properties,
            location=names.LOCATION,
            kind="Managed",
            tags=endpoint.body.get("tags") or {},
            identity={"type": "SystemAssigned"},
        )
