"""What a rollout is asked for, and what it needs of the world."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from golden import GoldenRequest
from policy import RolloutPolicy
from probes import Ask, make_ask
from smoke import OwnExample

from finetune.workspace import ModelVersion

NO_JOB = "none"


@dataclass(frozen=True)
class RolloutRequest:
    """What is to serve where, and what it takes."""

    model: ModelVersion
    endpoint_name: str
    definition: Path
    """Folder with endpoint.yml, deployment.yml and what they refer to."""
    example: OwnExample
    golden: tuple[GoldenRequest, ...]
    policy: RolloutPolicy
    job: str = NO_JOB
    """The Azure ML job that does it, for those who find its lock."""
    take_over: bool = False
    """Another rollout's lock does not count."""
    check_incumbent: Callable[[ModelVersion | None], None] = lambda serving: None
    """Raises InputError when the model may not follow the one that serves; None when none does."""


@dataclass(frozen=True)
class World:
    """What there is beside the service: requests and time."""

    send: Ask = field(default_factory=make_ask)
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
