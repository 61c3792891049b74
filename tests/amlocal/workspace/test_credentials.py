"""Tokens and shared access signatures."""

import urllib.parse
from dataclasses import replace
from pathlib import Path

import jwt
import pytest

from amlocal.workspace import credentials
from amlocal.workspace.connection import WorkspaceConnection


def query(key: str = "key", container: str = "data") -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(credentials.issue_sas(key, container)))


def test_a_token_names_its_audience_and_is_valid_for_its_key_only() -> None:
    token, expiry = credentials.issue_token("key", "https://management.amlocal.test/")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["aud"] == "https://management.amlocal.test"
    assert claims["exp"] == expiry
    assert credentials.token_is_valid("key", token)
    assert not credentials.token_is_valid("other", token)
    assert not credentials.token_is_valid("key", token[:-2])
    assert not credentials.token_is_valid("key", "")


def test_an_unsigned_or_expired_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not credentials.token_is_valid("key", jwt.encode({"aud": "x"}, None, algorithm="none"))
    monkeypatch.setattr(credentials, "TOKEN_SECONDS", -10)
    assert not credentials.token_is_valid("key", credentials.issue_token("key", "x")[0])


def test_a_signature_opens_its_container_only() -> None:
    assert credentials.sas_is_valid("key", "data", query())
    assert not credentials.sas_is_valid("key", "other", query())
    assert not credentials.sas_is_valid("other", "data", query())
    assert not credentials.sas_is_valid("key", "data", {})
    assert not credentials.sas_is_valid("key", "data", query() | {"se": "2999-01-01T00:00:00Z"})


def test_an_expired_signature_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "TOKEN_SECONDS", -10)
    assert not credentials.sas_is_valid("key", "data", query())


def test_the_environment_extends_what_is_there() -> None:
    connection = WorkspaceConnection(
        Path("/h"), "s", "g", "w", "http://127.0.0.1:1/mlflow", "http://127.0.0.1:2", "k", "http://p", Path("/ca")
    )
    environment = connection.client_environment({"NO_PROXY": "intranet"})
    assert environment["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    assert credentials.token_is_valid("k", environment["MLFLOW_TRACKING_TOKEN"])
    assert "k" not in repr(replace(connection, key="secret")).split("key=")[-1:]
    assert "secret" not in repr(replace(connection, key="secret"))
