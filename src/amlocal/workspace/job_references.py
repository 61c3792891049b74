"""What a submitted job names and this workspace does not have, beyond what the reader of jobs looks up.

A job file may name environments and computes that are nowhere on this machine, where both mean little. A job that is
submitted must name those of its workspace, as on Azure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amlocal.reader.addresses import AddressError, AssetReference, parse_address
from amlocal.workspace import computes
from amlocal.workspace.errors import ArmError, bad_request
from amlocal.workspace.store import Json, Store
from amlocal.workspace.versions import latest_version

_ENVIRONMENTS = frozenset({"environment", "environmentId"})
_COMPONENTS = frozenset({"component", "componentId"})
_COMPUTES = frozenset({"computeId", "default_compute"})
_NO_CLUSTERS = frozenset({"serverless", "local"})
"""Words of Azure ML that stand where a compute is named."""


def check_references(store: Store, properties: Json) -> None:
    """Refuse a job that names an environment or a compute which is not there, itself or in its components.

    Args:
        store: The workspace's database.
        properties: The job, as azure-ai-ml sends it.

    Raises:
        ArmError: With everything that is missing.
    """
    missing = list(dict.fromkeys(_missing(store, properties, set())))
    if missing:
        raise _refusal(missing)


def _refusal(missing: list[str]) -> ArmError:
    does = "does" if len(missing) == 1 else "do"
    return bad_request(f"{', '.join(missing)} {does} not exist in this workspace.")


def _missing(store: Store, part: Any, seen: set[tuple[str, str]]) -> Iterator[str]:
    if isinstance(part, list):
        for item in part:
            yield from _missing(store, item, seen)
    if not isinstance(part, dict):
        return
    for key, value in part.items():
        if not isinstance(value, str):
            yield from _missing(store, value, seen)
        elif key in _COMPUTES:
            name = value.rpartition("/")[2].removeprefix("azureml:")
            if "${{" not in value and name not in _NO_CLUSTERS and store.get(computes.COLLECTION, name) is None:
                yield f"compute {name}"
        elif key in _ENVIRONMENTS:
            reference = _asset(value)
            if reference is not None and _version(store, "environments", reference) is None:
                yield f"environment {str(reference).removeprefix('azureml:')}"
        elif key in _COMPONENTS:
            yield from _missing_in_component(store, value, seen)


def _missing_in_component(store: Store, value: str, seen: set[tuple[str, str]]) -> Iterator[str]:
    reference = _asset(value)
    spec = None if reference is None else _version(store, "components", reference)
    if reference is None or spec is None:
        return  # the reader says so, with its place
    key = (reference.name, reference.version or "")
    if key not in seen:
        seen.add(key)
        yield from _missing(store, spec["componentSpec"], seen)


def _asset(value: str) -> AssetReference | None:
    try:
        address = parse_address(value)
    except AddressError:
        return None
    return address if isinstance(address, AssetReference) else None


def _version(store: Store, collection: str, reference: AssetReference) -> Json | None:
    if reference.version is None:
        found = latest_version(store, collection, reference.name)
    else:
        found = store.get(f"{collection}/{reference.name}/versions", reference.version)
    return None if found is None else found.body["properties"]
