"""Environment variables while a test runs."""

import sys
from collections.abc import Mapping

import pytest

OTHER_IDENTITIES = (
    *("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH"),
    *("AZURE_USERNAME", "AZURE_PASSWORD", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"),
    *("AZURE_TOKEN_CREDENTIALS", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"),
)
"""What ``DefaultAzureCredential`` would take before the workspace's identity."""


def point_clients(patch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    """Point the clients of this process to a workspace, and keep whoever runs the tests out of it.

    Args:
        patch: Undoes it.
        environment: The variables that the workspace wants.
    """
    for name in OTHER_IDENTITIES:
        patch.delenv(name, raising=False)
    for name, value in environment.items():
        patch.setenv(name, value)
    # An address that this process once gave MLflow by hand would count for more than the variables.
    tracking = sys.modules.get("mlflow.tracking._tracking_service.utils")
    if tracking is not None:
        patch.setattr(tracking, "_tracking_uri", None)
