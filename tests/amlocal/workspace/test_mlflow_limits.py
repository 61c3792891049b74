"""What Azure ML's MLflow backend refuses is refused, whole, at the plain address that steps use too."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from amlocal.workspace.connection import WorkspaceConnection
from amlocal.workspace.mlflow_azure import with_azure_addresses, with_limits


class Mlflow:
    """As much of MLflow's server as counts: runs that remember what was logged to them."""

    def __init__(self) -> None:
        self.logged: dict[str, dict[str, set[str]]] = {}
        self.reads = 0
        routes = [
            Route("/api/2.0/mlflow/runs/get", self.get),
            Route("/api/2.0/mlflow/{operation:path}", self.log, methods=["POST"]),
            Route("/ajax-api/2.0/mlflow/logged-models/search", self.log, methods=["POST"]),
        ]
        self.app = with_limits(Starlette(routes=routes))

    async def get(self, request: Request) -> Response:
        self.reads += 1
        run = self.logged.get(request.query_params["run_id"])
        if run is None:
            return JSONResponse({"error_code": "RESOURCE_DOES_NOT_EXIST"}, 404)
        data = {part: [{"key": key} for key in sorted(keys)] for part, keys in run.items()}
        info = {"artifact_uri": "mlflow-artifacts:/3/abc/artifacts"}
        return JSONResponse({"run": {"info": info, "data": data}})

    async def log(self, request: Request) -> Response:
        body = await request.json()
        await asyncio.sleep(0)  # another request may come in between
        run = self.logged.setdefault(str(body.get("run_id")), {"params": set(), "metrics": set(), "tags": set()})
        for part, keys in run.items():
            keys.update(item["key"] for item in body.get(part, ()))
        if "key" in body:
            part = {"parameter": "params", "metric": "metrics", "tag": "tags"}[request.url.path.rpartition("-")[2]]
            run[part].add(body["key"])
        return JSONResponse({"location": "mlflow-artifacts:/3/abc/artifacts"})


@pytest.fixture
def mlflow() -> Mlflow:
    """A server without runs."""
    return Mlflow()


def post(app: Any, *requests_: tuple[str, Mapping[str, Any]]) -> list[httpx.Response]:
    """Send requests at the same time."""

    async def send() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            calls = [client.post(path, json=dict(body)) for path, body in requests_]
            return list(await asyncio.gather(*calls))

    return asyncio.run(send())


def batch(run: str, **parts: list[str]) -> tuple[str, dict[str, Any]]:
    listed = {part: [{"key": key, "value": "v"} for key in keys] for part, keys in parts.items()}
    return "/api/2.0/mlflow/runs/log-batch", {"run_id": run, **listed}


def many(count: int, prefix: str = "n") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


@pytest.mark.rule("A run holds at most 200 parameters")
@pytest.mark.rule("A run holds at most 50 names of metrics")
@pytest.mark.parametrize(("part", "limit", "field"), [("params", 200, "Parameters"), ("metrics", 50, "MetricNames")])
def test_a_run_holds_so_many_names_over_several_requests(mlflow: Mlflow, part: str, limit: int, field: str) -> None:
    assert post(mlflow.app, batch("r", **{part: many(limit)}))[0].status_code == 200
    assert post(mlflow.app, batch("r", **{part: many(limit)}))[0].status_code == 200
    (refused,) = post(mlflow.app, batch("r", **{part: ["one more"]}, tags=["t"]))
    assert refused.status_code == 400
    assert refused.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert f"FieldName={field}, Limit={limit}, Size={limit + 1}" in refused.json()["message"]
    assert mlflow.logged["r"]["tags"] == set()  # nothing of it was stored
    assert post(mlflow.app, batch("other", **{part: ["one more"]}))[0].status_code == 200


def test_requests_at_the_same_time_cannot_pass_the_limit_together(mlflow: Mlflow) -> None:
    post(mlflow.app, batch("r", params=many(150)))
    answers = post(mlflow.app, batch("r", params=many(40, "a")), batch("r", params=many(40, "b")))
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    assert len(mlflow.logged["r"]["params"]) == 190


def test_a_run_is_read_once(mlflow: Mlflow) -> None:
    post(mlflow.app, batch("r", metrics=["loss"]))
    for _ in range(5):
        post(mlflow.app, ("/api/2.0/mlflow/runs/log-metric", {"run_id": "r", "key": "loss", "value": 1}))
    assert mlflow.reads <= 2


def test_mlflows_own_tags_do_not_count(mlflow: Mlflow) -> None:
    assert post(mlflow.app, batch("r", tags=many(60, "mlflow.")))[0].status_code == 200
    assert post(mlflow.app, batch("r", tags=many(50)))[0].status_code == 200
    assert post(mlflow.app, batch("r", tags=["one more"]))[0].status_code == 400


