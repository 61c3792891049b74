"""What deployments did, counted: in Prometheus' text format, and as a line for their logs."""

import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

LABELS = ("endpoint", "deployment")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0)
"""Upper bounds in seconds; a request may take 180 s at most."""


@dataclass(frozen=True)
class DeploymentMetrics:
    """The figures of one deployment since the daemon started.

    Attributes:
        endpoint: Name of its endpoint.
        name: Its own name.
        families: Where they are kept.
        since: When counting began, in seconds since 1970.
    """

    endpoint: str
    name: str
    families: "MetricFamilies"
    since: float

    def answered(self, status: int, seconds: float) -> None:
        """Count a live request.

        Args:
            status: HTTP status that its client got.
            seconds: How long that took in the router, waiting included.
        """
        self.families.requests.labels(self.endpoint, self.name, f"{status // 100}xx").inc()
        self.families.latency.labels(self.endpoint, self.name).observe(seconds)

    def failed(self, reason: str) -> None:
        """Count a live request that was not answered with 200.

        Args:
            reason: Code of the error, as its client got it.
        """
        self.families.errors.labels(self.endpoint, self.name, reason).inc()

    def mirrored(self, *, failed: bool) -> None:
        """Count a copy of a request, after its answer was dropped."""
        self.families.mirrored.labels(self.endpoint, self.name).inc()
        if failed:
            self.families.mirrored_failures.labels(self.endpoint, self.name).inc()

    def restarted(self) -> None:
        """Count a process that was started again."""
        self.families.restarts.labels(self.endpoint, self.name).inc()

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request, live or mirrored, while it is held."""
        gauge = self.families.in_flight.labels(self.endpoint, self.name)
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

    def summary(self) -> str:
        """Say it all in one line."""
        requests = self._samples("amlocal_requests_total", "status_class")
        errors = self._samples("amlocal_request_errors_total", "reason")
        buckets = {float(le): count for le, count in self._samples("amlocal_request_duration_seconds_bucket", "le")}
        latency = ", ".join(f"p{share} {_spell_seconds(_quantile(buckets, share / 100))}" for share in (50, 95, 99))
        numbers = [
            f"requests {sum(count for _, count in requests):.0f}{_spell(requests)}",
            f"errors {sum(count for _, count in errors):.0f}{_spell(errors)}",
            f"latency {latency}",
            f"mirrored {self._number('mirrored_requests_total')} (failed {self._number('mirrored_failures_total')})",
            f"in flight {self._number('requests_in_flight')}",
            f"restarts {self._number('restarts_total')}",
        ]
        began = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="seconds")
        return f"since {began}: " + "; ".join(numbers)

    def _samples(self, name: str, label: str) -> list[tuple[str, float]]:
        return [
            (sample.labels[label], sample.value)
            for family in self.families.registry.collect()
            for sample in family.samples
            if sample.name == name
            and (sample.labels["endpoint"], sample.labels["deployment"]) == (self.endpoint, self.name)
        ]

    def _number(self, name: str) -> str:
        labels = {"endpoint": self.endpoint, "deployment": self.name}
        return f"{self.families.registry.get_sample_value('amlocal_' + name, labels) or 0:.0f}"


class MetricFamilies:
    """The metrics of a workspace's deployments, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "amlocal_requests", "Live requests by class of status.", (*LABELS, "status_class"), registry=registry
        )
        self.errors = Counter(
            "amlocal_request_errors", "Live requests not answered with 200.", (*LABELS, "reason"), registry=registry
        )
        self.latency = Histogram(
            "amlocal_request_duration_seconds", "Live requests.", LABELS, registry=registry, buckets=BUCKETS
        )
        self.mirrored = Counter("amlocal_mirrored_requests", "Copies of requests.", LABELS, registry=registry)
        self.mirrored_failures = Counter(
            "amlocal_mirrored_failures", "Copies of requests not answered with 200.", LABELS, registry=registry
        )
        self.in_flight = Gauge(
            "amlocal_requests_in_flight", "Requests held, live and mirrored.", LABELS, registry=registry
        )
        self.restarts = Counter("amlocal_restarts", "Scoring processes started again.", LABELS, registry=registry)

    @property
    def all(self) -> tuple[Counter | Gauge | Histogram, ...]:
        """Every metric."""
        return (
            self.requests,
            self.errors,
            self.latency,
            self.mirrored,
            self.mirrored_failures,
            self.in_flight,
            self.restarts,
        )


class ServingMetrics:
    """The figures of all deployments of a workspace; they begin anew with the daemon."""

    def __init__(self) -> None:
        self._families = MetricFamilies()
        self._deployments: dict[tuple[str, str], DeploymentMetrics] = {}

    def of(self, endpoint: str, name: str) -> DeploymentMetrics:
        """Give a deployment's figures; they go on when it is updated.

        Args:
            endpoint: Its endpoint.
            name: Its name.
        """
        key = (endpoint, name)
        if key not in self._deployments:
            # Named at once, so that a scraper sees zeros rather than nothing.
            for family in (self._families.latency, self._families.mirrored, self._families.mirrored_failures):
                family.labels(*key)
            for counted in (self._families.in_flight, self._families.restarts):
                counted.labels(*key)
            self._families.requests.labels(*key, "2xx")
            self._deployments[key] = DeploymentMetrics(*key, self._families, time.time())
        return self._deployments[key]

    def forget(self, endpoint: str, name: str) -> None:
        """Drop the figures of a deployment that is gone.

        Args:
            endpoint: Its endpoint.
            name: Its name.
        """
        if self._deployments.pop((endpoint, name), None) is not None:
            for family in self._families.all:
                family.remove_by_labels({"endpoint": endpoint, "deployment": name})

    def text(self) -> bytes:
        """Write all figures in Prometheus' text format."""
        return generate_latest(self._families.registry)

    def route(self, key: str) -> Route:
        """Build ``/metrics``, open to the bearer of a key.

        Args:
            key: The workspace's key.
        """

        async def metrics(request: Request) -> Response:
            kind, _, presented = request.headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(presented.encode(), key.encode()):
                message = "The workspace's key is missing or wrong; send Authorization: Bearer <key>."
                return JSONResponse({"error": {"code": "Unauthorized", "message": message}}, 401)
            return Response(self.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

        return Route("/metrics", metrics, methods=["GET"])


def _quantile(buckets: dict[float, float], share: float) -> float | None:
    """Estimate a quantile as Prometheus' ``histogram_quantile`` does: evenly within its bucket.

    Args:
        buckets: Requests up to each bound, in seconds.
        share: 0 to 1.

    Returns:
        Seconds; infinity when it lies above the highest bound, ``None`` without requests.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if not total:
        return None
    rank, lower, below = share * total, 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if bound == float("inf"):
                return bound
            return lower + (bound - lower) * (rank - below) / (buckets[bound] - below)
        lower, below = bound, buckets[bound]
    return None


def _spell_seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"> {BUCKETS[-1]:.0f} s" if seconds == float("inf") else f"{seconds * 1000:.1f} ms"


def _spell(counts: list[tuple[str, float]]) -> str:
    named = ", ".join(f"{name} {count:.0f}" for name, count in sorted(counts) if count)
    return f" ({named})" if named else ""
