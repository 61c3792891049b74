"""One endpoint through `MLClient`: look at it, and take single steps. No decisions here."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure.ai.ml import load_online_deployment, load_online_endpoint
from azure.ai.ml.exceptions import MlException
from azure.core.exceptions import AzureError, ResourceNotFoundError
from live import ROLLOUT_TAG, Deployment, Endpoint, Lock, Record, read_tags, tags_of, without_tags
from marshmallow.exceptions import MarshmallowError

from finetune.errors import InputError
from finetune.workspace import ModelVersion, parse_model_reference

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import OnlineDeployment, OnlineEndpoint

CLIENT_FAILURES = (AzureError, MlException, OSError, AttributeError, LookupError, TypeError, ValueError)
"""What the client was seen to raise when the service refuses, or answers with half a resource."""
LOG_LINES = 1000
_ENDED = ("Completed", "Failed", "Canceled", "NotResponding")


@dataclass(frozen=True)
class Service:
    """An endpoint by its name, and the files that it and its deployments are made from."""

    client: "MLClient"
    name: str
    definition: Path
    """Folder with endpoint.yml, deployment.yml and what they refer to."""

    def observe(self) -> Endpoint | None:
        """Look at the endpoint and its deployments; None when there is no such endpoint.

        Raises:
            InputError: its tags cannot be read.
        """
        try:
            endpoint = self.client.online_endpoints.get(self.name)
            found = tuple(_deployment(part) for part in self.client.online_deployments.list(self.name))
        except ResourceNotFoundError:
            return None
        names = {part.name.lower(): part.name for part in found}
        return Endpoint(
            _word(endpoint.provisioning_state),
            _shares(endpoint.traffic, names),
            _shares(endpoint.mirror_traffic, names),
            found,
            *read_tags(self.name, endpoint.tags or {}),
            str(endpoint.scoring_uri),
            endpoint,
        )

    def create_endpoint(self, record: Record, lock: Lock) -> None:
        """Make the endpoint, under a rollout's lock from its first moment."""
        endpoint, _ = self.load("blue", ModelVersion("model", "1"), record.id)
        endpoint.tags = {**without_tags(endpoint.tags or {}), **tags_of(record, lock)}
        self.client.online_endpoints.begin_create_or_update(endpoint).result()

    def write(
        self,
        live: Endpoint,
        record: Record,
        lock: Lock | None,
        traffic: Mapping[str, int] | None = None,
        mirror: Mapping[str, int] | None = None,
    ) -> None:
        """Write an endpoint's record and lock, and its traffic where given: one request, so all of it or nothing.

        The client replaces the whole endpoint and knows no condition on it, such as an etag. So what is written is
        what was seen a moment ago with these changes.

        Args:
            live: the endpoint as `observe` just saw it, its lock the caller's.
            record: the rollout's record.
            lock: the lock from now on; None to give it back.
            traffic: live shares from now on; None to leave them.
            mirror: mirrored shares from now on; None to leave them.
        """
        endpoint = live.entity
        endpoint.tags = {**without_tags(endpoint.tags or {}), **tags_of(record, lock)}
        if traffic is not None:
            endpoint.traffic = dict(traffic)
        if mirror is not None:
            endpoint.mirror_traffic = dict(mirror)
        self.client.online_endpoints.begin_create_or_update(endpoint).result()

    def create_deployment(self, name: str, model: ModelVersion, rollout: str) -> None:
        """Make a deployment and wait until the service calls it healthy."""
        _, deployment = self.load(name, model, rollout)
        self.client.online_deployments.begin_create_or_update(deployment).result()

    def remove_deployment(self, name: str) -> None:
        """Remove a deployment, if it is there."""
        with contextlib.suppress(ResourceNotFoundError):
            self.client.online_deployments.begin_delete(name=name, endpoint_name=self.name).result()

    def remove_endpoint(self) -> None:
        """Remove the endpoint, if it is there."""
        with contextlib.suppress(ResourceNotFoundError):
            self.client.online_endpoints.begin_delete(self.name).result()

    def key(self) -> str:
        """Return what opens the endpoint: a key, or a token where it takes those."""
        credentials: Any = self.client.online_endpoints.get_keys(self.name)
        return str(getattr(credentials, "primary_key", None) or credentials.access_token)

    def logs(self, deployment: str) -> str:
        """Return the end of a deployment's log."""
        return self.client.online_deployments.get_logs(deployment, self.name, LOG_LINES)

    def job_has_ended(self, job: str) -> bool:
        """Tell whether a job is known to have ended; one that cannot be asked about may still run."""
        try:
            return _word(self.client.jobs.get(job).status) in _ENDED
        except CLIENT_FAILURES:
            return False

    def load(self, colour: str, model: ModelVersion, rollout: str) -> "tuple[OnlineEndpoint, OnlineDeployment]":
        """Load endpoint.yml and deployment.yml for a colour.

        Raises:
            InputError: one of them is not there, or not what azure-ai-ml takes.
        """
        for name in ("endpoint.yml", "deployment.yml"):
            if not (self.definition / name).is_file():
                raise InputError(f"{self.definition / name}: no such file; expected the endpoint's definition")
        override = [{"name": colour}, {"endpoint_name": self.name}, {"model": f"azureml:{model}"}]
        try:
            endpoint = load_online_endpoint(self.definition / "endpoint.yml", params_override=[{"name": self.name}])
            deployment = load_online_deployment(self.definition / "deployment.yml", params_override=override)
        except (MarshmallowError, AzureError) as error:
            said = " ".join(str(error).split("Visit this link")[0].split())
            raise InputError(f"{self.definition}: {said}") from None
        deployment.tags = {**(deployment.tags or {}), ROLLOUT_TAG: rollout}
        return endpoint, deployment


def _deployment(entity: "OnlineDeployment") -> Deployment:
    reference = entity.model if isinstance(entity.model, str) else getattr(entity.model, "id", None)
    try:
        model = parse_model_reference(str(reference))
    except InputError:
        model = None
    return Deployment(entity.name, _word(entity.provisioning_state), model, (entity.tags or {}).get(ROLLOUT_TAG))


def _word(state: object) -> str:
    """Return a state as the service writes it; the client gives deployments' as an enumeration, endpoints' as text."""
    return str(getattr(state, "value", state))


def _shares(traffic: Mapping[str, int] | None, names: Mapping[str, str]) -> dict[str, int]:
    """Return shares above zero under the deployments' own names: the client writes them in lower case."""
    return {names.get(name.lower(), name): int(share) for name, share in (traffic or {}).items() if int(share) > 0}
