"""`rollout.json`: what a rollout did, step by step, readable at any moment."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.files import write_json


class Journal:
    """Writes the whole journal anew after every step, so that a killed rollout leaves its last step behind.

    States: in progress, live (the version serves), unchanged (nothing to do), rolled back (the old state is
    back), rollback failed (it is not, and the reasons say what is left).
    """

    def __init__(self, path: Path, endpoint_name: str, model: str | None) -> None:
        """Start a journal.

        Args:
            path: where rollout.json goes.
            endpoint_name: the endpoint.
            model: name:version to roll out; None when there is nothing to roll out.
        """
        self._path = path
        self._value: dict[str, Any] = {
            "endpoint": endpoint_name,
            "model": model,
            "state": "in progress",
            "steps": [],
        }
        write_json(path, self._value)

    @property
    def state(self) -> str:
        """The state last recorded."""
        return str(self._value["state"])

    def step(self, step: str, traffic: Mapping[str, int], **figures: Any) -> None:
        """Record a step with the traffic (percent by deployment) that holds after it."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._value["steps"].append({"at": at, "step": step, "traffic": dict(traffic), **figures})
        write_json(self._path, self._value)

    def finish(self, state: str, reasons: list[str], **outcome: Any) -> None:
        """Record the final state and why."""
        self._value.update(state=state, reasons=reasons, **outcome)
        write_json(self._path, self._value)
