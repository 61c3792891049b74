"""MLflow, as far as the engine needs it: nested runs, their end, and the curve of one metric."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from amlocal.errors import AmlocalError

FINISHED = "FINISHED"
KILLED = "KILLED"
FAILED = "FAILED"
JOB_TAG = "amlocal.job"
"""Names its job on every run, so that none stays open when amlocal is killed."""

_MOST_RUNS = 50_000
"""As many as MLflow gives at once."""
_REQUEST_SECONDS = 60.0
_PAUSES_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Before each further try of a request: the workspace starts its MLflow server again when that dies."""
_PASSING = frozenset({429, 502, 503, 504})
"""Answers that another try may better."""


class Tracking(Protocol):
    """Where runs are kept. Called from several threads."""

    def experiment(self, name: str) -> str:
        """Give the id of an experiment, making it if needed."""
        ...

    def start_run(self, experiment: str, name: str, parent: str | None, tags: Mapping[str, str]) -> str:
        """Start a run and give its id."""
        ...

    def end_run(self, run_id: str, status: str, tags: Mapping[str, str]) -> None:
        """End a run with FINISHED, FAILED or KILLED and last tags."""
        ...

    def open_runs(self, experiment: str, job: str) -> tuple[str, ...]:
        """List a job's runs that have not ended."""
        ...

    def curve(self, run_id: str, metric: str) -> tuple[float, ...]:
        """Give the values of a metric in the order in which they were logged."""
        ...

    def metrics_of(self, run_id: str) -> tuple[str, ...]:
        """Name the metrics that a run logged."""
        ...

    def log_text(self, run_id: str, name: str, text: str) -> None:
        """Keep a text as a run's artefact."""
        ...


