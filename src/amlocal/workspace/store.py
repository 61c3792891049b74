"""What the workspace remembers: one sqlite database, every change one transaction.

Resources are kept as they are addressed: a collection (``models/intent/versions``) holds named JSON bodies.
Anything that looks like an ARM resource fits, so that a new kind of resource needs no new table.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    collection TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    created REAL NOT NULL,
    modified REAL NOT NULL,
    UNIQUE (collection, name)
);
CREATE TABLE IF NOT EXISTS blobs (
    container TEXT NOT NULL,
    name TEXT NOT NULL,
    content TEXT NOT NULL,
    size INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created REAL NOT NULL,
    modified REAL NOT NULL,
    PRIMARY KEY (container, name)
);
"""


@dataclass(frozen=True)
class Resource:
    """One stored resource.

    Attributes:
        collection: Path of the collection it belongs to, relative to the workspace.
        name: Its name there.
        body: What was put; treat it as read-only.
        created: When it was first put, in seconds since the epoch.
        modified: When it was last put.
    """

    collection: str
    name: str
    body: Json
    created: float
    modified: float

    @property
    def path(self) -> str:
        """Path relative to the workspace."""
        return f"{self.collection}/{self.name}"


class Store:
    """The database of one workspace; used from one thread, which is the daemon's event loop."""

    def __init__(self, path: Path) -> None:
        # It holds the endpoints' keys; sqlite gives its other files the same mode.
        path.touch(mode=0o600)
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        # No process that dies can lose a transaction this way; a loss of power may lose the very last ones,
        # which is worth not waiting for the disk in the event loop.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(SCHEMA)

    @property
    def connection(self) -> sqlite3.Connection:
        """For the blob index, which shares the database."""
        return self._connection

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several changes at once or not at all."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def get(self, collection: str, name: str) -> Resource | None:
        """Read one resource, or ``None`` where there is none."""
        rows = self._select("WHERE collection = ? AND name = ?", (collection, name))
        return rows[0] if rows else None

    def put(self, collection: str, name: str, body: Json) -> Resource:
        """Create or replace one resource; keeps the time at which it was created."""
        now = time.time()
        self._connection.execute(
            "INSERT INTO resources (collection, name, body, created, modified) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (collection, name) DO UPDATE SET body = excluded.body, modified = excluded.modified",
            (collection, name, json.dumps(body), now, now),
        )
        stored = self.get(collection, name)
        if stored is None:  # deleted by nobody: this is the only connection
            raise AssertionError(f"{collection}/{name} vanished")
        return stored

    def delete(self, collection: str, name: str) -> bool:
        """Delete one resource; says whether it was there."""
        cursor = self._connection.execute("DELETE FROM resources WHERE collection = ? AND name = ?", (collection, name))
        return cursor.rowcount > 0

    def members(self, collection: str) -> list[Resource]:
        """List a collection in the order in which its resources were created."""
        return self._select("WHERE collection = ?", (collection,))

    def names_before(self, collection: str, modified: float) -> list[str]:
        """Name the resources of a collection that were last put before a moment, in seconds since the epoch."""
        query = "SELECT name FROM resources WHERE collection = ? AND modified < ?"
        return [name for (name,) in self._connection.execute(query, (collection, modified))]

    def members_below(self, prefix: str, last: str) -> list[Resource]:
        """List all collections ``<prefix>/<any name>/<last>`` together, oldest first."""
        # substr rather than LIKE: names may hold wildcards.
        where = "WHERE substr(collection, 1, ?) = ? AND substr(collection, -?) = ?"
        head, tail = f"{prefix}/", f"/{last}"
        return self._select(where, (len(head), head, len(tail), tail))

    def _select(self, where: str, parameters: tuple[object, ...]) -> list[Resource]:
        columns = "collection, name, body, created, modified"
        query = f"SELECT {columns} FROM resources {where} ORDER BY sequence"  # noqa: S608 - where is ours
        return [
            Resource(collection, name, json.loads(body), created, modified)
            for collection, name, body, created, modified in self._connection.execute(query, parameters)
        ]
