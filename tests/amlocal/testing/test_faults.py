"""Faults between the real client and a workspace in this process."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import requests
from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint, Model
from azure.core.exceptions import AzureError, HttpResponseError

from amlocal.testing import Faults, InProcessWorkspace, ProcessKilled


def create(client: MLClient, name: str = "greet") -> ManagedOnlineEndpoint:
    return client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name)).result()


@pytest.fixture
def faults(in_process_workspace: InProcessWorkspace) -> Faults:
    return in_process_workspace.faults


def calls(faults: Faults, pattern: str) -> list[str]:
    return [f"{call} {call.status}" for call in faults.calls if call.matches(pattern)]


def test_every_call_is_recorded_and_spelled_as_a_pattern(in_process_client: MLClient, faults: Faults) -> None:
    create(in_process_client)
    assert calls(faults, "PUT *") == ["PUT …/onlineEndpoints/greet 201"]
    assert calls(faults, "GET …/operations/*")[-1].endswith("200")
    assert calls(faults, "GET identity/*") == ["GET identity/msi/token 200"]
    assert all(call.matches(str(call)) for call in faults.calls)
    faults.forget_calls()
    assert faults.calls == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_client_tries_again_without_waiting(in_process_client: MLClient, faults: Faults, status: int) -> None:
    faults.fail("PUT …/onlineEndpoints/*", status=status, times=2, retry_after=30)
    began = time.perf_counter()
    create(in_process_client)
    assert time.perf_counter() - began < 5
    assert calls(faults, "PUT *") == [f"PUT …/onlineEndpoints/greet {each}" for each in (status, status, 201)]


def test_an_error_that_stays_is_shown_with_its_message(in_process_client: MLClient, faults: Faults) -> None:
    faults.fail("PUT …/onlineEndpoints/*", status=500, times=100)
    with pytest.raises(HttpResponseError, match=r"InternalServerError.*Asked for by the test") as caught:
        create(in_process_client)
    assert caught.value.status_code == 500
    faults.clear()
    create(in_process_client)


@pytest.mark.parametrize("strike", [Faults.reset, Faults.time_out], ids=["reset", "time-out"])
@pytest.mark.parametrize("lost_answer", [False, True], ids=["not-sent", "lost-answer"])
def test_connections_break(
    in_process_client: MLClient, faults: Faults, strike: Callable[..., None], lost_answer: bool
) -> None:
    strike(faults, "PUT …/onlineEndpoints/*", times=100, lost_answer=lost_answer)
    with pytest.raises(AzureError, match=r"reset by peer|timed out"):
        create(in_process_client)
    assert calls(faults, "PUT *")[0] == "PUT …/onlineEndpoints/greet None"
    faults.clear()
    assert [each.name for each in in_process_client.online_endpoints.list()] == ["greet"] * lost_answer


def test_skipped_calls_pass(in_process_client: MLClient, faults: Faults) -> None:
    faults.fail("PUT …/onlineEndpoints/*", status=400, skip=1)
    create(in_process_client)
    with pytest.raises(HttpResponseError):
        create(in_process_client, "other")
    create(in_process_client, "third")


@pytest.mark.parametrize("lost_answer", [False, True])
def test_a_killed_process_calls_no_more(in_process_client: MLClient, faults: Faults, lost_answer: bool) -> None:
    faults.kill("PUT …/onlineEndpoints/*", lost_answer=lost_answer)
    with pytest.raises(ProcessKilled):
        create(in_process_client)
    made = len(faults.calls)
    with pytest.raises(ProcessKilled):
        in_process_client.online_endpoints.get("greet")
    assert len(faults.calls) == made
    faults.clear()
    assert len(list(in_process_client.online_endpoints.list())) == int(lost_answer)


def test_a_kill_between_polls_is_raised_where_the_poller_is_waited_for(
    in_process_client: MLClient, faults: Faults
) -> None:
    faults.kill("GET …/operations/*")
    with pytest.raises(ProcessKilled):
        create(in_process_client)
    faults.clear()
    faults.interrupt("GET …/operations/*")
    with pytest.raises(KeyboardInterrupt):
        create(in_process_client)
    assert in_process_client.online_endpoints.get("greet").name == "greet"  # may clean up


def test_blob_uploads_fail_in_the_words_of_the_blob_service(
    in_process_client: MLClient, faults: Faults, tmp_path: Path
) -> None:
    (tmp_path / "weights").write_bytes(b"1")
    faults.fail("PUT blob/*", status=403, times=100)
    with pytest.raises(AzureError, match="Forbidden"):
        in_process_client.models.create_or_update(Model(name="m", path=str(tmp_path / "weights")))
    faults.clear()
    faults.fail("PUT blob/*", status=503)
    in_process_client.models.create_or_update(Model(name="m", path=str(tmp_path / "weights")))
    in_process_client.models.download("m", "1", download_path=str(tmp_path / "down"))
    assert (tmp_path / "down" / "m" / "weights").read_bytes() == b"1"


def test_slow_operations_end_when_they_were_asked_about(
    in_process_client: MLClient, in_process_workspace: InProcessWorkspace, faults: Faults
) -> None:
    create(in_process_client)
    in_process_workspace.operations.slow("DELETE …/onlineEndpoints/greet", polls=4)
    poller = in_process_client.online_endpoints.begin_delete("greet")
    poller.result()
    assert len(calls(faults, "GET …/operations/*")) >= 5
    assert list(in_process_client.online_endpoints.list()) == []

    create(in_process_client)
    in_process_workspace.operations.slow("DELETE …/onlineEndpoints/greet", polls=3)
    faults.kill("DELETE …/onlineEndpoints/greet", lost_answer=True)
    with pytest.raises(ProcessKilled):
        in_process_client.online_endpoints.begin_delete("greet")
    faults.clear()
    states = [[each.provisioning_state for each in in_process_client.online_endpoints.list()] for _ in range(3)]
    assert states == [["Deleting"]] * 3
    while list(in_process_client.online_endpoints.list()):
        """Nothing holds it any more."""


CLIENTS: dict[str, Callable[[str], int]] = {
    "requests": lambda url: requests.get(url, timeout=5).status_code,
    "httpx": lambda url: httpx.get(url, timeout=5).status_code,
    "httpx, async": lambda url: asyncio.run(_get_async(url)),
    "urllib": lambda url: _get_urllib(url),
}


async def _get_async(url: str) -> int:
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).status_code


def _get_urllib(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code if "error" in json.loads(error.read()) else 0


@pytest.mark.parametrize("client", CLIENTS)
def test_every_http_library_gets_there_and_is_struck(client: str, faults: Faults) -> None:
    get, url = CLIENTS[client], "http://scoring.amlocal.test/endpoints/none/score"
    assert get("https://management.amlocal.test/metadata/endpoints") == 200
    assert get(url) == 404
    faults.fail("GET scoring/*", status=502)
    assert get(url) == 502
    assert [call.status for call in faults.calls if call.matches("GET scoring/*")] == [404, 502]
    faults.reset("GET scoring/*")
    with pytest.raises((requests.ConnectionError, httpx.ReadError, urllib.error.URLError), match="reset by peer"):
        get(url)
    faults.time_out("GET scoring/*")
    with pytest.raises((requests.Timeout, httpx.TimeoutException, urllib.error.URLError), match="timed out"):
        get(url)
    faults.kill("GET scoring/*")
    with pytest.raises(ProcessKilled):
        get(url)
    faults.clear()
    with pytest.raises((requests.ConnectionError, httpx.ReadError, urllib.error.URLError), match=r"example\.org"):
        get("https://example.org/")