class MlflowTracking:
    """Runs in an MLflow server, by its REST API (https://mlflow.org/docs/latest/api_reference/rest-api.html).

    mlflow's own client takes more than a second to import and several milliseconds a request, which is more than
    everything else that a step costs.

    Raises:
        AmlocalError: from every method, when the server refuses or cannot be reached.
    """

    def __init__(self, uri: str, token: str | None = None) -> None:
        self._address = urlsplit(uri)
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connections = threading.local()

    def experiment(self, name: str) -> str:
        """See ``Tracking``."""
        found = self._find_experiment(name)
        if found is None:
            try:
                return str(self._post("experiments/create", {"name": name})["experiment_id"])
            except AmlocalError:  # another job may have made it in between
                found = self._find_experiment(name)
                if found is None:
                    raise
        if found["lifecycle_stage"] == "deleted":
            raise AmlocalError(f"MLflow experiment {name!r} is deleted; restore it or use another name")
        return str(found["experiment_id"])

    def start_run(self, experiment: str, name: str, parent: str | None, tags: Mapping[str, str]) -> str:
        """See ``Tracking``."""
        nested = {"mlflow.parentRunId": parent} if parent is not None else {}
        body = {
            "experiment_id": experiment,
            "run_name": name,
            "user_id": "unknown",  # as mlflow's client says; the field is deprecated but the server wants it
            "start_time": _milliseconds(),
            "tags": _tags({**tags, **nested}),
        }
        return str(self._post("runs/create", body)["run"]["info"]["run_id"])

    def end_run(self, run_id: str, status: str, tags: Mapping[str, str]) -> None:
        """See ``Tracking``."""
        if tags:
            self._post("runs/log-batch", {"run_id": run_id, "tags": _tags(tags)})
        self._post("runs/update", {"run_id": run_id, "status": status, "end_time": _milliseconds()})

    def open_runs(self, experiment: str, job: str) -> tuple[str, ...]:
        """See ``Tracking``."""
        body = {
            "experiment_ids": [experiment],
            "filter": f"attributes.status = 'RUNNING' and tags.`{JOB_TAG}` = '{job}'",
            "max_results": _MOST_RUNS,
        }
        return tuple(run["info"]["run_id"] for run in self._post("runs/search", body).get("runs", []))

    def curve(self, run_id: str, metric: str) -> tuple[float, ...]:
        """See ``Tracking``."""
        points = self._get("metrics/get-history", {"run_id": run_id, "metric_key": metric}).get("metrics", [])
        ordered = sorted(points, key=lambda point: (int(point["timestamp"]), int(point.get("step", 0))))
        return tuple(float(point["value"]) for point in ordered)

    def metrics_of(self, run_id: str) -> tuple[str, ...]:
        """See ``Tracking``."""
        data = self._get("runs/get", {"run_id": run_id})["run"]["data"]
        return tuple(sorted(metric["key"] for metric in data.get("metrics", [])))

    def log_text(self, run_id: str, name: str, text: str) -> None:
        """See ``Tracking``."""
        root = self._get("runs/get", {"run_id": run_id})["run"]["info"]["artifact_uri"]
        path = f"{urlsplit(root).path.strip('/')}/{name}"
        self._request("PUT", f"mlflow-artifacts/artifacts/{quote(path)}", text.encode())

    def _find_experiment(self, name: str) -> dict[str, Any] | None:
        answer = self._request(
            "GET", f"mlflow/experiments/get-by-name?{urlencode({'experiment_name': name})}", missing_is_fine=True
        )
        return None if answer is None else answer["experiment"]

    def _get(self, method: str, query: Mapping[str, str]) -> dict[str, Any]:
        return self._request("GET", f"mlflow/{method}?{urlencode(query)}") or {}

    def _post(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._request("POST", f"mlflow/{method}", json.dumps(body).encode()) or {}

    def _request(
        self, verb: str, target: str, body: bytes | None = None, missing_is_fine: bool = False
    ) -> dict[str, Any] | None:
        """Ask the server, more than once where that may help; None for an answer 404 that is fine."""
        problem = ""
        for pause in (*_PAUSES_SECONDS, None):
            try:
                status, answer = self._exchange(verb, f"{self._address.path}/api/2.0/{target}", body)
            except (OSError, http.client.HTTPException) as error:
                self._forget_connection()
                problem = f"{self._address.netloc} cannot be reached: {error or type(error).__name__}"
            else:
                if status == 200:
                    result: dict[str, Any] = json.loads(answer or b"{}")
                    return result
                if status == 404 and missing_is_fine:
                    return None
                problem = f"{verb} {target.partition('?')[0]} was answered with {status}: {_message(answer)}"
                if status not in _PASSING:
                    break
            if pause is not None:
                time.sleep(pause)
        raise AmlocalError(f"MLflow: {problem}")

    def _exchange(self, verb: str, target: str, body: bytes | None) -> tuple[int, bytes]:
        connection: http.client.HTTPConnection | None = getattr(self._connections, "open", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._address.netloc, timeout=_REQUEST_SECONDS)
            self._connections.open = connection
        connection.request(verb, target, body, self._headers)
        response = connection.getresponse()
        return response.status, response.read()

    def _forget_connection(self) -> None:
        connection: http.client.HTTPConnection | None = getattr(self._connections, "open", None)
        if connection is not None:
            connection.close()
            self._connections.open = None


class RunEnds:
    """Ends runs while the job goes on: nothing that comes next depends on it."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        self._tasks: set[asyncio.Task[None]] = set()
        self._problems: list[AmlocalError] = []

    def end(self, run_id: str, status: str) -> None:
        """Begin to end a run."""
        task = asyncio.create_task(self._end(run_id, status))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def done(self) -> None:
        """Wait until all runs are ended.

        Raises:
            AmlocalError: when one could not be.
        """
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._problems:
            raise self._problems[0]

    async def _end(self, run_id: str, status: str) -> None:
        try:
            await asyncio.to_thread(self._tracking.end_run, run_id, status, {})
        except AmlocalError as error:
            self._problems.append(error)


def _milliseconds() -> int:
    return int(time.time() * 1000)


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _message(answer: bytes) -> str:
    """Give what an error answer says, in MLflow's JSON or as text."""
    text = answer.decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200]
