"""What an endpoint is right now, as plain values, and what a rollout writes into its tags."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from finetune.errors import InputError
from finetune.workspace import ModelVersion

COLOURS = ("blue", "green")
SUCCEEDED = "Succeeded"
MOVING = ("Creating", "Updating", "Deleting", "Scaling")

ITSELF = "the endpoint"

IN_PROGRESS = "in progress"
LIVE = "live"
ROLLED_BACK = "rolled back"

ROLLOUT_TAG = "rollout_id"
"""On the endpoint and on the deployment that the rollout made."""
_PREFIX = "rollout_"
_NONE = "none"


@dataclass(frozen=True)
class Lock:
    """Who may change an endpoint, and until when."""

    owner: str
    """Id of one process's attempt."""
    job: str
    """The Azure ML job that the process belongs to; "none" outside of one."""
    until: datetime
    """With a time zone. A lock that is past it belongs to nobody."""


@dataclass(frozen=True)
class Record:
    """What a rollout says of itself: enough for another process to undo it."""

    id: str
    state: str
    """`IN_PROGRESS`, `LIVE` or `ROLLED_BACK`."""
    model: str
    incumbent: str | None
    """The deployment that got all traffic before; None when there was none."""
    candidate: str
    """The deployment that it makes."""
    made_endpoint: bool


@dataclass(frozen=True)
class Deployment:
    """A deployment as the service shows it."""

    name: str
    provisioning_state: str
    model: ModelVersion | None
    """None when it names no exact registered version."""
    rollout: str | None = None
    """The rollout that made it, by its tag."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as the service shows it."""

    provisioning_state: str
    traffic: Mapping[str, int]
    """Deployment → percent, without zeros."""
    mirror: Mapping[str, int] = field(default_factory=dict)
    deployments: tuple[Deployment, ...] = ()
    record: Record | None = None
    lock: Lock | None = None
    scoring_uri: str = ""
    entity: Any = field(default=None, compare=False, repr=False)
    """The client's own object, which the next change of the endpoint sends back changed."""

    def find(self, name: str | None) -> Deployment | None:
        """Return the deployment of that name, if there is one."""
        return next((deployment for deployment in self.deployments if deployment.name == name), None)

    def healthy(self, name: str | None) -> bool:
        """Tell whether there is a deployment of that name and the service calls it provisioned."""
        found = self.find(name)
        return found is not None and found.provisioning_state == SUCCEEDED

    def moving(self, *names: str | None) -> tuple[str, ...]:
        """Say which of the endpoint itself and some of its deployments an operation is changing."""
        endpoint = (ITSELF,) if self.provisioning_state in MOVING else ()
        deployments = (part for part in self.deployments if part.name in names)
        return endpoint + tuple(part.name for part in deployments if part.provisioning_state in MOVING)


def tags_of(record: Record | None, lock: Lock | None) -> dict[str, str]:
    """Write record and lock as tags; Azure Resource Manager takes up to 256 characters in each."""
    tags: dict[str, str] = {}
    if record is not None:
        tags |= {
            ROLLOUT_TAG: record.id,
            "rollout_state": record.state,
            "rollout_model": record.model,
            "rollout_incumbent": record.incumbent or _NONE,
            "rollout_candidate": record.candidate,
            "rollout_made_endpoint": "yes" if record.made_endpoint else "no",
        }
    if lock is not None:
        tags |= {
            "rollout_lock_owner": lock.owner,
            "rollout_lock_job": lock.job,
            "rollout_lock_until": lock.until.isoformat(timespec="seconds"),
        }
    return tags


def without_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that are not a rollout's."""
    return {name: value for name, value in tags.items() if not name.startswith(_PREFIX)}


def read_tags(endpoint_name: str, tags: Mapping[str, str]) -> tuple[Record | None, Lock | None]:
    """Read record and lock from an endpoint's tags.

    Raises:
        InputError: some of the tags are missing, or one cannot be read.
    """
    record, lock = None, None
    try:
        if ROLLOUT_TAG in tags:
            incumbent = tags["rollout_incumbent"]
            record = Record(
                tags[ROLLOUT_TAG],
                tags["rollout_state"],
                tags["rollout_model"],
                None if incumbent == _NONE else incumbent,
                tags["rollout_candidate"],
                tags["rollout_made_endpoint"] == "yes",
            )
        if "rollout_lock_owner" in tags:
            until = datetime.fromisoformat(tags["rollout_lock_until"])
            if until.tzinfo is None:
                raise ValueError(f"rollout_lock_until {until} has no time zone")
            lock = Lock(tags["rollout_lock_owner"], tags["rollout_lock_job"], until)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"endpoint {endpoint_name}: its tags {_PREFIX}* cannot be read ({error}); someone edited them; "
            "remove them all, once its traffic is as it should be"
        ) from None
    return record, lock
