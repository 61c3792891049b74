"""The handful of blob verbs that Azure's clients use, on ``<account>.blob.<suffix>``.

Source of the verbs: Azure's "Blob service REST API" reference. Containers need not be created.
"""

import re
import urllib.parse
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from xml.etree import ElementTree

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from amlocal.workspace.blobs import CHUNK, Blob, BlobStore
from amlocal.workspace.credentials import SAS_VERSION, sas_is_valid

METADATA_PREFIX = "x-ms-meta-"
BLOCK_LIST_LIMIT = 8 << 20
PAGE = 5000


class BlobError(Exception):
    """A refused blob request: HTTP status, Azure's error code and a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def blob_app(blobs: BlobStore, key: str) -> Starlette:
    """Build the blob service.

    Args:
        blobs: What it serves.
        key: The workspace's key, which signs the shared access signatures that clients present.
    """

    def authorize(request: Request) -> str:
        container = str(request.path_params["container"])
        if not sas_is_valid(key, container, request.query_params):
            message = "The shared access signature is missing, wrong, expired or for another container."
            raise BlobError(403, "AuthenticationFailed", message)
        return container

    async def on_container(request: Request) -> Response:
        container = authorize(request)
        if request.query_params.get("comp") == "list":
            return _list(blobs, container, request.query_params)
        status = 201 if request.method == "PUT" else 200
        return Response(status_code=status, headers=_common_headers())

    async def on_blob(request: Request) -> Response:
        container = authorize(request)
        name = str(request.path_params["name"])
        if request.method == "PUT":
            try:
                return await _put(blobs, container, name, request)
            except ValueError as error:
                raise BlobError(400, "InvalidUri", f"{error}.") from None
        blob = blobs.get(container, name)
        if blob is None:
            raise BlobError(404, "BlobNotFound", f"The blob {container}/{name} does not exist.")
        if request.method == "DELETE":
            blobs.delete(container, name)
            return Response(status_code=202, headers=_common_headers())
        return _read(blob, request)

    return Starlette(
        routes=[
            Route("/{container}", on_container, methods=["GET", "HEAD", "PUT"]),
            Route("/{container}/{name:path}", on_blob, methods=["GET", "HEAD", "PUT", "DELETE"]),
        ],
        exception_handlers={BlobError: _answer_error},
    )


async def _put(blobs: BlobStore, container: str, name: str, request: Request) -> Response:
    comp = request.query_params.get("comp", "")
    metadata = {
        header.removeprefix(METADATA_PREFIX): value
        for header, value in request.headers.items()
        if header.startswith(METADATA_PREFIX)
    }
    content_type = request.headers.get("x-ms-blob-content-type", "application/octet-stream")
    existing = blobs.get(container, name)
    if comp == "metadata":
        if existing is None:
            raise BlobError(404, "BlobNotFound", f"The blob {container}/{name} does not exist.")
        return _stored(blobs.set_metadata(existing, metadata), 200)
    if comp == "block":
        await blobs.put_block(container, name, request.query_params["blockid"], request.stream())
        return Response(status_code=201, headers=_common_headers())
    if existing is not None and request.headers.get("if-none-match") == "*":
        raise BlobError(409, "BlobAlreadyExists", f"The blob {container}/{name} already exists.")
    if comp == "blocklist":
        blocks = _parse_block_list(await request.body())
        try:
            blob = await blobs.put_block_list(container, name, blocks, content_type=content_type, metadata=metadata)
        except FileNotFoundError:
            raise BlobError(400, "InvalidBlockList", "A block in the list was never uploaded.") from None
        return _stored(blob, 201)
    if comp:
        raise BlobError(501, "NotImplemented", f"comp={comp} is not answered by this workspace.")
    blob = await blobs.put(container, name, request.stream(), content_type=content_type, metadata=metadata)
    return _stored(blob, 201)


def _parse_block_list(body: bytes) -> list[str]:
    # No document type, hence no entities: nothing here can expand.
    if len(body) > BLOCK_LIST_LIMIT or b"<!DOCTYPE" in body:
        raise BlobError(400, "InvalidXmlDocument", "The block list is too long or has a document type.")
    try:
        return [element.text or "" for element in ElementTree.fromstring(body)]  # noqa: S314
    except ElementTree.ParseError as error:
        raise BlobError(400, "InvalidXmlDocument", f"The block list is not XML: {error}.") from error


def _stored(blob: Blob, status: int) -> Response:
    headers = _common_headers() | {
        "ETag": blob.etag,
        "Last-Modified": formatdate(blob.modified, usegmt=True),
        "x-ms-request-server-encrypted": "false",
    }
    return Response(status_code=status, headers=headers)


def _read(blob: Blob, request: Request) -> Response:
    headers = _common_headers() | {
        "ETag": blob.etag,
        "Last-Modified": formatdate(blob.modified, usegmt=True),
        "Content-Type": blob.content_type,
        "Accept-Ranges": "bytes",
        "x-ms-blob-type": "BlockBlob",
        "x-ms-creation-time": formatdate(blob.created, usegmt=True),
        **{METADATA_PREFIX + name: value for name, value in blob.metadata.items()},
    }
    wanted = request.headers.get("x-ms-range") or request.headers.get("range")
    start, end = _range(wanted, blob.size)
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(headers=headers)
    if wanted:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
    return StreamingResponse(_pieces(blob, start, end), 206 if wanted else 200, headers)


def _range(header: str | None, size: int) -> tuple[int, int]:
    """Read a range header; return the first byte and the one after the last."""
    if not header:
        return 0, size
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", header.strip())
    start = int(match[1]) if match else size
    if match is None or start >= size:
        raise BlobError(416, "InvalidRange", f"The range {header} lies outside a blob of {size} bytes.")
    end = int(match[2]) + 1 if match[2] else size
    return start, min(end, size)


def _pieces(blob: Blob, start: int, end: int) -> Iterator[bytes]:
    with blob.content.open("rb") as file:
        file.seek(start)
        while start < end and (piece := file.read(min(CHUNK, end - start))):
            start += len(piece)
            yield piece


def _list(blobs: BlobStore, container: str, query: Mapping[str, str]) -> Response:
    """Answer List Blobs, flat or by folder."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    marker = urllib.parse.unquote(query.get("marker", ""))
    limit = min(int(query.get("maxresults") or PAGE), PAGE)
    entries: dict[str, Blob | None] = {}
    for blob in blobs.find(container, prefix):
        head, found, _ = blob.name[len(prefix) :].partition(delimiter) if delimiter else (blob.name, "", "")
        entries.setdefault(prefix + head + found if found else blob.name, None if found else blob)
    after = [name for name in entries if name > marker]
    page, rest = after[:limit], after[limit:]
    root = ElementTree.Element("EnumerationResults", ContainerName=container)
    ElementTree.SubElement(root, "Prefix").text = prefix
    listed = ElementTree.SubElement(root, "Blobs")
    for name in page:
        _add_entry(listed, name, entries[name])
    ElementTree.SubElement(root, "NextMarker").text = page[-1] if rest else ""
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return Response(body, media_type="application/xml", headers=_common_headers())


