"""The workspace's datastores, and which blobs an ``azureml://`` address means."""

import re
import urllib.parse
import uuid

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from amlocal.workspace import names
from amlocal.workspace.arm_shapes import arm_resource
from amlocal.workspace.credentials import issue_sas
from amlocal.workspace.errors import bad_request, not_found
from amlocal.workspace.store import Json, Resource

_CONTAINERS = {
    names.DEFAULT_DATASTORE: names.DEFAULT_CONTAINER,
    names.ARTIFACT_DATASTORE: names.ARTIFACT_CONTAINER,
}
"""Datastores and the containers that hold their blobs."""


def datastore_routes(key: str) -> list[Route]:
    """Build the routes of ``datastores``.

    Args:
        key: The workspace's key, which signs shared access signatures.
    """

    async def listing(_request: Request) -> Response:
        return JSONResponse({"value": [_datastore(name) for name in _CONTAINERS]})

    async def get(request: Request) -> Response:
        return JSONResponse(_datastore(_checked_name(request)))

    async def list_secrets(request: Request) -> Response:
        container = _CONTAINERS[_checked_name(request)]
        return JSONResponse({"secretsType": "Sas", "sasToken": issue_sas(key, container)})

    return [
        Route("/datastores", listing),
        Route("/datastores/{name}", get),
        Route("/datastores/{name}/listSecrets", list_secrets, methods=["POST"]),
    ]


def pending_upload(key: str) -> Json:
    """Offer a fresh container for a code snapshot.

    Args:
        key: The workspace's key, which signs its shared access signature.
    """
    container = f"codes-{uuid.uuid4()}"
    address = f"https://{names.BLOB_HOST}/{container}"
    return {
        "pendingUploadId": str(uuid.uuid4()),
        "pendingUploadType": "TemporaryBlobReference",
        "blobReferenceForConsumption": {
            "blobUri": address,
            "credential": {"credentialType": "SAS", "sasUri": f"{address}?{issue_sas(key, container)}"},
        },
    }


def locate(uri: str) -> tuple[str, str]:
    """Find the blobs that an address means.

    Args:
        uri: ``azureml://…/datastores/<name>/paths/<path>`` or
            ``https://<account>.blob.<suffix>/<container>/<path>``.

    Returns:
        Container and the common beginning of the blobs' names, without a slash at its end.

    Raises:
        ArmError: The address does not lead into this workspace.
    """
    match = re.fullmatch(r"azureml://(?:.*/)?datastores/([^/]+)/paths/(.*)", uri)
    if match is not None:
        if match[1] not in _CONTAINERS:
            raise not_found(f"datastore {match[1]}")
        return _CONTAINERS[match[1]], match[2].rstrip("/")
    url = urllib.parse.urlsplit(uri)
    if url.scheme == "https" and url.hostname == names.BLOB_HOST:
        container, _, path = urllib.parse.unquote(url.path).lstrip("/").partition("/")
        return container, path.rstrip("/")
    raise bad_request(
        f"{uri} is not in this workspace; expected azureml://datastores/{names.DEFAULT_DATASTORE}/paths/…"
    )


def _checked_name(request: Request) -> str:
    name = str(request.path_params["name"])
    if name == "default":
        return names.DEFAULT_DATASTORE
    if name not in _CONTAINERS:
        raise not_found(f"datastore {name}")
    return name


def _datastore(name: str) -> Json:
    properties = {
        "datastoreType": "AzureBlob",
        "isDefault": name == names.DEFAULT_DATASTORE,
        "accountName": names.STORAGE_ACCOUNT,
        "containerName": _CONTAINERS[name],
        "endpoint": names.STORAGE_SUFFIX,
        "protocol": "https",
        "credentials": {"credentialsType": "Sas"},
        "tags": {},
        "properties": {},
    }
    return arm_resource(Resource("datastores", name, {"properties": properties}, 0.0, 0.0))
