"""The resource store."""

import signal
import subprocess
import sys
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


WRITE = """\
import sys
import signal
import subprocess
import sys
from pathlib import Path
from amlocal.workspace.store import Store
store, writer = Store(Path(sys.argv[1])), sys.argv[2]
for number in range(100):
    with store.transaction():
        counted = store.get("counters", "all")
        store.put("counters", "all", {"count": (counted.body["count"] if counted else 0) + 1})
        store.put(f"written/{writer}", str(number), {})
"""
DIE_WITHIN_A_TRANSACTION = """\
import os, signal, sys
import signal
import subprocess
import sys
from pathlib import Path
from amlocal.workspace.store import Store
store = Store(Path(sys.argv[1]))
store.put("models", "kept", {})
with store.transaction():
    store.put("models", "half", {})
    store.delete("models", "kept")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    database = tmp_path / "store.db"
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, database, str(number)]) for number in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    store = Store(database)
    counted = store.get("counters", "all")
    assert counted is not None
    assert counted.body == {"count": 300}
    assert [len(store.members(f"written/{number}")) for number in range(3)] == [100, 100, 100]


def test_a_process_killed_within_a_transaction_changed_nothing(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIE_WITHIN_A_TRANSACTION, tmp_path / "store.db"], check=False)
    assert died.returncode == -signal.SIGKILL
    store = Store(tmp_path / "store.db")
    assert [resource.name for resource in store.members("models")] == ["kept"]
    store.put("models", "next", {})  # and its lock is gone
