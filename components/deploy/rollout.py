"""Blue/green: a new colour is created, smoke-tested, given all traffic; then the old one goes.

Any failure before that puts the old state back.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from azure.ai.ml import load_online_deployment, load_online_endpoint
from azure.core.exceptions import AzureError, ResourceNotFoundError
from journal import Journal
from marshmallow.exceptions import MarshmallowError
from smoke import GoldenRequest, ScoringTarget, smoke_test

from finetune.errors import InputError
from finetune.workspace import ModelVersion, parse_model_reference

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import OnlineDeployment, OnlineEndpoint

LOGGER = logging.getLogger(__name__)
COLOURS = ("blue", "green")
SETTLE_SECONDS = 1800.0
POLL_SECONDS = 0.5
_CLIENT_FAILURES = (AzureError, OSError, AttributeError, LookupError, TypeError, ValueError)
"""What the client was seen to raise when the service refuses, or answers with half a resource."""


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
    rollout made. A deployment without traffic that had the idle colour is gone either way.

    Raises:
        InputError: the definition cannot be used, or the traffic is split by hand; nothing was touched.
        SmokeTestFailedError: the new colour does not answer as the model did; it was undone, as the journal says.
        azure.core.exceptions.AzureError: the service refused or failed; it was undone, as the journal says.
    """
    _load_definition(request, COLOURS[0])
    endpoint = _find_endpoint(client, request.endpoint_name)
    before = _traffic(endpoint)
    if len(before) > 1:
        split = ", ".join(f"{name} {share} %" for name, share in before.items())
        raise InputError(
            f"endpoint {request.endpoint_name}: its traffic is split ({split}); give one deployment all of it first"
        )
    if endpoint is not None and (serving := _serving(client, request, before)) is not None:
        journal.step(f"{request.model} serves already, as {serving}", before)
        journal.finish("unchanged", [f"{request.model} serves already"], deployment=serving, traffic=before)
        _remove_all_but(client, request, journal, serving)
        return
    colour = next(name for name in COLOURS if name not in before)
    with _undone_on_failure(client, request, journal, before if endpoint is not None else None, colour):
        if endpoint is None:
            endpoint = client.online_endpoints.begin_create_or_update(_load_definition(request, colour)[0]).result()
            journal.step("endpoint created", {})
        elif colour in _deployments(client, request.endpoint_name):
            _remove_deployment(client, request.endpoint_name, colour)
            journal.step(f"idle {colour} removed", before)
        LOGGER.info("creating %s for %s", colour, request.model)
        client.online_deployments.begin_create_or_update(_load_definition(request, colour)[1]).result()
        journal.step(f"{colour} created and healthy", before)
        key = client.online_endpoints.get_keys(request.endpoint_name).primary_key
        seconds = smoke_test(ScoringTarget(endpoint.scoring_uri, key, colour), request.golden)
        journal.step(f"{colour} passed the smoke test", before, seconds=seconds)
        _set_traffic(client, request.endpoint_name, {**dict.fromkeys(before, 0), colour: 100})
        after = {colour: 100}
        journal.step(f"all traffic on {colour}", after)
        seconds = smoke_test(ScoringTarget(endpoint.scoring_uri, key, None), request.golden)
        journal.step("the endpoint passed the smoke test", after, seconds=seconds)
    # From here on the new version serves, whatever comes of the old one; a run after this one removes what is left.
    LOGGER.info("%s serves %s as %s", request.endpoint_name, request.model, colour)
    journal.finish("live", [f"{request.model} passed its smoke tests"], deployment=colour, traffic=after)
    _remove_all_but(client, request, journal, colour)


