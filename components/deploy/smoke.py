"""The smoke test: does a deployment answer the model's own example the way the model did when it was trained?"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from finetune.errors import InputError
from finetune.files import read_json
from finetune.training.contents import EXAMPLE_PREDICTION

PROBABILITY_TOLERANCE = 0.01
"""Another processor computes the same model in another order; a wrong model is further off than this."""
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class GoldenRequest:
    """A request and what the model answered to it when it was trained."""

    rows: list[dict[str, str]]
    answers: list[dict[str, Any]]
    """A row's label, score and probabilities (in the order of `labels`)."""
    labels: list[str]


@dataclass(frozen=True)
class ScoringTarget:
    """Where to send requests."""

    uri: str
    key: str
    deployment: str | None
    """A deployment that is asked whatever the traffic is; None to follow the traffic."""


class SmokeTestFailedError(InputError):
    """The deployment does not answer as the model did."""


def read_golden_request(model_folder: Path, labels: list[str]) -> GoldenRequest:
    """Read the example that the trial saved with its model.

    Raises:
        InputError: the model folder has none.
    """
    value = read_json(model_folder / EXAMPLE_PREDICTION, "the example that train saves with a model")
    if not value.get("input") or len(value["input"]) != len(value.get("output", ())):
        raise InputError(f"{model_folder / EXAMPLE_PREDICTION}: expected as many outputs as inputs, at least one")
    return GoldenRequest(value["input"], value["output"], labels)


def smoke_test(target: ScoringTarget, golden: GoldenRequest) -> float:
    """Send the golden request and check every part of the answer.

    Returns:
        Seconds until the answer was there.

    Raises:
        SmokeTestFailedError: no answer in time, a status other than 200, or an answer that differs from the model's.
    """
    headers = {"Authorization": f"Bearer {target.key}"}
    if target.deployment is not None:
        headers["azureml-model-deployment"] = target.deployment
    try:
        response = httpx.post(
            target.uri,
            json={"input_data": golden.rows},
            headers=headers,
            timeout=TIMEOUT_SECONDS,
            trust_env=True,
        )
    except httpx.HTTPError as error:
        raise SmokeTestFailedError(f"smoke test: no answer from {target.uri}: {error!r}") from None
    if response.status_code != 200:
        raise SmokeTestFailedError(f"smoke test: status {response.status_code}, expected 200: {response.text[:300]}")
    try:
        answer = response.json()
    except ValueError:
        raise SmokeTestFailedError(f"smoke test: the answer is not JSON: {response.text[:300]}") from None
    if problem := difference(answer, golden):
        raise SmokeTestFailedError(f"smoke test: {problem}")
    return response.elapsed.total_seconds()


def difference(answer: Any, golden: GoldenRequest) -> str | None:
    """Return how an answer differs from the model's own, or None."""
    if not isinstance(answer, list) or len(answer) != len(golden.rows):
        return f"found {str(answer)[:200]}; expected a list of {len(golden.rows)} rows"
    for number, (found, expected) in enumerate(zip(answer, golden.answers, strict=True), start=1):
        wanted = dict(zip(golden.labels, expected["probabilities"], strict=True))
        probabilities = found.get("probabilities") if isinstance(found, dict) else None
        if not isinstance(probabilities, dict) or set(probabilities) != set(wanted):
            return f"row {number}: found {str(found)[:200]}; expected probabilities of {', '.join(golden.labels)}"
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
