"""Commands and components, besides the script."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from amlocal.lint.rule import Document
from amlocal.lint.rules.document import child
from amlocal.lint.script.shell import unclosed_quote
from amlocal.reader.model import CommandNode, Graph
from amlocal.reader.search import Distribution
from amlocal.reader.source import Problem, line_of, plain

# azure-ai-ml's PythonFuncNameStr, which ``az ml component create`` holds names to.
_COMPONENT_NAME = re.compile(r"[a-z][a-z\d_]*")
# Azure's rule for job names; dots are let through, as the service has taken them in experiment names.
_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}|\$\{\{name\}\}")

# What no shell takes for a variable, as the dot is no part of a name; and what another template language would fill in.
_NAMED = r"\s*((?:parent\.)?(?:inputs|outputs|search_space)\.\w+)\s*"
_BAD_VARIABLE = re.compile(rf"(?<![\w$\\])\$\{{{_NAMED}\}}")
_BARE_BRACES = re.compile(rf"(?<![\w$\\{{])\{{\{{{_NAMED}\}}\}}")
# exp(34.5) is 1e15: no hyperparameter is that large.
_LARGEST_LOGARITHM = math.log(1e15)


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


def almost_expression(node: CommandNode) -> Iterator[Problem]:
    """``${inputs.x}`` is no expression, and no shell takes it for a variable; ``{{inputs.x}}`` stays as it is."""
    component = node.component
    literal = "".join(part if isinstance(part, str) else " " for part in component.command.parts)
    if "<<" in literal or "'" in literal:
        return
    for pattern in (_BAD_VARIABLE, _BARE_BRACES):
        for match in pattern.finditer(literal):
            message = f"{match[0]!r} is no expression and stays as it is; write ${{{{{match[1]}}}}}"
            place = line_of(component.command_place, re.compile(re.escape(match[0])))
            yield Problem(place, "expression", message, pattern is _BARE_BRACES)


def unclosed_quotes(node: CommandNode) -> Iterator[Problem]:
    """A quote that is opened in a command is closed in it."""
    component = node.component
    if component.parallel is None and unclosed_quote(component.command):
        yield Problem(component.command_place, "unclosed-quote", "the command has a quote that is never closed")


def swept_inputs(graph: Graph) -> Iterator[Problem]:
    """A hyperparameter of a sweep in a pipeline gets its value from the search space alone."""
    for node in graph.nodes.values():
        if not isinstance(node, CommandNode) or node.sweep is None:
            continue
        for name, given in node.inputs.items():
            if name in node.sweep.search_space:
                message = f"{name!r} gets its values from the search_space; take it out of inputs"
                yield Problem(given.place, "search-space", message, True)


def exponents(node: CommandNode) -> Iterator[Problem]:
    """Bounds of loguniform and qloguniform are exponents, not the values themselves."""
    space = node.sweep.search_space if node.sweep else {}
    for name, distribution in space.items():
        if node.sweep is not None and distribution.type in {"loguniform", "qloguniform"}:
            base = node.sweep.sampling.logbase or math.e
            low, high = distribution.minimum, distribution.maximum
            too_large = high * math.log(base) > _LARGEST_LOGARITHM
            if too_large or _looks_like_values(distribution):
                shown = "e" if node.sweep.sampling.logbase is None else f"{base:g}"
                values = f"{shown}^{low:g} … {shown}^{high:g}"
                message = f"{name!r}: bounds of {distribution.type} are exponents; values are {values}"
                yield Problem(distribution.place, "search-space", message, True)


def _looks_like_values(distribution: Distribution) -> bool:
    """Tell whether bounds that span decades below 1 would, as exponents, give nearly one value."""
    low, high = distribution.minimum, distribution.maximum
    return 0 < low <= 0.01 and 10 * low <= high <= 1


def trial_timeout(node: CommandNode) -> Iterator[Problem]:
    """A trial ends before the sweep does."""
    limits = node.sweep.limits if node.sweep else None
    if node.sweep is None or limits is None or limits.timeout is None or limits.trial_timeout is None:
        return
    if limits.trial_timeout > limits.timeout:
        message = f"trial_timeout {limits.trial_timeout} is above timeout {limits.timeout}, which ends all trials"
        yield Problem(line_of(node.sweep.place, re.compile(r"\btrial_timeout\W*:")), "limits", message, True)


def schema_of_type(document: Document) -> Iterator[Problem]:
    """The ``$schema`` of a job is that of its type."""
    schema, kind = child(document.root, "$schema"), child(document.root, "type")
    named = None if schema is None else re.search(r"/(command|sweep|pipeline)Job\.schema\.json$", str(schema.value))
    if schema is None or named is None:
        return
    stated = "pipeline" if kind is None and child(document.root, "jobs") is not None else None
    stated = stated if kind is None else str(kind.value)
    if stated in {"command", "sweep", "pipeline"} and stated != named[1]:
        message = f"the $schema is of a {named[1]} job, and the job is a {stated}: write {stated}Job.schema.json"
        yield Problem(schema.place, "schema", message, True)


def component_name(document: Document) -> Iterator[Problem]:
    """A component file's name is lower-case letters, digits and underscores."""
    name = child(document.root, "name")
    if name is None:
        message = "there is no name; a pipeline that names this file takes it, registering it needs one"
        yield Problem(document.root.place, "component-name", message, True)
    elif isinstance(name.value, str) and not _COMPONENT_NAME.fullmatch(name.value):
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
