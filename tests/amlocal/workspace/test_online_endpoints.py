"""Online endpoints and deployments with the real client over loopback."""

import json
import os
import re
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import requests
from azure.ai.ml import MLClient
from azure.ai.ml.entities import (
    CodeConfiguration,
    Environment,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    OnlineRequestSettings,
)
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential

from amlocal.testing import processes_of, running_workspace
from amlocal.workspace import lifecycle
from amlocal.workspace.connection import WorkspaceConnection
from amlocal.workspace.layout import Layout
from amlocal.workspace.store import Store

ECHO = Path(__file__).parents[1] / "endpoints" / "fixtures" / "echo"
MODEL = "greeter"


def register(client: MLClient, folder: Path, text: str) -> str:
    """Register a model that holds a greeting; return its version."""
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "greeting.txt").write_text(text)
    return str(
        client.models.create_or_update(Model(name=MODEL, path=str(folder / "model"), type="custom_model")).version
    )


def deployment(endpoint: str, name: str, version: str = "1", **more: object) -> ManagedOnlineDeployment:
    settings: dict[str, object] = {
        "model": f"{MODEL}:{version}",
        "code_configuration": CodeConfiguration(code=str(ECHO), scoring_script="score.py"),
        "environment": Environment(name="scoring", version="1", image="some/image"),
        "instance_type": "Standard_DS3_v2",
        "instance_count": 1,
        "environment_variables": {"COLOUR": name},
    }
    return ManagedOnlineDeployment(name=name, endpoint_name=endpoint, **{**settings, **more})


def deploy(client: MLClient, endpoint: str, name: str, version: str = "1", **more: object) -> None:
    client.online_deployments.begin_create_or_update(deployment(endpoint, name, version, **more)).result()


def set_traffic(client: MLClient, endpoint: str, mirror: dict[str, int] | None = None, **traffic: int) -> None:
    entity = client.online_endpoints.get(endpoint)
    entity.traffic, entity.mirror_traffic = traffic, mirror or {}
    client.online_endpoints.begin_create_or_update(entity).result()


def score(client: MLClient, endpoint: str, headers: dict[str, str] | None = None, **body: object) -> requests.Response:
    entity = client.online_endpoints.get(endpoint)
    key = client.online_endpoints.get_keys(endpoint).primary_key
    return requests.post(
        entity.scoring_uri, json=body, headers={"Authorization": f"Bearer {key}", **(headers or {})}, timeout=20
    )


