"""azure-ai-ml as the oracle: it and our reader take the same meaning from every job at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amlocal.errors import AmlocalError
from amlocal.reader.azure import load_with_azure, validate
from amlocal.reader.job import read_job
from amlocal.reader.model import CommandComponent, CommandNode, ExpressionBinding, Job, LiteralBinding, PathBinding

ROOT = Path(__file__).parents[3]
LIBRARY = sorted((ROOT / "tests" / "amlocal" / "fixtures" / "jobs").glob("*/job.yml"))
PIPELINES = sorted((ROOT / "pipelines").glob("*.yml"))
ALL = [*LIBRARY, *PIPELINES]


def names(path: Path) -> str:
    return path.parent.name if path.name == "job.yml" else path.stem


def our_binding(binding: object) -> str:
    if isinstance(binding, LiteralBinding):
        return str(binding.value)
    if isinstance(binding, PathBinding):
        return str(binding.path)
    assert isinstance(binding, ExpressionBinding)
    return binding.template.text


def azure_binding(value: Any, base: Path) -> str:
    value = getattr(value, "_data", value)
    path = getattr(value, "path", value)
    if path is not value and not str(path).startswith("${{"):
        return str((base / str(path)).resolve())
    return str(path)


def our_distribution(component: CommandComponent) -> dict[str, str]:
    spec = component.distribution
    counts = {"instance_count": component.instance_count}
    if spec is not None:
        names = ("process_count_per_instance", "worker_count", "parameter_server_count")
        counts |= {name: getattr(spec, name) for name in names}
    values = {name: count.value for name, count in counts.items() if count is not None}
    values = {name: str(getattr(value, "text", value)) for name, value in values.items()}
    return values if spec is None else {"type": spec.type, **values}


def azure_distribution(node: Any) -> dict[str, str]:
    stated = {} if node.distribution is None else vars(node.distribution)
    if node.resources is not None:
        stated = {**stated, "instance_count": node.resources.instance_count}
    return {name: str(value) for name, value in stated.items() if value}


def our_graph(job: Job) -> dict[str, Any]:
    nodes = {}
    for name, node in job.graph.nodes.items():
        nodes[name] = {
            "inputs": {key: our_binding(value) for key, value in node.inputs.items()},
            "outputs": {key: value.target.text for key, value in node.outputs.items() if value.target},
            "declared inputs": {
                key: (spec.type, spec.optional, None if spec.default is None else str(spec.default))
                for key, spec in node.component.inputs.items()
                if spec.type is not None
            },
            "declared outputs": {key: spec.type for key, spec in node.component.outputs.items()},
        }
        if isinstance(node, CommandNode):
            nodes[name]["command"] = node.component.command.text
            nodes[name]["distribution"] = our_distribution(node.component)
            if node.sweep:
                limits = node.sweep.limits
                nodes[name]["sweep"] = {
                    "space": {key: value.type for key, value in node.sweep.search_space.items()},
                    "metric": (node.sweep.primary_metric, node.sweep.goal),
                    "sampling": node.sweep.sampling.type,
                    "trials": limits.max_total_trials,
                }
    return nodes


def azure_graph(job: Any, base: Path) -> dict[str, Any]:
    nodes = {}
    for name, node in job.jobs.items():
        component = node.trial if node.type == "sweep" else node.component
        found: dict[str, Any] = {
            "inputs": {
                key: azure_binding(value, base) for key, value in node.inputs.items() if value._data is not None
            },
            "outputs": {
                key: path
                for key, value in node.outputs.items()
                if (path := str(getattr(value._data, "path", value._data))).startswith("${{")
            },
            "declared inputs": {
                key: (value.type, bool(value.optional), None if value.default is None else str(value.default))
                for key, value in component.inputs.items()
            },
            # Ours knows this one of every node, whether it is mentioned or not.
            "declared outputs": {key: value.type for key, value in component.outputs.items() if key != "artifacts"},
        }
        if node.type != "pipeline":
            found["command"] = component.command
            found["distribution"] = azure_distribution(component if node.type == "sweep" else node)
        if node.type == "sweep":
            found["sweep"] = {
                "space": {key: value.type for key, value in node.search_space.items()},
                "metric": (node.objective.primary_metric, node.objective.goal),
                "sampling": getattr(node.sampling_algorithm, "type", node.sampling_algorithm),
                "trials": node.limits.max_total_trials,
            }
        nodes[name] = found
    return nodes


@pytest.mark.parametrize("path", ALL, ids=names)
def test_azure_reads_the_same_graph(path):
    ours, theirs = read_job(path), load_with_azure(path)

    assert ours.kind == theirs.type
    if ours.kind != "pipeline":
        node = next(iter(ours.graph.nodes.values()))
        trial = theirs.trial if ours.kind == "sweep" else theirs
        assert node.component.command.text == trial.command
        assert set(node.inputs) == set(theirs.inputs)
        assert set(node.component.outputs) == set(theirs.outputs)
        return
    declared = theirs.component if theirs.component is not None and not theirs.jobs else theirs
    our_nodes, their_nodes = our_graph(ours), azure_graph(declared, path.parent)
    for name, node in ours.graph.nodes.items():
        if node.component.place.file == node.place.file:
            # For a command written into its node azure-ai-ml makes the values given into declared defaults.
            del our_nodes[name]["declared inputs"], their_nodes[name]["declared inputs"]
    assert our_nodes == their_nodes
    assert set(ours.graph.outputs) == set(theirs.outputs)


@pytest.mark.parametrize("path", ALL, ids=names)
def test_azure_accepts_it(path):
    validate(path)


def test_overrides_mean_the_same(tmp_path):
    path = next(path for path in LIBRARY if names(path) == "literals")
    overrides = ["inputs.integer=4", "jobs.show.inputs.text=other"]

    ours, theirs = read_job(path, overrides), load_with_azure(path, overrides)

    assert our_graph(ours)["show"]["inputs"] == azure_graph(theirs, path.parent)["show"]["inputs"]
    assert our_binding(ours.inputs["integer"]) == str(theirs.inputs.integer._data) == "4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type: pipeline\njobs:\n  a:\n    type: command\n    component: ./none.yml\n", "none.yml"),
        ("type: command\ncommand: echo\n", "environment"),
        ("type: pipelines\n", "pipelines"),
    ],
)
def test_its_errors_are_unwrapped(tmp_path, text, message):
    path = tmp_path / "job.yml"
    path.write_text(text)

    with pytest.raises(AmlocalError) as caught:
        validate(path)

    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: azure-ai-ml: ")
    assert "──" not in str(caught.value)
    assert len(str(caught.value)) < 1700
