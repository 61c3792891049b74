"""The workspace fixtures, for all tests of amlocal."""

from amlocal.testing import (
    client_environment,
    client_faults,
    in_process_client,
    in_process_workspace,
    ml_client,
    workspace,
)

__all__ = ["client_environment", "client_faults", "in_process_client", "in_process_workspace", "ml_client", "workspace"]
