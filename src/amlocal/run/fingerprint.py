"""What a step's result depends on, as data: equal fingerprints mean that an earlier result may be reused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

VERSION = 2
"""Raised when the meaning of a fingerprint, or of running a step, changes."""

_LABELS = {"variables": "environment variables", "packages": "installed packages", "parallel": "mini batches"}


@dataclass(frozen=True)
class Fingerprint:
    """Everything that may change what a step does.

    Attributes:
        command: the command as written, with its expressions.
        inputs: each input's value: plain ones as text, files and folders as a digest of their content.
        files: digest of each file of the snapshot.
        environment: the environment's definition.
        packages: the interpreter and what is installed in it.
        variables: environment variables set by the author.
        outputs: type of each declared output.
        sweep: the sweep's definition, as JSON text; empty for a command.
        parallel: how a parallel node's input is split and what may fail, as JSON text; empty for a command.
        distribution: the processes a distributed command runs as, as JSON text; empty for one process.
    """

    command: str
    inputs: Mapping[str, str]
    files: Mapping[str, str]
    environment: str
    packages: str
    variables: Mapping[str, str]
    outputs: Mapping[str, str]
    sweep: str = ""
    distribution: str = ""
    parallel: str = ""
    version: int = VERSION

    @property
    def key(self) -> str:
        """The fingerprint's own digest: the name of a result in the cache."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def from_dict(data: Mapping[str, Any]) -> Fingerprint | None:
    """Read a fingerprint back; None when it was written by another version."""
    if data.get("version") != VERSION:
        return None
    return Fingerprint(**data)


@dataclass(frozen=True)
class LastRun:
    """What a step was when it last ran.

    Attributes:
        failed: it ran to its end and failed.
    """

    fingerprint: Fingerprint
    failed: bool = False


def explain(previous: LastRun | None, current: Fingerprint) -> str:
    """Say in a few words why a step cannot be reused.

    Args:
        previous: the step's last run; None when it never ran.
        current: what it is now.
    """
    if previous is None:
        return "never run before"
    before = previous.fingerprint
    if before == current:
        return "its last run failed" if previous.failed else "its last run did not finish, or its outputs are gone"
    reasons = [
        *_file_changes(before.files, current.files),
        *_input_changes(before.inputs, current.inputs),
    ]
    for name in ("command", "environment", "packages", "variables", "outputs", "sweep", "distribution", "parallel"):
        if getattr(before, name) != getattr(current, name):
            reasons.append(f"{_LABELS.get(name, name)} changed")
    return ", ".join(reasons) or "amlocal changed"


def _file_changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    changed = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
    return [
        text
        for names, verb in (
            (changed, "changed"),
            (sorted(after.keys() - before.keys()), "added"),
            (sorted(before.keys() - after.keys()), "removed"),
        )
        if (text := _listed(names, verb))
    ]


def _listed(names: list[str], verb: str) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 2} more files" if len(names) > 2 else ""
    # A name that is no UTF-8 cannot be printed as it is.
    shown = [os.fsencode(name).decode(errors="backslashreplace") for name in names[:2]]
    return f"{', '.join(shown)}{more} {verb}"


def _input_changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    reasons = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if old is None or new is None:
            reasons.append(f"input {name} {'given' if old is None else 'no longer given'}")
        elif old.startswith("sha256:") or new.startswith("sha256:"):
            reasons.append(f"input {name} changed")
        else:
            reasons.append(f"input {name} {old} → {new}")
    return reasons