@pytest.mark.rule("A parameter's value has at most 500 characters")
@pytest.mark.rule("A request logs at most 250 metrics")
@pytest.mark.rule("At most 50 tags, with values of at most 1,000 characters; names of runs of at most 256")
@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("runs/log-parameter", {"key": "p", "value": "x" * 501}, "Limit=500, Size=501 (value of parameter 'p')"),
        ("runs/set-tag", {"key": "k" * 101, "value": ""}, "Limit=100, Size=101"),
        ("runs/set-tag", {"key": "k", "value": "v" * 1001}, "Limit=1000, Size=1001 (value of tag 'k')"),
        ("runs/set-tag", {"key": "mlflow.note.content", "value": "v" * 5001}, "Limit=5000, Size=5001 (description)"),
        ("runs/log-batch", {"metrics": [{"key": "loss"}] * 251}, "MetricV2Dto.Value/Count, Limit=250, Size=251"),
        ("runs/create", {"run_name": "n" * 257}, "Limit=256, Size=257"),
        ("runs/create", {"tags": [{"key": key, "value": ""} for key in many(51)]}, "FieldName=Tags, Limit=50, Size=51"),
        ("experiments/create", {"name": "n" * 257}, "Limit=256, Size=257"),
        ("experiments/set-experiment-tag", {"key": "k" * 251, "value": ""}, "Limit=250, Size=251"),
    ],
)
def test_what_is_too_long_is_refused(mlflow: Mlflow, path: str, body: dict[str, Any], text: str) -> None:
    run = {} if path.endswith("create") else {"run_id": "r"}
    (answer,) = post(mlflow.app, (f"/api/2.0/mlflow/{path}", run | body))
    assert answer.status_code == 400
    assert text in answer.json()["message"]
    assert mlflow.logged == {}


@pytest.mark.rule("No logged models")
def test_clients_find_no_logged_models_and_the_user_interface_does(mlflow: Mlflow) -> None:
    for path in ("", "/search", "/m-1/tags"):
        (answer,) = post(mlflow.app, (f"/api/2.0/mlflow/logged-models{path}", {}))
        assert (answer.status_code, answer.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
    (shown,) = post(mlflow.app, ("/ajax-api/2.0/mlflow/logged-models/search", {}))
    assert shown.status_code == 200


def test_azures_surface_answers_mlflows_operations_alone(mlflow: Mlflow) -> None:
    azure = with_azure_addresses(mlflow.app)
    post(azure, batch("r", params=["p"]))
    assert post(azure, ("/api/3.0/mlflow/traces", {}))[0].json()["error_code"] == "ENDPOINT_NOT_FOUND"
    assert post(azure, ("/api/2.0/mlflow-artifacts/artifacts/x", {}))[0].status_code == 404
    (logged,) = post(azure, ("/api/2.0/preview/mlflow/runs/log-batch-async", batch("r", params=["late"])[1]))
    assert logged.json() == {"batch_tracking_id": ""}
    assert mlflow.logged["r"]["params"] == {"p", "late"}
    (refused,) = post(azure, ("/api/2.0/preview/mlflow/runs/log-batch-async", batch("r", params=many(200))[1]))
    assert refused.status_code == 400


def test_the_address_of_steps_has_the_limits(client_environment: WorkspaceConnection) -> None:
    base = f"{client_environment.mlflow_tracking_uri}/api/2.0/mlflow"
    headers = {"Authorization": f"Bearer {client_environment.key}"}

    def call(operation: str, body: dict[str, Any]) -> requests.Response:
        return requests.post(f"{base}/{operation}", json=body, headers=headers, timeout=30)

    experiment = call("experiments/create", {"name": "limits"}).json()["experiment_id"]
    run = call("runs/create", {"experiment_id": experiment, "start_time": 1}).json()["run"]["info"]["run_id"]
    for prefix in ("a", "b"):
        assert call(*_relative(batch(run, params=many(100, prefix)))).status_code == 200
    refused = call("runs/log-parameter", {"run_id": run, "key": "one more", "value": "v"})
    assert refused.status_code == 400
    assert "Limit=200, Size=201" in refused.json()["message"]
    assert call("logged-models", {"experiment_id": experiment}).status_code == 404
    page = client_environment.mlflow_tracking_uri.replace("/mlflow", "/mlflow/ajax-api/2.0/mlflow/logged-models/search")
    shown = requests.post(page, json={"experiment_ids": [experiment]}, headers=headers, timeout=30)
    assert shown.status_code == 200, json.dumps(shown.text)


def _relative(call: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return call[0].removeprefix("/api/2.0/mlflow/"), call[1]
