"""What a job file names that is not a path of this machine: whom the reader asks, and how a user maps it to a path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from amlocal.errors import AmlocalError
from amlocal.reader.addresses import AssetReference, DatastorePath


@dataclass(frozen=True)
class RegisteredPath:
    """A registered data asset or model.

    Attributes:
        path: the file or folder; None when what it points to is not on this machine.
        type: ``uri_file``, ``uri_folder``, ``mltable``, ``mlflow_model`` …
        version: the one that was found, also where a label was asked for.
        uri: what it points to, as registered.
    """

    path: Path | None
    type: str
    version: str
    uri: str = ""


class Assets(Protocol):
    """The assets of a workspace. Every method gives None for what it does not have."""

    def data(self, reference: AssetReference) -> RegisteredPath | None:
        """Find a data asset."""
        ...

    def model(self, reference: AssetReference) -> RegisteredPath | None:
        """Find a model."""
        ...

    def code(self, reference: AssetReference) -> Path | None:
        """Find a code snapshot: the folder or file that was uploaded."""
        ...

    def component(self, reference: AssetReference) -> Path | None:
        """Find a component: the YAML file that defines it."""
        ...

    def environment(self, reference: AssetReference) -> Path | None:
        """Find an environment: the YAML file that defines it."""
        ...

    def datastore(self, address: DatastorePath) -> Path | None:
        """Find a file or folder in a datastore."""
        ...


class NoAssets:
    """Knows nothing. For reading a file without a workspace: what it names is left open, and judged by no check."""

    def data(self, reference: AssetReference) -> RegisteredPath | None:
        """See ``Assets``."""
        del reference
        return None

    def model(self, reference: AssetReference) -> RegisteredPath | None:
        """See ``Assets``."""
        del reference
        return None

    def code(self, reference: AssetReference) -> Path | None:
        """See ``Assets``."""
        del reference
        return None

    def component(self, reference: AssetReference) -> Path | None:
        """See ``Assets``."""
        del reference
        return None

    def environment(self, reference: AssetReference) -> Path | None:
        """See ``Assets``."""
        del reference
        return None

    def datastore(self, address: DatastorePath) -> Path | None:
        """See ``Assets``."""
        del address
        return None


@dataclass(frozen=True)
class UriMapping:
    """One ``--map URI=PATH``.

    Attributes:
        uri: an address, or the beginning of addresses up to a slash.
        path: the file or folder that stands in for it.
        option: as it was typed.
    """

    uri: str
    path: Path
    option: str


def parse_mappings(options: Sequence[str]) -> tuple[UriMapping, ...]:
    """Read ``--map`` texts.

    Args:
        options: ``URI=PATH`` each. A URI may hold ``=`` itself; what counts is the last one before a path that exists.

    Raises:
        AmlocalError: when one is no ``URI=PATH``, its path does not exist, or two map the same URI.
    """
    result: dict[str, UriMapping] = {}
    for option in options:
        mapping = _mapping(option)
        if mapping.uri.rstrip("/") in result:
            raise AmlocalError(f"--map {option}: {mapping.uri} is mapped twice")
        result[mapping.uri.rstrip("/")] = mapping
    return tuple(result.values())


def _mapping(option: str) -> UriMapping:
    uri, separator, text = option.rpartition("=")
    if not separator or not uri or not text:
        raise AmlocalError(f"--map {option}: expected URI=PATH, as in azureml:data:1=./data")
    for at in (index for index in reversed(range(len(option))) if option[index] == "="):
        path = Path(option[at + 1 :]).expanduser().absolute()
        if option[at + 1 :] and option[:at] and path.exists():
            return UriMapping(option[:at], path, option)
    raise AmlocalError(f"--map {option}: {text} does not exist")


def mapped(text: str, mappings: Sequence[UriMapping]) -> tuple[Path, UriMapping] | None:
    """Find the local path that stands in for an address; the longest URI wins.

    Args:
        text: the address.
        mappings: all ``--map`` options.

    Returns:
        The path, which need not exist below a mapped folder, and the option that gave it.
    """
    found: tuple[Path, UriMapping] | None = None
    length = -1
    for mapping in mappings:
        stem = mapping.uri.rstrip("/")
        if len(stem) <= length or not (text.rstrip("/") == stem or text.startswith(f"{stem}/")):
            continue
        rest = text[len(stem) :].strip("/")
        path = Path(os.path.normpath(mapping.path / rest)) if rest else mapping.path
        if path.is_relative_to(mapping.path):
            found, length = (path, mapping), len(stem)
    return found
