"""The steps that a rollout takes, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from live import Record


@dataclass(frozen=True)
class Wait:
    """Something is being changed by an operation that has to end first."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Begin:
    """Take the lock and write down what is going to happen; a record that says live only tidies up."""

    record: Record


@dataclass(frozen=True)
class Unchanged:
    """The version serves already, and nothing is left over."""

    deployment: str


@dataclass(frozen=True)
class SetTraffic:
    """Change live and mirrored shares."""

    step: str
    traffic: Mapping[str, int]
    mirror: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CreateDeployment:
    """Make the candidate and wait until it is healthy."""

    name: str


@dataclass(frozen=True)
class RemoveDeployment:
    """Remove a deployment that gets no traffic."""

    name: str


@dataclass(frozen=True)
class RemoveEndpoint:
    """Remove an endpoint that the rollout made."""


@dataclass(frozen=True)
class Stage:
    """A state of the traffic that is held for a while, and checked."""

    name: str
    traffic: Mapping[str, int]
    mirror: Mapping[str, int]
    seconds: float


@dataclass(frozen=True)
class Check:
    """Check the candidate at a stage whose traffic is set."""

    stage: Stage


@dataclass(frozen=True)
class Commit:
    """Write down that the candidate serves from now on."""


@dataclass(frozen=True)
class Release:
    """Write the record's last state and give the lock back."""

    state: str


@dataclass(frozen=True)
class Done:
    """Nothing is left to do."""


@dataclass(frozen=True)
class Fail:
    """The rollout cannot go on, and is undone."""

    reason: str


Opening = Wait | Begin | Unchanged
Action = (
    Wait | SetTraffic | CreateDeployment | RemoveDeployment | RemoveEndpoint | Check | Commit | Release | Done | Fail
)


def describe(action: Action) -> str:
    """Name a step for the journal."""
    match action:
        case SetTraffic():
            return action.step
        case CreateDeployment():
            return f"{action.name} created"
        case RemoveDeployment():
            return f"{action.name} removed"
        case RemoveEndpoint():
            return "endpoint removed"
        case Check():
            return action.stage.name
        case Commit():
            return "committed"
        case Release():
            return "lock given back"
        case Wait():
            return f"wait for {', '.join(action.names)}"
    return type(action).__name__
