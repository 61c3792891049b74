"""How stored resources look on the wire: ids, types and dates as Azure Resource Manager has them."""

import re
from datetime import UTC, datetime

from amlocal.workspace import names
from amlocal.workspace.store import Json, Resource

PROVIDER = "Microsoft.MachineLearningServices/workspaces"


def arm_id(path: str) -> str:
    """Build the ARM id of something in the workspace.

    Args:
        path: Path relative to the workspace, as in ``models/intent/versions/1``.
    """
    return f"{names.WORKSPACE_ARM_ID}/{path}"


def arm_type(collection: str) -> str:
    """Build the ARM type of a collection's members: the path without the names in it."""
    return "/".join([PROVIDER, *collection.split("/")[::2]])


def timestamp(seconds: float) -> str:
    """Spell a time as ARM does.

    Args:
        seconds: Since the epoch.
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def arm_resource(resource: Resource, **overrides: object) -> Json:
    """Build a resource's answer.

    Args:
        resource: What was stored; its body holds ``properties`` and perhaps ``tags``, ``sku`` and the like.
        overrides: Entries that replace those of the body.
    """
    return {
        **resource.body,
        **overrides,
        "id": arm_id(resource.path),
        "name": resource.name,
        "type": arm_type(resource.collection),
        "systemData": {
            "createdAt": timestamp(resource.created),
            "createdBy": "amlocal",
            "createdByType": "User",
            "lastModifiedAt": timestamp(resource.modified),
            "lastModifiedBy": "amlocal",
            "lastModifiedByType": "User",
        },
    }


def parse_asset_id(text: str, collection: str) -> tuple[str, str] | None:
    """Read name and version out of a reference to an asset of this workspace.

    Args:
        text: An ARM id, ``azureml:name:version`` or ``name:version``.
        collection: Kind of asset, as in ``models``.

    Returns:
        Name and version, or ``None`` when it is neither.
    """
    match = re.search(rf"/{collection}/([^/]+)/versions/([^/]+)$", text)
    if match is None:
        match = re.fullmatch(r"(?:azureml:)?([^/:@]+):([^/:@]+)", text)
    return (match[1], match[2]) if match else None
