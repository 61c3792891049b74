"""Scoring script of the endpoint: an MLflow model folder behind Azure ML's inference server.

Request, as Azure's own MLflow deployments take it
(learn.microsoft.com/azure/machine-learning/how-to-deploy-mlflow-models):
    {"input_data": ["a text", …]}                                            one text a row
    {"input_data": [{"text": "…", "text_pair": "…"}, …]}                     named columns
    {"input_data": {"columns": ["text"], "data": [["…"], …]}}                a split frame
Answer: a list with an object per row, whose keys are the columns that the model answers with, by what it was trained
for:
    label, score, probabilities (label → probability)        one label
    labels, probabilities                                    any number of labels
    value                                                    a number
    tags (one per word of the text), entities                a label for each word
    answer, score, start, end                                a piece of the context
"""

import json
import os
import re
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import torch
from azureml_inference_server_http.api.aml_response import AMLResponse

MAX_ROWS = 1000
MAX_CHARACTERS = 100_000
MAX_CHARACTERS_TOGETHER = 1_000_000
_QUOTED = 200
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")

model = None


class Model:
    """A loaded model: the columns that it takes, and its answers as JSON has them."""

    def __init__(self, loaded):
        self.columns = loaded.metadata.get_input_schema().input_names()
        self._labels = loaded.metadata.metadata["labels"]
        self._loaded = loaded
        # MLflow checks what parse_request has checked, and a frame takes longer to make than a short text to tokenise.
        self._answer_rows = getattr(loaded.unwrap_python_model(), "answer_rows", None)

    def answer(self, rows):
        """Return an object for each row, probabilities by their label."""
        if self._answer_rows is not None:
            found = self._answer_rows({name: [row[name] for row in rows] for name in self.columns})
        else:
            found = self._loaded.predict(pd.DataFrame(rows, columns=self.columns)).to_dict(orient="records")
        return [served(row, self._labels) for row in found]


class RequestError(Exception):
    """The request cannot be answered; the message says why."""


def init():
    """Load the registered model and let it answer its own example; the server calls it once per worker."""
    global model
    computing = threads(os.environ, cores())
    torch.set_num_threads(computing)
    # The tokenizer's own, for requests of several rows; read once, when it is first used.
    os.environ.setdefault("RAYON_NUM_THREADS", str(computing))
    root = Path(os.environ["AZUREML_MODEL_DIR"])
    found = sorted(root.rglob("MLmodel"))
    if len(found) != 1:
        raise RuntimeError(f"{root} holds {len(found)} files named MLmodel; expected 1")
    model = Model(mlflow.pyfunc.load_model(str(found[0].parent)))
    # What is loaded or compiled late is so before the first caller waits for it.
    example = found[0].parent / "example_prediction.json"
    model.answer(json.loads(example.read_text(encoding="utf-8"))["input"])


def cores(quota=Path("/sys/fs/cgroup/cpu.max")):
    """Return how many cores the container has: those it may run on, fewer where its share of their time is less."""
    allowed = len(os.sched_getaffinity(0))
    try:
        share, period = quota.read_text(encoding="ascii").split()
    except OSError:
        return allowed
    return allowed if share == "max" else max(1, min(allowed, int(share) // int(period)))


def threads(environment, cores):
    """Return how many threads a worker computes with: its share of the cores, unless the deployment says otherwise."""
    if environment.get("OMP_NUM_THREADS"):
        return int(environment["OMP_NUM_THREADS"])
    return max(1, cores // int(environment.get("WORKER_COUNT") or 1))


def run(raw_data):
    """Answer one request; what is wrong with a request comes back as status 400 with the reason."""
    try:
        rows = parse_request(raw_data, model.columns)
    except RequestError as error:
        return AMLResponse({"error": str(error)}, 400, json_str=True)
    return model.answer(rows)


def served(row, labels):
    """Return a row of the model's answer as JSON has it, probabilities by their label."""
    answer = {name: _plain(value) for name, value in row.items()}
    if "probabilities" in answer:
        answer["probabilities"] = dict(zip(labels, answer["probabilities"], strict=True))
    return answer


def _plain(value):
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def parse_request(raw_data, columns):
    """Return the request's rows, each with exactly the model's columns, all text.

    Raises:
        RequestError: the body is not JSON of one of the forms above, or its rows are not usable.
    """
    try:
        body = json.loads(raw_data)
    except (TypeError, ValueError) as error:
        raise RequestError(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise RequestError("the body is nested too deeply") from None
    if not isinstance(body, dict) or "input_data" not in body:
        raise RequestError('expected a JSON object with the key "input_data"')
    rows = _rows(body["input_data"], columns)
    if not 0 < len(rows) <= MAX_ROWS:
        raise RequestError(f"found {len(rows)} rows; expected 1 to {MAX_ROWS}")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or set(row) != set(columns):
            found = ", ".join(row)[:_QUOTED] if isinstance(row, dict) else type(row).__name__
            expected = ", ".join(columns)
            raise RequestError(f"row {number}: found {found or 'nothing'}; expected exactly the columns {expected}")
        for column, value in row.items():
            if not isinstance(value, str):
                raise RequestError(f"row {number}: {column} is not a string")
            if _HALF_CHARACTER.search(value):
                raise RequestError(f"row {number}: {column} holds half a character (a lone surrogate)")
            if len(value) > MAX_CHARACTERS:
                raise RequestError(
                    f"row {number}: {column} has {len(value)} characters; expected at most {MAX_CHARACTERS}"
                )
    together = sum(len(value) for row in rows for value in row.values())
    if together > MAX_CHARACTERS_TOGETHER:
        raise RequestError(f"the rows have {together} characters; expected at most {MAX_CHARACTERS_TOGETHER} together")
    return rows


def _rows(data, columns):
    if isinstance(data, dict):
        names, values = data.get("columns"), data.get("data")
        if not isinstance(names, list) or not isinstance(values, list):
            raise RequestError('"input_data" as an object needs the lists "columns" and "data"')
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise RequestError('"columns" needs names, each of them once')
        if not all(isinstance(value, list) and len(value) == len(names) for value in values):
            raise RequestError(f'each entry of "data" needs {len(names)} values, as in "columns"')
        return [dict(zip(names, value, strict=True)) for value in values]
    if not isinstance(data, list):
        raise RequestError('"input_data" is neither a list of rows nor an object with columns and data')
    if len(columns) == 1:
        return [{columns[0]: row} if isinstance(row, str) else row for row in data]
    return data
