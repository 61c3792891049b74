"""What a deployment is, in the terms of the processes that serve it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Probe:
    """How a scoring process is asked whether it is well. Defaults are those Azure documents.

    Attributes:
        initial_delay: Seconds before the first question.
        period: Seconds between questions.
        timeout: Seconds to wait for an answer.
        failure_threshold: Questions in a row without a good answer that make the process unwell.
    """

    initial_delay: float = 10.0
    period: float = 10.0
    timeout: float = 2.0
    failure_threshold: int = 30

    @property
    def patience(self) -> float:
        """Seconds after which a process that never answered is given up."""
        return self.initial_delay + self.period * self.failure_threshold


@dataclass(frozen=True)
class DeploymentSpec:
    """Everything needed to run a deployment.

    Attributes:
        endpoint: Name of its endpoint.
        name: Its own name.
        app_root: Folder with the code; working directory of its processes.
        scoring_script: Path of the script with ``init`` and ``run``, relative to ``app_root``.
        model_dir: Folder for ``AZUREML_MODEL_DIR``; ``None`` for a deployment without a model.
        environment_variables: The author's own variables.
        instance_count: Number of scoring processes.
        max_concurrent_requests_per_instance: Requests that one process is given at a time.
        request_timeout: Seconds a request may take, waiting included.
        max_queue_wait: Seconds a request may wait for a process; ``None`` as long as it may take at all.
        liveness: When a running process is restarted.
        readiness: How long a starting process may take.
        python: Interpreter of its processes; another than the daemon's shows nothing of the daemon's packages.
        log: File for what the processes print.
    """

    endpoint: str
    name: str
    app_root: Path
    scoring_script: str
    model_dir: Path | None
    log: Path
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    instance_count: int = 1
    max_concurrent_requests_per_instance: int = 1
    request_timeout: float = 5.0
    max_queue_wait: float | None = None
    liveness: Probe = field(default_factory=Probe)
    readiness: Probe = field(default_factory=Probe)
    python: Path = Path(sys.executable)
