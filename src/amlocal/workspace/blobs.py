"""Blobs: contents as read-only files on disk, names and metadata in the store.

A content file is written aside and renamed into place before the name points to it, and never changed
afterwards. Replacing a blob gives its name another file. So whoever has linked a content file keeps exactly
what was uploaded.
"""

import asyncio
import json
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from amlocal.folders import walk_folders

CHUNK = 1 << 20


@dataclass(frozen=True)
class Blob:
    """One stored blob.

    Attributes:
        container: Its container.
        name: Its name in the container, with slashes.
        content: File that holds its contents; read-only.
        size: Number of bytes.
        content_type: What the client said it is.
        metadata: The client's own name-value pairs.
        created: When the name was first used, in seconds since the epoch.
        modified: When contents or metadata last changed.
    """

    container: str
    name: str
    content: Path
    size: int
    content_type: str
    metadata: Mapping[str, str]
    created: float
    modified: float

    @property
    def etag(self) -> str:
        """Changes whenever contents or metadata change."""
        return f'"0x{int(self.modified * 1e6):X}"'


class FilesByName(Protocol):
    """Files that are blobs under names of their own, for reading."""

    def get(self, name: str) -> Path | None:
        """Find the file of a blob."""
        ...

    def find(self, prefix: str) -> Iterable[tuple[str, Path]]:
        """Find the blobs whose names start with a prefix."""
        ...


