"""Make computes, environments, data and the endpoint what their YAML says. Run again, it changes nothing.

Computes are made, and scaled when their figures differ. Environments are versions by content. A version of data never
changes, so its content is noted as a tag, and files that have changed since stop this. An endpoint that is there stays:
its traffic is the deploy component's business, and an update would reset it. What a person has to do is a warning.

Example:
    ENDPOINT_NAME=customer-messages python apply_infrastructure.py
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

import yaml
from azure import Azure, AzureError, read_variable
from runner import fail, warn, write_summary

SCALE = ("min_instances", "max_instances", "idle_time_before_scale_down")
CONTENT = "content_sha256"
"""Tag of a version of data: digest of the files that it was made of."""
ENDPOINT = Path("endpoints/text-classifier/endpoint.yml")


def apply_compute(azure: Azure, path: Path) -> str:
    """Create a compute, or scale the one of that name.

    Raises:
        AzureError: it exists with another size, which Azure ML does not change, or without its identity.
    """
    wanted = _read(path)
    name = wanted["name"]
    if not azure.exists("ml", "compute", "show", "--name", name):
        made = azure.run("ml", "compute", "create", "--file", str(path))
        return f"made{_new_identity(name, made)}"
    found = azure.run("ml", "compute", "show", "--name", name)
    if found["size"].lower() != wanted["size"].lower():
        raise AzureError(
            f"{path}: compute {name} exists with size {found['size']}, and a size cannot be changed; delete it first "
            "(and give its new identity the roles of docs/azure.md, step 2)"
        )
    if wanted.get("identity") and not found.get("identity"):
        raise AzureError(
            f"{path}: compute {name} exists without an identity, and so its jobs can ask the workspace nothing; delete "
            "it first (and give its new identity the roles of docs/azure.md, step 2)"
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
    """Create a version of a data asset unless it is there with the same content.

    Raises:
        AzureError: it is there with other content. A version does not change: the file has to name another one.
    """
    wanted = _read(path)
    name, version = wanted["name"], str(wanted["version"])
    digest = None if "://" in wanted["path"] else content_sha256(path.parent / wanted["path"])
    if not azure.exists("ml", "data", "show", "--name", name, "--version", version):
        tag = () if digest is None else ("--set", f"tags.{CONTENT}={digest}")
        azure.run("ml", "data", "create", "--file", str(path), *tag)
        return f"version {version} made"
    if digest is None:
        return f"version {version} is there; its content lies elsewhere and was not compared"
    found = (azure.run("ml", "data", "show", "--name", name, "--version", version).get("tags") or {}).get(CONTENT)
    if found is None:
        warn(
            f"{path}: version {version} of {name} is there without a tag {CONTENT}, so whether its files are those of "
            f"this commit is not known; raise `version` in {path} to be sure"
        )
        return f"version {version} is there; its content is not known"
    if found != digest:
        raise AzureError(
            f"{path}: version {version} of {name} was made of other files (sha256 {found[:12]}…) than are there now "
            f"({digest[:12]}…), and a version does not change; raise `version` in {path}"
        )
    return f"version {version} unchanged"


def content_sha256(path: Path) -> str:
    """Return a digest of a file, or of a folder's files and their names."""
    files = [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(
            f"{file.relative_to(path).as_posix()}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode()
        )
    return digest.hexdigest()


def apply_endpoint(azure: Azure, path: Path, name: str) -> str:
    """Create the endpoint unless it is there."""
    if azure.exists("ml", "online-endpoint", "show", "--name", name):
        found, wanted = azure.run("ml", "online-endpoint", "show", "--name", name).get("auth_mode"), _read(path)
        if found != wanted["auth_mode"]:
            warn(
                f"{path}: endpoint {name} exists with auth_mode {found}, and stays so; "
                f"to change it: az ml online-endpoint update --name {name} --set auth_mode={wanted['auth_mode']}"
            )
            return f"is there with auth_mode {found}, not {wanted['auth_mode']}"
        return "unchanged"
    azure.run("ml", "online-endpoint", "create", "--file", str(path), "--name", name)
    return "made"


def _new_identity(name: str, made: dict[str, Any]) -> str:
    """Warn of a new identity: roles are given by who owns the subscription, not by this script."""
    identity = made.get("identity")
    if not identity:
        return ""
    principal = identity.get("principal_id") or "unknown"
    warn(
        f"compute {name} is new, and its identity {principal} has no role: its jobs can read no data until somebody "
        "runs step 2 of docs/azure.md"
    )
    return f"; its new identity {principal} has no role yet: run step 2 of docs/azure.md"


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
