"""What the workspace refuses and how, with the real client in process: one test per row of the table in the docs."""

import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.ai.ml import MLClient, load_component
from azure.ai.ml.entities import (
    AmlCompute,
    CodeConfiguration,
    Data,
    Environment,
    ManagedOnlineEndpoint,
    Model,
    OnlineRequestSettings,
)
from azure.core.exceptions import HttpResponseError
from support import echo_deployment, score, set_traffic

from amlocal.testing import InProcessWorkspace, ProcessKilled, ScoringAnswer, ScoringProcessDied

ROOT = Path(__file__).parents[3]
rule = pytest.mark.rule


@pytest.fixture
def client(in_process_client: MLClient, in_process_workspace: InProcessWorkspace, tmp_path: Path) -> MLClient:
    """A client of a workspace with the endpoint `intent` and the model `m:1`, whose deployments say their names."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "weights").write_text("1")
    in_process_client.models.create_or_update(Model(name="m", path=str(tmp_path / "m"), type="custom_model"))
    in_process_client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="intent")).result()
    in_process_workspace.deployments.answer_with(lambda request: request.deployment)
    return in_process_client


def deploy(client: MLClient, colour: str, model: str = "m:1", **more: Any) -> None:
    client.online_deployments.begin_create_or_update(echo_deployment("intent", colour, model, **more)).result()


@pytest.fixture
def blue(client: MLClient) -> MLClient:
    """The same with the deployment `blue`, which gets no traffic."""
    deploy(client, "blue")
    return client


@contextlib.contextmanager
def refused(status: int, words: str) -> Iterator[None]:
    """Expect a refusal that the client shows with Azure's code and a sentence of ours."""
    shown = rf"(?s)^\((BadRequest|ResourceNotFound|UserError)\) [^\n]*{words}.*Code: "
    with pytest.raises(HttpResponseError, match=shown) as caught:
        yield
    assert caught.value.status_code == status


@rule("Traffic sums to 0 or 100")
def test_sum_of_traffic(blue: MLClient) -> None:
    deploy(blue, "green")
    for traffic in ({"blue": 50}, {"blue": 60, "green": 60}):
        with refused(400, "expected 0 or 100"):
            set_traffic(blue, "intent", **traffic)
    for traffic in ({}, {"blue": 0}, {"blue": 100}, {"blue": 10, "green": 90}):
        set_traffic(blue, "intent", **traffic)


@rule("One mirror, of at most 50 %")
def test_mirrors(blue: MLClient) -> None:
    for colour in ("green", "red"):
        deploy(blue, colour)
    with refused(400, "60 % of traffic is mirrored to green; expected 50 % at most"):
        set_traffic(blue, "intent", {"green": 60}, blue=100)
    with refused(400, "mirrored to 2 deployments .*; expected one at most"):
        set_traffic(blue, "intent", {"green": 10, "red": 10}, blue=100)
    set_traffic(blue, "intent", {"green": 50}, blue=100)


@rule("A deployment gets live or mirrored traffic, not both")
def test_live_or_mirrored(blue: MLClient) -> None:
    with refused(400, "blue gets live and mirrored traffic"):
        set_traffic(blue, "intent", {"blue": 10}, blue=100)


