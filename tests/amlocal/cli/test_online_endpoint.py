import uuid
from pathlib import Path

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint

from amlocal.cli.main import main
from amlocal.workspace.connection import WorkspaceConnection


def test_get_credentials_prints_the_key_and_nothing_else(
    workspace: WorkspaceConnection, ml_client: MLClient, capsys: pytest.CaptureFixture
) -> None:
    name = f"e-{uuid.uuid4().hex[:8]}"
    ml_client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key")).result()
    key = ml_client.online_endpoints.get_keys(name).primary_key
    capsys.readouterr()
    assert main(["--home", str(workspace.home), "online-endpoint", "get-credentials", "--name", name]) == 0
    assert capsys.readouterr().out == f"{key}\n"
    ml_client.online_endpoints.begin_delete(name).result()


def test_an_unknown_endpoint_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["--home", str(tmp_path), "online-endpoint", "get-credentials", "--name", "none"]) == 1
    assert "there is no online endpoint 'none'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
