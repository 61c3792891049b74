"""Data assets, models and environments: their names, and what their paths hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

from amlocal.lint.files import Kind
from amlocal.lint.rule import Document
from amlocal.lint.rules.document import child, local_file, node_names
from amlocal.reader.source import Problem, shown

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PLACEHOLDER = re.compile(r"[{}<>$#%]")


def asset_name(document: Document) -> Iterator[Problem]:
    """Names of assets are letters, digits, dots, dashes and underscores; placeholders of templates are passed over."""
    name = child(document.root, "name")
    if name is None or not isinstance(name.value, str) or _PLACEHOLDER.search(name.value):
        return
    if not _NAME.fullmatch(name.value):
        message = f"name {name.value!r}: expected letters, digits, dots, dashes and underscores"
        yield Problem(name.place, "name", message)


def names(document: Document) -> Iterator[Problem]:
    """Check the names of an asset, or of a pipeline's nodes."""
    jobs = (Kind.JOB, Kind.COMPONENT)
    yield from node_names(document) if document.kind in jobs else asset_name(document)


def asset_content(document: Document) -> Iterator[Problem]:
    """A path holds what the asset's type says; azure-ai-ml checks data assets when they are created."""
    kind, node = child(document.root, "type"), child(document.root, "path")
    if node is None or not isinstance(node.value, str):
        return
    path = local_file(node)
    if path is None or not path.exists():
        return
    stated = "uri_folder" if kind is None else str(kind.value)
    if document.kind is Kind.DATA and stated == "uri_file" and path.is_dir():
        yield Problem(node.place, "asset-content", f"{shown(path)} is a folder, and the type uri_file")
    elif document.kind is Kind.DATA and stated == "uri_folder" and path.is_file():
        yield Problem(node.place, "asset-content", f"{shown(path)} is a file, and the type uri_folder")
    elif document.kind is Kind.DATA and stated == "mltable" and path.is_dir() and not (path / "MLTable").exists():
        yield Problem(node.place, "asset-content", f"{shown(path)} has no file MLTable, which the type mltable needs")
    elif stated == "mlflow_model" and path.is_dir() and not (path / "MLmodel").exists():
        message = f"{shown(path)} has no file MLmodel, which an mlflow_model has"
        yield Problem(node.place, "asset-content", message, True)
