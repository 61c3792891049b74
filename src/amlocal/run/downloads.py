"""Files that a job names by URL: downloaded once, before anything runs, and kept with a digest of their content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Protocol, TypeAlias

from amlocal.reader.model import UrlBinding
from amlocal.reader.plan import Plan
from amlocal.reader.source import InvalidJobError, Place, Problem
from amlocal.run.digest import DigestCache
from amlocal.run.files import write_atomically

_TIMEOUT_SECONDS = 30.0
_CHUNK = 1 << 18

Advance: TypeAlias = Callable[[int, int | None], None]
"""Called with the bytes that have arrived and, where the server said, the bytes to come in all."""


class DownloadView(Protocol):
    """Shows downloads."""

    def reused(self, url: str, downloaded: float) -> None:
        """Say that a file is there already, since a time in seconds since 1970."""
        ...

    def fetching(self, url: str) -> AbstractContextManager[Advance]:
        """Show one download while the context lasts."""
        ...


class NoDownloadView:
    """Shows nothing."""

    def reused(self, url: str, downloaded: float) -> None:
        """See ``DownloadView``."""

    def fetching(self, url: str) -> AbstractContextManager[Advance]:
        """See ``DownloadView``."""
        del url
        return nullcontext(lambda _arrived, _total: None)


class _DownloadError(Exception):
    """A download failed; the message says why."""


def urls_of(plan: Plan) -> dict[str, Place]:
    """Give the URLs that a plan's steps read, each with the first place that names it."""
    sources = (source for step in plan.steps for source in step.inputs.values())
    result: dict[str, Place] = {}
    for source in sources:
        if isinstance(source, UrlBinding):
            result.setdefault(source.url, source.place)
    return result


def fetch(urls: Mapping[str, Place], folder: Path, digests: DigestCache, view: DownloadView) -> dict[str, Path]:
    """Have a local file for each URL.

    Args:
        urls: what to fetch, and where the job names it.
        folder: holds ``<sha256 of the URL>/<file name>`` and, beside it, ``<sha256 of the URL>.json`` with the
            content's digest.
        digests: tells whether a file is still what was downloaded.
        view: shows what happens.

    Returns:
        The local file of each URL.

    Raises:
        InvalidJobError: with every URL that could not be fetched; nothing of those is left behind.
    """
    files: dict[str, Path] = {}
    problems: list[Problem] = []
    for url, place in urls.items():
        try:
            files[url] = _kept(url, folder, digests, view) or _download(url, folder, view)
        except (_DownloadError, OSError) as error:
            problems.append(Problem(place, "download", f"{url}: {error}"))
    if problems:
        raise InvalidJobError(problems)
    return files


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _file_name(url: str) -> str:
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rstrip("/").rpartition("/")[2]
    return name if name not in {"", ".", ".."} and "\0" not in name else "download"


def _kept(url: str, folder: Path, digests: DigestCache, view: DownloadView) -> Path | None:
    path = folder / _key(url) / _file_name(url)
    try:
        record = json.loads((folder / f"{_key(url)}.json").read_text(encoding="utf-8"))
        if digests.file(path) != record["sha256"]:
            return None
    except (FileNotFoundError, ValueError, KeyError):
        return None
    view.reused(url, float(record["downloaded"]))
    return path


def _download(url: str, folder: Path, view: DownloadView) -> Path:
    final = folder / _key(url)
    folder.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder, prefix=".partial-"))
    try:
        staged = aside / _file_name(url)
        with view.fetching(url) as advance:
            digest = _write(url, staged, advance)
        record = {"url": url, "sha256": digest, "size": staged.stat().st_size, "downloaded": time.time()}
        # First the record: a file without one would be downloaded again, a record without its file likewise.
        write_atomically(folder / f"{_key(url)}.json", json.dumps(record, indent=1))
        if final.exists() and not _holds(final / _file_name(url), digest):
            shutil.rmtree(final)  # changed by somebody since it was downloaded
        with suppress(OSError):  # another job has just downloaded the same
            aside.rename(final)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return final / _file_name(url)


def _holds(path: Path, digest: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == digest


def _write(url: str, target: Path, advance: Advance) -> str:
    import httpx  # tens of milliseconds, for the few jobs that need it

    digest = hashlib.sha256()
    arrived = 0
    try:
        with (
            httpx.stream("GET", url, follow_redirects=True, timeout=_TIMEOUT_SECONDS) as response,
            target.open("wb") as file,
        ):
            response.raise_for_status()
            total = _length(response.headers)
            for chunk in response.iter_bytes(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                arrived += len(chunk)
                advance(arrived, total)
            file.flush()
            os.fsync(file.fileno())
    except httpx.HTTPStatusError as error:
        status = error.response
        raise _DownloadError(f"the server answers {status.status_code} {status.reason_phrase}") from None
    except httpx.TimeoutException:
        raise _DownloadError(f"no answer within {_TIMEOUT_SECONDS:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _DownloadError(f"cannot be downloaded: {error}") from None
    return digest.hexdigest()


def _length(headers: Mapping[str, str]) -> int | None:
    # What is compressed on the way arrives as more bytes than were announced.
    text = headers.get("content-length", "")
    return int(text) if text.isdecimal() and "content-encoding" not in headers else None
