"""Outputs that go somewhere besides the job's own folder: into a datastore, and into the workspace's assets."""

from __future__ import annotations

from collections.abc import Mapping

from amlocal.errors import AmlocalError
from amlocal.reader.addresses import DEFAULT_DATASTORE, AddressError, DatastorePath
from amlocal.reader.destination import resolve_path
from amlocal.reader.model import MODEL_TYPES
from amlocal.reader.plan import Delivery, Step
from amlocal.run.reuse import Output
from amlocal.run.services import Services
from amlocal.workspace.registry import NewVersion


def deliver(step: Step, outputs: Mapping[str, Output], services: Services, *, reused: bool) -> dict[str, str]:
    """Write a completed step's outputs to where its job sends them, and register those that are named.

    A reused step does nothing that was done before: a version with the same content is taken, and what lies in the
    datastore is left as it is.

    Args:
        step: the step.
        outputs: what it wrote.
        services: the job's surroundings.
        reused: whether an earlier job wrote them.

    Returns:
        What each output is registered as, by the name under which the file asks for it.

    Raises:
        AmlocalError: when an output was not written, or the version asked for exists and has other content.
        OSError: when the datastore cannot be written.
    """
    registered: dict[str, str] = {}
    for delivery in step.deliveries:
        output = outputs.get(delivery.output)
        try:
            if output is None:
                raise AmlocalError("it was not written")
            version = _deliver(step, delivery, output, services, reused)
        except (AmlocalError, AddressError) as error:
            raise AmlocalError(f"{delivery.destination.place}: output {delivery.name!r}: {error}") from None
        if version is not None:
            kind = "model" if delivery.type in MODEL_TYPES else "data"
            registered[delivery.name] = f"{kind} {delivery.destination.asset}:{version}"
    return registered


def _deliver(step: Step, delivery: Delivery, output: Output, services: Services, reused: bool) -> str | None:
    destination, registry = delivery.destination, services.registry
    address = address_of(step, delivery, services)
    if destination.asset is None:
        _write(output, address, services)
        return None
    asset = NewVersion(
        name=destination.asset,
        version=destination.version,
        type=delivery.type,
        address=address,
        content=output.digest,
        job=services.folder.name,
    )
    # A new run of a step makes a new version, as on Azure, also of content that is there already.
    if reused or destination.version is not None:
        found = registry.find_registered(asset)
        if found is not None:
            return found
    _write(output, address, services)
    return registry.register(asset)


def address_of(step: Step, delivery: Delivery, services: Services) -> DatastorePath:
    """Say where an output goes.

    Raises:
        AmlocalError: when its path is nowhere in a datastore.
        AddressError: for an ``azureml:`` text of no known form.
    """
    job = services.folder.name
    path = delivery.destination.path
    if path is None:
        inside = f"{job}/{delivery.name}" if delivery.of_job else f"{job}/{step.name}/{delivery.name}"
        return DatastorePath(DEFAULT_DATASTORE, f"azureml/{inside}")
    run = job if delivery.of_job or services.standalone else f"{job}-{step.name}"
    address = resolve_path(path, run, delivery.name, services.default_datastore)
    if address is None:
        raise AmlocalError(f"{path.text} is no path in a datastore")
    return address


def _write(output: Output, address: DatastorePath, services: Services) -> None:
    there = services.registry.datastore(address)
    if there is None or services.digests.tree(there) != output.digest:
        services.registry.write(output.path, address)
