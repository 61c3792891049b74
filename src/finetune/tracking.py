"""Logging to MLflow within the limits of Azure ML's backend, and through a tracking server's outages."""

import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

LOGGER = logging.getLogger(__name__)

MAX_PARAMETERS = 200
"""Azure ML refuses more parameters than this in one run."""
MAX_VALUE_LENGTH = 500
"""Azure ML refuses longer parameter values."""
MAX_BATCH = 250
"""Azure ML takes no more metrics in one request; MLflow's own limit is 1000."""
SPOOL = "metrics-not-sent.jsonl"
"""What the tracking server has not taken yet, in the checkpoints folder."""

_EVERY_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0


def checked_parameters(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters as MLflow takes them; longer values are cut to what Azure ML accepts.

    Raises:
        ValueError: there are more than `MAX_PARAMETERS`; the caller has to choose, not this function.
    """
    if len(parameters) > MAX_PARAMETERS:
        raise ValueError(f"{len(parameters)} parameters; Azure ML takes {MAX_PARAMETERS} in a run")
    return {name: str(value)[:MAX_VALUE_LENGTH] for name, value in parameters.items()}


class RunLog:
    """One MLflow run's parameters and metrics, sent in batches.

    A server that does not answer never stops the caller: figures wait in memory and, so that they outlive the process,
    in a spool file; sending is tried again after 5 s, then twice as long, up to 5 minutes. `close` tries once more.
    """

    def __init__(self, spool: Path, run_id: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Open the run.

        Args:
            spool: folder of the spool file; what is found in it is sent too.
            run_id: the run to go on with, when the environment names none.
            clock: seconds, for tests.
        """
        self._clock = clock
        self._spool = spool / SPOOL
        self._parameters: dict[str, str] = {}
        self._metrics: list[Metric] = []
        self._pause = 0.0
        self._next = clock()
        self._asked_run = run_id
        self.run_id: str | None = None
        _read_spool(self._spool, self._parameters, self._metrics)
        # Seven retries with growing pauses are MLflow's default: minutes in which no step would be taken.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        self._attempt(self._start)

    def parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log parameters with the next batch.

        Raises:
            ValueError: there are too many.
        """
        self._parameters.update(checked_parameters(parameters))

    def metrics(self, figures: Mapping[str, float], step: int, at_once: bool = False) -> None:
        """Log figures of a step; they are sent every few seconds, or at once where a sweep waits for them.

        Figures that are no finite numbers are left out: Azure ML's backend refuses them.
        """
        now = int(time.time() * 1000)
        self._metrics.extend(
            Metric(name, float(value), now, step) for name, value in figures.items() if math.isfinite(value)
        )
        if self._clock() >= self._next and (at_once or self._clock() >= self._next + _EVERY_SECONDS):
            self.flush()

    def flush(self) -> bool:
        """Send what waits; on failure keep it in the spool file. Tell whether everything was sent."""
        sent = self._attempt(self._send)
        if sent:
            self._spool.unlink(missing_ok=True)
        else:
            _write_spool(self._spool, self._parameters, self._metrics)
        return sent

    def keep(self) -> None:
        """See that what waits outlives this process: sent, or in the spool file."""
        if self._clock() >= self._next:
            self.flush()
        else:
            _write_spool(self._spool, self._parameters, self._metrics)

    def close(self, status: str) -> None:
        """Send the rest and end the run.

        Args:
            status: MLflow's: FINISHED, FAILED or KILLED.
        """
        self._next = self._clock()
        if not self.flush():
            LOGGER.warning(
                "the tracking server did not take %d figures; they are in %s and are sent when the job is "
                "started again on the same checkpoints output",
                len(self._metrics),
                self._spool,
            )
        self._attempt(lambda: mlflow.end_run(status))

    def _start(self) -> None:
        active = mlflow.active_run()
        if active is None:
            # MLFLOW_RUN_ID names the job's own run, which outlives a preempted process.
            named = os.environ.get("MLFLOW_RUN_ID") or self._asked_run
            active = _started(named)
        self.run_id = active.info.run_id

    def _send(self) -> None:
        if self.run_id is None:
            self._start()
        client = MlflowClient()
        while self._parameters or self._metrics:
            parameters = [Param(name, value) for name, value in list(self._parameters.items())[:100]]
            metrics = self._metrics[: MAX_BATCH - len(parameters)]
            client.log_batch(self.run_id, metrics=metrics, params=parameters)
            for parameter in parameters:
                del self._parameters[parameter.key]
            del self._metrics[: len(metrics)]

    def _attempt(self, action: Callable[[], None]) -> bool:
        from azure.core.exceptions import AzureError

        try:
            action()
        except (mlflow.MlflowException, AzureError, OSError) as error:  # requests' errors are OSErrors
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._next = self._clock() + self._pause
            LOGGER.warning(
                "the tracking server does not answer; training goes on, next try in %.0f s: %s",
                self._pause,
                str(error).splitlines()[0][:200],
            )
            return False
        self._pause, self._next = 0.0, self._clock()
        return True


def _started(run_id: str | None) -> Any:
    if run_id is None:
        return mlflow.start_run()
    try:
        return mlflow.start_run(run_id=run_id)
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        LOGGER.warning("the run %s that this job began is not known here; a new one goes on", run_id)
        return mlflow.start_run()


def _read_spool(path: Path, parameters: dict[str, str], metrics: list[Metric]) -> None:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the last line of a process that was killed while it wrote
        if "parameter" in entry:
            parameters[entry["parameter"]] = entry["value"]
        else:
            metrics.append(Metric(entry["metric"], entry["value"], entry["timestamp"], entry["step"]))


def _write_spool(path: Path, parameters: Mapping[str, str], metrics: list[Metric]) -> None:
    from finetune.files import write_text

    lines = [{"parameter": name, "value": value} for name, value in parameters.items()]
    lines += [
        {"metric": each.key, "value": each.value, "timestamp": each.timestamp, "step": each.step} for each in metrics
    ]
    try:
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    except OSError as error:
        LOGGER.warning("%s cannot be written: %s", path, error)
