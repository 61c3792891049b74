"""Which version of an asset is meant where none is given."""

import re

from amlocal.workspace.store import Resource, Store

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
"""What names and versions of assets look like; also keeps them from leading out of folders named after them."""

DEFAULT_VERSION = "azureml_default"
"""The version that azure-ai-ml asks for where a component is named without one."""


def latest_version(store: Store, collection: str, name: str) -> Resource | None:
    """Find the version of an asset that was created last and is not archived.

    Args:
        store: Where versions are kept.
        collection: Kind of asset, as in ``models``.
        name: The asset.
    """
    versions = store.members(f"{collection}/{name}/versions")
    active = [version for version in versions if not version.body.get("properties", {}).get("isArchived")]
    return active[-1] if active else None


def next_version(store: Store, collection: str, name: str) -> str:
    """Give the next free number; versions that are no numbers do not count, deleted ones do.

    Args:
        store: Where versions are kept.
        collection: Kind of asset, as in ``models``.
        name: The asset.
    """
    used = [*store.members(f"{collection}/{name}/versions"), *store.members(f"{collection}/{name}/deleted")]
    return str(max((int(version.name) for version in used if version.name.isdecimal()), default=0) + 1)


def delete_version(store: Store, collection: str, name: str, version: str) -> None:
    """Delete a version for good: what was made of its files goes by its number, which is never given again.

    Args:
        store: Where versions are kept.
        collection: Kind of asset, as in ``models``.
        name: The asset.
        version: Its version.
    """
    store.delete(f"{collection}/{name}/versions", version)
    store.put(f"{collection}/{name}/deleted", version, {})


def was_deleted(store: Store, collection: str, name: str, version: str) -> bool:
    """Say whether there once was such a version.

    Args:
        store: Where versions are kept.
        collection: Kind of asset, as in ``models``.
        name: The asset.
        version: Its version.
    """
    return store.get(f"{collection}/{name}/deleted", version) is not None
