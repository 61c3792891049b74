"""Blue/green: a new colour is created, smoke-tested, given all traffic; then the old one goes.

Any failure before that puts the old state back.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from azure.ai.ml import load_online_deployment, load_online_endpoint
from azure.core.exceptions import ResourceNotFoundError
from journal import Journal
from smoke import GoldenRequest, ScoringTarget, smoke_test

from finetune.workspace import ModelVersion, parse_model_reference

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import OnlineEndpoint

LOGGER = logging.getLogger(__name__)
COLOURS = ("blue", "green")


@dataclass(frozen=True)
class RolloutRequest:
    """What is to serve where."""

    model: ModelVersion
    endpoint_name: str
    definition: Path
    """Folder with endpoint.yml, deployment.yml and what they refer to."""
    golden: GoldenRequest


def roll_out(client: "MLClient", request: RolloutRequest, journal: Journal) -> None:
    """Make an endpoint serve a model version, without a moment in which it serves none.

    The live state decides what happens: the same version serving is left alone; else the idle colour is created,
    asked the golden request by name, given all traffic, asked again, and the old colour is removed. When anything
    fails before that last step, the traffic is put back, the new colour removed, and so is an endpoint that this
    rollout made.

    Raises:
        SmokeTestFailedError: the new colour does not answer as the model did; everything is as it was before.
        azure.core.exceptions.AzureError: the service refused or failed; everything is as it was before.
    """
    endpoint = _find_endpoint(client, request.endpoint_name)
    before = _traffic(endpoint)
    if endpoint is not None and (serving := _serving(client, request, before)) is not None:
        journal.step(f"{request.model} serves already, as {serving}", before)
        journal.finish("unchanged", [f"{request.model} serves already"], deployment=serving, traffic=before)
        return
    colour = _idle_colour(before)
    with _undone_on_failure(client, request, journal, endpoint, colour):
        if endpoint is None:
            endpoint = _create_endpoint(client, request)
            journal.step("endpoint created", {})
        else:
            _remove_if_there(client, request.endpoint_name, colour)
        LOGGER.info("creating %s for %s", colour, request.model)
        client.online_deployments.begin_create_or_update(_deployment(request, colour)).result()
        journal.step(f"{colour} created and healthy", before)
        key = client.online_endpoints.get_keys(request.endpoint_name).primary_key
        seconds = smoke_test(ScoringTarget(endpoint.scoring_uri, key, colour), request.golden)
        journal.step(f"{colour} passed the smoke test", before, seconds=seconds)
        _set_traffic(client, request.endpoint_name, {**dict.fromkeys(before, 0), colour: 100})
        after = {colour: 100}
        journal.step(f"all traffic on {colour}", after)
        seconds = smoke_test(ScoringTarget(endpoint.scoring_uri, key, None), request.golden)
        journal.step("the endpoint passed the smoke test", after, seconds=seconds)
    for old in _other_deployments(client, request.endpoint_name, colour):
        client.online_deployments.begin_delete(name=old, endpoint_name=request.endpoint_name).result()
        journal.step(f"{old} removed", after)
    LOGGER.info("%s serves %s as %s", request.endpoint_name, request.model, colour)
    journal.finish("live", [f"{request.model} passed its smoke tests"], deployment=colour, traffic=after)


@contextlib.contextmanager
def _undone_on_failure(
    client: "MLClient",
    request: RolloutRequest,
    journal: Journal,
    before: "OnlineEndpoint | None",
    colour: str,
) -> Iterator[None]:
    """Put the state from before back when the block raises anything, an interrupt among them; then raise it on."""
    try:
        yield
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        LOGGER.warning("rolling back: %s", reason)
        if before is None:
            with contextlib.suppress(ResourceNotFoundError):
                client.online_endpoints.begin_delete(request.endpoint_name).result()
            journal.step("the endpoint made by this rollout removed", {})
        else:
            traffic = _traffic(before)
            _set_traffic(client, request.endpoint_name, traffic)
            _remove_if_there(client, request.endpoint_name, colour)
            journal.step(f"traffic put back and {colour} removed", traffic)
        journal.finish("rolled back", [reason], traffic=_traffic(before))
        raise


def _find_endpoint(client: "MLClient", name: str) -> "OnlineEndpoint | None":
    try:
        return client.online_endpoints.get(name)
    except ResourceNotFoundError:
        return None


def _create_endpoint(client: "MLClient", request: RolloutRequest) -> "OnlineEndpoint":
    endpoint = load_online_endpoint(
        request.definition / "endpoint.yml", params_override=[{"name": request.endpoint_name}]
    )
    return client.online_endpoints.begin_create_or_update(endpoint).result()


def _deployment(request: RolloutRequest, colour: str):
    return load_online_deployment(
        request.definition / "deployment.yml",
        params_override=[
            {"name": colour},
            {"endpoint_name": request.endpoint_name},
            {"model": f"azureml:{request.model}"},
        ],
    )


def _traffic(endpoint: "OnlineEndpoint | None") -> dict[str, int]:
    """Return the deployments that get traffic, in percent."""
    shares = (endpoint.traffic or {}) if endpoint is not None else {}
    return {name: share for name, share in shares.items() if share > 0}


def _serving(client: "MLClient", request: RolloutRequest, traffic: Mapping[str, int]) -> str | None:
    """Return the deployment that serves the requested version to all requests, if there is one."""
    if len(traffic) != 1:
        return None
    (name,) = traffic
    model = client.online_deployments.get(name, request.endpoint_name).model
    reference = model if isinstance(model, str) else model.id
    return name if parse_model_reference(reference) == request.model else None


def _idle_colour(traffic: Mapping[str, int]) -> str:
    return next((colour for colour in COLOURS if colour not in traffic), COLOURS[0])


def _set_traffic(client: "MLClient", endpoint_name: str, traffic: Mapping[str, int]) -> None:
    endpoint = client.online_endpoints.get(endpoint_name)
    endpoint.traffic = dict(traffic)
    client.online_endpoints.begin_create_or_update(endpoint).result()


def _remove_if_there(client: "MLClient", endpoint_name: str, colour: str) -> None:
    with contextlib.suppress(ResourceNotFoundError):
        client.online_deployments.begin_delete(name=colour, endpoint_name=endpoint_name).result()


def _other_deployments(client: "MLClient", endpoint_name: str, colour: str) -> list[str]:
    return sorted(item.name for item in client.online_deployments.list(endpoint_name) if item.name != colour)
