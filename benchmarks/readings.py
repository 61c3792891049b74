"""What a job file says, as nested text: once by our reader, once by azure-ai-ml. Equal readings compare equal.

Left out on purpose, because azure-ai-ml does not keep it: for a command written into its node, what the inputs declare
(it makes the values given into declared defaults); undeclared inputs that a node gives (it drops them); ``artifacts``
(ours knows it of every node). Old type names compare as what they mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amlocal.reader.model import (
    ARTIFACTS,
    Binding,
    CommandComponent,
    CommandNode,
    Environment,
    ExpressionBinding,
    Graph,
    InputSpec,
    Job,
    LiteralBinding,
    ParallelSpec,
    PathBinding,
    PipelineNode,
    UnresolvedNode,
    UrlBinding,
)
from amlocal.reader.parallel import parse_size
from amlocal.reader.search import SweepSpec

Reading = dict[str, Any]

_COUNTS = ("process_count_per_instance", "worker_count", "parameter_server_count")
_KINDS = ("automl", "command", "pipeline", "sweep")
_MINI_BATCHES = ("mini_batch_error_threshold", "error_threshold", "max_concurrency_per_instance", "mini_batch_size")
_BOUNDS = {"min_value": "minimum", "max_value": "maximum"}
_ELSEWHERE = "not on this machine"


def ours(job: Job) -> Reading:
    """Give our reading of a job."""
    settings = {
        "continue_on_step_failure": job.settings.continue_on_step_failure,
        "force_rerun": job.settings.force_rerun,
    }
    if job.kind not in _KINDS:
        return {"kind": job.kind}
    if job.kind != "pipeline":
        (node,) = job.graph.nodes.values()
        if isinstance(node, CommandNode) and node.automl:
            return {"kind": job.kind, "automl": _automl(node)}
        reading: Reading = {"kind": job.kind, "inputs": _given(node.inputs), "outputs": sorted(job.graph.outputs)}
        if isinstance(node, CommandNode):
            reading["command"] = _command(node.component)
            reading["sweep"] = _sweep(node.sweep)
        return reading
    # azure-ai-ml puts the defaults of the component that a job names into the job's inputs.
    defaults = {
        name: _plain(spec.default)
        for name, spec in job.graph.inputs.items()
        if spec.default is not None and spec.place.file != job.file
    }
    return {
        "kind": job.kind,
        "inputs": {**defaults, **_given(job.inputs)},
        "outputs": sorted(job.graph.outputs),
        "settings": settings,
        "nodes": _nodes(job.graph),
    }


def _given(bindings: Mapping[str, Binding]) -> dict[str, str]:
    return {name: _binding(binding) for name, binding in bindings.items()}


def _binding(binding: Binding) -> str:
    if isinstance(binding, LiteralBinding):
        return _plain(binding.value)
    if isinstance(binding, PathBinding):
        return str(binding.path)
    if isinstance(binding, UrlBinding):
        return binding.url
    if isinstance(binding, ExpressionBinding):
        return binding.template.text.strip()
    return _ELSEWHERE


def _nodes(graph: Graph) -> dict[str, Reading]:
    return {name: _node(node) for name, node in graph.nodes.items()}


def _node(node: CommandNode | PipelineNode | UnresolvedNode) -> Reading:
    if isinstance(node, UnresolvedNode):
        return {"component": _ELSEWHERE}
    if isinstance(node, CommandNode) and node.automl:
        return {"automl": _automl(node)}
    component = node.component
    reading: Reading = {
        "inputs": {name: value for name, value in _given(node.inputs).items() if name in component.inputs},
        "outputs": {name: output.target.text for name, output in node.outputs.items() if output.target},
        "declared outputs": {name: spec.type for name, spec in component.outputs.items()},
    }
    if component.place.file != node.place.file:
        reading["declared inputs"] = {name: _spec(spec) for name, spec in component.inputs.items()}
    if isinstance(node, PipelineNode):
        return {**reading, "nodes": _nodes(node.component)}
    if node.component.parallel is not None:
        return {**reading, "parallel": _parallel(node.component, node.component.parallel)}
    return {**reading, "command": _command(node.component), "sweep": _sweep(node.sweep)}


def _automl(node: CommandNode) -> Reading:
    limits = node.sweep.limits if node.sweep else None
    return {
        "inputs": _given(node.inputs),
        "outputs": {name: output.target.text for name, output in node.outputs.items() if output.target},
        "limits": limits and (limits.max_total_trials, limits.max_concurrent_trials, limits.timeout),
        "trial timeout": limits and limits.trial_timeout,
    }


def _spec(spec: InputSpec) -> Reading:
    return {
        "type": spec.type,
        "optional": spec.optional,
        "default": _plain(spec.default),
        "min": _plain(spec.minimum),
        "max": _plain(spec.maximum),
        "enum": list(spec.enum),
    }


def _command(component: CommandComponent) -> Reading:
    spec = component.distribution
    counts = {name: getattr(spec, name) for name in _COUNTS} if spec else {}
    return {
        "command": component.command.text.strip(),
        "variables": {name: template.text for name, template in component.environment_variables.items()},
        "timeout": None if component.timeout is None else _plain(component.timeout.value),
        "instances": "1" if component.instance_count is None else _setting(component.instance_count.value),
        "distribution": spec and spec.type,
        "processes": {name: _setting(count.value) for name, count in counts.items() if count is not None},
        "code": component.code.root is not None,
        "environment": _environment(component.environment),
    }


def _parallel(component: CommandComponent, spec: ParallelSpec) -> Reading:
    settings = {name: getattr(spec, name) for name in (*_MINI_BATCHES, "max_retries", "timeout")}
    values = {name: _setting(setting.value) for name, setting in settings.items() if setting is not None}
    size = spec.mini_batch_size
    if size is not None and isinstance(size.value, str):
        values["mini_batch_size"] = str(parse_size(size.place, size.value).number)
    return {
        "script": spec.entry_script,
        "arguments": spec.arguments.text.strip(),
        "append": spec.append_row_to.text if spec.append_row_to else None,
        "input": spec.input_data.text,
        "settings": values,
        "level": spec.logging_level,
        "instances": "1" if component.instance_count is None else _setting(component.instance_count.value),
        "variables": {name: template.text for name, template in component.environment_variables.items()},
        "code": component.code.root is not None,
        "environment": _environment(component.environment),
    }


def _environment(environment: Environment | None) -> Any:
    definition = environment and json.loads(environment.definition)
    return _named(definition) if isinstance(definition, str) else definition and definition.get("image")


def _named(environment: str) -> str:
    return environment.removeprefix("azureml:")


def _setting(value: Any) -> str:
    return str(getattr(value, "text", value))


def _sweep(sweep: SweepSpec | None) -> Reading | None:
    if sweep is None:
        return None
    policy = sweep.early_termination
    return {
        "space": {
            name: {
                "type": distribution.type,
                **{ours_: _plain(getattr(distribution, ours_)) for ours_ in _fields(distribution.type)},
            }
            for name, distribution in sweep.search_space.items()
        },
        "objective": (sweep.primary_metric, sweep.goal),
        "sampling": (sweep.sampling.type, sweep.sampling.rule, sweep.sampling.seed, _plain(sweep.sampling.logbase)),
        "policy": policy and (policy.type, policy.evaluation_interval, policy.delay_evaluation),
        "slack": policy and [_plain(value or 0) for value in (policy.slack_factor, policy.slack_amount)],
        "percentage": policy and policy.truncation_percentage,
        "trials": sweep.limits.max_total_trials,
        "times": (sweep.limits.timeout, sweep.limits.trial_timeout),
    }


def _fields(kind: str) -> tuple[str, ...]:
    base = kind.removeprefix("q") if kind.startswith("q") else kind
    known = {"choice": ("values",), "randint": ("upper",), "uniform": ("minimum", "maximum")}
    known |= {"loguniform": known["uniform"], "normal": ("mu", "sigma"), "lognormal": ("mu", "sigma")}
    return (*known[base], "q") if base != kind else known[base]


def _plain(value: Any) -> Any:
    """Write a plain value so that what means the same compares equal: 1e-3 and 0.001, True and "True"."""
    if value is None or isinstance(value, (list, tuple)):
        return None if value is None else [_plain(item) for item in value]
    text = str(value).strip()
    try:
        return repr(float(text))
    except ValueError:
        return text


def azures(job: Any, base: Path) -> Reading:
    """Give azure-ai-ml's reading of a job.

    Args:
        job: what ``load_job`` gave.
        base: the folder of its file.
    """
    if job.type not in _KINDS:
        return {"kind": job.type}
    if job.type == "automl":
        return {"kind": job.type, "automl": _azure_automl(job, base)}
    if job.type != "pipeline":
        component = job.trial if job.type == "sweep" else job
        return {
            "kind": job.type,
            "inputs": _azure_given(job.inputs, base),
            "outputs": sorted(job.outputs),
            "command": _azure_command(component, job, component.environment_variables),
            "sweep": _azure_sweep(job) if job.type == "sweep" else None,
        }
    declared = job.component if job.component is not None and not job.jobs else job
    return {
        "kind": "pipeline",
        "inputs": _azure_given(job.inputs, base),
        "outputs": sorted(job.outputs),
        "settings": {
            "continue_on_step_failure": bool(job.settings and job.settings.continue_on_step_failure),
            "force_rerun": bool(job.settings and job.settings.force_rerun),
        },
        "nodes": _azure_nodes(declared.jobs, Path(getattr(declared, "base_path", None) or base)),
    }


def _azure_given(inputs: Any, base: Path) -> dict[str, str]:
    found = {name: _azure_binding(value, base) for name, value in inputs.items()}
    return {name: value for name, value in found.items() if value is not None}


def _azure_binding(value: Any, base: Path) -> Any:
    value = getattr(value, "_data", value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value.strip() if isinstance(value, str) and "${{" in value else _plain(value)
    path = getattr(value, "path", None)
    if path is None:
        # An input that states a type and a default, or nothing but its type.
        return None
    text = str(path)
    if text.startswith("${{") or "://" in text:
        return text.strip()
    text = text.removeprefix("file:")
    if text.startswith("azureml:") or (":" in text and not (base / text).exists()):
        return _ELSEWHERE
    return str((base / text).resolve())


def _azure_nodes(nodes: Any, base: Path) -> dict[str, Reading]:
    return {name: _azure_node(node, base) for name, node in nodes.items()}


def _azure_node(node: Any, base: Path) -> Reading:
    if node.type == "automl":
        return {"automl": _azure_automl(node, base)}
    component = node.trial if node.type == "sweep" else node.component
    if isinstance(component, str):
        return {"component": _ELSEWHERE}
    outputs = {name: getattr(value._data, "path", value._data) for name, value in node.outputs.items()}
    reading: Reading = {
        "inputs": _azure_given(node.inputs, base),
        "outputs": {name: path for name, path in outputs.items() if isinstance(path, str) and path.startswith("${{")},
        "declared outputs": {
            name: _azure_type(value.type) for name, value in component.outputs.items() if name != ARTIFACTS
        },
    }
    own_file = getattr(component, "_source_path", None)
    if own_file is not None:
        reading["declared inputs"] = {name: _azure_spec(value) for name, value in component.inputs.items()}
    if node.type == "pipeline":
        inner = Path(own_file).parent if own_file else base
        return {**reading, "nodes": _azure_nodes(component.jobs, inner)}
    if node.type == "parallel":
        return {**reading, "parallel": _azure_parallel(node, component)}
    variables = {} if node.type == "sweep" else node.environment_variables
    own = component if node.type == "sweep" else node
    return {
        **reading,
        "command": _azure_command(component, own, variables),
        "sweep": _azure_sweep(node) if node.type == "sweep" else None,
    }


def _azure_automl(job: Any, base: Path) -> Reading:
    """Read an AutoML node or job of texts; the service's defaults are those of its documentation."""
    given = {name: getattr(job, name) for name in ("training_data", "validation_data", "target_column_name")}
    metric = getattr(job.primary_metric, "value", job.primary_metric)
    outputs = {name: getattr(value, "_data", value) for name, value in (job.outputs or {}).items()}
    limits = job.limits
    stated = {name: getattr(limits, name, None) for name in ("max_trials", "max_concurrent_trials", "timeout_minutes")}
    of_a_trial = getattr(limits, "trial_timeout_minutes", None)
    trials, concurrent = stated["max_trials"] or 1, stated["max_concurrent_trials"] or 1
    paths = {name: getattr(value, "path", value) for name, value in outputs.items()}
    return {
        "inputs": {**_azure_given(given, base), "primary_metric": _metric(metric)},
        "outputs": {name: path for name, path in paths.items() if isinstance(path, str) and path.startswith("${{")},
        "limits": (trials, min(concurrent, trials), (stated["timeout_minutes"] or 7 * 24 * 60) * 60),
        "trial timeout": of_a_trial and of_a_trial * 60,
    }


