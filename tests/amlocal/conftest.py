"""The workspace fixtures, for all tests of amlocal."""

from amlocal.testing import client_environment, ml_client, workspace

__all__ = ["client_environment", "ml_client", "workspace"]
