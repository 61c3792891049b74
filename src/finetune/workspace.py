"""The workspace a stage runs in, reached through `MLClient` and nothing else."""

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.errors import InputError

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

LOGGER = logging.getLogger(__name__)
_VARIABLES = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")


@dataclass(frozen=True)
class ModelVersion:
    """A registered model; the version is exact, never a label such as "latest"."""

    name: str
    version: str

    def __str__(self) -> str:
        """Return name:version, as Azure ML writes it."""
        return f"{self.name}:{self.version}"


def connect() -> "MLClient":
    """Connect to the workspace of the running job.

    Azure ML sets the variables in every job. The identity is the compute's (its client id is in
    DEFAULT_IDENTITY_CLIENT_ID) or whatever else `DefaultAzureCredential` finds.

    Raises:
        InputError: the process does not run in a job.
    """
    # Imported here: it takes seconds, and a stage without an endpoint to compare with does not need it.
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    missing = [name for name in _VARIABLES if not os.environ.get(name)]
    if missing:
        raise InputError(
            f"no workspace: {', '.join(missing)} not set; run the stage in a job, or with `amlocal exec -- …` here"
        )
    credential = DefaultAzureCredential(managed_identity_client_id=os.environ.get("DEFAULT_IDENTITY_CLIENT_ID"))
    return MLClient(credential, *(os.environ[name] for name in _VARIABLES))


def job_link(name: str) -> str | None:
    """Return the address of a job's page, as the workspace gives it; None when it gives none."""
    from azure.core.exceptions import AzureError

    try:
        address = connect().jobs.get(name).studio_url
    except (InputError, AzureError) as error:
        LOGGER.info("the page of the job %s is not known: %s", name, str(error).splitlines()[0])
        return None
    return address if isinstance(address, str) and address.startswith("https://") else None


def parse_model_reference(reference: str) -> ModelVersion:
    """Parse what a deployment says of its model: an ARM id, "azureml:name:version" or "name:version".

    Raises:
        InputError: no exact version can be read from it.
    """
    parts = reference.split("/")
    if len(parts) >= 4 and parts[-4] == "models" and parts[-2] == "versions":
        return ModelVersion(parts[-3], parts[-1])
    name, colon, version = reference.removeprefix("azureml:").rpartition(":")
    if colon and name and version:
        return ModelVersion(name, version)
    raise InputError(f"model reference {reference!r}: expected an exact name:version")


def check_endpoint_name(name: str) -> None:
    """Check an online endpoint's name by Azure ML's rule, before hours of training end at it.

    Raises:
        InputError: it is not 3 to 32 letters, digits and hyphens, beginning with a letter and not ending with a hyphen.
    """
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]", name) is None:
        raise InputError(
            f"--endpoint_name {name!r}: expected 3 to 32 letters, digits and hyphens, beginning with a letter and not "
            "ending with a hyphen"
        )


def serving_model(client: "MLClient", endpoint_name: str) -> ModelVersion | None:
    """Return the model that gets most of an endpoint's traffic: the champion.

    Returns:
        None when there is no such endpoint, or it sends no traffic to any deployment.
    """
    from azure.core.exceptions import ResourceNotFoundError

    try:
        endpoint = client.online_endpoints.get(endpoint_name)
    except ResourceNotFoundError:
        return None
    live = {name: share for name, share in (endpoint.traffic or {}).items() if share > 0}
    if not live:
        return None
    deployment = client.online_deployments.get(max(live, key=live.__getitem__), endpoint_name)
    model = deployment.model
    return parse_model_reference(model if isinstance(model, str) else model.id)


def download_model(client: "MLClient", version: ModelVersion, target: Path) -> Path:
    """Download a registered MLflow model.

    Returns:
        Its folder somewhere below `target`: the client keeps the name the folder was registered under.

    Raises:
        InputError: there is no such version, or it does not hold exactly one MLflow model.
    """
    from azure.core.exceptions import ResourceNotFoundError

    try:
        client.models.download(version.name, version.version, download_path=str(target))
    except ResourceNotFoundError:
        raise InputError(f"{version}: no such model version in the workspace") from None
    found = sorted(target.rglob("MLmodel"))
    if len(found) != 1:
        raise InputError(f"{version}: holds {len(found)} files named MLmodel; expected 1")
    return found[0].parent
