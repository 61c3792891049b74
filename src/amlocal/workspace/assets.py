"""Versioned assets: one set of routes for all kinds, and a table that says how the kinds differ."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from amlocal.workspace.arm_shapes import arm_resource
from amlocal.workspace.datastores import pending_upload
from amlocal.workspace.errors import ArmError, bad_request, conflict, not_found
from amlocal.workspace.store import Json, Resource, Store
from amlocal.workspace.versions import DEFAULT_VERSION, NAME, latest_version, next_version, was_deleted

Check = Callable[[Json], None]


@dataclass(frozen=True)
class AssetKind:
    """What sets one kind of asset apart.

    Attributes:
        collection: Its segment in addresses, as in ``models``.
        singular: Its name in messages.
        immutable: Properties of a version that cannot be changed once it exists.
        defaults: Properties that clients expect in answers even when nobody put them.
        check: Called with a version's properties before it is created; raises :class:`ArmError`.
        container: Properties that all versions share; a container takes them on from its first version.
        spec: The property that holds a definition; in answers it states its version.
    """

    collection: str
    singular: str
    immutable: Sequence[str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    check: Check | None = None
    container: Sequence[str] = ()
    spec: str | None = None


def asset_kinds(model_exists: Check, data_exists: Check) -> list[AssetKind]:
    """List the kinds of assets that the workspace keeps.

    Args:
        model_exists: Refuses a model whose files were never uploaded.
        data_exists: Refuses data in a datastore that is not there.
    """
    return [
        AssetKind(
            "data",
            "data asset",
            immutable=["dataUri", "dataType"],
            check=data_exists,
            container=["dataType"],
        ),
        AssetKind("components", "component", immutable=["componentSpec"], check=is_component, spec="componentSpec"),
        AssetKind("codes", "code", immutable=["codeUri"]),
        AssetKind("environments", "environment", immutable=["image", "condaFile", "build"]),
        AssetKind(
            "models",
            "model",
            immutable=["modelUri", "modelType"],
            defaults={"flavors": {}},
            check=model_exists,
        ),
    ]


def is_component(properties: Json) -> None:
    """Refuse a component without a definition.

    Raises:
        ArmError: ``componentSpec`` is no object with a type.
    """
    spec = properties.get("componentSpec")
    if not isinstance(spec, dict) or not isinstance(spec.get("type"), str):
        raise bad_request("componentSpec must be an object with a type.")


def asset_routes(store: Store, kind: AssetKind, key: str) -> list[Route]:
    """Build the routes of one kind of asset.

    Args:
        store: Where versions are kept.
        kind: The row of the table.
        key: The workspace's key, which signs shared access signatures for uploads.
    """
    base = f"/{kind.collection}"

    def versions_of(request: Request) -> str:
        return f"{kind.collection}/{request.path_params['name']}/versions"

    def with_version(properties: Json, version: str) -> Json:
        """Let a definition state its version."""
        if kind.spec is None or not isinstance(properties.get(kind.spec), dict):
            return properties
        return {**properties, kind.spec: {**properties[kind.spec], "version": version}}

    def answer(resource: Resource) -> Json:
        properties = {**kind.defaults, **resource.body.get("properties", {})}
        return arm_resource(resource, properties=with_version(properties, resource.name))

    async def list_containers(request: Request) -> Response:
        containers = _filtered(store.members(kind.collection), request.query_params)
        return JSONResponse({"value": [_container(store, container) for container in containers]})

    async def get_container(request: Request) -> Response:
        name = request.path_params["name"]
        container = store.get(kind.collection, name)
        if container is None:
            raise not_found(f"{kind.singular} {name}")
        return JSONResponse(_container(store, container))

    async def put_container(request: Request) -> Response:
        body = await read_json(request)
        container = store.put(kind.collection, request.path_params["name"], body)
        return JSONResponse(_container(store, container))

    async def list_versions(request: Request) -> Response:
        query = request.query_params
        if "hash" in query:
            # A snapshot is looked for by content in the whole workspace; the name in the address is a fresh
            # one.
            found = [
                code for code in store.members_below(kind.collection, "versions") if _has_hash(code, query["hash"])
            ]
        else:
            found = _filtered(store.members(versions_of(request)), query)
        return JSONResponse({"value": [answer(resource) for resource in _page(found, query)]})

    async def get_version(request: Request) -> Response:
        name, version = request.path_params["name"], request.path_params["version"]
        resource = store.get(versions_of(request), version)
        if resource is None and version == DEFAULT_VERSION:
            resource = latest_version(store, kind.collection, name)
        if resource is None:
            raise not_found(f"{kind.singular} {name}:{version}")
        return JSONResponse(answer(resource))

    async def put_version(request: Request) -> Response:
        name, version = request.path_params["name"], request.path_params["version"]
        for part in (name, version):
            # Also keeps names from leading out of the folders that are named after them.
            if NAME.fullmatch(part) is None:
                raise bad_request(f"{part!r} is no name or version; expected letters, digits, '-', '_' and '.'.")
        body = await read_json(request)
        existing = store.get(versions_of(request), version)
        if existing is not None:
            # A client that archives a component sends the answer back, and what that added is no change.
            old, new = (with_version(each["properties"], version) for each in (existing.body, body))
            _refuse_change(kind, f"{name}:{version}", old, new)
        elif was_deleted(store, kind.collection, name, version):
            raise conflict(f"The {kind.singular} {name}:{version} was deleted; give a new version.")
        elif kind.check is not None:
            kind.check(body["properties"])
        with store.transaction():
            if store.get(kind.collection, name) is None:
                shared = {key: body["properties"][key] for key in kind.container if key in body["properties"]}
                store.put(kind.collection, name, {"properties": shared})
            resource = store.put(versions_of(request), version, body)
        return JSONResponse(answer(resource), 201 if existing is None else 200)

    async def start_pending_upload(_request: Request) -> Response:
        return JSONResponse(pending_upload(key))

    return [
        Route(base, list_containers, methods=["GET"]),
        Route(base + "/{name}", get_container, methods=["GET"]),
        Route(base + "/{name}", put_container, methods=["PUT"]),
        Route(base + "/{name}/versions", list_versions, methods=["GET"]),
        Route(base + "/{name}/versions/{version}", get_version, methods=["GET"]),
        Route(base + "/{name}/versions/{version}", put_version, methods=["PUT"]),
        Route(
            base + "/{name}/versions/{version}/startPendingUpload",
            start_pending_upload,
            methods=["POST"],
        ),
    ]


async def read_json(request: Request) -> Json:
    """Read a resource's body.

    Args:
        request: What the client sent.

    Raises:
        ArmError: It is not an object with ``properties``.
    """
    try:
        body = await request.json()
    except ValueError as error:
        raise bad_request(f"The request body is not JSON: {error}.") from error
    if not isinstance(body, dict) or not isinstance(body.get("properties"), dict):
        raise bad_request("The request body must be an object with an object named properties.")
    return body


def _refuse_change(kind: AssetKind, asset: str, old: Json, new: Json) -> None:
    changed = [name for name in kind.immutable if old.get(name) != new.get(name)]
    if changed:
        raise conflict(
            f"The {kind.singular} {asset} exists and its {' and '.join(changed)} cannot be changed; "
            "give a new version. Description and tags can be updated."
        )


def _container(store: Store, container: Resource) -> Json:
    """Build a container's answer, with the latest version (by creation) and the next free number."""
    latest = latest_version(store, container.collection, container.name)
    properties = {
        "isArchived": False,
        **container.body.get("properties", {}),
        "latestVersion": None if latest is None else latest.name,
        "nextVersion": next_version(store, container.collection, container.name),
    }
    return arm_resource(container, properties=properties)


