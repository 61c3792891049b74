"""The workflows and composite actions of this repository, parsed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))


def load(path: Path) -> dict[str, Any]:
    """Parse a file; `on`, which YAML 1.1 reads as true, gets its name back."""
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    if True in value:
        value["on"] = value.pop(True)
    return value


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    """Return a workflow's jobs by id."""
    return load(path)["jobs"]


def steps(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every step of a workflow or composite action, with a name for it that is unique in the repository."""
    value = load(path)
    parts = {path.parent.name: value["runs"]} if "runs" in value else value["jobs"]
    where = "action" if "runs" in value else path.stem
    for part, holder in parts.items():
        for number, step in enumerate(holder["steps"], start=1):
            yield f"{where}/{part}/{number}", step
