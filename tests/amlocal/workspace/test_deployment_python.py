"""Deployments in environments of their own."""

import asyncio
import os
import signal
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from azure.ai.ml import MLClient
from azure.ai.ml.entities import CodeConfiguration, Environment, ManagedOnlineDeployment, ManagedOnlineEndpoint
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential

from amlocal.cli.main import main
from amlocal.testing import processes_of, running_workspace
from amlocal.workspace import lifecycle
from amlocal.workspace.deployment_python import DeploymentPythons
from amlocal.workspace.errors import ArmError
from amlocal.workspace.layout import Layout
from amlocal.workspace.store import Store

# Stands in for Azure's server, which would have to be downloaded: answers everything with what the script says.
SERVER = """
import importlib.util, json, os, socket, sys


def run():
    spec = importlib.util.spec_from_file_location("entry", sys.argv[2])
    entry = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(entry)
    entry.init()
    listener = socket.socket(fileno=3)
    while True:
        connection, _ = listener.accept()
        connection.recv(65536)
        body = json.dumps(entry.run("")).encode()
        head = f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n"
        connection.sendall(head.encode() + body)
        connection.close()
"""
SCORE = """
import importlib.util, os, sys


def init():
    pass


def run(data):
    known = importlib.util.find_spec("yaml") is not None
    return {"python": sys.executable, "yaml": known, "path": os.environ["PATH"].split(os.pathsep)[0]}
"""


def make_wheel(folder: Path, name: str, files: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wheels to build from, and no index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    package = "azureml_inference_server_http"
    files = {f"{package}/__init__.py": "", f"{package}/amlserver.py": SERVER}
    make_wheel(
        tmp_path / "wheels", package, files | {"gunicorn/__init__.py": "", "gunicorn/config.py": "KNOWN_SETTINGS = []"}
    )


def environment(*packages: str) -> Environment:
    return Environment(image="some/image", conda_file={"dependencies": ["python=3.11", "pip", {"pip": list(packages)}]})


@pytest.fixture
def client(tmp_path: Path, wheels: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[MLClient]:
    """A client of a workspace whose deployments run in environments of their own."""
    home = tmp_path / "home"
    with running_workspace(home) as connection:
        assert main(["--home", str(home), "workspace", "start", "--environment", "isolated"]) == 0
        for name, value in connection.client_environment().items():
            monkeypatch.setenv(name, value)
        client = MLClient(
            DefaultAzureCredential(), connection.subscription_id, connection.resource_group, connection.workspace_name
        )
        client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="own")).result()
        yield client


def test_a_deployment_runs_in_its_own_environment_and_keeps_it(
    client: MLClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, code = tmp_path / "home", tmp_path / "code"
    code.mkdir()
    (code / "score.py").write_text(SCORE)

    def deploy(name: str, of: Environment | None) -> None:
        configuration = CodeConfiguration(code=str(code), scoring_script="score.py")
        client.online_deployments.begin_create_or_update(
            ManagedOnlineDeployment(
                name=name, endpoint_name="own", environment=of, code_configuration=configuration, instance_count=1
            )
        ).result()

    def score() -> Any:
        uri = client.online_endpoints.get("own").scoring_uri
        key = client.online_endpoints.get_keys("own").primary_key
        headers = {"Authorization": f"Bearer {key}", "azureml-model-deployment": "blue"}
        return requests.post(uri, json={}, headers=headers, timeout=20).json()

    with pytest.raises(HttpResponseError, match="The deployment states no environment"):
        deploy("blue", None)
    with pytest.raises(
        HttpResponseError, match=r"environment.yml:5: environment: conda package r-ggplot2 has no wheel"
    ):
        deploy("blue", Environment(image="some/image", conda_file={"dependencies": ["python=3.11", "r-ggplot2"]}))
    assert list(client.online_deployments.list("own")) == []  # refused before anything was made of it

    deploy("blue", environment("azureml-inference-server-http==1.0"))
    answer = score()
    assert Path(answer["python"]).is_relative_to(home / "environments")
    assert answer["path"] == str(Path(answer["python"]).parent)
    assert not answer["yaml"]  # which the workspace's own Python has
    log = client.online_deployments.get_logs("blue", "own", lines=100)
    assert "building it (python 3.11" in log
    assert f"scoring runs in {answer['python']}" in log

    # Neither a crash nor another choice for later ones changes what it runs in.
    assert main(["--home", str(home), "workspace", "start", "--environment", "current"]) == 0
    assert capsys.readouterr().out.endswith("new deployments run in this Python\n")
    daemon = lifecycle.status(home).pid
    assert daemon is not None
    os.kill(daemon, signal.SIGKILL)
    deadline = time.monotonic() + 15
    while processes_of(home):
        assert time.monotonic() < deadline, f"left behind: {processes_of(home)}"
        time.sleep(0.1)
    lifecycle.start(home, allow_egress=False)
    assert score() == answer


def put_environment(layout: Layout, properties: dict[str, Any]) -> None:
    layout.create()
    with closing(Store(layout.database)) as store:
        store.put("environments/scoring/versions", "1", {"properties": properties})


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"image": "some/image"}, "environment scoring is the image some/image without a conda_file, which cannot be"),
        ({"image": "i", "condaFile": "dependencies: [python=3.1]"}, "python ==3.1.* is not on this machine"),
        ({"image": "i", "condaFile": "dependencies: [openssl, r-ggplot2]"}, "conda package r-ggplot2 has no wheel"),
    ],
)
def test_what_cannot_be_built_is_said_beforehand(tmp_path: Path, properties: dict[str, Any], words: str) -> None:
    layout = Layout(tmp_path)
    put_environment(layout, properties)
    with pytest.raises(ArmError) as caught:
        DeploymentPythons(layout).check("azureml:scoring:1")
    assert words in caught.value.message
    assert "environment.yml:" in caught.value.message


@pytest.mark.parametrize("reference", ["azureml:scoring:2", "azureml://registries/azureml/environments/x/versions/1"])
def test_an_environment_that_is_not_here_is_named(tmp_path: Path, reference: str) -> None:
    put_environment(Layout(tmp_path), {"image": "some/image"})
    with pytest.raises(ArmError, match="is not registered in this workspace"):
        DeploymentPythons(Layout(tmp_path)).check(reference)


def test_an_environment_without_the_server_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def build_all(recipes: dict[str, Any], *_: Any) -> dict[str, Any]:
        return {name: SimpleNamespace(site_packages=(tmp_path,), commands=tmp_path / "bin") for name in recipes}

    monkeypatch.setattr("amlocal.run.environments.build.build_all", build_all)
    put_environment(Layout(tmp_path), {"image": "i", "condaFile": "dependencies: [python=3.11]"})
    pythons = DeploymentPythons(Layout(tmp_path))

    def provide() -> Path:
        return asyncio.run(pythons.provide("azureml:scoring:1", "isolated", tmp_path / "log"))

    with pytest.raises(ArmError, match="scoring has no azureml-inference-server-http, which runs scoring scripts here"):
        provide()
    (tmp_path / "azureml_inference_server_http").mkdir()
    assert provide() == tmp_path / "bin" / "python"