@rule("A pinned request (`azureml-model-deployment`) is not mirrored")
def test_pinned_requests_are_not_mirrored(blue: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    asked: list[str] = []
    in_process_workspace.deployments.answer_with(lambda request: asked.append(request.deployment))
    deploy(blue, "green")
    set_traffic(blue, "intent", {"green": 50}, blue=100)
    for _ in range(20):
        assert score(blue, "intent", "blue").status_code == 200
    assert set(asked) == {"blue"}
    for _ in range(30):
        score(blue, "intent")
    assert set(asked) == {"blue", "green"}


@rule("No delete of a deployment under traffic")
def test_delete_under_traffic(blue: MLClient) -> None:
    set_traffic(blue, "intent", blue=100)
    with refused(400, "Deployment blue gets 100 % of traffic; take that away"):
        blue.online_deployments.begin_delete("blue", "intent")
    set_traffic(blue, "intent", {"blue": 20})
    with refused(400, "Deployment blue gets 20 % of mirrorTraffic"):
        blue.online_deployments.begin_delete("blue", "intent")
    set_traffic(blue, "intent")
    blue.online_deployments.begin_delete("blue", "intent").result()


@rule("Traffic only to provisioned deployments")
def test_traffic_to_what_is_not_there(blue: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    in_process_workspace.deployments.fail_provisioning("green", "no")
    with pytest.raises(HttpResponseError, match="no"):
        deploy(blue, "green")
    for colour in ("green", "red"):
        with refused(400, f"deployment {colour} gets traffic and is not there or not provisioned"):
            set_traffic(blue, "intent", **{colour: 100})


@rule("`2 × max_concurrent_requests_per_instance × instance_count` requests held, then refused")
def test_too_many_requests(client: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    in_process_workspace.deployments.answer_with(lambda _: ScoringAnswer(seconds=0.3))
    deploy(client, "blue")
    set_traffic(client, "intent", blue=100)
    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(answer.status_code for answer in pool.map(lambda _: score(client, "intent"), range(4)))
    assert statuses == [200, 200, 429, 429]


@rule("`request_timeout_ms`: 5 s by default, 180 s at most")
def test_request_timeout(client: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    with refused(400, "request_timeout_ms is 181000; expected 1 to 180000"):
        deploy(client, "blue", request_settings=OnlineRequestSettings(request_timeout_ms=181_000))
    in_process_workspace.deployments.answer_with(lambda _: ScoringAnswer(seconds=5.1))
    deploy(client, "blue")
    set_traffic(client, "intent", blue=100)
    assert score(client, "intent").status_code == 408
    assert "within 5000 ms" in score(client, "intent").json()["error"]["message"]


@rule("`max_queue_wait_ms`, where given")
def test_queue_wait(client: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    in_process_workspace.deployments.answer_with(lambda _: ScoringAnswer(seconds=0.4))
    deploy(client, "blue", request_settings=OnlineRequestSettings(max_queue_wait_ms=50))
    set_traffic(client, "intent", blue=100)
    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(answer.status_code for answer in pool.map(lambda _: score(client, "intent"), range(2)))
    assert statuses == [200, 503]


@rule("Answer of the scoring script other than 200")
def test_failing_script(blue: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    in_process_workspace.deployments.answer_with(lambda _: ScoringAnswer("no such label", status=500))
    set_traffic(blue, "intent", blue=100)
    answer = score(blue, "intent")
    assert (answer.status_code, answer.json()) == (424, "no such label")
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"


@rule("No deployment with traffic")
@rule("Unknown endpoint or pinned deployment")
def test_nobody_to_ask(blue: MLClient) -> None:
    assert score(blue, "intent").json()["error"]["code"] == "NoTraffic"
    assert score(blue, "intent", "green").json()["error"]["code"] == "DeploymentNotFound"
    unknown = blue.online_endpoints.get("intent").scoring_uri.replace("/intent/", "/none/")
    assert [score(blue, "intent").status_code, score(blue, "intent", "green").status_code] == [404, 404]
    assert requests.post(unknown, json={}, timeout=5).status_code == 404


@rule("Scoring process died while answering")
def test_dead_process(blue: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    def die(_: object) -> None:
        raise ScoringProcessDied

    in_process_workspace.deployments.answer_with(die)
    set_traffic(blue, "intent", blue=100)
    assert (score(blue, "intent").status_code, score(blue, "intent").json()["error"]["code"]) == (
        503,
        "ModelUnavailable",
    )


@rule("Body above 10 MiB")
def test_large_body(blue: MLClient) -> None:
    set_traffic(blue, "intent", blue=100)
    assert score(blue, "intent", data=b" " * (10 << 20)).status_code == 200
    assert score(blue, "intent", data=b" " * ((10 << 20) + 1)).status_code == 413


@rule("Endpoint and deployment names: 3 to 32 letters, digits, hyphens")
def test_names_of_endpoints(client: MLClient) -> None:
    endpoint = f"https://management.amlocal.test{client.online_endpoints.get('intent').id}"
    token = client._credential.get_token("https://management.amlocal.test/.default").token
    for name in ("_1", "/deployments/b", "/deployments/1st", "/deployments/blue-", "/deployments/" + "b" * 33):
        answer = requests.put(
            endpoint + name, json={"properties": {}}, headers={"Authorization": f"Bearer {token}"}, timeout=5
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")
        assert "expected 3 to 32 letters, digits and hyphens" in answer.json()["error"]["message"]


@rule("At most 20 deployments of an endpoint, 50 instances of a deployment")
def test_quotas(client: MLClient) -> None:
    with refused(400, "instance_count is 51; expected 50 at most"):
        deploy(client, "colour-0", instance_count=51)
    for number in range(20):
        deploy(client, f"colour-{number}")
    with refused(400, "Endpoint intent has 20 deployments; expected no more"):
        deploy(client, "colour-20")
    deploy(client, "colour-7", instance_count=2)  # an update is none more


@rule("Asset names: letters, digits, `-`, `_`, `.`, up to 255")
def test_names_of_assets(client: MLClient, tmp_path: Path) -> None:
    for name in ("a b", "x" * 256, "-x"):
        with refused(400, "is no name or version; expected letters, digits"):
            client.data.create_or_update(Data(name=name, version="1", path="https://example.org/x", type="uri_file"))


@rule("Unknown asset, endpoint, deployment, datastore, compute")
def test_unknown_things(client: MLClient) -> None:
    for ask, words in (
        (lambda: client.models.get("m", "9"), "model m:9 does not exist"),
        (lambda: client.data.get("d", "1"), "data asset d:1 does not exist"),
        (lambda: client.environments.get("v", "1"), "environment v:1 does not exist"),
        (lambda: client.components.get("c", "1"), "component c:1 does not exist"),
        (lambda: client.online_endpoints.get("none"), "Endpoint none does not exist"),
        (lambda: client.online_deployments.get("none", "intent"), "Deployment none of endpoint intent does not exist"),
        (lambda: client.datastores.get("none"), "datastore none does not exist"),
        (lambda: client.compute.get("none"), "Compute none does not exist"),
    ):
        with refused(404, words):
            ask()


@rule("`modelUri`, `modelType` of a version cannot change; tags and description can")
def test_a_model_version_is_immutable(client: MLClient, tmp_path: Path) -> None:
    found = client.models.get("m", "1")
    found.tags, found.description = {"stage": "live"}, "the first"
    client.models.create_or_update(found)
    assert client.models.get("m", "1").tags == {"stage": "live"}
    with refused(409, "model m:1 exists and its modelType cannot be changed"):
        client.models.create_or_update(Model(name="m", version="1", path=str(tmp_path / "m"), type="mlflow_model"))
    (tmp_path / "m" / "weights").write_text("2")
    with refused(409, "model m:1 exists and its modelUri cannot be changed"):
        client.models.create_or_update(Model(name="m", version="1", path=str(tmp_path / "m"), type="custom_model"))


@rule("`image`, `condaFile`, `build` of an environment version cannot change")
def test_an_environment_version_is_immutable(client: MLClient) -> None:
    client.environments.create_or_update(Environment(name="v", version="1", image="base:1"))
    with refused(409, "environment v:1 exists and its image cannot be changed"):
        client.environments.create_or_update(Environment(name="v", version="1", image="base:2"))


@rule("`dataUri`, `dataType` of data and `componentSpec` of a component cannot change")
def test_data_and_components_are_immutable(client: MLClient, tmp_path: Path) -> None:
    client.data.create_or_update(Data(name="d", version="1", path="https://example.org/x", type="uri_file"))
    with refused(409, "data asset d:1 exists and its dataUri cannot be changed"):
        client.data.create_or_update(Data(name="d", version="1", path="https://example.org/y", type="uri_file"))
    path = tmp_path / "component.yml"
    for command, change in (("one", None), ("two", "component c:1 exists and its componentSpec cannot be changed")):
        path.write_text(f"type: command\nname: c\nversion: '1'\nenvironment: azureml:v:1\ncommand: echo {command}\n")
        if change is None:
            client.components.create_or_update(load_component(path))
        else:
            with refused(409, change):
                client.components.create_or_update(load_component(path))


@rule("Files of models and data in the datastore must be there")
def test_files_must_be_there(client: MLClient) -> None:
    nowhere = "azureml://datastores/workspaceblobstore/paths/no/where"
    with refused(400, f"There are no files at .*{nowhere[10:]}"):
        client.models.create_or_update(Model(name="n", path=nowhere))
    with refused(400, "There are no files at"):
        client.data.create_or_update(Data(name="n", path=nowhere, type="uri_file"))


@rule("`latest` is the version created last that is not archived")
def test_latest(client: MLClient, tmp_path: Path) -> None:
    for version in ("9", "2"):
        client.models.create_or_update(Model(name="m", version=version, path=str(tmp_path / "m"), type="custom_model"))
    assert client.models.get("m", label="latest").version == "2"
    client.models.archive("m", "2")
    assert client.models.get("m", label="latest").version == "9"


@rule("Unknown model, code or environment in a deployment")
def test_unknown_parts_of_a_deployment(client: MLClient) -> None:
    workspace = client.models.get("m", "1").id.partition("/models/")[0]
    code = CodeConfiguration(code=f"{workspace}/codes/c/versions/1", scoring_script="score.py")
    for wrong, words in (
        ({"model": "m:9"}, "model m:9 does not exist"),
        ({"environment": "none:1"}, "environment none:1 does not exist"),
        ({"code_configuration": code}, "code c:1 does not exist"),
    ):
        with refused(404, words):
            deploy(client, "blue", **wrong)
    with refused(404, "Endpoint none does not exist"):
        client.online_deployments.begin_create_or_update(echo_deployment("none", "blue", "m:1"))
    assert list(client.online_deployments.list("intent")) == []


@rule("PUT of an endpoint replaces its traffic, also when none is given")
def test_endpoints_are_put_as_a_whole(blue: MLClient) -> None:
    set_traffic(blue, "intent", blue=100)
    blue.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="intent")).result()
    assert score(blue, "intent").status_code == 404


@rule("A failed update of a deployment leaves the previous processes running, state Failed")
def test_failed_update(blue: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    set_traffic(blue, "intent", blue=100)
    in_process_workspace.deployments.fail_provisioning("blue", "no")
    with pytest.raises(HttpResponseError, match="no"):
        deploy(blue, "blue", environment_variables={"COLOUR": "navy"})
    assert blue.online_deployments.get("blue", "intent").provisioning_state == "Failed"
    assert score(blue, "intent").json() == "blue"


@rule("The size of a cluster cannot change")
def test_size_of_a_cluster(client: MLClient) -> None:
    client.compute.begin_create_or_update(AmlCompute(name="cl", size="Standard_DS3_v2")).result()
    with refused(409, "Compute cl: its size .* cannot be changed"):
        client.compute.begin_create_or_update(AmlCompute(name="cl", size="Standard_NC6")).result()


@rule("Change of something that is being created, updated or deleted")
def test_changes_in_transition(blue: MLClient, in_process_workspace: InProcessWorkspace) -> None:
    in_process_workspace.operations.slow("PUT …/deployments/green", polls=100)
    in_process_workspace.faults.kill("PUT …/deployments/green", lost_answer=True)
    with pytest.raises(ProcessKilled):
        deploy(blue, "green")
    in_process_workspace.faults.clear()
    for change in (
        lambda: deploy(blue, "green"),
        lambda: blue.online_deployments.begin_delete("green", "intent"),
        lambda: blue.online_endpoints.begin_delete("intent"),
    ):
        with refused(409, "green is in state Creating; wait for"):
            change()
    in_process_workspace.operations.slow("DELETE …/deployments/blue", polls=100)
    in_process_workspace.faults.kill("DELETE …/deployments/blue", lost_answer=True)
    with pytest.raises(ProcessKilled):
        blue.online_deployments.begin_delete("blue", "intent")
    in_process_workspace.faults.clear()
    with refused(409, "blue is in state Deleting"):
        deploy(blue, "blue")


def test_every_rule_of_the_docs_has_a_test_and_a_source() -> None:
    section = (ROOT / "docs" / "workspace.md").read_text("utf-8").partition("\n## Rules\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| ")]
    shown: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        shown |= set(re.findall(r"^@(?:pytest\.mark\.)?rule\(\"(.*)\"\)$", path.read_text("utf-8"), re.MULTILINE))
    assert {row[0] for row in rows[1:]} == shown
    assert [row[0] for row in rows if not row[2]] == []
