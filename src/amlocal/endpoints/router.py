"""The scoring address: ``/endpoints/<name>/score``, split by traffic over an endpoint's deployments."""

import asyncio
import hmac
import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as PathRoute

from amlocal.endpoints.deployment import (
    Deployment,
    ProcessDied,
    QueueTimeout,
    RequestTimeout,
    TooManyRequests,
)
from amlocal.endpoints.exchange import Scored, Scoring
from amlocal.endpoints.metrics import DeploymentMetrics, ServingMetrics
from amlocal.endpoints.traffic import pick

DEPLOYMENT_HEADER = "azureml-model-deployment"
BODY_LIMIT = 10 << 20
# Hop-by-hop headers (RFC 9110, 7.6.1), and what belongs to this hop or is computed anew for the next.
NOT_FORWARDED = {
    "authorization",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    DEPLOYMENT_HEADER,
}
NOT_RETURNED = {
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
    DEPLOYMENT_HEADER,
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Route:
    """Where an endpoint's requests go; replaced as a whole, so that a request sees one state of it.

    Attributes:
        keys: The endpoint's keys, any of which opens it.
        traffic: Percentage of live requests per deployment.
        mirror_traffic: Percentage of requests copied, per deployment.
        deployments: Deployments that can answer.
    """

    keys: tuple[str, ...] = field(repr=False)
    traffic: Mapping[str, int] = field(default_factory=dict)
    mirror_traffic: Mapping[str, int] = field(default_factory=dict)
    deployments: Mapping[str, Deployment] = field(default_factory=dict)


class Refusal(Exception):
    """A request that gets an error of the router's own: HTTP status, code and message."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


class Router:
    """Routes of all endpoints, and the application that serves them.

    Args:
        dice: Source of randomness for shares of traffic.
    """

    def __init__(self, dice: random.Random | None = None) -> None:
        self.routes: dict[str, Route] = {}
        self.metrics = ServingMetrics()
        self._dice = dice or random.Random()
        self._mirrored: set[asyncio.Task[None]] = set()

    def application(self, more: Sequence[PathRoute] = ()) -> Starlette:
        """Build the application.

        Args:
            more: Further routes beside those of the endpoints.
        """
        return Starlette(
            routes=[
                PathRoute("/endpoints/{endpoint}/score", self._score, methods=["GET", "POST", "OPTIONS"]),
                PathRoute("/endpoints/{endpoint}/swagger.json", self._swagger, methods=["GET"]),
                *more,
            ],
            exception_handlers={Refusal: _answer_refusal},
        )

    async def _score(self, request: Request) -> Response:
        return await self._forward(request, "/score")

    async def _swagger(self, request: Request) -> Response:
        return await self._forward(request, "/swagger.json")

    async def _forward(self, request: Request, path: str) -> Response:
        endpoint = request.path_params["endpoint"]
        _check_key(self.routes, endpoint, request.headers.get("authorization", ""))
        body = await _read_body(request)
        # Looked up only now: the route may have changed while the body came in. From here to the deployment's
        # own count of requests nothing waits, so a deployment that is being removed cannot be missed.
        route = self.routes.get(endpoint)
        if route is None:
            raise _no_endpoint(endpoint)
        pinned = request.headers.get(DEPLOYMENT_HEADER)
        name = self._choose(endpoint, route, pinned)
        query = f"?{request.url.query}" if request.url.query else ""
        headers = [(key, value) for key, value in request.headers.items() if key not in NOT_FORWARDED]
        scoring = Scoring(request.method, path + query, headers, body)
        if pinned is None:
            self._mirror(endpoint, route, scoring)
        metrics = self.metrics.of(endpoint, name)
        began = time.perf_counter()
        status = 500
        try:
            with metrics.in_flight():
                answer = await _answer(name, route.deployments[name], scoring)
            status = answer.status_code
            if status != HTTPStatus.OK:
                metrics.failed("ModelError")
        except Refusal as refusal:
            status = refusal.status
            metrics.failed(refusal.code)
            raise
        finally:
            metrics.answered(status, time.perf_counter() - began)
        return answer

    def _choose(self, endpoint: str, route: Route, pinned: str | None) -> str:
        """Pick the deployment that answers."""
        name = pinned or pick(route.traffic, self._dice.random() * 100)
        if name is None:
            message = f"Endpoint {endpoint} has no deployment with traffic; set its traffic first."
            raise Refusal(404, "NoTraffic", message)
        if name not in route.deployments:
            known = ", ".join(sorted(route.deployments)) or "none"
            raise Refusal(
                404,
                "DeploymentNotFound",
                f"Endpoint {endpoint} has no deployment {name} that can answer; it has: {known}.",
            )
        return name

    def _mirror(self, endpoint: str, route: Route, scoring: Scoring) -> None:
        """Send a copy of some requests elsewhere; nobody waits for it and its answer is dropped."""
        name = pick(route.mirror_traffic, self._dice.random() * 100) if route.mirror_traffic else None
        if name is None or name not in route.deployments:
            return
        metrics = self.metrics.of(endpoint, name)
        task = asyncio.create_task(_send_and_forget(route.deployments[name], scoring, metrics))
        self._mirrored.add(task)
        task.add_done_callback(self._mirrored.discard)


async def _send_and_forget(deployment: Deployment, scoring: Scoring, metrics: DeploymentMetrics) -> None:
    failed = True
    try:
        with metrics.in_flight():
            failed = not (await deployment.score(scoring)).is_success
    except (TooManyRequests, QueueTimeout, RequestTimeout, ProcessDied) as error:
        log.info("mirrored request to %s/%s failed: %s", metrics.endpoint, metrics.name, type(error).__name__)
    finally:
        metrics.mirrored(failed=failed)


async def _answer(name: str, deployment: Deployment, scoring: Scoring) -> Response:
    """Let a deployment answer; statuses as in Azure's list for online endpoints."""
    named = {DEPLOYMENT_HEADER: name}
    try:
        answer = await deployment.score(scoring)
    except TooManyRequests:
        raise Refusal(429, "TooManyRequests", f"Deployment {name} has more requests than it may hold.", named) from None
    except QueueTimeout:
        waited = f"{(deployment.spec.max_queue_wait or 0) * 1000:.0f} ms"
        raise Refusal(
            503, "QueueWaitExceeded", f"A request waited for deployment {name} longer than {waited}.", named
        ) from None
    except RequestTimeout:
        limit = f"{deployment.spec.request_timeout * 1000:.0f} ms"
        raise Refusal(408, "RequestTimeout", f"Deployment {name} did not answer within {limit}.", named) from None
    except ProcessDied:
        raise Refusal(
            503, "ModelUnavailable", f"The scoring process of deployment {name} ended; see its log.", named
        ) from None
    return _pass_on(answer, named)


def _pass_on(answer: Scored, named: Mapping[str, str]) -> Response:
    """Give a scoring process's answer to the client, byte for byte."""
    response = Response(answer.body, 200 if answer.is_success else 424, named)
    for key, value in answer.headers:
        if key.lower() not in NOT_RETURNED:
            response.headers.append(key, value)
    if not answer.is_success:
        response.headers["ms-azureml-model-error-statuscode"] = str(answer.status)
        response.headers["ms-azureml-model-error-reason"] = answer.reason
    return response


def _check_key(routes: Mapping[str, Route], endpoint: str, authorization: str) -> None:
    route = routes.get(endpoint)
    if route is None:
        raise _no_endpoint(endpoint)
    kind, _, presented = authorization.partition(" ")
    # All keys are compared, so that the time taken says nothing about which one nearly fitted.
    fits = [hmac.compare_digest(presented.encode(), key.encode()) for key in route.keys]
    if kind.lower() != "bearer" or not any(fits):
        raise Refusal(401, "Unauthorized", "The endpoint's key is missing or wrong; send Authorization: Bearer <key>.")


def _no_endpoint(endpoint: str) -> Refusal:
    return Refusal(404, "EndpointNotFound", f"There is no endpoint {endpoint}.")


async def _read_body(request: Request) -> bytes:
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > BODY_LIMIT:
            raise Refusal(413, "PayloadTooLarge", f"The request body is larger than {BODY_LIMIT} bytes.")
        pieces.append(piece)
    return b"".join(pieces)


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    body = {"error": {"code": error.code, "message": str(error)}}
    return JSONResponse(body, error.status, error.headers)
