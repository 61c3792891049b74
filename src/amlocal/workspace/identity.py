"""Managed identity: the token endpoint that ``DefaultAzureCredential`` finds through ``MSI_ENDPOINT``."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from amlocal.workspace.credentials import issue_token, matches


def identity_app(key: str) -> Starlette:
    """Build the token endpoint.

    Args:
        key: The workspace's key, which clients present and which signs their tokens.
    """

    def answer(request: Request, presented: str) -> Response:
        if not matches(presented, key):
            return JSONResponse({"error": "unauthorized_client", "error_description": "wrong secret"}, 401)
        resource = request.query_params.get("resource")
        if not resource:
            return JSONResponse({"error": "invalid_scope", "error_description": "resource is missing"}, 400)
        token, expiry = issue_token(key, resource)
        return JSONResponse(
            {"access_token": token, "expires_on": str(expiry), "resource": resource, "token_type": "Bearer"}
        )

    async def managed_identity(request: Request) -> Response:
        return answer(request, request.headers.get("secret", ""))

    async def on_behalf_of(request: Request) -> Response:
        return answer(request, request.path_params["secret"])

    return Starlette(
        routes=[
            Route("/msi/token", managed_identity),
            Route("/obo/{secret}/token", on_behalf_of),
        ]
    )
