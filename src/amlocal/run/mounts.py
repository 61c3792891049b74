"""Outputs that a command writes in a datastore itself, as Azure ML's ``rw_mount`` has it: what is there it sees."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from amlocal.errors import AmlocalError
from amlocal.reader.addresses import AddressError
from amlocal.reader.plan import Step
from amlocal.run.delivery import address_of
from amlocal.run.digest import DigestCache
from amlocal.run.files import WorkFolder
from amlocal.run.reuse import Result
from amlocal.run.services import Services


def mount(step: Step, services: Services) -> dict[str, Path]:
    """Give the place of each mounted output of a step.

    An output that goes to several places is mounted at the first and copied to the others.

    Raises:
        AmlocalError: when one cannot be there.
        OSError: when a folder cannot be made.
    """
    places: dict[str, Path] = {}
    for delivery in step.deliveries:
        if delivery.mounted and delivery.output not in places:
            try:
                address = address_of(step, delivery, services)
                places[delivery.output] = services.registry.mount(address, delivery.type)
            except (AmlocalError, AddressError) as error:
                raise AmlocalError(f"{delivery.destination.place}: output {delivery.name!r}: {error}") from None
    return places


def begun(places: Mapping[str, Path]) -> tuple[str, ...]:
    """Name the mounted outputs in which a step that begins would see something."""
    return tuple(name for name, place in places.items() if place.is_file() or (place.is_dir() and any(place.iterdir())))


def reason_to_run(places: Mapping[str, Path], result: Result, digests: DigestCache) -> str | None:
    """Say why a step cannot take an earlier result over, which tells of a beginning with other content.

    What a mounted output holds is no part of a step's fingerprint: it changes while the step runs. So a result
    counts where everything is as it was left, or where nothing is there, as when it began.

    Args:
        places: of the step's mounted outputs.
        result: an earlier run's.
        digests: the digest cache.

    Returns:
        None when it can.
    """
    holding = begun(places)
    for name in holding:
        left = result.outputs.get(name)
        if left is None or digests.tree(places[name]) != left.digest:
            return f"output {name} holds other content than the earlier run left there"
    for name in result.resumed:
        if name not in holding:
            return f"output {name} is empty, and the earlier run went on from what was there"
    return None


def keep(folder: WorkFolder, places: Mapping[str, Path]) -> None:
    """Copy what a completed step's mounted outputs hold, in the place of the links to them.

    So later runs in the same place change neither what this one left nor what others make of it.

    Raises:
        OSError: when it cannot be written.
    """
    for name, place in places.items():
        own = folder.outputs / name
        own.unlink(missing_ok=True)
        if place.is_file():
            shutil.copyfile(place, own)
        elif place.is_dir():
            shutil.copytree(place, own)
