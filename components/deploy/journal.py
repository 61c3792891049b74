"""`rollout.json`: what a rollout did, step by step, readable at any moment."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.files import write_json


class Journal:
    """Writes the whole journal anew with every step, so that a killed rollout leaves a true one behind.

    States: in progress, live (the version serves), unchanged (nothing to do), rolled back (the old state is back),
    rollback failed (it is not, and the reasons say what is left), superseded (another rollout has the endpoint).
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
            "current_step": None,
            "steps": [],
        }
        write_json(path, self._value)

    @property
    def state(self) -> str:
        """The state last recorded."""
        return str(self._value["state"])

    @property
    def touched(self) -> bool:
        """Whether a step was begun that may have changed something, or the end is recorded."""
        return self._value["current_step"] is not None or self.state != "in progress"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons last recorded."""
        return tuple(self._value.get("reasons", ()))

    def begin(self, **facts: Any) -> None:
        """Record what is known of the rollout as a whole, such as its id and the incumbent."""
        self._value.update(facts)
        write_json(self._path, self._value)

    def start(self, step: str) -> None:
        """Record which step is about to be done; a killed rollout died in it."""
        self._value["current_step"] = step
        write_json(self._path, self._value)

    def step(self, step: str, traffic: Mapping[str, int], **figures: Any) -> None:
        """Record a step that was done, with the traffic (percent by deployment) that holds after it."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._value["steps"].append({"at": at, "step": step, "traffic": dict(traffic), **figures})
        write_json(self._path, self._value)

    def failed(self, reason: str) -> None:
        """Record that the step under way failed; what follows is the way back."""
        self._value.update(failed_step=self._value["current_step"], reasons=[reason])
        write_json(self._path, self._value)

    def finish(self, state: str, reasons: Sequence[str], **outcome: Any) -> None:
        """Record the final state and why."""
        self._value.update(state=state, current_step=None, reasons=list(reasons), **outcome)
        write_json(self._path, self._value)
