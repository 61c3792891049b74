"""Figures of deployments."""

import asyncio

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from amlocal.endpoints.metrics import ServingMetrics


def scrape(metrics: ServingMetrics, authorization: str = "Bearer key") -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=[metrics.route("key")]))
        async with httpx.AsyncClient(transport=transport, base_url="http://router") as client:
            return await client.get("/metrics", headers={"Authorization": authorization})

    return asyncio.run(run())


def samples(metrics: ServingMetrics, name: str) -> dict[tuple[str, ...], float]:
    """Read the samples of a metric as a scraper does; by their labels' values, in the order of the labels' names."""
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(scrape(metrics).text)
        for sample in family.samples
        if sample.name == name
    }


def test_figures_are_scraped_by_deployment() -> None:
    metrics = ServingMetrics()
    blue, green = metrics.of("chat", "blue"), metrics.of("chat", "green")
    blue.answered(200, 0.003)
    blue.answered(200, 0.004)
    blue.answered(424, 0.2)
    blue.failed("ModelError")
    green.mirrored(failed=True)
    green.mirrored(failed=False)
    green.restarted()
    with blue.in_flight():
        assert samples(metrics, "amlocal_requests_in_flight") == {("blue", "chat"): 1, ("green", "chat"): 0}
    assert samples(metrics, "amlocal_requests_total") == {
        ("blue", "chat", "2xx"): 2,
        ("blue", "chat", "4xx"): 1,
        ("green", "chat", "2xx"): 0,
    }
    assert samples(metrics, "amlocal_request_errors_total") == {("blue", "chat", "ModelError"): 1}
    buckets = samples(metrics, "amlocal_request_duration_seconds_bucket")
    assert (buckets["blue", "chat", "0.0025"], buckets["blue", "chat", "0.005"]) == (0, 2)
    assert samples(metrics, "amlocal_request_duration_seconds_count")["blue", "chat"] == 3
    assert samples(metrics, "amlocal_mirrored_requests_total") == {("blue", "chat"): 0, ("green", "chat"): 2}
    assert samples(metrics, "amlocal_mirrored_failures_total")["green", "chat"] == 1
    assert samples(metrics, "amlocal_restarts_total")["green", "chat"] == 1
    assert samples(metrics, "amlocal_requests_in_flight")["blue", "chat"] == 0


def test_the_same_figures_in_a_line() -> None:
    metrics = ServingMetrics()
    blue = metrics.of("chat", "blue")
    assert "requests 0; errors 0; latency p50 -, p95 -, p99 -; mirrored 0 (failed 0)" in blue.summary()
    for _ in range(99):
        blue.answered(200, 0.003)
    blue.answered(503, 500.0)
    blue.failed("ModelUnavailable")
    assert "requests 100 (2xx 99, 5xx 1); errors 1 (ModelUnavailable 1)" in blue.summary()
    assert "p50 3.8 ms, p95 4.9 ms, p99 5.0 ms" in blue.summary()  # evenly between 2.5 and 5 ms
    blue.answered(200, 500.0)
    assert "p99 > 180 s" in blue.summary()


def test_a_deployment_that_is_gone_is_no_longer_scraped() -> None:
    metrics = ServingMetrics()
    metrics.of("chat", "blue").answered(200, 0.003)
    metrics.of("chat", "green").answered(200, 0.003)
    metrics.forget("chat", "blue")
    assert set(samples(metrics, "amlocal_requests_total")) == {("green", "chat", "2xx")}
    assert "requests 0" in metrics.of("chat", "blue").summary()


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "key", "Basic key"])
def test_no_figures_without_the_key(authorization: str) -> None:
    answer = scrape(ServingMetrics(), authorization)
    assert answer.status_code == 401
    assert "amlocal_" not in answer.text