class BlobStore:
    """All blobs of one workspace.

    Args:
        connection: The store's database.
        folder: Where contents are kept.
        datastores: Folders whose files are blobs of a container too. An uploaded blob comes before
            a file of the same name.
        plain: Those of these containers whose uploads become files of the folder, too. They have neither
            metadata nor content type.
        read_only: Further blobs of containers, which come after all others and cannot be deleted.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        folder: Path,
        datastores: Mapping[str, Path] | None = None,
        plain: Collection[str] = (),
        read_only: Mapping[str, FilesByName] | None = None,
    ) -> None:
        self._connection = connection
        self._contents = folder / "contents"
        self._staging = folder / "staging"
        self._datastores = datastores or {}
        self._plain = plain
        self._read_only = read_only or {}
        for path in (self._contents, self._staging):
            path.mkdir(parents=True, exist_ok=True)

    def discard_unfinished(self) -> None:
        """Delete uploads that a crash cut short, whose clients start over; for the one process that takes uploads."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir()
        named = {name for (name,) in self._connection.execute("SELECT content FROM blobs")}
        for content in self._contents.iterdir():
            if content.name not in named:
                content.unlink()

    def get(self, container: str, name: str) -> Blob | None:
        """Look a blob up, or ``None`` where there is none."""
        own = self._own(container, name)
        if own is not None or container not in self._read_only:
            return own
        path = self._read_only[container].get(name)
        return None if path is None else _file_blob(container, name, path)

    def _own(self, container: str, name: str) -> Blob | None:
        rows = self._select("WHERE container = ? AND name = ?", (container, name))
        if rows:
            return rows[0]
        root = self._datastores.get(container)
        path = None if root is None else Path(os.path.normpath(root / name))
        if root is None or path is None or not path.is_relative_to(root) or not path.is_file():
            return None
        return _file_blob(container, name, path)

    def find(self, container: str, prefix: str = "") -> list[Blob]:
        """List the blobs of a container whose names start with a prefix, sorted by name."""
        where = "WHERE container = ? AND substr(name, 1, ?) = ? ORDER BY name"
        found = {blob.name: blob for blob in self._select(where, (container, len(prefix), prefix))}
        for name, path in self._files(container, prefix):
            found.setdefault(name, _file_blob(container, name, path))
        if container in self._read_only:
            for name, path in self._read_only[container].find(prefix):
                found.setdefault(name, _file_blob(container, name, path))
        return [found[name] for name in sorted(found)]

    def _files(self, container: str, prefix: str) -> Iterator[tuple[str, Path]]:
        root = self._datastores.get(container)
        start = None if root is None else Path(os.path.normpath(root / prefix.rpartition("/")[0]))
        if root is None or start is None or not start.is_relative_to(root):
            return
        for folder, _, names in walk_folders(start):
            for file in names:
                path = Path(folder, file)
                name = path.relative_to(root).as_posix()
                if name.startswith(prefix) and path.is_file():
                    yield name, path

    def delete(self, container: str, name: str) -> bool:
        """Delete a blob; says whether it was there."""
        blob = self._own(container, name)
        if blob is None:
            return False
        self._connection.execute("DELETE FROM blobs WHERE container = ? AND name = ?", (container, name))
        blob.content.unlink(missing_ok=True)
        return True

    def set_metadata(self, blob: Blob, metadata: Mapping[str, str]) -> Blob:
        """Replace a blob's metadata."""
        content = blob.content
        if content.parent != self._contents:
            # A file that somebody may change: the blob, which now has a record of its own, gets a copy.
            content = self._contents / uuid.uuid4().hex
            shutil.copyfile(blob.content, content)
            content.chmod(0o444)
        return self._point(blob.container, blob.name, content, blob.content_type, metadata)

    async def put(
        self,
        container: str,
        name: str,
        data: AsyncIterator[bytes],
        *,
        content_type: str,
        metadata: Mapping[str, str],
    ) -> Blob:
        """Store a blob from a stream.

        Args:
            container: Its container.
            name: Its name.
            data: Contents in pieces of any size.
            content_type: What it is.
            metadata: The client's own name-value pairs.
        """
        staged = self._staging / uuid.uuid4().hex
        try:
            await _write_stream(staged, data)
            return self._adopt(staged, container, name, content_type, metadata)
        finally:
            staged.unlink(missing_ok=True)

    async def put_block(self, container: str, name: str, block: str, data: AsyncIterator[bytes]) -> None:
        """Stage one block of a blob that is uploaded in pieces.

        Args:
            container: Its container.
            name: Its name.
            block: The block's id, chosen by the client.
            data: The block's contents.
        """
        target = self._block(container, name, block)
        target.parent.mkdir(exist_ok=True)
        staged = self._staging / uuid.uuid4().hex
        try:
            await _write_stream(staged, data)
            staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)

    async def put_block_list(
        self,
        container: str,
        name: str,
        blocks: Sequence[str],
        *,
        content_type: str,
        metadata: Mapping[str, str],
    ) -> Blob:
        """Make a blob of staged blocks.

        Args:
            container: Its container.
            name: Its name.
            blocks: Ids of the blocks, in order.
            content_type: What it is.
            metadata: The client's own name-value pairs.

        Raises:
            FileNotFoundError: A block was never staged.
        """
        staged = self._staging / uuid.uuid4().hex
        try:
            parts = [self._block(container, name, block) for block in blocks]
            await asyncio.to_thread(_concatenate, parts, staged)
            blob = self._adopt(staged, container, name, content_type, metadata)
        finally:
            staged.unlink(missing_ok=True)
        shutil.rmtree(self._block(container, name, "").parent, ignore_errors=True)
        return blob

    def _block(self, container: str, name: str, block: str) -> Path:
        """Where a block is staged; ids are free text, so they are spelled in hex."""
        return self._staging / uuid.uuid5(uuid.NAMESPACE_URL, f"{container}/{name}").hex / f"b{block.encode().hex()}"

    def _adopt(self, staged: Path, container: str, name: str, content_type: str, metadata: Mapping[str, str]) -> Blob:
        """Turn a complete staged file into the contents of a blob."""
        if container in self._plain:
            return self._place(staged, container, name)
        staged.chmod(0o444)
        content = self._contents / uuid.uuid4().hex
        staged.replace(content)
        previous = self._own(container, name)
        blob = self._point(container, name, content, content_type, metadata)
        if previous is not None and previous.content.parent == self._contents:
            previous.content.unlink(missing_ok=True)
        return blob

    def _place(self, staged: Path, container: str, name: str) -> Blob:
        """Turn a complete staged file into a file of a container's folder."""
        root = self._datastores[container]
        path = Path(os.path.normpath(root / name))
        if not path.is_relative_to(root) or path == root:
            raise ValueError(f"the name {name!r} leads out of its container")
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(path)
        return _file_blob(container, name, path)

    def _point(self, container: str, name: str, content: Path, content_type: str, metadata: Mapping[str, str]) -> Blob:
        """Let a name point to contents."""
        now = time.time()
        self._connection.execute(
            "INSERT INTO blobs VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (container, name) DO UPDATE SET "
            "content = excluded.content, size = excluded.size, content_type = excluded.content_type, "
            "metadata = excluded.metadata, modified = excluded.modified",
            (
                container,
                name,
                content.name,
                content.stat().st_size,
                content_type,
                json.dumps(dict(metadata)),
                now,
                now,
            ),
        )
        return self._select("WHERE container = ? AND name = ?", (container, name))[0]

    def _select(self, where: str, parameters: tuple[object, ...]) -> list[Blob]:
        columns = "container, name, content, size, content_type, metadata, created, modified"
        rows = self._connection.execute(f"SELECT {columns} FROM blobs {where}", parameters)  # noqa: S608
        return [
            Blob(row[0], row[1], self._contents / row[2], row[3], row[4], json.loads(row[5]), row[6], row[7])
            for row in rows
        ]


def _file_blob(container: str, name: str, path: Path) -> Blob:
    status = path.stat()
    return Blob(container, name, path, status.st_size, "application/octet-stream", {}, status.st_mtime, status.st_mtime)


async def _write_stream(path: Path, data: AsyncIterator[bytes]) -> None:
    """Write a stream to disk and make sure that it is there."""
    with path.open("wb") as file:
        async for chunk in data:
            file.write(chunk)
        file.flush()
        # The one slow part: in a thread, so that scoring requests do not wait for the disk.
        await asyncio.to_thread(os.fsync, file.fileno())


def _concatenate(parts: Sequence[Path], target: Path) -> None:
    """Join files and make sure that the result is on disk."""
    with target.open("wb") as whole:
        for path in parts:
            with path.open("rb") as part:
                shutil.copyfileobj(part, whole, CHUNK)
        whole.flush()
        os.fsync(whole.fileno())
