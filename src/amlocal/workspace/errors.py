"""Errors in the shape of Azure Resource Manager, which is the shape Azure's clients print well."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class ArmError(Exception):
    """A request that the workspace refuses.

    Attributes:
        status: HTTP status.
        code: Azure's error code.
        message: What was found and what was expected, in one sentence or two.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def not_found(what: str) -> ArmError:
    """Build the refusal for a resource that does not exist.

    Args:
        what: The resource in words, as in "model intent:3".
    """
    return ArmError(404, "ResourceNotFound", f"{what} does not exist in this workspace.")


def bad_request(message: str) -> ArmError:
    """Build the refusal for a request that breaks a rule of the service."""
    return ArmError(400, "BadRequest", message)


def conflict(message: str) -> ArmError:
    """Build the refusal for a change that the resource's state does not allow."""
    return ArmError(409, "UserError", message)


def error_body(code: str, message: str) -> dict[str, object]:
    """Build ARM's error object."""
    return {"error": {"code": code, "message": message}}


async def answer_error(_request: Request, error: Exception) -> Response:
    """Turn an :class:`ArmError` into its answer; an exception handler for Starlette."""
    if not isinstance(error, ArmError):
        raise error
    return JSONResponse(error_body(error.code, error.message), error.status)