def _metric(name: str) -> str:
    from azure.ai.ml._utils.utils import camel_to_snake

    return camel_to_snake(name)


def _azure_type(stated: str) -> str:
    return "uri_folder" if stated == "path" else stated


def _azure_spec(value: Any) -> Reading:
    return {
        "type": _azure_type(value.type),
        "optional": str(value.optional).lower() == "true",
        "default": _plain(value.default),
        "min": _plain(value.min),
        "max": _plain(value.max),
        "enum": [str(item) for item in value.enum or ()],
    }


def _azure_command(component: Any, node: Any, variables: Mapping[str, Any] | None) -> Reading:
    distribution = getattr(node, "distribution", None) or getattr(component, "distribution", None)
    kind = distribution and str(distribution.type).lower()
    counts = {name: getattr(distribution, name, None) for name in _COUNTS} if distribution else {}
    resources = getattr(node, "resources", None)
    limits = getattr(node, "limits", None)
    return {
        "command": str(component.command).strip(),
        "variables": {name: str(value) for name, value in (variables or {}).items()},
        "timeout": _plain(getattr(limits, "timeout", None)) if not hasattr(limits, "max_total_trials") else None,
        "instances": str(getattr(resources, "instance_count", None) or 1),
        "distribution": kind,
        # Its default of no parameter servers is ours too.
        "processes": {name: str(value) for name, value in counts.items() if value not in (None, 0)},
        "code": component.code is not None,
        "environment": _azure_environment(getattr(node, "environment", None) or component.environment),
    }