@contextlib.contextmanager
def _undone_on_failure(
    client: "MLClient", request: RolloutRequest, journal: Journal, before: dict[str, int] | None, colour: str
) -> Iterator[None]:
    """Put the state from before back when the block raises anything, an interrupt among them; then raise it on.

    Args:
        client: the workspace.
        request: what is rolled out.
        journal: gets "rolled back", or "rollback failed" with what could not be undone.
        before: the traffic to put back; None when there was no endpoint.
        colour: the deployment to remove.
    """
    try:
        yield
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        LOGGER.warning("rolling back: %s", reason)
        name = request.endpoint_name
        undo: list[tuple[str, Callable[[], None]]] = [
            ("wait for what is under way", lambda: _wait_until_settled(client, name))
        ]
        if before is None:
            undo.append(("remove the endpoint", lambda: _remove_endpoint(client, name)))
        else:
            undo.append(("put the traffic back", lambda: _set_traffic(client, name, before)))
            undo.append((f"remove {colour}", lambda: _remove_deployment(client, name, colour)))
        failures = [f"could not {step}: {failure}" for step, action in undo if (failure := _attempt(action))]
        journal.step("undone" if not failures else "could not be undone", before or {})
        journal.finish("rollback failed" if failures else "rolled back", [reason, *failures], traffic=before or {})
        raise


def _attempt(action: Callable[[], None]) -> str | None:
    """Run one step of the way back; return why it failed, so that the other steps are still taken."""
    try:
        action()
    except _CLIENT_FAILURES as error:
        LOGGER.error("while rolling back: %s", error)
        return f"{type(error).__name__}: {error}"
    return None


def _wait_until_settled(client: "MLClient", endpoint_name: str) -> None:
    """Wait while the service works on the endpoint or a deployment of it: it refuses to undo what it is still doing.

    The service is asked, not the operation's poller: an interrupt may have come before there was one, and in Python
    3.11 a poller whose wait was interrupted says that it is done.

    Raises:
        TimeoutError: something was still in transition after `SETTLE_SECONDS`.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while moving := _in_transition(client, endpoint_name):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{', '.join(moving)} still in transition after {SETTLE_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def _in_transition(client: "MLClient", endpoint_name: str) -> list[str]:
    endpoint = _find_endpoint(client, endpoint_name)
    if endpoint is None:
        return []
    parts = [endpoint, *client.online_deployments.list(endpoint_name)]
    return [part.name for part in parts if part.provisioning_state in ("Creating", "Updating", "Deleting")]


def _load_definition(request: RolloutRequest, colour: str) -> "tuple[OnlineEndpoint, OnlineDeployment]":
    """Load endpoint.yml and deployment.yml for a colour.

    Raises:
        InputError: one of them is not what azure-ai-ml takes.
    """
    endpoint = [{"name": request.endpoint_name}]
    deployment = [
        {"name": colour},
        {"endpoint_name": request.endpoint_name},
        {"model": f"azureml:{request.model}"},
    ]
    try:
        return (
            load_online_endpoint(request.definition / "endpoint.yml", params_override=endpoint),
            load_online_deployment(request.definition / "deployment.yml", params_override=deployment),
        )
    except (MarshmallowError, AzureError) as error:
        said = " ".join(str(error).split("Visit this link")[0].split())
        raise InputError(f"{request.definition}: {said}") from None


def _remove_all_but(client: "MLClient", request: RolloutRequest, journal: Journal, serving: str) -> None:
    for old in sorted(_deployments(client, request.endpoint_name) - {serving}):
        _remove_deployment(client, request.endpoint_name, old)
        journal.step(f"{old} removed", {serving: 100})


def _deployments(client: "MLClient", endpoint_name: str) -> set[str]:
    return {deployment.name for deployment in client.online_deployments.list(endpoint_name)}


def _find_endpoint(client: "MLClient", name: str) -> "OnlineEndpoint | None":
    try:
        return client.online_endpoints.get(name)
    except ResourceNotFoundError:
        return None


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


def _set_traffic(client: "MLClient", endpoint_name: str, traffic: Mapping[str, int]) -> None:
    endpoint = client.online_endpoints.get(endpoint_name)
    endpoint.traffic = dict(traffic)
    client.online_endpoints.begin_create_or_update(endpoint).result()


def _remove_endpoint(client: "MLClient", endpoint_name: str) -> None:
    with contextlib.suppress(ResourceNotFoundError):
        client.online_endpoints.begin_delete(endpoint_name).result()


def _remove_deployment(client: "MLClient", endpoint_name: str, colour: str) -> None:
    with contextlib.suppress(ResourceNotFoundError):
        client.online_deployments.begin_delete(name=colour, endpoint_name=endpoint_name).result()
