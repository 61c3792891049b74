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

TOLERANCE = 0.01
"""Of numbers, relative to those above 1: another processor computes the same model in another order; a wrong model is
further off than this."""


@dataclass(frozen=True)
class OwnExample:
    """A request and what the model answered to it when it was trained."""

    rows: list[dict[str, str]]
    answers: list[dict[str, Any]]
    """What the model answers with, by column; probabilities in the order of `labels`."""
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
        wanted = dict(expected)
        if "probabilities" in wanted:
            wanted["probabilities"] = dict(zip(example.labels, wanted["probabilities"], strict=True))
        if (problem := _difference(found, wanted, "")) is not None:
            return f"row {number}: {problem}"
    return None


def _difference(found: Any, expected: Any, place: str) -> str | None:
    if isinstance(expected, dict):
        # A scoring script may say more of a row; of what the model says nothing may be added.
        if not isinstance(found, dict) or (place and found.keys() != expected.keys()) or expected.keys() - found.keys():
            return f"{place or 'found'} {str(found)[:200]}; expected an object with {', '.join(expected)}"
        pairs = [(found[key], expected[key], f"{place}.{key}".lstrip(".")) for key in expected]
    elif isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return f"{place} is {str(found)[:200]}; the model itself answered {str(expected)[:200]}"
        pairs = [(*both, f"{place}[{at}]") for at, both in enumerate(zip(found, expected, strict=True))]
    else:
        same = _near(found, expected) if _is_number(expected) else found == expected
        return None if same else f"{place} is {found!r}; the model itself answered {expected!r}"
    return next((problem for pair in pairs if (problem := _difference(*pair)) is not None), None)


def _near(found: Any, expected: float) -> bool:
    return _is_number(found) and math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
