"""Make computes, environments, data and the endpoint what their YAML says. Run again, it changes nothing.

Computes are made, and scaled when their figures differ. Environments are versions by content. A version of data that is
there stays. So does an endpoint: its traffic is the deploy component's business, and an update would reset it.

Example:
    ENDPOINT_NAME=customer-messages python apply_infrastructure.py
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from azure import Azure, AzureError, read_variable
from runner import fail, write_summary

SCALE = ("min_instances", "max_instances", "idle_time_before_scale_down")
ENDPOINT = Path("endpoints/text-classifier/endpoint.yml")


def apply_compute(azure: Azure, path: Path) -> str:
    """Create a compute, or scale the one of that name.

    Raises:
        AzureError: it exists with another size, which Azure ML does not change.
    """
    wanted = _read(path)
    name = wanted["name"]
    if not azure.exists("ml", "compute", "show", "--name", name):
        azure.run("ml", "compute", "create", "--file", str(path))
        return "made"
    found = azure.run("ml", "compute", "show", "--name", name)
    if found["size"].lower() != wanted["size"].lower():
        raise AzureError(
            f"{path}: compute {name} exists with size {found['size']}, and a size cannot be changed; delete it first "
            "(and give its new identity the roles of docs/azure.md)"
        )
    changes = {key: wanted[key] for key in SCALE if int(found[key]) != wanted[key]}
    if not changes:
        return "unchanged"
    options = [part for key, value in changes.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    azure.run("ml", "compute", "update", "--name", name, *options)
    return f"changed: {', '.join(f'{key} {value}' for key, value in changes.items())}"


def apply_environment(azure: Azure, path: Path) -> str:
    """Create an environment; the client makes a new version only for new content."""
    made = azure.run("ml", "environment", "create", "--file", str(path))
    return f"version {made['version']}"


def apply_data(azure: Azure, path: Path) -> str:
    """Create a version of a data asset unless it is there."""
    wanted = _read(path)
    version = str(wanted["version"])
    if azure.exists("ml", "data", "show", "--name", wanted["name"], "--version", version):
        return f"version {version} unchanged"
    azure.run("ml", "data", "create", "--file", str(path))
    return f"version {version} made"


def apply_endpoint(azure: Azure, path: Path, name: str) -> str:
    """Create the endpoint unless it is there."""
    if azure.exists("ml", "online-endpoint", "show", "--name", name):
        return "unchanged"
    azure.run("ml", "online-endpoint", "create", "--file", str(path), "--name", name)
    return "made"


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def main() -> int:
    """Apply all; return the exit code."""
    azure = Azure()
    parts = [
        *((path, apply_compute) for path in sorted(Path("computes").glob("*.yml"))),
        *((path, apply_environment) for path in sorted(Path("environments").glob("*/environment.yml"))),
        *((path, apply_data) for path in sorted(Path("data").glob("*.yml"))),
    ]
    try:
        done = [(path, apply(azure, path)) for path, apply in parts]
        done.append((ENDPOINT, apply_endpoint(azure, ENDPOINT, read_variable("ENDPOINT_NAME"))))
    except AzureError as error:
        return fail(str(error))
    lines = ["| file | |", "|---|---|", *(f"| `{path}` | {said} |" for path, said in done)]
    print("\n".join(lines))
    write_summary("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
