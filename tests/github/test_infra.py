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
    cluster = client.compute.get("gpu-cluster")
    principal = cluster.identity.principal_id
    unfinished = f"made; its new identity {principal} has no role yet: run step 2 of docs/azure.md"
    assert f"| `computes/gpu-cluster.yml` | {unfinished} |" in summary
    assert f"::warning::compute gpu-cluster is new, and its identity {principal} has no role" in first.log
    assert "| `environments/train/environment.yml` | version 1 |" in summary
    assert "| `data/customer_messages.yml` | version 1 made |" in summary
    assert "| `endpoints/text-classifier/endpoint.yml` | made |" in summary
    assert (cluster.size, cluster.max_instances) == ("Standard_NC4as_T4_v3", 2)
    assert cluster.identity.type == "system_assigned"
    data = client.data.get("customer-messages", version="1")
    assert data.type == "uri_folder"
    assert len(data.tags["content_sha256"]) == 64
    assert client.online_endpoints.get("messages").auth_mode == "key"
    assert {step.outcome for step in first.jobs["apply"].steps} == {"success"}

    path = runner.repository / "computes" / "gpu-cluster.yml"
    wanted = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**wanted, "max_instances": 3}))
    second = apply(runner)
    assert second.conclusion == "success", second.log
    assert "::warning::" not in second.log
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
    path.write_text(yaml.safe_dump(wanted))


def test_data_that_changed_under_its_version_is_refused(runner: Runner) -> None:
    client: MLClient = runner.client
    assert apply(runner).conclusion == "success"
    rows = runner.repository / "data" / "customer_messages" / "train.csv"
    before = rows.read_text()
    rows.write_text(before + "One more message,billing,web\n")
    refused = apply(runner)
    assert refused.conclusion == "failure"
    assert "version 1 of customer-messages was made of other files" in refused.log
    assert "raise `version` in data/customer_messages.yml" in refused.log

    definition = runner.repository / "data" / "customer_messages.yml"
    definition.write_text(definition.read_text().replace('version: "1"', 'version: "2"'))
    raised = apply(runner)
    assert raised.conclusion == "success", raised.log
    assert "| `data/customer_messages.yml` | version 2 made |" in raised.jobs["apply"].summary
    one, two = (client.data.get("customer-messages", version=version).tags["content_sha256"] for version in "12")
    assert one != two


def test_data_of_unknown_content_is_named(runner: Runner) -> None:
    from azure.ai.ml.entities import Data

    client: MLClient = runner.client
    definition = runner.repository / "data" / "customer_messages.yml"
    folder = str(runner.repository / "data" / "customer_messages")
    client.data.create_or_update(Data(name="customer-messages", version="3", type="uri_folder", path=folder))
    definition.write_text(definition.read_text().replace('version: "2"', 'version: "3"'))
    run = apply(runner)
    assert run.conclusion == "success", run.log
    assert "version 3 is there; its content is not known" in run.jobs["apply"].summary
    assert "::warning::data/customer_messages.yml: version 3 of customer-messages is there without a tag" in run.log


def test_a_cluster_without_its_identity_is_refused(runner: Runner) -> None:
    from azure.ai.ml.entities import AmlCompute

    client: MLClient = runner.client
    wanted = yaml.safe_load((runner.repository / "computes" / "gpu-cluster.yml").read_text())
    client.compute.begin_delete("gpu-cluster").result()
    bare = AmlCompute(name="gpu-cluster", size=wanted["size"], min_instances=0, max_instances=2)
    client.compute.begin_create_or_update(bare).result()
    run = apply(runner)
    client.compute.begin_delete("gpu-cluster").result()
    assert run.conclusion == "failure"
    assert "compute gpu-cluster exists without an identity" in run.log


def test_an_endpoint_that_differs_is_named_and_stays(runner: Runner) -> None:
    path = runner.repository / "endpoints" / "text-classifier" / "endpoint.yml"
    before = path.read_text()
    path.write_text(before.replace("auth_mode: key", "auth_mode: aml_token"))
    run = apply(runner)
    path.write_text(before)
    assert run.conclusion == "success", run.log
    assert "| is there with auth_mode key, not aml_token |" in run.jobs["apply"].summary
    assert runner.client.online_endpoints.get("messages").auth_mode == "key"


def test_every_step_of_the_workflow_was_run(runner: Runner) -> None:
    assert {name for name, _ in steps(ROOT / ".github" / "workflows" / "infra.yml")} <= runner.performed
