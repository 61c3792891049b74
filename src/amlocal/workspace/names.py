"""The names under which the workspace is known to Azure's clients.

All host names end in ``.test``, a top-level domain that RFC 6761 reserves: they can never leave this machine
by DNS. The client derives several of them itself (``ml.azure.<suffix>`` from the portal's,
``<account>.blob.<suffix>`` from the storage suffix), which is why they have to look like Azure's own.
"""

DOMAIN = "amlocal.test"
CLOUD = "AmlocalCloud"
MANAGEMENT_HOST = f"management.{DOMAIN}"
IDENTITY_HOST = f"identity.{DOMAIN}"
LOGIN_HOST = f"login.{DOMAIN}"
PORTAL_HOST = f"portal.azure.{DOMAIN}"
ML_HOST = f"ml.azure.{DOMAIN}"
API_HOST = f"local.api.{ML_HOST}"
STORAGE_SUFFIX = f"core.{DOMAIN}"
STORAGE_ACCOUNT = "amlocal"
BLOB_HOST = f"{STORAGE_ACCOUNT}.blob.{STORAGE_SUFFIX}"
# A wildcard in a certificate covers one label only, hence one entry per depth.
CERTIFICATE_NAMES = (f"*.{DOMAIN}", f"*.azure.{DOMAIN}", f"*.blob.{STORAGE_SUFFIX}", f"*.api.{ML_HOST}")

SUBSCRIPTION_ID = "00000000-0000-0000-0000-000000000000"
TENANT_ID = "00000000-0000-0000-0000-000000000001"
RESOURCE_GROUP = "amlocal"
WORKSPACE_NAME = "local"
LOCATION = "local"
WORKSPACE_ARM_ID = (
    f"/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/{RESOURCE_GROUP}"
    f"/providers/Microsoft.MachineLearningServices/workspaces/{WORKSPACE_NAME}"
)
DEFAULT_DATASTORE = "workspaceblobstore"
DEFAULT_CONTAINER = "azureml-blobstore"
ARTIFACT_DATASTORE = "workspaceartifactstore"
"""Datastore of the runs' artefacts, as on Azure."""
ARTIFACT_CONTAINER = "azureml"
MODEL_FOLDERS = "registered-models"
"""Folder beside the runs' artefacts from which MLflow's clients download registered models."""
TRACKING_URI = f"azureml://{API_HOST}/mlflow/v1.0{WORKSPACE_ARM_ID}"
"""Tracking address as Azure states it; azureml-mlflow makes v2.0 of it for newer versions of mlflow."""
STEP_TRACKING_URI = TRACKING_URI.replace("v1.0", "v2.0")
"""What Azure gives to steps."""


def is_workspace_host(host: str) -> bool:
    """Say whether a host name belongs to the workspace.

    Args:
        host: A host name without port.
    """
    return host == DOMAIN or host.endswith("." + DOMAIN)
