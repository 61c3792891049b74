"""The computes of the workspace: names for this machine, which clients look up, create, scale and delete."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from amlocal.workspace import names
from amlocal.workspace.arm_shapes import arm_resource
from amlocal.workspace.assets import read_json
from amlocal.workspace.errors import bad_request, conflict, not_found
from amlocal.workspace.store import Json, Resource, Store

COLLECTION = "computes"
COMPUTES = ("cpu-cluster", "gpu-cluster")
"""What pipelines in the field call their clusters; a job may name any other, amlocal ignores them all alike."""
SEEDED = ("settings", "computes")
"""Where a workspace remembers that it has got these two, so that deleted ones stay away."""
CLUSTER = "AmlCompute"


def compute_routes(store: Store) -> list[Route]:
    """Build the routes of ``computes``.

    A cluster is a record only: whatever its size, jobs run on this machine.

    Args:
        store: Where they are kept.
    """
    if store.get(*SEEDED) is None:
        with store.transaction():
            for name in COMPUTES:
                store.put(COLLECTION, name, _body({"vmSize": "local"}))
            store.put(*SEEDED, {})

    def find(request: Request) -> Resource:
        name = request.path_params["compute"]
        resource = store.get(COLLECTION, name)
        if resource is None:
            raise not_found(f"Compute {name}")
        return resource

    async def list_all(_request: Request) -> Response:
        return JSONResponse({"value": [arm_resource(resource) for resource in store.members(COLLECTION)]})

    async def get(request: Request) -> Response:
        return JSONResponse(arm_resource(find(request)))

    async def put(request: Request) -> Response:
        name = request.path_params["compute"]
        body = await read_json(request)
        given = body["properties"]
        if given.get("computeType") != CLUSTER:
            raise bad_request(f"Compute {name}: only clusters ({CLUSTER}) can be made here.")
        existing = store.get(COLLECTION, name)
        if existing is not None and _size(existing.body) != _size(body):
            raise conflict(f"Compute {name}: its size {_size(existing.body)} cannot be changed to {_size(body)}.")
        stored = store.put(COLLECTION, name, _body(given.get("properties") or {}, body))
        return JSONResponse(arm_resource(stored), 200 if existing else 201)

    async def delete(request: Request) -> Response:
        store.delete(COLLECTION, find(request).name)
        return Response(status_code=200)

    one = f"/{COLLECTION}/{{compute}}"
    return [
        Route(f"/{COLLECTION}", list_all, methods=["GET"]),
        Route(one, get, methods=["GET"]),
        Route(one, put, methods=["PUT"]),
        Route(one, delete, methods=["DELETE"]),
    ]


def _size(body: Json) -> str:
    return str(body["properties"]["properties"].get("vmSize")).lower()


def _body(given: Json, resource: Json | None = None) -> Json:
    """Complete what a client puts by what it expects in answers."""
    resource = resource or {}
    scale = {"minNodeCount": 0, "maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": "PT2M"}
    known = {name: value for name, value in (given.get("scaleSettings") or {}).items() if value is not None}
    identity = resource.get("identity")
    if identity is not None:
        # Azure makes a principal for a system-assigned identity; there is one identity here.
        identity = {**identity, "principalId": names.TENANT_ID, "tenantId": names.TENANT_ID}
    return {
        "location": resource.get("location") or names.LOCATION,
        "tags": resource.get("tags") or {},
        **({"identity": identity} if identity else {}),
        "properties": {
            "computeType": CLUSTER,
            "computeLocation": names.LOCATION,
            "description": (resource.get("properties") or {}).get("description") or "This machine.",
            "provisioningState": "Succeeded",
            "isAttachedCompute": False,
            "properties": {
                **given,
                "vmPriority": given.get("vmPriority") or "Dedicated",
                "scaleSettings": {**scale, **known},
            },
        },
    }
