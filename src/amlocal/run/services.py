"""What running a step needs, gathered once per job and handed down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from amlocal.run.digest import DigestCache
from amlocal.run.environments.interpreter import Interpreter
from amlocal.run.execute import RunContext
from amlocal.run.files import JobFolder
from amlocal.run.journal import Journal
from amlocal.run.reuse import ResultCache
from amlocal.run.tracking import RunEnds, Tracking
from amlocal.run.turns import Turns
from amlocal.workspace.registry import Registry


class Backend(Protocol):
    """The workspace a job runs against."""

    def connect(self) -> tuple[Tracking, Mapping[str, str]]:
        """Start what has to run; give the tracking and the environment for the commands."""
        ...


@dataclass(frozen=True)
class Services:
    """The surroundings of a job's steps.

    Attributes:
        registry: the workspace's assets and datastores.
        default_datastore: what ``${{default_datastore}}`` is.
        ends: ends the steps' runs.
        turns: keep equal steps from running at the same time.
        root_run: the job's own MLflow run.
        standalone: the job is a single command or sweep, so its step is the root run.
        rerun: reuse nothing.
        identity: tells this job's steps from those of other job files.
        interpreters: the Python that each step runs in, by the step's name.
        cores: how many trials of a sweep may run at a time.
        warm: start the trials of a sweep from a process that has done their imports, where they can be.
        poll_seconds: how often a running trial's metric is read.
        downloads: the local file of each URL that the plan names.
    """

    folder: JobFolder
    journal: Journal
    tracking: Tracking
    ends: RunEnds
    context: RunContext
    digests: DigestCache
    results: ResultCache
    registry: Registry
    default_datastore: str
    turns: Turns
    root_run: str
    standalone: bool
    rerun: bool
    identity: str
    interpreters: Mapping[str, Interpreter]
    cores: int
    warm: bool = True
    poll_seconds: float = 1.0
    downloads: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Given:
    """An input's value.

    Attributes:
        text: what the command sees: the plain value, or a path.
        content: what reuse compares: the plain value, or ``sha256:`` and a digest of the content.
    """

    text: str
    content: str
