"""How to reach a running workspace, and the environment that points Azure's clients at it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from amlocal.workspace import names
from amlocal.workspace.credentials import RUN_TOKEN_SECONDS, issue_token


@dataclass(frozen=True)
class WorkspaceConnection:
    """Address and key of a running workspace.

    Attributes:
        home: The ``--home`` folder that holds its state.
        subscription_id: Subscription id for ``MLClient``.
        resource_group: Resource group for ``MLClient``.
        workspace_name: Workspace name for ``MLClient``.
        mlflow_tracking_uri: MLflow server; wants the key, or a token made from it, as bearer token.
        scoring_base_url: Router of the online endpoints.
        key: The workspace's secret; never log it.
        proxy_url: CONNECT proxy that knows the workspace's host names; contains the key.
        ca_bundle: PEM file with the usual certificate authorities and the workspace's own.
    """

    home: Path
    subscription_id: str
    resource_group: str
    workspace_name: str
    mlflow_tracking_uri: str
    scoring_base_url: str
    key: str = field(repr=False)
    proxy_url: str = field(repr=False)
    ca_bundle: Path

    def client_environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the variables that make unmodified clients talk to this workspace.

        They serve azure-ai-ml, azure-identity, azureml-mlflow and mlflow, and are to be laid over the
        environment of the process that uses those.

        Args:
            base: Environment they will be laid over, for variables that are extended rather than replaced.
                Default: this process's.
        """
        base = os.environ if base is None else base
        direct = _extend_no_proxy(base.get("NO_PROXY") or base.get("no_proxy") or "")
        return cloud_environment(self.key, self.mlflow_tracking_uri) | {
            "REQUESTS_CA_BUNDLE": str(self.ca_bundle),
            "SSL_CERT_FILE": str(self.ca_bundle),
            "CURL_CA_BUNDLE": str(self.ca_bundle),
            "HTTPS_PROXY": self.proxy_url,
            "https_proxy": self.proxy_url,
            "NO_PROXY": direct,
            "no_proxy": direct,
        }


def cloud_environment(key: str, mlflow_tracking_uri: str) -> dict[str, str]:
    """Return the variables that tell clients which cloud and workspace are meant, however they get there.

    Args:
        key: The workspace's secret.
        mlflow_tracking_uri: Where runs are tracked.
    """
    token, _ = issue_token(key, f"https://{names.MANAGEMENT_HOST}", RUN_TOKEN_SECONDS)
    return {
        "ARM_CLOUD_METADATA_URL": f"https://{names.MANAGEMENT_HOST}/metadata/endpoints?api-version=2022-09-01",
        "AZUREML_CURRENT_CLOUD": names.CLOUD,
        # What azure-identity looks for on an Azure ML compute.
        "MSI_ENDPOINT": f"https://{names.IDENTITY_HOST}/msi/token",
        "MSI_SECRET": key,
        # The on-behalf-of credential sends no secret, so the address has to carry it.
        "OBO_ENDPOINT": f"https://{names.IDENTITY_HOST}/obo/{key}/token",
        "AZUREML_ARM_SUBSCRIPTION": names.SUBSCRIPTION_ID,
        "AZUREML_ARM_RESOURCEGROUP": names.RESOURCE_GROUP,
        "AZUREML_ARM_WORKSPACE_NAME": names.WORKSPACE_NAME,
        "AZUREML_WORKSPACE_ID": names.TENANT_ID,
        "MLFLOW_TRACKING_URI": mlflow_tracking_uri,
        # Not the key itself: azureml-mlflow reads from a token when it expires.
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def _extend_no_proxy(value: str) -> str:
    entries = [entry.strip() for entry in value.split(",") if entry.strip()]
    entries += [host for host in ("127.0.0.1", "localhost") if host not in entries]
    return ",".join(entries)
