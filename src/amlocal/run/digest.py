"""Content digests of files and folders, remembered so that unchanged files are read once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from amlocal.errors import AmlocalError
from amlocal.folders import walk_folders

_CHUNK = 1 << 20
_RECENT_SECONDS = 2.0
"""Files changed this recently are not remembered: a second change within a clock tick would go unnoticed."""


class StoppedError(AmlocalError):
    """Reading was given up because the job is canceled."""


class DigestCache:
    """SHA-256 of file contents, keyed by path, size, times and inode. Safe with threads and processes.

    Args:
        database: where digests are remembered.
        stop: when set, whatever reads files gives up.
    """

    def __init__(self, database: Path, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        database.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._connection = _open(database)
        except sqlite3.DatabaseError:  # damaged, say by a full disk or a power cut
            database.unlink(missing_ok=True)
            try:
                self._connection = _open(database)
            except sqlite3.Error:  # nothing can be written there now
                self._connection = _open(":memory:")

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def go_on(self) -> None:
        """Be called now and then by whatever reads many files.

        Raises:
            StoppedError: when the job is canceled.
        """
        if self._stop.is_set():
            raise StoppedError("stopped")

    def file(self, path: Path) -> str:
        """Digest one file's content.

        Raises:
            OSError: when it cannot be read.
            StoppedError: when the job is canceled.
        """
        self.go_on()
        status = path.stat()
        stamp = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_dev}:{status.st_ino}"
        row = self._remembered(path)
        if row is not None and row[0] == stamp:
            return row[1]
        digest = self._read(path)
        if time.time() - max(status.st_mtime, status.st_ctime) > _RECENT_SECONDS:
            # A full disk is no reason to fail: the file is read again next time.
            with self._lock, contextlib.suppress(sqlite3.Error), self._connection:
                self._connection.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (_key(path), stamp, digest))
        return digest

    def tree(self, path: Path) -> str:
        """Digest a file, or a folder with everything in it by relative path.

        Raises:
            OSError: when something in it cannot be read.
            StoppedError: when the job is canceled.
        """
        if path.is_file():
            return self.file(path)
        return combined({name: self._entry(file) for name, file in walk(path)})

    def _read(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                self.go_on()
                digest.update(chunk)
        return digest.hexdigest()

    def _remembered(self, path: Path) -> tuple[str, str] | None:
        with self._lock, contextlib.suppress(sqlite3.Error):
            found: tuple[str, str] | None = self._connection.execute(
                "SELECT stat, digest FROM files WHERE path = ?", (_key(path),)
            ).fetchone()
            return found
        return None

    def _entry(self, path: Path) -> str:
        if path.is_file():
            return self.file(path)
        # A dangling link, a socket, a pipe: all there is to it is what it is.
        return f"link to {path.readlink()}" if path.is_symlink() else "special file"


def _open(database: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(database, timeout=30, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")  # losing it costs re-reading files, nothing else
    connection.execute("CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stat TEXT, digest TEXT)")
    return connection


def _key(path: Path) -> str:
    # SQLite takes UTF-8 alone, a file system takes any name. Names that come to the same are told apart by the inode.
    return os.fsencode(path).decode(errors="backslashreplace")


def walk(root: Path) -> Iterator[tuple[str, Path]]:
    """Give the files under a folder with their relative paths, in no particular order; links are followed."""
    for folder, _, names in walk_folders(root):
        for name in names:
            path = Path(folder, name)
            yield path.relative_to(root).as_posix(), path


def combined(digests: Mapping[str, str]) -> str:
    """Digest a set of named digests."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()
