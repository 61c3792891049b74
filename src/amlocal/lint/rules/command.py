"""Commands and components, besides the script."""

from __future__ import annotations

import re
from collections.abc import Iterator

from amlocal.lint.rule import Document
from amlocal.lint.rules.document import child
from amlocal.reader.model import CommandNode
from amlocal.reader.source import Problem, plain

# azure-ai-ml's PythonFuncNameStr, which ``az ml component create`` holds names to.
_COMPONENT_NAME = re.compile(r"[a-z][a-z\d_]*")
# Azure's rule for job names; dots are let through, as the service has taken them in experiment names.
_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}|\$\{\{name\}\}")


def missing_environment(node: CommandNode) -> Iterator[Problem]:
    """A command runs in an environment."""
    component = node.component
    if component.readable and component.environment is None:
        yield Problem(component.place, "missing-environment", f"{component.name} states no environment to run in")


def fractional_hyperparameter(node: CommandNode) -> Iterator[Problem]:
    """A hyperparameter that is an integer of the trial takes whole numbers; Azure ML hands the script fractions too."""
    space = node.sweep.search_space if node.sweep else {}
    for name, distribution in space.items():
        spec = node.component.inputs.get(name)
        if spec is not None and spec.type == "integer" and not distribution.whole:
            message = f"{name!r} is an integer of the trial; {distribution.type} gives fractions, which the script gets"
            yield Problem(distribution.place, "fractional-hyperparameter", message, True)


def component_name(document: Document) -> Iterator[Problem]:
    """A component file's name is lower-case letters, digits and underscores."""
    name = child(document.root, "name")
    if name is not None and isinstance(name.value, str) and not _COMPONENT_NAME.fullmatch(name.value):
        message = f"component name {name.value!r}: to register it, use lower-case letters, digits and underscores"
        yield Problem(name.place, "component-name", message, True)


def job_name(document: Document) -> Iterator[Problem]:
    """Names of jobs and experiments are letters, digits, dashes and underscores, at most 255 of them."""
    for key in ("name", "experiment_name"):
        node = child(document.root, key)
        if node is not None and isinstance(node.value, str) and not _JOB_NAME.fullmatch(node.value):
            message = f"{key} {node.value!r}: expected at most 255 letters, digits, dashes and underscores"
            yield Problem(node.place, "job-name", message, True)


def missing_compute(document: Document) -> Iterator[Problem]:
    """Every node of a pipeline has a compute, of its own or by default."""
    root = document.root
    jobs = child(root, "jobs")
    defaults = (("compute",), ("settings", "default_compute"), ("settings", "default_compute_target"))
    if jobs is None or not isinstance(jobs.value, dict) or any(child(root, *keys) is not None for keys in defaults):
        return
    for name, node in jobs.value.items():
        kind = child(node, "type")
        if not isinstance(node.value, dict) or (kind is not None and plain(kind) not in {"command", "sweep"}):
            continue
        resources = child(node, "resources", "instance_type")
        if child(node, "compute") is None and resources is None:
            message = f"node {name!r} has no compute, and there is no settings.default_compute"
            yield Problem(node.place, "missing-compute", message, True)
