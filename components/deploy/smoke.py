"""The smoke test: does a deployment answer as its model did when it was trained, and as smoke.jsonl says?"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden import GoldenRequest, find_problem
from health import HealthCheck
from probes import Answer

from finetune.errors import InputError
from finetune.files import read_json
from finetune.training.contents import EXAMPLE_PREDICTION

PROBABILITY_TOLERANCE = 0.01
"""Another processor computes the same model in another order; a wrong model is further off than this."""


@dataclass(frozen=True)
class OwnExample:
    """A request and what the model answered to it when it was trained."""

    rows: list[dict[str, str]]
    answers: list[dict[str, Any]]
    """A row's label, score and probabilities (in the order of `labels`)."""
    labels: list[str]

    @property
    def body(self) -> dict[str, Any]:
        """What is sent, as JSON."""
        return {"input_data": self.rows}


def read_own_example(model_folder: Path, labels: list[str]) -> OwnExample:
    """Read the example that the trial saved with its model.

    Raises:
        InputError: the model folder has none.
    """
    value = read_json(model_folder / EXAMPLE_PREDICTION, "the example that train saves with a model")
    if not value.get("input") or len(value["input"]) != len(value.get("output", ())):
        raise InputError(f"{model_folder / EXAMPLE_PREDICTION}: expected as many outputs as inputs, at least one")
    return OwnExample(value["input"], value["output"], labels)


def smoke_test(
    example: OwnExample, golden: Sequence[GoldenRequest], send: Callable[[Any], Answer]
) -> tuple[HealthCheck, ...]:
    """Ask a deployment the model's own example and the golden requests.

    The example comes first and has no limit of time: the first answer of a process may take longer than all others.

    Args:
        example: what the model itself answered.
        golden: lines of smoke.jsonl.
        send: sends a request to the deployment.

    Returns:
        A check for each request.
    """
    checks = [_check("the model's own example", send(example.body), lambda answer: difference(answer.value, example))]
    for request in golden:
        answer = send(request.body)
        checks.append(
            _check(
                f"golden request {request.where}",
                answer,
                lambda answer, request=request: find_problem(request, answer.value, answer.seconds * 1000),
            )
        )
    return tuple(checks)


def _check(name: str, answer: Answer, find: Callable[[Answer], str | None]) -> HealthCheck:
    problem = answer.problem if answer.problem is not None else find(answer)
    return HealthCheck(name, problem is None, problem or f"as expected, after {answer.seconds * 1000:.0f} ms")


def difference(answer: Any, example: OwnExample) -> str | None:
    """Return how an answer differs from the model's own, or None."""
    if not isinstance(answer, list) or len(answer) != len(example.rows):
        return f"found {str(answer)[:200]}; expected a list of {len(example.rows)} rows"
    for number, (found, expected) in enumerate(zip(answer, example.answers, strict=True), start=1):
        wanted = dict(zip(example.labels, expected["probabilities"], strict=True))
        probabilities = found.get("probabilities") if isinstance(found, dict) else None
        if not isinstance(probabilities, dict) or set(probabilities) != set(wanted):
            return f"row {number}: found {str(found)[:200]}; expected probabilities of {', '.join(example.labels)}"
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in probabilities.values()):
            return f"row {number}: a probability is not a finite number"
        if found.get("label") != expected["label"]:
            return f"row {number}: label {found.get('label')!r}; the model itself answered {expected['label']!r}"
        furthest = max(wanted, key=lambda label: abs(probabilities[label] - wanted[label]))
        if abs(probabilities[furthest] - wanted[furthest]) > PROBABILITY_TOLERANCE:
            return (
                f"row {number}: probability of {furthest!r} is {probabilities[furthest]:.4f}; the model answered "
                f"{wanted[furthest]:.4f}"
            )
    return None
