"""MLflow, as far as the engine needs it: nested runs, their end, and the curve of one metric."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from amlocal.errors import AmlocalError

FINISHED = "FINISHED"
KILLED = "KILLED"
FAILED = "FAILED"


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

    def curve(self, run_id: str, metric: str) -> tuple[float, ...]:
        """Give the values of a metric in the order in which they were logged."""
        ...

    def metrics_of(self, run_id: str) -> tuple[str, ...]:
        """Name the metrics that a run logged."""
        ...


class MlflowTracking:
    """Runs in an MLflow server, through mlflow's own client.

    Raises:
        AmlocalError: from every method, when the server refuses or cannot be reached after mlflow's retries.
    """

    def __init__(self, uri: str, token: str | None = None) -> None:
        # Read by mlflow's client at each request; there is no parameter for it.
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ["DO_NOT_TRACK"] = "true"
        if token is not None:
            os.environ["MLFLOW_TRACKING_TOKEN"] = token
        from mlflow.tracking.client import MlflowClient  # a second of imports

        self._client: Any = MlflowClient(tracking_uri=uri)

    def experiment(self, name: str) -> str:
        """See ``Tracking``."""
        with _explained():
            found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                with _explained():
                    return str(self._client.create_experiment(name))
            except AmlocalError:
                with _explained():  # another job may have made it in between
                    found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise AmlocalError(f"MLflow experiment {name!r} is deleted; restore it or use another name")
        return str(found.experiment_id)

    def start_run(self, experiment: str, name: str, parent: str | None, tags: Mapping[str, str]) -> str:
        """See ``Tracking``."""
        nested = {"mlflow.parentRunId": parent} if parent is not None else {}
        with _explained():
            run = self._client.create_run(experiment, run_name=name, tags={**tags, **nested})
        return str(run.info.run_id)

    def end_run(self, run_id: str, status: str, tags: Mapping[str, str]) -> None:
        """See ``Tracking``."""
        with _explained():
            for key, value in tags.items():
                self._client.set_tag(run_id, key, value)
            self._client.set_terminated(run_id, status=status)

    def curve(self, run_id: str, metric: str) -> tuple[float, ...]:
        """See ``Tracking``."""
        with _explained():
            points = self._client.get_metric_history(run_id, metric)
        return tuple(float(point.value) for point in sorted(points, key=lambda p: (p.timestamp, p.step)))

    def metrics_of(self, run_id: str) -> tuple[str, ...]:
        """See ``Tracking``."""
        with _explained():
            return tuple(sorted(self._client.get_run(run_id).data.metrics))


@contextmanager
def _explained() -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield
    except (MlflowException, RequestException) as error:
        raise AmlocalError(f"MLflow: {error}") from None
