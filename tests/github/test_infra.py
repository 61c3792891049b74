"""infra.yml, run against a workspace: what is missing is made, what differs is scaled, and again changes nothing."""

from typing import TYPE_CHECKING

import yaml
from github.files import ROOT, steps
from github.runner import Event, Run, Runner

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


def apply(runner: Runner) -> Run:
    return runner.run("infra", Event("workflow_dispatch"))


def test_infrastructure_is_made_kept_and_scaled(runner: Runner) -> None:
    client: MLClient = runner.client
    for name in ("cpu-cluster", "gpu-cluster"):
        client.compute.begin_delete(name).result()

    first = apply(runner)
    assert first.conclusion == "success", first.log
    summary = first.jobs["apply"].summary
    assert "| `computes/gpu-cluster.yml` | made |" in summary
    assert "| `environments/train/environment.yml` | version 1 |" in summary
    assert "| `data/customer_messages.yml` | version 1 made |" in summary
    assert "| `endpoints/text-classifier/endpoint.yml` | made |" in summary
    cluster = client.compute.get("gpu-cluster")
    assert (cluster.size, cluster.max_instances) == ("Standard_NC4as_T4_v3", 2)
    assert cluster.identity.type == "system_assigned"
    assert client.data.get("customer-messages", version="1").type == "uri_folder"
    assert client.online_endpoints.get("messages").auth_mode == "key"
    assert {step.outcome for step in first.jobs["apply"].steps} == {"success"}

    path = runner.repository / "computes" / "gpu-cluster.yml"
    wanted = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**wanted, "max_instances": 3}))
    second = apply(runner)
    assert second.conclusion == "success", second.log
    summary = second.jobs["apply"].summary
    assert "| `computes/cpu-cluster.yml` | unchanged |" in summary
    assert "| `computes/gpu-cluster.yml` | changed: max_instances 3 |" in summary
    assert "| `environments/train/environment.yml` | version 1 |" in summary
    assert "| `data/customer_messages.yml` | version 1 unchanged |" in summary
    assert "| `endpoints/text-classifier/endpoint.yml` | unchanged |" in summary
    assert client.compute.get("gpu-cluster").max_instances == 3

    path.write_text(yaml.safe_dump({**wanted, "size": "Standard_NC24ads_A100_v4"}))
    refused = apply(runner)
    assert refused.conclusion == "failure"
    assert "exists with size Standard_NC4as_T4_v3, and a size cannot be changed" in refused.log


def test_every_step_of_the_workflow_was_run(runner: Runner) -> None:
    assert {name for name, _ in steps(ROOT / ".github" / "workflows" / "infra.yml")} <= runner.performed
