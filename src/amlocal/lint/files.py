"""Which files are Azure ML YAML, and of what kind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path

import pathspec

SKIPPED_FOLDERS = frozenset({".amlocal", ".git", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox"})
_SUFFIXES = frozenset({".yml", ".yaml"})


class Kind(Enum):
    """Kinds of Azure ML YAML."""

    JOB = "job"
    COMPONENT = "component"
    ENVIRONMENT = "environment"
    DATA = "data"
    MODEL = "model"
    COMPUTE = "compute"
    DATASTORE = "datastore"
    SCHEDULE = "schedule"
    ONLINE_ENDPOINT = "online endpoint"
    ONLINE_DEPLOYMENT = "online deployment"
    BATCH_ENDPOINT = "batch endpoint"
    BATCH_DEPLOYMENT = "batch deployment"
    WORKSPACE = "workspace"
    CONNECTION = "connection"
    REGISTRY = "registry"
    FEATURE_SET = "feature set"
    FEATURE_STORE = "feature store"
    FEATURE_STORE_ENTITY = "feature store entity"


# The first pattern that is found in the schema's file name decides.
_BY_SCHEMA: tuple[tuple[str, Kind | None], ...] = (
    ("deploymenttemplate|serverless|mltable|metadata|spec", None),
    ("online.*deployment", Kind.ONLINE_DEPLOYMENT),
    ("deployment", Kind.BATCH_DEPLOYMENT),
    ("batchendpoint", Kind.BATCH_ENDPOINT),
    ("endpoint", Kind.ONLINE_ENDPOINT),
    ("component", Kind.COMPONENT),
    ("schedule", Kind.SCHEDULE),
    ("job", Kind.JOB),
    ("environment", Kind.ENVIRONMENT),
    ("connection", Kind.CONNECTION),
    ("compute", Kind.COMPUTE),
    ("^azure(blob|file|datalake)|datastore|onelake", Kind.DATASTORE),
    ("featurestoreentity", Kind.FEATURE_STORE_ENTITY),
    ("featurestore", Kind.FEATURE_STORE),
    ("featureset", Kind.FEATURE_SET),
    ("registry", Kind.REGISTRY),
    ("workspace|^hub|^project", Kind.WORKSPACE),
    ("^data", Kind.DATA),
    ("^model", Kind.MODEL),
)
_JOB_TYPES = frozenset({"command", "sweep", "pipeline", "spark", "automl", "parallel", "data_transfer", "import"})
_DATA_TYPES = frozenset({"uri_file", "uri_folder", "mltable"})
_MODEL_TYPES = frozenset({"custom_model", "mlflow_model", "triton_model"})
_COMPUTE_TYPES = frozenset({"amlcompute", "computeinstance", "kubernetes", "virtualmachine", "synapsespark"})
_DATASTORE_TYPES = frozenset({"azure_blob", "azure_file", "azure_data_lake_gen1", "azure_data_lake_gen2", "one_lake"})
_ENVIRONMENT_KEYS = frozenset(
    {"$schema", "name", "version", "description", "tags", "properties", "image", "build", "conda_file", "os_type"}
    | {"inference_config", "datastore"}
)
# Files of other tools that share keys with Azure ML's: GitHub, Azure DevOps, Docker Compose, Kubernetes, conda.
_FOREIGN_KEYS = frozenset({"on", "steps", "stages", "pool", "apiVersion", "channels", "dependencies", "runs", "hosts"})
_SCHEMA_HOSTS = ("azuremlschemas", "azureml/sdk-2-0")
_KEY = re.compile(r"""^["']?([$A-Za-z_][\w$-]*)["']?[ \t]*:(?:[ \t]+(.*?))?[ \t]*$""", re.MULTILINE)
_COMPONENT_ONLY = frozenset({"version", "is_deterministic", "additional_includes"})
_JOB_ONLY = frozenset({"experiment_name", "settings", "compute", "resources", "services", "queue_settings", "limits"})
_INPUTS = re.compile(r"^inputs:.*(\n([ \t#].*)?)*", re.MULTILINE)
# What only a component states of its inputs, and what only a job does: a path, or a plain value instead of a mapping.
_DECLARATION = re.compile(r"(?:^\s+|[{,]\s*)(?:optional|default|enum|min|max):", re.MULTILINE)
_GIVEN = re.compile(r"(?:^\s+|[{,]\s*)(?:path|value):|^  ?(?:  )?\w+:[ \t]+[^\s{#&*]", re.MULTILINE)


def kind_of(text: str) -> Kind | None:
    """Tell an Azure ML file from others by its ``$schema``, else by its top-level keys.

    The text need not be valid YAML: a file is worth a message even when it cannot be read.

    Args:
        text: the file's content.

    Returns:
        The kind; None for a file of something else.
    """
    keys: dict[str, str] = {}
    for match in _KEY.finditer(text):
        keys.setdefault(match[1], (match[2] or "").split(" #")[0].strip("\"' "))
    schema = keys.get("$schema", "")
    if any(host in schema for host in _SCHEMA_HOSTS):
        name = schema.rstrip("/").rpartition("/")[2].partition(".")[0].lower()
        return next((kind for pattern, kind in _BY_SCHEMA if re.search(pattern, name)), None)
    if schema or keys.keys() & _FOREIGN_KEYS:
        return None
    return _by_shape(keys, text)


def _by_shape(keys: dict[str, str], text: str) -> Kind | None:
    kind = keys.get("type", "").lower()
    if kind in _JOB_TYPES:
        body = keys.keys() & {"command", "jobs", "trial", "component", "entry", "task"}
        return _job_or_component(keys, text) if body or kind == "automl" else None
    if "path" in keys and kind in _DATA_TYPES | _MODEL_TYPES:
        return Kind.DATA if kind in _DATA_TYPES else Kind.MODEL
    if kind in _COMPUTE_TYPES and "name" in keys:
        return Kind.COMPUTE
    if kind in _DATASTORE_TYPES:
        return Kind.DATASTORE
    if "trigger" in keys and keys.keys() & {"create_job", "create_monitor"}:
        return Kind.SCHEDULE
    if "endpoint_name" in keys and keys.keys() & {"model", "code_configuration", "component"}:
        batch = keys.keys() & {"mini_batch_size", "compute", "output_action", "max_concurrency_per_instance"}
        return Kind.BATCH_DEPLOYMENT if batch or kind in {"model", "pipeline"} else Kind.ONLINE_DEPLOYMENT
    if "auth_mode" in keys and "name" in keys:
        return Kind.BATCH_ENDPOINT if "defaults" in keys else Kind.ONLINE_ENDPOINT
    if "image" in keys and keys.keys() <= _ENVIRONMENT_KEYS and keys.keys() & {"conda_file", "version"}:
        return Kind.ENVIRONMENT
    if not kind and ("command" in keys and "environment" in keys):
        return _job_or_component(keys, text)
    if not kind and "jobs" in keys and re.search(r"^\s+(component|trial):\s", text, re.MULTILINE):
        return _job_or_component(keys, text)
    return None


def _job_or_component(keys: dict[str, str], text: str) -> Kind:
    if keys.get("type") == "sweep" or keys.keys() & _JOB_ONLY:
        return Kind.JOB
    if keys.keys() & _COMPONENT_ONLY:
        return Kind.COMPONENT
    block = _INPUTS.search(text)
    inputs = block[0] if block else ""
    if _GIVEN.search(inputs):
        return Kind.JOB
    return Kind.COMPONENT if "name" in keys or _DECLARATION.search(inputs) else Kind.JOB


def find(paths: Sequence[Path], exclude: Sequence[str] = ()) -> Iterator[Path]:
    """List the YAML files to look at.

    Args:
        paths: files, taken as they are, and folders, searched.
        exclude: patterns as in ``.gitignore``, relative to each folder.

    Yields:
        Each file once, in order; not those that a ``.gitignore`` leaves out.
    """
    seen: set[Path] = set()
    for path in paths:
        for file in _walk(path, pathspec.GitIgnoreSpec.from_lines(exclude)) if path.is_dir() else [path]:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _walk(top: Path, exclude: pathspec.GitIgnoreSpec) -> Iterator[Path]:
    ignores = _outer_ignores(top.resolve())
    for folder, subfolders, names in os.walk(top):
        here = Path(folder)
        if ".gitignore" in names:
            ignores[here.resolve()] = _ignore_file(here / ".gitignore")

        def left_out(path: Path, suffix: str = "") -> bool:
            absolute = path.resolve()
            if exclude.match_file(path.relative_to(top).as_posix() + suffix):
                return True
            return any(
                spec.match_file(absolute.relative_to(base).as_posix() + suffix)
                for base, spec in ignores.items()
                if absolute.is_relative_to(base)
            )

        subfolders[:] = sorted(
            name for name in subfolders if name not in SKIPPED_FOLDERS and not left_out(here / name, "/")
        )
        for name in sorted(names):
            path = here / name
            if path.suffix in _SUFFIXES and not left_out(path):
                yield path


def _outer_ignores(top: Path) -> dict[Path, pathspec.GitIgnoreSpec]:
    """Read the ``.gitignore`` files above a folder, up to the repository's root."""
    found: dict[Path, pathspec.GitIgnoreSpec] = {}
    chain = [top, *top.parents]
    root = next((folder for folder in chain if (folder / ".git").exists()), None)
    if root is None:
        return found
    for folder in chain[: chain.index(root) + 1]:
        if (folder / ".gitignore").is_file():
            found[folder] = _ignore_file(folder / ".gitignore")
    return found


def _ignore_file(path: Path) -> pathspec.GitIgnoreSpec:
    return pathspec.GitIgnoreSpec.from_lines(path.read_text(encoding="utf-8", errors="replace").splitlines())
