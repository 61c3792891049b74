"""Blobs: the store on disk, and the verbs over it."""

import asyncio
import base64
import functools
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from starlette.types import ASGIApp

from amlocal.workspace.blob_api import blob_app
from amlocal.workspace.blobs import BlobStore
from amlocal.workspace.credentials import issue_sas
from amlocal.workspace.store import Store

SAS = "?" + issue_sas("key", "data")


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(Store(tmp_path / "store.db").connection, tmp_path / "blobs")


@dataclass(frozen=True)
class Client:
    """Asks an application in this thread, to which the store belongs."""

    app: ASGIApp

    def request(self, method: str, url: str, **more: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://blobs") as client:
                return await client.request(method, url, **more)

        return asyncio.run(run())

    get = functools.partialmethod(request, "GET")
    head = functools.partialmethod(request, "HEAD")
    put = functools.partialmethod(request, "PUT")
    delete = functools.partialmethod(request, "DELETE")


@pytest.fixture
def client(blobs: BlobStore) -> Client:
    return Client(blob_app(blobs, "key"))


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def broken() -> AsyncIterator[bytes]:
    yield b"half of"
    raise ConnectionError("the client went away")


def put(blobs: BlobStore, name: str, data: AsyncIterator[bytes]) -> None:
    asyncio.run(blobs.put("data", name, data, content_type="text/plain", metadata={}))


def test_an_upload_cut_short_leaves_what_was_there(blobs: BlobStore) -> None:
    put(blobs, "a", pieces(b"complete"))
    with pytest.raises(ConnectionError):
        put(blobs, "a", broken())
    blob = blobs.get("data", "a")
    assert blob is not None
    assert blob.content.read_bytes() == b"complete"
    assert len(list(blob.content.parent.iterdir())) == 1


def test_replacing_a_blob_does_not_touch_links_to_the_old_contents(blobs: BlobStore, tmp_path: Path) -> None:
    put(blobs, "a", pieces(b"o", b"ld"))
    old = blobs.get("data", "a")
    assert old is not None
    (tmp_path / "link").hardlink_to(old.content)
    put(blobs, "a", pieces(b"new"))
    assert (tmp_path / "link").read_bytes() == b"old"
    assert not old.content.exists()


def test_blobs_survive_a_restart_and_leftovers_do_not(tmp_path: Path) -> None:
    first = BlobStore(Store(tmp_path / "store.db").connection, tmp_path / "blobs")
    put(first, "a", pieces(b"kept"))
    (tmp_path / "blobs" / "staging" / "left").write_text("half an upload")
    second = BlobStore(Store(tmp_path / "store.db").connection, tmp_path / "blobs")
    second.discard_unfinished()
    blob = second.get("data", "a")
    assert blob is not None
    assert blob.content.read_bytes() == b"kept"
    assert list((tmp_path / "blobs" / "staging").iterdir()) == []


@pytest.mark.parametrize("query", ["", "?" + issue_sas("key", "other"), "?" + issue_sas("wrong", "data"), "?sig=x"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_nothing_without_a_signature_for_the_container(client: Client, method: str, query: str) -> None:
    assert client.request(method, f"/data/a{query}").status_code == 403
    assert client.request("GET", f"/data{query}").status_code == 403


def test_put_head_get_and_delete(client: Client) -> None:
    headers = {"x-ms-blob-content-type": "text/plain", "x-ms-meta-colour": "blue"}
    assert client.put(f"/data/f/a.txt{SAS}", content=b"0123456789", headers=headers).status_code == 201
    head = client.head(f"/data/f/a.txt{SAS}")
    assert (head.headers["content-length"], head.headers["x-ms-meta-colour"]) == ("10", "blue")
    part = client.get(f"/data/f/a.txt{SAS}", headers={"x-ms-range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert client.get(f"/data/f/a.txt{SAS}", headers={"Range": "bytes=8-"}).content == b"89"
    outside = client.get(f"/data/f/a.txt{SAS}", headers={"Range": "bytes=10-"})
    assert (outside.status_code, outside.headers["x-ms-error-code"]) == (416, "InvalidRange")
    assert client.put(f"/data/f/a.txt{SAS}&comp=metadata", headers={"x-ms-meta-new": "1"}).status_code == 200
    assert "x-ms-meta-colour" not in client.head(f"/data/f/a.txt{SAS}").headers
    assert client.delete(f"/data/f/a.txt{SAS}").status_code == 202
    missing = client.get(f"/data/f/a.txt{SAS}")
    assert (missing.status_code, missing.headers["x-ms-error-code"]) == (404, "BlobNotFound")


def test_a_blob_is_not_overwritten_when_the_client_says_so(client: Client) -> None:
    client.put(f"/data/a{SAS}", content=b"1")
    answer = client.put(f"/data/a{SAS}", content=b"2", headers={"If-None-Match": "*"})
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (409, "BlobAlreadyExists")


def test_blocks_are_joined_in_the_order_of_the_list(client: Client) -> None:
    ids = [base64.b64encode(str(number).encode()).decode() for number in range(3)]
    for number, block in enumerate(ids):
        answer = client.put(
            "/data/big", params=f"{SAS[1:]}&comp=block&blockid={block.replace('=', '%3D')}", content=b"%d" % number
        )
        assert answer.status_code == 201
    listing = "".join(f"<Latest>{block}</Latest>" for block in reversed(ids))
    body = f"<BlockList>{listing}</BlockList>".encode()
    assert client.put(f"/data/big{SAS}&comp=blocklist", content=body).status_code == 201
    assert client.get(f"/data/big{SAS}").content == b"210"
    unknown = client.put(f"/data/big{SAS}&comp=blocklist", content=body)
    assert unknown.headers["x-ms-error-code"] == "InvalidBlockList"
    bad = client.put(f"/data/big{SAS}&comp=blocklist", content=b"<!DOCTYPE x><BlockList/>")
    assert bad.status_code == 400


def test_listing_by_prefix_folder_and_page(client: Client) -> None:
    for name in ("m/a", "m/b/c", "m/b/d", "n%25"):
        client.put(f"/data/{name}{SAS}", content=b"")

    def names(more: str) -> list[str | None]:
        root = ElementTree.fromstring(client.get(f"/data{SAS}&restype=container&comp=list{more}").content)  # noqa: S314
        return [element.text for element in root.iter("Name")] + [root.findtext("NextMarker")]

    assert names("") == ["m/a", "m/b/c", "m/b/d", "n%", ""]
    assert names("&prefix=m/&delimiter=/") == ["m/a", "m/b/", ""]
    assert names("&maxresults=2") == ["m/a", "m/b/c", "m/b/c"]
    assert names("&maxresults=2&marker=m/b/c") == ["m/b/d", "n%", ""]
    assert names("&prefix=nothing") == [""]


DIE_WITHIN_AN_UPLOAD = """\
import asyncio, os, signal, sys
from pathlib import Path
from amlocal.workspace.blobs import BlobStore
from amlocal.workspace.store import Store

folder = Path(sys.argv[1])
blobs = BlobStore(Store(folder / "store.db").connection, folder / "blobs")

async def whole():
    yield b"whole"

async def half():
    yield b"half of"
    os.kill(os.getpid(), signal.SIGKILL)

async def replaced():
    yield b"new contents"

def put(name, data):
    asyncio.run(blobs.put("data", name, data, content_type="text/plain", metadata={}))

put("a", whole())
if sys.argv[2] == "pointing":
    # Killed when the contents are in place and no name points to them.
    blobs._point = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    put("a", replaced())
asyncio.run(blobs.put_block("data", "big", "1", whole()))
put("a", half())
"""


@pytest.mark.parametrize("moment", ["sending", "pointing"])
def test_a_process_killed_within_an_upload_leaves_the_blob_as_it_was(tmp_path: Path, moment: str) -> None:
    died = subprocess.run([sys.executable, "-c", DIE_WITHIN_AN_UPLOAD, tmp_path, moment], check=False)
    assert died.returncode == -signal.SIGKILL
    blobs = BlobStore(Store(tmp_path / "store.db").connection, tmp_path / "blobs")
    blobs.discard_unfinished()
    assert [(blob.name, blob.content.read_bytes()) for blob in blobs.find("data")] == [("a", b"whole")]
    assert list((tmp_path / "blobs" / "staging").iterdir()) == []
    assert len(list((tmp_path / "blobs" / "contents").iterdir())) == 1
