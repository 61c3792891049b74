"""The resource store."""

from pathlib import Path

import pytest

from amlocal.workspace.store import Store


def test_resources_keep_their_order_and_time_of_creation(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    first = store.put("models/a/versions", "1", {"x": 1})
    store.put("models/a/versions", "2", {"x": 2})
    again = store.put("models/a/versions", "1", {"x": 3})
    assert again.created == first.created
    assert again.modified > first.modified
    assert [resource.name for resource in store.members("models/a/versions")] == ["1", "2"]
    assert Store(tmp_path / "store.db").get("models/a/versions", "1") == again


def test_a_failed_transaction_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")

    def fail_half_way() -> None:
        with store.transaction():
            store.put("models", "a", {})
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert store.get("models", "a") is None


def test_collections_below_one_another_are_listed_together(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    for collection in ("codes/a/versions", "codes/%/versions", "codecs/a/versions", "codes"):
        store.put(collection, "1", {})
    found = store.members_below("codes", "versions")
    assert [resource.path for resource in found] == ["codes/a/versions/1", "codes/%/versions/1"]
    assert store.delete("codes", "1")
    assert not store.delete("codes", "1")


def test_only_its_owner_reads_the_keys_in_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    store.put("endpointKeys", "a", {"primaryKey": "secret"})
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert "store.db" in modes
