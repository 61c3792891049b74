"""Everything that answers on the workspace's https port, told apart by host name."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Host, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from amlocal.workspace import names
from amlocal.workspace.arm_metadata import cloud_metadata
from amlocal.workspace.arm_shapes import PROVIDER
from amlocal.workspace.assets import asset_kinds, asset_routes
from amlocal.workspace.blob_api import blob_app
from amlocal.workspace.blobs import BlobStore
from amlocal.workspace.computes import compute_routes
from amlocal.workspace.credentials import token_is_valid
from amlocal.workspace.datastores import datastore_routes, locate
from amlocal.workspace.errors import ArmError, answer_error, bad_request, error_body
from amlocal.workspace.identity import identity_app
from amlocal.workspace.store import Json, Store


def https_app(
    key: str,
    store: Store,
    blobs: BlobStore,
    tracking_uri: str,
    more: Sequence[BaseRoute],
    api_routes: Sequence[BaseRoute],
) -> Starlette:
    """Build the application of the https port.

    Args:
        key: The workspace's key.
        store: Where resources are kept.
        blobs: Where blobs are kept.
        tracking_uri: What the workspace names as its tracking address.
        more: Further routes below the workspace.
        api_routes: Routes of the data-plane host.
    """

    def model_exists(properties: Json) -> None:
        uri = str(properties.get("modelUri"))
        if not blobs.find(*locate(uri)):
            raise bad_request(f"There are no files at {uri}; upload them before registering the model.")

    async def workspace(_request: Request) -> Response:
        return JSONResponse(_workspace(tracking_uri))

    def data_exists(properties: Json) -> None:
        uri = str(properties.get("dataUri"))
        if uri.startswith("azureml:") and not blobs.find(*locate(uri)):
            raise bad_request(f"There are no files at {uri}; upload them before registering the data asset.")

    routes: list[BaseRoute] = [Route("/", workspace), *datastore_routes(key), *compute_routes(store), *more]
    for kind in asset_kinds(model_exists, data_exists):
        routes += asset_routes(store, kind, key)
    routes.append(Route("/{rest:path}", _unknown, methods=["GET", "PUT", "POST", "PATCH", "DELETE"]))
    below = Mount(names.WORKSPACE_ARM_ID, routes=routes)
    management = Starlette(
        routes=[
            Route("/metadata/endpoints", cloud_metadata),
            Mount(
                "/",
                app=with_token(
                    Starlette(
                        routes=[
                            # Without the slash that a mount would ask for.
                            Route(names.WORKSPACE_ARM_ID, workspace),
                            below,
                            Route("/{rest:path}", _elsewhere, methods=["GET", "PUT", "POST", "PATCH", "DELETE"]),
                        ],
                        exception_handlers={ArmError: answer_error},
                    ),
                    key,
                ),
            ),
        ]
    )
    api = Starlette(routes=[*api_routes], exception_handlers={ArmError: answer_error})
    return Starlette(
        routes=[
            Host(names.ML_HOST, app=Starlette(routes=[Route("/discovery", _discovery)])),
            Host(names.API_HOST, app=with_token(api, key)),
            Host(names.IDENTITY_HOST, app=identity_app(key)),
            Host(names.MANAGEMENT_HOST, app=management),
            Host(names.BLOB_HOST, app=blob_app(blobs, key)),
        ]
    )


def with_token(app: ASGIApp, key: str) -> ASGIApp:
    """Wrap an application: 401 without an access token of this workspace.

    Args:
        app: What to protect.
        key: The workspace's key.
    """

    async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            kind, _, token = Request(scope).headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not token_is_valid(key, token):
                body = error_body("AuthenticationFailed", "The access token is missing, wrong or expired.")
                await JSONResponse(body, 401)(scope, receive, send)
                return
        await app(scope, receive, send)

    return wrapper


async def _discovery(_request: Request) -> Response:
    """Tell where the workspace's data plane is; public, as on Azure."""
    address = f"https://{names.API_HOST}"
    return JSONResponse({"api": address, "history": address, "experimentation": address, "studio": names.ML_HOST})


async def _unknown(request: Request) -> Response:
    what = f"{request.method} {request.path_params['rest']}"
    raise ArmError(404, "ResourceNotFound", f"{what} is nothing that the workspace on this machine answers.")


async def _elsewhere(request: Request) -> Response:
    raise ArmError(
        404,
        "ResourceNotFound",
        f"{request.url.path} is not below {names.WORKSPACE_ARM_ID}, the one workspace on this machine.",
    )


def _workspace(tracking_uri: str) -> Json:
    return {
        "id": names.WORKSPACE_ARM_ID,
        "name": names.WORKSPACE_NAME,
        "type": PROVIDER,
        "location": names.LOCATION,
        "kind": "Default",
        "tags": {},
        "properties": {
            "friendlyName": names.WORKSPACE_NAME,
            "workspaceId": names.TENANT_ID,
            "tenantId": names.TENANT_ID,
            "provisioningState": "Succeeded",
            "mlFlowTrackingUri": tracking_uri,
            "discoveryUrl": f"https://{names.ML_HOST}/discovery",
            "storageAccount": names.STORAGE_ACCOUNT,
            "publicNetworkAccess": "Disabled",
        },
    }
