"""Cloud metadata: the page that tells Azure's clients where this cloud's services are."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from amlocal.workspace import names


async def cloud_metadata(_request: Request) -> Response:
    """Answer ``/metadata/endpoints``; public, as on Azure, and without anything secret."""
    login = f"https://{names.LOGIN_HOST}/"
    return JSONResponse(
        [
            {
                "name": names.CLOUD,
                "portal": f"https://{names.PORTAL_HOST}/",
                "resourceManager": f"https://{names.MANAGEMENT_HOST}/",
                "authentication": {
                    "loginEndpoint": login,
                    "audiences": [f"https://{names.MANAGEMENT_HOST}/"],
                },
                "suffixes": {"storage": names.STORAGE_SUFFIX},
            }
        ]
    )
