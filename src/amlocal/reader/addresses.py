"""The addresses a job file may hold where a path is expected, parsed into data. Nothing here looks anything up.

The forms are those of Azure's "reference data in a job" pages and of azure-ai-ml's ``_utils/_arm_id_utils.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

DEFAULT_DATASTORE = "workspaceblobstore"
"""The datastore that every workspace has."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_SHORT = re.compile(r"(?P<name>[^/:@\s]+)(?::(?P<version>[^/:@\s]+)|@(?P<label>[^/:@\s]+))?")
_WORKSPACE = r"/?subscriptions/[^/]+/resourcegroups/[^/]+/(?:providers/[^/]+/)?workspaces/[^/]+"
_ASSET = r"(?P<kind>[^/]+)/(?P<name>[^/]+)/(?P<which>versions|labels)/(?P<value>[^/]+)"
_WORKSPACE_ASSET = re.compile(f"(?:{_WORKSPACE}|locations/[^/]+/workspaces/[^/]+)/{_ASSET}", re.IGNORECASE)
_REGISTRY_ASSET = re.compile(f"registries/(?P<registry>[^/]+)/{_ASSET}", re.IGNORECASE)
_DATASTORE = re.compile(
    f"(?:{_WORKSPACE}/)?datastores/(?P<datastore>[^/]+)(?:/paths(?:/(?P<path>.*))?)?", re.IGNORECASE
)

_FORMS = (
    "azureml:NAME:VERSION, azureml:NAME@latest, azureml://datastores/NAME/paths/PATH "
    "or azureml://registries/REGISTRY/KIND/NAME/versions/VERSION"
)


class AddressError(ValueError):
    """An ``azureml:`` text of none of the known forms; the message says what was expected."""


@dataclass(frozen=True)
class AssetReference:
    """An asset registered in a workspace.

    Attributes:
        version: None for the latest one.
        label: as stated; ``latest`` is the only one that Azure gives by itself.
        kind: ``data``, ``models``, ``components`` …, where the address says it.
    """

    name: str
    version: str | None = None
    label: str | None = None
    kind: str | None = None

    def __str__(self) -> str:
        if self.version is not None:
            return f"azureml:{self.name}:{self.version}"
        return f"azureml:{self.name}@{self.label}" if self.label is not None else f"azureml:{self.name}"


@dataclass(frozen=True)
class RegistryReference:
    """An asset of a registry, which workspaces share.

    Attributes:
        kind: ``data``, ``models``, ``components`` or ``environments``.
        version: None where a label is given.
    """

    registry: str
    kind: str
    name: str
    version: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class DatastorePath:
    """A file or folder in a workspace's datastore.

    Attributes:
        path: inside it, with slashes and without one at either end; empty for all of it.
    """

    datastore: str
    path: str


@dataclass(frozen=True)
class Url:
    """Something to download by http or https."""

    text: str


@dataclass(frozen=True)
class ForeignUri:
    """Any other address: a storage account, a git repository, another job's output.

    Attributes:
        scheme: as in ``wasbs``.
    """

    scheme: str
    text: str


@dataclass(frozen=True)
class LocalPath:
    """A path of this machine.

    Attributes:
        text: without ``file:``; relative to whatever states it.
    """

    text: str


Address: TypeAlias = AssetReference | RegistryReference | DatastorePath | Url | ForeignUri | LocalPath


def parse_address(text: str) -> Address:
    """Tell what an address means.

    Args:
        text: what stands in the file, without expressions in it.

    Raises:
        AddressError: for an ``azureml:`` text of no known form.
    """
    if text.startswith("azureml:") or re.match(r"/subscriptions/[^/]+/resourcegroups/", text, re.IGNORECASE):
        return _azureml(text)
    if text.startswith("file:"):
        rest = text.removeprefix("file:")
        return LocalPath(rest[2:] if rest.startswith("//") else rest)
    match = _SCHEME.match(text)
    if match is None:
        return LocalPath(text)
    scheme = match[1].lower()
    return Url(text) if scheme in {"http", "https"} else ForeignUri(scheme, text)


def _azureml(text: str) -> Address:
    rest = text.removeprefix("azureml:")
    if not rest.startswith("/"):
        short = _SHORT.fullmatch(rest)
        if short is None:
            raise AddressError(f"{text}: expected {_FORMS}")
        return AssetReference(short["name"], short["version"], short["label"])
    # azureml://…, and azureml:/subscriptions/… as azure-ai-ml writes ARM ids.
    rest = rest.removeprefix("//").rstrip("/")
    datastore = _DATASTORE.fullmatch(rest)
    if datastore is not None:
        return DatastorePath(datastore["datastore"], (datastore["path"] or "").strip("/"))
    registry = _REGISTRY_ASSET.fullmatch(rest)
    if registry is not None:
        version, label = _which(registry)
        return RegistryReference(registry["registry"], registry["kind"].lower(), registry["name"], version, label)
    asset = _WORKSPACE_ASSET.fullmatch(rest)
    if asset is not None:
        version, label = _which(asset)
        return AssetReference(asset["name"], version, label, asset["kind"].lower())
    if rest.startswith("jobs/"):
        return ForeignUri("azureml", text)
    raise AddressError(f"{text}: expected {_FORMS}")


def _which(match: re.Match[str]) -> tuple[str | None, str | None]:
    value = match["value"]
    return (value, None) if match["which"].lower() == "versions" else (None, value)