def _has_hash(code: Resource, wanted: str) -> bool:
    properties = code.body["properties"].get("properties") or {}
    return bool(properties.get("hash_sha256") == wanted)


def _filtered(resources: Sequence[Resource], query: Mapping[str, str]) -> list[Resource]:
    """Leave out archived resources unless the client wants them."""
    wanted = {"ActiveOnly": (False,), "ArchivedOnly": (True,), "All": (False, True)}
    view = query.get("listViewType", "ActiveOnly")
    if view not in wanted:
        raise bad_request(f"listViewType is {view!r}; expected one of {', '.join(wanted)}.")
    return [
        resource
        for resource in resources
        if bool(resource.body.get("properties", {}).get("isArchived")) in wanted[view]
    ]


def _page(resources: Sequence[Resource], query: Mapping[str, str]) -> Sequence[Resource]:
    """Order and cut a list of versions as ``$orderBy`` and ``$top`` ask; the newest first by default."""
    order = query.get("$orderBy", "createdtime desc").lower()
    if order not in ("createdtime desc", "createdtime asc"):
        raise ArmError(400, "BadRequest", f"$orderBy is {order!r}; expected createdtime asc or createdtime desc.")
    ordered = list(resources) if order.endswith("asc") else list(reversed(resources))
    top = query.get("$top", "")
    return ordered[: int(top)] if top.isdecimal() else ordered
