"""Faults between the real client and a workspace of its own processes."""

from collections.abc import Callable

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint
from azure.core.exceptions import AzureError, ResourceNotFoundError

from amlocal.testing import Faults, ProcessKilled
from amlocal.workspace.connection import WorkspaceConnection


def create(client: MLClient, name: str) -> None:
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name)).result()


def test_calls_are_recorded_and_struck(ml_client: MLClient, client_faults: Faults) -> None:
    client_faults.fail("PUT …/onlineEndpoints/*", status=503, times=2)
    create(ml_client, "struck")
    statuses = [call.status for call in client_faults.calls if call.matches("PUT …/onlineEndpoints/struck")]
    assert statuses == [503, 503, 201]
    client_faults.kill("GET …/operations/*")
    with pytest.raises(ProcessKilled):
        ml_client.online_endpoints.begin_delete("struck").result()
    client_faults.clear()
    ml_client.online_endpoints.begin_delete("struck").result()


@pytest.mark.parametrize("strike", [Faults.reset, Faults.time_out], ids=["reset", "time-out"])
@pytest.mark.parametrize("lost_answer", [False, True], ids=["not-sent", "lost-answer"])
def test_lost_answers_were_done(
    ml_client: MLClient, client_faults: Faults, strike: Callable[..., None], lost_answer: bool
) -> None:
    strike(client_faults, "PUT …/onlineEndpoints/*", times=100, lost_answer=lost_answer)
    with pytest.raises(AzureError):
        create(ml_client, "lost-one")
    client_faults.clear()
    if lost_answer:
        ml_client.online_endpoints.begin_delete("lost-one").result()
    with pytest.raises(ResourceNotFoundError):
        ml_client.online_endpoints.get("lost-one")


def test_the_router_is_within_reach(workspace: WorkspaceConnection, client_faults: Faults) -> None:
    client_faults.reset("POST scoring/endpoints/none/score")
    with pytest.raises(httpx.ReadError):
        httpx.post(f"{workspace.scoring_base_url}/endpoints/none/score")
    assert httpx.post(f"{workspace.scoring_base_url}/endpoints/none/score").status_code == 404
