"""The workspace that the client asks."""

from amlocal.testing import client_environment, ml_client, workspace

__all__ = ["client_environment", "ml_client", "workspace"]