def _azure_parallel(node: Any, component: Any) -> Reading:
    task = node.task if isinstance(node.task, dict) else vars(node.task)
    # A node leaves to the service what it does not state itself.
    stated = {name: getattr(node, name) for name in _MINI_BATCHES}
    settings = {name: getattr(component, name) if value is None else value for name, value in stated.items()}
    if settings["mini_batch_size"] == 0:  # so a component says that it states none
        settings["mini_batch_size"] = None
    settings |= vars(node.retry_settings) if node.retry_settings is not None else {}
    variables = node.environment_variables or getattr(component, "environment_variables", None) or {}
    return {
        "script": task.get("entry_script"),
        "arguments": (task.get("program_arguments") or "").strip(),
        "append": task.get("append_row_to"),
        "input": node.input_data,
        "settings": {name: str(value) for name, value in settings.items() if value is not None},
        "level": node.logging_level or component.logging_level or "INFO",
        "instances": str(getattr(node.resources, "instance_count", None) or 1),
        "variables": {name: str(value) for name, value in variables.items()},
        "code": task.get("code") is not None,
        "environment": _azure_environment(task.get("environment")),
    }


def _azure_environment(environment: Any) -> Any:
    return _named(environment) if isinstance(environment, str) else environment and environment.image


def _azure_sweep(node: Any) -> Reading:
    sampling, policy, limits = node.sampling_algorithm, node.early_termination, node.limits
    kind = str(getattr(sampling, "type", sampling)).lower()
    rule = getattr(sampling, "rule", None)
    return {
        "space": {name: _azure_distribution(value) for name, value in node.search_space.items()},
        "objective": (node.objective.primary_metric, str(node.objective.goal).lower()),
        "sampling": (kind, str(rule or "random").lower(), getattr(sampling, "seed", None), _azure_logbase(sampling)),
        "policy": policy and (policy.type, policy.evaluation_interval or 1, policy.delay_evaluation or 0),
        "slack": policy and [_plain(getattr(policy, name, 0) or 0) for name in ("slack_factor", "slack_amount")],
        "percentage": policy and getattr(policy, "truncation_percentage", None),
        "trials": limits.max_total_trials,
        "times": (limits.timeout, limits.trial_timeout),
    }


def _azure_logbase(sampling: Any) -> Any:
    base = getattr(sampling, "logbase", None)
    return None if base == "e" else _plain(base)


def _azure_distribution(value: Any) -> Reading:
    names = {_BOUNDS.get(name, name): name for name in ("values", "upper", *_BOUNDS, "mu", "sigma", "q")}
    kind = str(value.type).lower()
    return {"type": kind, **{name: _plain(getattr(value, names[name])) for name in _fields(kind)}}


def differences(first: Any, second: Any, path: str = "") -> list[str]:
    """Say where two readings differ, ours first; what is not on this machine counts as equal."""
    if first == {"component": _ELSEWHERE}:
        return []
    if isinstance(first, dict) and isinstance(second, dict):
        return [
            line
            for key in {**first, **second}
            for line in differences(first.get(key), second.get(key), f"{path}.{key}" if path else str(key))
        ]
    if first == _ELSEWHERE:
        return []
    return [] if first == second else [f"{path}: ours {first!r}, azure-ai-ml {second!r}"]