def _add_entry(parent: ElementTree.Element, name: str, blob: Blob | None) -> None:
    element = ElementTree.SubElement(parent, "BlobPrefix" if blob is None else "Blob")
    ElementTree.SubElement(element, "Name").text = name
    if blob is None:
        return
    properties = ElementTree.SubElement(element, "Properties")
    for key, value in {
        "Creation-Time": formatdate(blob.created, usegmt=True),
        "Last-Modified": formatdate(blob.modified, usegmt=True),
        "Etag": blob.etag.strip('"'),
        "Content-Length": str(blob.size),
        "Content-Type": blob.content_type,
        "BlobType": "BlockBlob",
    }.items():
        ElementTree.SubElement(properties, key).text = value
    metadata = ElementTree.SubElement(element, "Metadata")
    for key, value in blob.metadata.items():
        ElementTree.SubElement(metadata, key).text = value


def _common_headers() -> dict[str, str]:
    return {"x-ms-version": SAS_VERSION}


async def _answer_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, BlobError):
        raise error
    root = ElementTree.Element("Error")
    ElementTree.SubElement(root, "Code").text = error.code
    ElementTree.SubElement(root, "Message").text = str(error)
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    headers = _common_headers() | {"x-ms-error-code": error.code}
    return Response(body, error.status, headers, media_type="application/xml")
