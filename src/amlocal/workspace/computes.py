"""The computes that the workspace declares: names for this machine, so that clients which look them up find them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from amlocal.workspace import names
from amlocal.workspace.errors import not_found
from amlocal.workspace.store import Json

COMPUTES = ("cpu-cluster", "gpu-cluster")
"""What pipelines in the field call their clusters; a job may name any other, amlocal ignores them all alike."""


def compute_routes() -> list[Route]:
    """Build the routes of ``computes``, which can be read and not changed."""
    return [
        Route("/computes", _list, methods=["GET"]),
        Route("/computes/{compute}", _get, methods=["GET"]),
    ]


async def _list(_request: Request) -> Response:
    return JSONResponse({"value": [_answer(name) for name in COMPUTES]})


async def _get(request: Request) -> Response:
    name = request.path_params["compute"]
    if name not in COMPUTES:
        raise not_found(f"Compute {name}")
    return JSONResponse(_answer(name))


def _answer(name: str) -> Json:
    return {
        "id": f"{names.WORKSPACE_ARM_ID}/computes/{name}",
        "name": name,
        "type": "Microsoft.MachineLearningServices/workspaces/computes",
        "location": names.LOCATION,
        "properties": {
            "computeType": "AmlCompute",
            "computeLocation": names.LOCATION,
            "description": "This machine.",
            "provisioningState": "Succeeded",
            "isAttachedCompute": False,
            "properties": {
                "vmSize": "local",
                "vmPriority": "Dedicated",
                "scaleSettings": {"minNodeCount": 0, "maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": "PT2M"},
            },
        },
    }
