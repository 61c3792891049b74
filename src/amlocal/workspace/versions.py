"""Which version of an asset is meant where none is given."""

import re
from collections.abc import Sequence

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


def next_version(versions: Sequence[Resource]) -> str:
    """Give the next free number; versions that are no numbers do not count.

    Args:
        versions: Those that exist.
    """
    return str(max((int(version.name) for version in versions if version.name.isdecimal()), default=0) + 1)
