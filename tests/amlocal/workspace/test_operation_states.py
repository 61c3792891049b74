"""What is kept of operations, and for how long."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from amlocal.workspace import operations
from amlocal.workspace.operations import COLLECTION, Operations
from amlocal.workspace.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty one."""
    with closing(Store(tmp_path / "store.db")) as store:
        yield store


async def nothing() -> None:
    """Work that is done at once."""


def test_what_ended_long_ago_is_forgotten_and_what_runs_is_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[str]:
        held = asyncio.Event()
        known = Operations(store, hold=lambda name: held.wait() if name in running else asyncio.sleep(0))
        running: set[str] = set()

        def begin() -> str:
            before = {each.name for each in store.members(COLLECTION)}
            known.begin(nothing())
            return next(each.name for each in store.members(COLLECTION) if each.name not in before)

        running.add(begin())
        ended = begin()
        await asyncio.sleep(0.01)
        recent = begin()
        await asyncio.sleep(0.01)
        assert store.get(COLLECTION, ended).body["status"] == "Succeeded"
        monkeypatch.setattr(operations, "KEPT_SECONDS", 0.0)
        last = begin()
        left = [each.name for each in store.members(COLLECTION)]
        assert ended not in left
        assert recent not in left
        assert set(left) == running | {last}
        held.set()
        await asyncio.sleep(0.01)
        await known.close()
        return [each.body["status"] for each in store.members(COLLECTION)]

    assert asyncio.run(run()) == ["Succeeded"] * 2


def test_a_day_is_long_enough_for_a_poller() -> None:
    assert operations.KEPT_SECONDS >= 24 * 3600