@pytest.fixture
def endpoint(ml_client: MLClient, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An endpoint without deployments; a model with version 1 is there."""
    name = f"e{abs(hash(request.node.name)) % 10**8}"
    if not list(ml_client.models.list(MODEL)):
        register(ml_client, tmp_path, "hello from 1")
    ml_client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key")).result()
    yield name
    ml_client.online_endpoints.begin_delete(name).result()


def test_blue_green_rollout(ml_client: MLClient, endpoint: str, workspace: WorkspaceConnection, tmp_path: Path) -> None:
    deploy(ml_client, endpoint, "blue")
    found = ml_client.online_deployments.get("blue", endpoint)
    assert (found.provisioning_state, found.model.split("/")[-1], found.instance_count) == ("Succeeded", "1", 1)
    assert score(ml_client, endpoint).status_code == 404  # no traffic yet
    smoke = score(ml_client, endpoint, {"azureml-model-deployment": "blue"}, text="smoke")
    assert smoke.json()["greeting"] == "hello from 1"

    set_traffic(ml_client, endpoint, blue=100)
    (tmp_path / "request.json").write_text(json.dumps({"text": "hi"}))
    answer = json.loads(ml_client.online_endpoints.invoke(endpoint, request_file=str(tmp_path / "request.json")))
    assert (answer["echo"], answer["colour"]) == ({"text": "hi"}, "blue")

    version = register(ml_client, tmp_path, "hello from the next")
    deploy(ml_client, endpoint, "green", version)
    set_traffic(ml_client, endpoint, mirror={"green": 20}, blue=100)
    entity = ml_client.online_endpoints.get(endpoint)
    assert (entity.traffic, entity.mirror_traffic) == ({"blue": 100}, {"green": 20})
    assert {each.name for each in ml_client.online_deployments.list(endpoint)} == {"blue", "green"}
    assert endpoint in [each.name for each in ml_client.online_endpoints.list()]

    statuses, stop = [], threading.Event()

    def load() -> None:
        while not stop.is_set():
            statuses.append(score(ml_client, endpoint, sleep=0.05).status_code)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(load)
        try:
            set_traffic(ml_client, endpoint, blue=50, green=50)
            set_traffic(ml_client, endpoint, green=100)
            ml_client.online_deployments.begin_delete("blue", endpoint).result()
        finally:
            stop.set()
    assert set(statuses) == {200}  # no request noticed
    assert score(ml_client, endpoint).json()["greeting"] == "hello from the next"
    assert [each.name for each in ml_client.online_deployments.list(endpoint)] == ["green"]
    with pytest.raises(ResourceNotFoundError, match=f"Deployment blue of endpoint {endpoint} does not exist"):
        ml_client.online_deployments.get("blue", endpoint)
    assert not any("deployments/" + endpoint + "/blue" in " ".join(p.cmdline()) for p in processes_of(workspace.home))


def test_a_deployment_that_cannot_load_fails_with_its_log(ml_client: MLClient, endpoint: str) -> None:
    with pytest.raises(HttpResponseError, match="the model cannot be loaded, on purpose"):
        deploy(ml_client, endpoint, "blue", environment_variables={"FAIL_INIT": "1"})
    assert ml_client.online_deployments.get("blue", endpoint).provisioning_state == "Failed"
    assert ml_client.online_endpoints.get(endpoint).traffic == {"blue": 0}
    with pytest.raises(HttpResponseError, match="deployment blue gets traffic and is not there or not provisioned"):
        set_traffic(ml_client, endpoint, blue=100)
    pinned = score(ml_client, endpoint, {"azureml-model-deployment": "blue"})
    assert pinned.status_code == 404
    logs = ml_client.online_deployments.get_logs("blue", endpoint, lines=200)
    assert "RuntimeError: the model cannot be loaded, on purpose" in logs
    assert logs.count("ignored on this machine") == 1


def test_a_failed_update_leaves_the_running_one_in_place(ml_client: MLClient, endpoint: str) -> None:
    deploy(ml_client, endpoint, "blue")
    set_traffic(ml_client, endpoint, blue=100)
    with pytest.raises(HttpResponseError, match="on purpose"):
        deploy(ml_client, endpoint, "blue", environment_variables={"FAIL_INIT": "1"})
    assert score(ml_client, endpoint).json()["colour"] == "blue"
    set_traffic(ml_client, endpoint)
    set_traffic(ml_client, endpoint, blue=100)  # it is still what was provisioned last
    deploy(ml_client, endpoint, "blue", environment_variables={"COLOUR": "navy"})
    assert score(ml_client, endpoint).json()["colour"] == "navy"
    assert ml_client.online_deployments.get("blue", endpoint).provisioning_state == "Succeeded"


def test_keys_open_one_endpoint_until_they_are_replaced(ml_client: MLClient, endpoint: str) -> None:
    deploy(ml_client, endpoint, "blue")
    set_traffic(ml_client, endpoint, blue=100)
    uri = ml_client.online_endpoints.get(endpoint).scoring_uri
    keys = ml_client.online_endpoints.get_keys(endpoint)

    def status(key: str) -> int:
        return requests.post(uri, json={}, headers={"Authorization": f"Bearer {key}"}, timeout=10).status_code

    assert requests.post(uri, json={}, timeout=10).status_code == 401
    assert [status(keys.primary_key), status(keys.secondary_key), status("wrong")] == [200, 200, 401]
    ml_client.online_endpoints.begin_regenerate_keys(endpoint, key_type="primary").result()
    assert [status(keys.primary_key), status(keys.secondary_key)] == [401, 200]


def test_too_many_and_too_slow_requests(ml_client: MLClient, endpoint: str, workspace: WorkspaceConnection) -> None:
    settings = OnlineRequestSettings(request_timeout_ms=700, max_concurrent_requests_per_instance=1)
    deploy(ml_client, endpoint, "blue", request_settings=settings)
    set_traffic(ml_client, endpoint, blue=100)
    uri = ml_client.online_endpoints.get(endpoint).scoring_uri
    headers = {"Authorization": f"Bearer {ml_client.online_endpoints.get_keys(endpoint).primary_key}"}

    def status(seconds: float) -> int:
        return requests.post(uri, json={"sleep": seconds}, headers=headers, timeout=10).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(status, [0.3] * 4))
    assert sorted(statuses) == [200, 200, 429, 429]
    assert status(1.5) == 408
    time.sleep(1)
    assert score(ml_client, endpoint, fail=True).status_code == 424

    # The same figures by both ways.
    logs = ml_client.online_deployments.get_logs("blue", endpoint, lines=5)
    assert "requests 6 (2xx 2, 4xx 4); errors 4 (ModelError 1, RequestTimeout 1, TooManyRequests 2)" in logs
    address = workspace.scoring_base_url + "/metrics"
    assert requests.get(address, headers=headers, timeout=10).status_code == 401  # an endpoint's key is not enough
    metrics = requests.get(address, headers={"Authorization": f"Bearer {workspace.key}"}, timeout=10).text
    labels = f'deployment="blue",endpoint="{endpoint}"'
    assert f'amlocal_requests_total{{{labels},status_class="4xx"}} 4.0' in metrics
    assert f'amlocal_request_errors_total{{{labels},reason="TooManyRequests"}} 2.0' in metrics


def test_the_script_sees_azures_variables(ml_client: MLClient, endpoint: str, workspace: WorkspaceConnection) -> None:
    deploy(ml_client, endpoint, "blue", environment_variables={"OWN": "mine", "OMP_NUM_THREADS": "1"})
    set_traffic(ml_client, endpoint, blue=100)
    asked = ["AZUREML_MODEL_DIR", "AML_APP_ROOT", "AZUREML_ENTRY_SCRIPT", "SERVICE_NAME", "SERVICE_VERSION"]
    asked += ["SERVICE_PATH_PREFIX", "AML_APP_INSIGHTS_ENABLED", "OWN", "OMP_NUM_THREADS"]
    seen = score(ml_client, endpoint, environment=asked).json()
    root = workspace.home / "workspace"
    app_root = Path(seen.pop("AML_APP_ROOT"))
    assert app_root.parent == root / "deployments" / endpoint / "blue" / "code"
    assert seen == {
        "AZUREML_MODEL_DIR": str(root / "models" / MODEL / "1"),
        # The server itself makes a whole path of what it is given.
        "AZUREML_ENTRY_SCRIPT": str(app_root / "score.py"),
        "SERVICE_NAME": endpoint,
        "SERVICE_VERSION": "blue",
        "SERVICE_PATH_PREFIX": f"endpoints/{endpoint}",
        "AML_APP_INSIGHTS_ENABLED": "false",
        "OWN": "mine",
        "OMP_NUM_THREADS": "1",
    }


def test_copies_arrive_and_a_slow_mirror_delays_nobody(ml_client: MLClient, endpoint: str) -> None:
    deploy(ml_client, endpoint, "blue")
    deploy(ml_client, endpoint, "green", environment_variables={"SLOW": "0.8"})
    uri = ml_client.online_endpoints.get(endpoint).scoring_uri
    headers = {"Authorization": f"Bearer {ml_client.online_endpoints.get_keys(endpoint).primary_key}"}

    def ask(texts: list[str]) -> list[float]:
        """Return how long each answer took."""
        seconds = []
        for text in texts:
            began = time.perf_counter()
            answer = requests.post(uri, json={"text": text}, headers=headers, timeout=20)
            seconds.append(time.perf_counter() - began)
            assert (answer.status_code, answer.json()["colour"]) == (200, "blue")
        return seconds

    set_traffic(ml_client, endpoint, blue=100)
    without = statistics.median(ask([f"alone {number}" for number in range(40)]))
    set_traffic(ml_client, endpoint, mirror={"green": 50}, blue=100)
    mirrored = statistics.median(ask([f"copied {number}" for number in range(40)]))
    assert mirrored < 2 * without + 0.1 < 0.8  # each copy takes longer than that
    deadline = time.monotonic() + 30
    while "in flight 0" not in (logs := ml_client.online_deployments.get_logs("green", endpoint, lines=1000)):
        assert time.monotonic() < deadline, logs
    copies, failed = (int(count) for count in re.findall(r"mirrored (\d+) \(failed (\d+)\)", logs)[0])
    assert 8 <= copies <= 32  # 20 expected, standard deviation 3
    # It holds two at a time, and one takes 0.8 s: most copies are refused there, and that is counted.
    assert 0 < failed < copies
    arrived = re.findall(r"asked: .*\"text\": \"(\w+)", logs)
    assert arrived == ["copied"] * (copies - failed)
    assert "requests 0; errors 0" in logs
    assert "requests 80 (2xx 80); errors 0" in ml_client.online_deployments.get_logs("blue", endpoint, lines=1)


def test_a_killed_scoring_process_is_503_and_comes_back(
    ml_client: MLClient, endpoint: str, workspace: WorkspaceConnection
) -> None:
    deploy(ml_client, endpoint, "blue", request_settings=OnlineRequestSettings(request_timeout_ms=60_000))
    set_traffic(ml_client, endpoint, blue=100)
    before = score(ml_client, endpoint).json()["pid"]
    master, *_ = [
        process
        for process in processes_of(workspace.home)
        if "scoring_process.py" in " ".join(process.cmdline()) and f"/{endpoint}/" in process.cwd()
    ]
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(score, ml_client, endpoint, None, sleep=15)
        while 'asked: {"sleep": 15}' not in ml_client.online_deployments.get_logs("blue", endpoint, lines=100):
            """It has not reached the process."""
        master.kill()
        answer = held.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "ModelUnavailable")
    after = score(ml_client, endpoint)  # waits for the successor
    assert after.status_code == 200
    assert after.json()["pid"] != before
    logs = ml_client.online_deployments.get_logs("blue", endpoint, lines=100)
    assert "it is started again in 0.5 s" in logs
    assert "errors 1 (ModelUnavailable 1)" in logs
    assert "restarts 1" in logs
    headers = {"Authorization": f"Bearer {workspace.key}"}
    metrics = requests.get(workspace.scoring_base_url + "/metrics", headers=headers, timeout=10).text
    assert f'amlocal_restarts_total{{deployment="blue",endpoint="{endpoint}"}} 1.0' in metrics


def test_deployments_share_one_copy_of_the_model(
    ml_client: MLClient, endpoint: str, workspace: WorkspaceConnection
) -> None:
    deploy(ml_client, endpoint, "blue", instance_count=2)
    deploy(ml_client, endpoint, "green")
    folder = workspace.home / "workspace" / "models" / MODEL / "1"
    assert [path.name for path in folder.iterdir()] == ["model"]
    greeting = folder / "model" / "greeting.txt"
    assert greeting.stat().st_nlink == 2  # the blob itself and this folder
    assert not greeting.stat().st_mode & 0o222


def test_wrong_endpoints_are_refused(ml_client: MLClient) -> None:
    with pytest.raises(HttpResponseError, match="knows only key"):
        ml_client.online_endpoints.begin_create_or_update(
            ManagedOnlineEndpoint(name="aad-endpoint", auth_mode="aad_token")
        ).result()
    with pytest.raises(HttpResponseError, match="deployment blue gets traffic"):
        ml_client.online_endpoints.begin_create_or_update(
            ManagedOnlineEndpoint(name="early-traffic", traffic={"blue": 100})
        ).result()
    with pytest.raises(ResourceNotFoundError):
        ml_client.online_endpoints.get("early-traffic")


def test_what_was_live_survives_restart_and_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    with running_workspace(home) as connection:
        for name, value in connection.client_environment().items():
            monkeypatch.setenv(name, value)
        client = MLClient(
            DefaultAzureCredential(), connection.subscription_id, connection.resource_group, connection.workspace_name
        )
        register(client, tmp_path, "hello again")
        client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="lasting")).result()
        deploy(client, "lasting", "blue")
        set_traffic(client, "lasting", blue=100)
        with pytest.raises(HttpResponseError, match="on purpose"):
            deploy(client, "lasting", "green", environment_variables={"FAIL_INIT": "1"})
        keys = client.online_endpoints.get_keys("lasting")

        client.online_deployments.begin_create_or_update(
            deployment("lasting", "slow", code_configuration=_slow_code(tmp_path))
        )
        client.online_deployments.begin_create_or_update(
            deployment("lasting", "blue", code_configuration=_slow_code(tmp_path), environment_variables={})
        )
        with pytest.raises(ResourceExistsError, match=r"in state (Creating|Updating)"):
            client.online_endpoints.begin_delete("lasting").result()
        daemon = lifecycle.status(home).pid
        assert daemon is not None
        assert len(processes_of(home)) > 3
        with ThreadPoolExecutor(1) as pool:
            headers = {"Authorization": f"Bearer {keys.primary_key}"}
            uri = client.online_endpoints.get("lasting").scoring_uri
            held = pool.submit(requests.post, uri, json={"sleep": 4}, headers=headers, timeout=20)
            time.sleep(0.5)
            os.kill(daemon, signal.SIGKILL)
            with pytest.raises(requests.ConnectionError):  # the router is gone, too
                held.result(timeout=10)
        deadline = time.monotonic() + 15
        while processes_of(home):
            assert time.monotonic() < deadline, f"left behind: {processes_of(home)}"
            time.sleep(0.1)

        assert lifecycle.start(home, allow_egress=False) == connection
        assert client.online_endpoints.get_keys("lasting").primary_key == keys.primary_key
        assert score(client, "lasting").json()["greeting"] == "hello again"
        states = {each.name: each.provisioning_state for each in client.online_deployments.list("lasting")}
        # What blue was before its update is served, and can be given traffic.
        assert states == {"blue": "Failed", "green": "Failed", "slow": "Failed"}
        set_traffic(client, "lasting", blue=100)
        # Read as stored: a busy machine may take longer to restart than the client's pollers try to connect.
        with closing(Store(Layout(home).database)) as store:
            errors = [each.body.get("error", {}).get("message", "") for each in store.members("operations")]
        assert sum("stopped while the operation was running" in error for error in errors) == 2
        assert [each.version for each in client.models.list(MODEL)] == ["1"]

        assert lifecycle.stop(home)
        assert processes_of(home) == []


def _slow_code(tmp_path: Path) -> CodeConfiguration:
    folder = tmp_path / "slow"
    folder.mkdir(exist_ok=True)
    (folder / "score.py").write_text(
        "import time\n\ndef init():\n    time.sleep(60)\n\ndef run(data):\n    return data\n"
    )
    return CodeConfiguration(code=str(folder), scoring_script="score.py")
