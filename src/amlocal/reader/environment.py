"""Environments: registered ones by name, and definitions with their conda files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from amlocal.reader.addresses import AssetReference, RegistryReference, parse_address
from amlocal.reader.conda import read_conda
from amlocal.reader.model import Environment
from amlocal.reader.resolve import environment_file
from amlocal.reader.section import Report, Section
from amlocal.reader.source import Located, UnreadableError, load, plain, shown


def read_environment(node: Located, report: Report) -> Environment:
    """Read ``environment:``: a registered name, a definition in place or ``file:path``.

    Raises:
        UnreadableError: when a file it names is missing, or it is none of the three.
    """
    if isinstance(node.value, dict):
        return _definition(node, "inline environment", report)
    text = str(node.value)
    path = _file(node, text)
    if path is None:
        path = environment_file(node, report)
    if path is None:
        address = parse_address(text)
        reference = address if isinstance(address, AssetReference | RegistryReference) else None
        return Environment(text, json.dumps(text), node.place, reference)
    if not path.is_file():
        raise UnreadableError(node.place, "missing-file", f"environment file {shown(path)} does not exist")
    return _definition(load(path), shown(path), report)


def _file(node: Located, text: str) -> Path | None:
    if text.startswith("file:"):
        text = text.removeprefix("file:")
    elif not text.endswith((".yml", ".yaml")) or text.startswith("azureml:"):
        return None
    return (node.place.file.parent / text).resolve()


def _definition(node: Located, label: str, report: Report) -> Environment:
    section = Section(node, "environment", report)
    section.skip("$schema", "description", "tags", "properties")
    definition: dict[str, Any] = {}
    for key in ("name", "version", "os_type"):
        definition[key] = section.text(key)
    image, conda, build = section.take("image"), section.take("conda_file"), section.take("build")
    section.ignore("inference_config", "datastore", prefix="environment ")
    section.finish()
    if image is None and build is None:
        raise UnreadableError(node.place, "required", "environment needs 'image' or 'build'")
    if image is not None:
        report.ignore("environment image", image.place)
        definition["image"] = plain(image)
    if build is not None:
        report.ignore("environment build", build.place)
        definition["build"] = plain(build)
    listed = None
    if conda is not None:
        root = conda if isinstance(conda.value, dict) else _conda_file(conda)
        listed = read_conda(root, report)
        definition["conda"] = plain(root)
        included = [package.text for package in listed.packages if package.place.file != root.place.file]
        if included:
            definition["requirements"] = included
    return Environment(
        label=definition["name"] or label,
        definition=json.dumps(definition, sort_keys=True, default=str),
        place=node.place,
        name=definition["name"],
        image=None if image is None else str(image.value),
        conda=listed,
        build=None if build is None else build.place,
    )


def _conda_file(node: Located) -> Located:
    if not isinstance(node.value, str):
        raise UnreadableError(node.place, "type", f"conda_file must be a path or a mapping, found {plain(node)!r}")
    path = (node.place.file.parent / str(node.value).removeprefix("file:")).resolve()
    if not path.is_file():
        raise UnreadableError(node.place, "missing-file", f"conda file {shown(path)} does not exist")
    return load(path)
