"""The router over deployments that are stand-ins."""

import asyncio
import collections
import dataclasses
import gzip
import random
from pathlib import Path

import httpx
import pytest

from amlocal.endpoints.deployment import ProcessDied, QueueTimeout, RequestTimeout, TooManyRequests
from amlocal.endpoints.exchange import Scored, Scoring
from amlocal.endpoints.router import BODY_LIMIT, Route, Router
from amlocal.endpoints.spec import DeploymentSpec

SPEC = DeploymentSpec("chat", "blue", Path(), "score.py", None, Path("log"))
KEY = {"Authorization": "Bearer first-key"}


@dataclasses.dataclass
class StandIn:
    """Answers as a deployment would, and remembers what it was asked."""

    status: int = 200
    body: bytes = b"{}"
    error: Exception | None = None
    delay: float = 0.0
    headers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    spec: DeploymentSpec = SPEC
    asked: list[Scoring] = dataclasses.field(default_factory=list)

    async def score(self, scoring: Scoring) -> Scored:
        self.asked.append(scoring)
        await asyncio.sleep(self.delay)
        if self.error is not None:
            raise self.error
        return Scored(self.status, "said so", [("content-type", "application/json"), *self.headers], self.body)


def make_router(
    deployments: dict[str, StandIn], traffic: dict[str, int], mirror: dict[str, int] | None = None
) -> Router:
    router = Router(random.Random(7))
    router.routes["chat"] = Route(("first-key", "second-key"), traffic, mirror or {}, deployments)  # type: ignore[arg-type]
    return router


def client_of(router: Router) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(router.application()), base_url="http://router")


def ask(
    router: Router, headers: dict[str, str] = KEY, path: str = "/endpoints/chat/score", body: bytes = b"{}"
) -> httpx.Response:
    async def run() -> httpx.Response:
        async with client_of(router) as client:
            return await client.post(path, headers=headers, content=body)

    return asyncio.run(run())


def test_requests_follow_the_traffic_and_answers_name_their_deployment() -> None:
    router = make_router({"blue": StandIn(), "green": StandIn()}, {"blue": 80, "green": 20})

    async def run() -> collections.Counter[str]:
        async with client_of(router) as client:
            answers = [await client.post("/endpoints/chat/score", headers=KEY) for _ in range(500)]
        return collections.Counter(answer.headers["azureml-model-deployment"] for answer in answers)

    counts = asyncio.run(run())
    assert sum(counts.values()) == 500
    assert 70 <= counts["green"] <= 130  # 100 expected, standard deviation 9


def test_header_pins_a_deployment_without_traffic() -> None:
    router = make_router({"blue": StandIn(), "green": StandIn()}, {"blue": 100})
    answer = ask(router, KEY | {"azureml-model-deployment": "green"})
    assert answer.status_code == 200
    assert answer.headers["azureml-model-deployment"] == "green"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "first-key"}, {"Authorization": "Basic first-key"}],
)
def test_no_answer_without_the_key(headers: dict[str, str]) -> None:
    blue = StandIn()
    answer = ask(make_router({"blue": blue}, {"blue": 100}), headers)
    assert answer.status_code == 401
    assert "key" in answer.json()["error"]["message"]
    assert blue.asked == []


def test_both_keys_open_the_endpoint() -> None:
    router = make_router({"blue": StandIn()}, {"blue": 100})
    assert ask(router, {"Authorization": "Bearer second-key"}).status_code == 200


def test_neither_key_nor_pin_reaches_the_scoring_script() -> None:
    blue = StandIn()
    ask(make_router({"blue": blue}, {"blue": 100}), KEY | {"azureml-model-deployment": "blue", "X-Own": "1"})
    names = {name for name, _ in blue.asked[0].headers}
    assert "x-own" in names
    assert not names & {"authorization", "azureml-model-deployment", "host", "content-length"}


def test_missing_traffic_deployment_and_endpoint_are_told_apart() -> None:
    router = make_router({"blue": StandIn()}, {})
    assert ask(router).json()["error"]["code"] == "NoTraffic"
    answer = ask(router, KEY | {"azureml-model-deployment": "red"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "DeploymentNotFound")
    assert "it has: blue" in answer.json()["error"]["message"]
    answer = ask(router, path="/endpoints/other/score")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "EndpointNotFound")


@pytest.mark.parametrize(
    ("error", "status"),
    [(TooManyRequests(), 429), (RequestTimeout(), 408), (QueueTimeout(), 503), (ProcessDied(), 503)],
)
def test_failures_have_azures_statuses(error: Exception, status: int) -> None:
    answer = ask(make_router({"blue": StandIn(error=error)}, {"blue": 100}))
    assert answer.status_code == status
    assert answer.headers["azureml-model-deployment"] == "blue"


def test_an_answer_other_than_200_becomes_424_with_the_reason() -> None:
    answer = ask(make_router({"blue": StandIn(status=500, body=b'{"message": "no"}')}, {"blue": 100}))
    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"
    assert answer.json() == {"message": "no"}


def test_an_answer_reaches_the_client_byte_for_byte() -> None:
    packed = gzip.compress(b'{"label": "a"}')
    headers = [("content-encoding", "gzip"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-own", "caf\xe9")]
    answer = ask(make_router({"blue": StandIn(body=packed, headers=headers)}, {"blue": 100}))
    assert answer.json() == {"label": "a"}
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-length"] == str(len(packed))
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["x-own"] == "caf\xe9"


def test_too_large_a_body_is_refused() -> None:
    blue = StandIn()
    answer = ask(make_router({"blue": blue}, {"blue": 100}), body=b"x" * (BODY_LIMIT + 1))
    assert answer.status_code == 413
    assert blue.asked == []


def test_mirrored_requests_do_not_delay_the_live_answer() -> None:
    blue, green = StandIn(), StandIn(delay=0.5, error=RequestTimeout())
    router = make_router({"blue": blue, "green": green}, {"blue": 100}, {"green": 50})

    async def run() -> tuple[float, list[int]]:
        async with client_of(router) as client:
            began = asyncio.get_running_loop().time()
            answers = [await client.post("/endpoints/chat/score", headers=KEY) for _ in range(60)]
            took = asyncio.get_running_loop().time() - began
        await asyncio.sleep(0.6)
        return took, [answer.status_code for answer in answers]

    took, statuses = asyncio.run(run())
    assert statuses == [200] * 60
    assert 15 <= len(green.asked) <= 45
    assert took < 0.5
    copies = len(green.asked)
    assert f"mirrored {copies} (failed {copies})" in router.metrics.of("chat", "green").summary()
    assert "requests 0; errors 0" in router.metrics.of("chat", "green").summary()
    assert "requests 60 (2xx 60); errors 0" in router.metrics.of("chat", "blue").summary()


def test_a_route_that_changes_while_the_body_comes_in_is_seen() -> None:
    blue, green = StandIn(), StandIn()
    router = make_router({"blue": blue, "green": green}, {"blue": 100})

    async def body() -> "collections.abc.AsyncIterator[bytes]":
        yield b"{"
        router.routes["chat"] = dataclasses.replace(
            router.routes["chat"], traffic={"green": 100}, deployments={"green": green}
        )
        yield b"}"

    async def run() -> httpx.Response:
        async with client_of(router) as client:
            return await client.post("/endpoints/chat/score", headers=KEY, content=body())

    answer = asyncio.run(run())
    assert (answer.status_code, answer.headers["azureml-model-deployment"]) == (200, "green")
