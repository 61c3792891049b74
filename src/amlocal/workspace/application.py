"""Everything that answers on the workspace's https port, told apart by host name."""

from starlette.applications import Starlette
from starlette.routing import Host, Mount, Route

from amlocal.workspace import names
from amlocal.workspace.arm_metadata import cloud_metadata
from amlocal.workspace.identity import identity_app


def https_app(key: str) -> Starlette:
    """Build the application of the https port.

    Args:
        key: The workspace's key.
    """
    management = Starlette(routes=[Route("/metadata/endpoints", cloud_metadata)])
    return Starlette(
        routes=[
            Host(names.IDENTITY_HOST, app=identity_app(key)),
            Host(names.MANAGEMENT_HOST, app=management),
            Mount("/nothing", routes=[]),
        ]
    )
