"""The environment variables of a scoring process."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from amlocal.endpoints.spec import DeploymentSpec
from amlocal.run.environments.interpreter import caller_variables

WORKERS = "WORKER_COUNT"
"""The inference server's number of workers, each a process with the model."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def scoring_environment(spec: DeploymentSpec, base: Mapping[str, str], cores: int) -> dict[str, str]:
    """Build the whole environment of one scoring process.

    Args:
        spec: The deployment.
        base: The daemon's environment.
        cores: Processor cores of this machine; its processes share them.
    """
    isolated = spec.python != Path(sys.executable)
    kept = caller_variables(base, isolated=True) | _first_on_path(spec.python, base) if isolated else base
    environment = {
        **kept,
        **dict.fromkeys(THREAD_VARIABLES, str(_room(spec, cores) // workers(spec, cores))),
        "AML_APP_ROOT": str(spec.app_root),
        "AZUREML_ENTRY_SCRIPT": spec.scoring_script,
        "SERVICE_NAME": spec.endpoint,
        "SERVICE_PATH_PREFIX": f"endpoints/{spec.endpoint}",
        "SERVICE_VERSION": spec.name,
        "AML_APP_INSIGHTS_ENABLED": "false",
        "PYTHONUNBUFFERED": "1",
        # A request that outlives its client must not get the worker killed.
        "WORKER_TIMEOUT": str(int(spec.request_timeout) + 300),
    }
    if spec.model_dir is not None:
        environment["AZUREML_MODEL_DIR"] = str(spec.model_dir)
    environment |= spec.environment_variables
    if (given := workers(spec, cores)) < asked_workers(spec):
        environment[WORKERS] = str(given)
    return environment


def asked_workers(spec: DeploymentSpec) -> int:
    """Return how many workers a deployment asks for in each scoring process."""
    asked = spec.environment_variables.get(WORKERS, "")
    return int(asked) if asked.isascii() and asked.isdigit() else 1


def workers(spec: DeploymentSpec, cores: int) -> int:
    """Return how many workers each scoring process gets: as many as are asked for, and no more than it has cores.

    They are counted for the cores of the instance type, which this machine need not have.
    """
    return max(1, min(asked_workers(spec), _room(spec, cores)))


def _room(spec: DeploymentSpec, cores: int) -> int:
    """Return how many of this machine's cores each of a deployment's processes has."""
    return max(1, cores // spec.instance_count)


def _first_on_path(python: Path, base: Mapping[str, str]) -> dict[str, str]:
    """Let a virtual environment's commands come before all others."""
    found = f"{python.parent}{os.pathsep}{base.get('PATH', os.defpath)}"
    return {"PATH": found, "VIRTUAL_ENV": str(python.parents[1])}


def available_cores() -> int:
    """Count the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
