"""smoke.jsonl: requests whose answers are known beforehand, and what each answer has to be like."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from finetune.errors import InputError

SMOKE_FILE = "smoke.jsonl"
_KEYS = {"request", "expect"}
_EXPECTED = {"schema", "latency_ms"}


@dataclass(frozen=True)
class GoldenRequest:
    """A line of smoke.jsonl."""

    where: str
    """File and line."""
    body: Any
    """What is sent, as JSON."""
    schema: Mapping[str, Any]
    """JSON Schema that the answer fulfils."""
    labels: tuple[frozenset[str], ...] | None
    """For each row of the answer, the labels that are right; None where the schema says all that is expected."""
    latency_ms: float
    """The answer is there in less than this, in milliseconds."""


def read_golden_requests(folder: Path, model_name: str) -> tuple[GoldenRequest, ...]:
    """Read the lines of smoke.jsonl that are for a model.

    Args:
        folder: the endpoint's definition.
        model_name: the registered model's name; a line with `models` is for those models only.

    Raises:
        InputError: the file is missing or empty, or a line cannot be used; with file and line.
    """
    path = folder / SMOKE_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected golden requests, a JSON object a line") from None
    found = [
        _parse(f"{path}:{number}", line, folder, model_name)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not found:
        raise InputError(f"{path}: holds no request; a smoke test without requests passes everything")
    return tuple(golden for golden in found if golden is not None)


def find_problem(golden: GoldenRequest, answer: Any, milliseconds: float) -> str | None:
    """Return what is wrong with an answer, or None.

    Args:
        golden: the request.
        answer: the answer's JSON.
        milliseconds: how long it took.
    """
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(golden.schema).iter_errors(answer))
    if error is not None:
        return f"the answer does not fulfil the schema at {error.json_path}: {error.message[:200]}"
    if golden.labels is not None and (problem := _wrong_label(answer, golden.labels)) is not None:
        return problem
    if milliseconds > golden.latency_ms:
        return f"answered after {milliseconds:.0f} ms; expected at most {golden.latency_ms:g}"
    return None


def _wrong_label(answer: Any, labels: Sequence[frozenset[str]]) -> str | None:
    if not isinstance(answer, list) or len(answer) != len(labels):
        return f"found {str(answer)[:200]}; expected a list of {len(labels)} rows"
    for number, (row, right) in enumerate(zip(answer, labels, strict=True), start=1):
        label = row.get("label") if isinstance(row, dict) else None
        if label not in right:
            return f"row {number}: label {label!r}; expected {' or '.join(map(repr, sorted(right)))}"
    return None


def _parse(where: str, line: str, folder: Path, model_name: str) -> GoldenRequest | None:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON: {error}") from None
    if not isinstance(value, dict) or not _KEYS <= value.keys() <= _KEYS | {"models"}:
        raise InputError(f"{where}: expected an object with request, expect and, for some models only, models")
    expected = value["expect"]
    if not isinstance(expected, dict) or not _EXPECTED <= expected.keys() <= _EXPECTED | {"labels"}:
        raise InputError(
            f"{where}: expect: expected an object with latency_ms, schema and, for models with labels, labels"
        )
    latency = expected["latency_ms"]
    if isinstance(latency, bool) or not isinstance(latency, int | float) or not latency > 0:
        raise InputError(f"{where}: latency_ms is {latency!r}; expected a number above 0")
    labels = _labels(where, expected["labels"]) if "labels" in expected else None
    schema = _schema(where, folder, expected["schema"])
    models = value.get("models")
    if models is not None and (not isinstance(models, list) or not all(isinstance(name, str) for name in models)):
        raise InputError(f"{where}: models is {models!r}; expected a list of registered models' names")
    if models is not None and model_name not in models:
        return None
    return GoldenRequest(where, value["request"], schema, labels, float(latency))


def _labels(where: str, value: Any) -> tuple[frozenset[str], ...]:
    rows = [[row] if isinstance(row, str) else row for row in value] if isinstance(value, list) else []
    if not rows or not all(
        isinstance(row, list) and row and all(isinstance(label, str) for label in row) for row in rows
    ):
        raise InputError(
            f"{where}: labels is {value!r}; expected for each row a label, or a list of those that are right"
        )
    return tuple(frozenset(row) for row in rows)


def _schema(where: str, folder: Path, stated: Any) -> Mapping[str, Any]:
    """Return a schema that is stated in place, or in a file that is named."""
    path = where if isinstance(stated, dict) else folder / str(stated)
    try:
        schema = stated if isinstance(path, str) else json.loads(path.read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator.check_schema(schema)
    except OSError:
        raise InputError(
            f"{where}: schema is {stated!r}; expected a JSON Schema, or the name of a file with one in {folder}"
        ) from None
    except (json.JSONDecodeError, jsonschema.SchemaError) as error:
        raise InputError(f"{path}: no JSON Schema: {str(error).splitlines()[0]}") from None
    return schema
