"""From a deployment as Azure's REST has it to the terms of the processes that serve it."""

import re
from dataclasses import dataclass

from amlocal.endpoints.spec import Probe
from amlocal.workspace.errors import bad_request
from amlocal.workspace.store import Json

DURATION = re.compile(r"P(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?")
MAX_REQUEST_TIMEOUT = 180.0
MAX_INSTANCES = 50


@dataclass(frozen=True)
class DeploymentRequest:
    """What a deployment's body asks for, checked.

    Attributes:
        model: Reference to the model, if any.
        code: Reference to the code snapshot.
        scoring_script: Script in the snapshot.
        environment: Reference to the environment, if any.
        environment_variables: The author's variables.
        instance_count: Number of scoring processes.
        max_concurrent_requests_per_instance: Requests that one process is given at a time.
        request_timeout: Seconds a request may take.
        max_queue_wait: Seconds a request may wait for a process, if limited.
        liveness: When a running process is restarted.
        readiness: How long a starting process may take.
        instance_type: Size of virtual machine; of no meaning here.
    """

    model: str | None
    code: str
    scoring_script: str
    environment: str | None
    environment_variables: dict[str, str]
    instance_count: int
    max_concurrent_requests_per_instance: int
    request_timeout: float
    max_queue_wait: float | None
    liveness: Probe
    readiness: Probe
    instance_type: str | None


def parse_deployment(body: Json) -> DeploymentRequest:
    """Read and check a deployment's body.

    Args:
        body: ``{properties, sku, …}``.

    Raises:
        ArmError: It breaks a rule, or wants what this workspace cannot do.
    """
    properties = body["properties"]
    code = properties.get("codeConfiguration") or {}
    if not code.get("codeId") or not code.get("scoringScript"):
        raise bad_request(
            "The deployment has no code_configuration. Deployments of MLflow models without a scoring script are not "
            "there yet on this machine; give code and scoring_script."
        )
    settings = properties.get("requestSettings") or {}
    timeout = _seconds(settings.get("requestTimeout"), 5.0)
    if not 0 < timeout <= MAX_REQUEST_TIMEOUT:
        raise bad_request(f"request_timeout_ms is {timeout * 1000:.0f}; expected 1 to 180000.")
    waits = settings.get("maxQueueWait")
    instances = _positive(body.get("sku", {}).get("capacity"), "instance_count")
    if instances > MAX_INSTANCES:
        raise bad_request(f"instance_count is {instances}; expected {MAX_INSTANCES} at most.")
    return DeploymentRequest(
        model=_model_reference(properties.get("model")),
        code=code["codeId"],
        scoring_script=code["scoringScript"],
        environment=properties.get("environmentId"),
        environment_variables={
            name: str(value) for name, value in (properties.get("environmentVariables") or {}).items()
        },
        instance_count=instances,
        max_concurrent_requests_per_instance=_positive(
            settings.get("maxConcurrentRequestsPerInstance"), "max_concurrent_requests_per_instance"
        ),
        request_timeout=timeout,
        max_queue_wait=None if waits is None else _seconds(waits, 0.0),
        liveness=_probe(properties.get("livenessProbe")),
        readiness=_probe(properties.get("readinessProbe")),
        instance_type=properties.get("instanceType"),
    )


def _model_reference(model: object) -> str | None:
    """Read a model reference: an id, or in newer API versions an object around one."""
    if isinstance(model, dict):
        model = model.get("assetId") or model.get("id")
    return str(model) if model else None


def _positive(value: object, name: str) -> int:
    if value is None:
        return 1
    if not isinstance(value, int) or value < 1:
        raise bad_request(f"{name} is {value!r}; expected a whole number from 1 on.")
    return value


def _probe(settings: Json | None) -> Probe:
    default = Probe()
    settings = settings or {}
    return Probe(
        initial_delay=_seconds(settings.get("initialDelay"), default.initial_delay),
        period=_seconds(settings.get("period"), default.period),
        timeout=_seconds(settings.get("timeout"), default.timeout),
        failure_threshold=settings.get("failureThreshold") or default.failure_threshold,
    )


def _seconds(duration: str | None, default: float) -> float:
    """Read an ISO 8601 duration in days and below."""
    if duration is None:
        return default
    match = DURATION.fullmatch(duration)
    if match is None or duration in ("P", "PT"):
        raise bad_request(f"{duration!r} is no ISO 8601 duration such as PT5S.")
    days, hours, minutes, seconds = (float(match[part] or 0) for part in "dhms")
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
