"""The CONNECT proxy through which clients reach the workspace's host names, and the rest of the world."""

import asyncio
import base64
import contextlib
import hmac
import logging
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field

from amlocal.workspace import names

CHUNK = 1 << 16
HEADER_LIMIT = 1 << 16
CONNECT_SECONDS = 30.0
USER = "amlocal"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProxySettings:
    """What the proxy does.

    Attributes:
        key: Password that clients have to present.
        https_port: Loopback port that stands for every host of the workspace.
        allow_egress: Whether other hosts are passed on.
        upstream: Proxy URL for other hosts, from the daemon's own environment; ``None`` connects directly.
    """

    key: str = field(repr=False)
    https_port: int
    allow_egress: bool
    upstream: str | None


class Refused(Exception):
    """The proxy will not make this connection; carries the status line to answer."""


def upstream_from(environment: Mapping[str, str]) -> str | None:
    """Find the proxy that this machine needs for https.

    Args:
        environment: The daemon's environment.
    """
    url = environment.get("HTTPS_PROXY") or environment.get("https_proxy") or ""
    # A step that starts the workspace has this very proxy in its environment.
    return None if not url or url.startswith(f"http://{USER}:") else url


async def serve_client(settings: ProxySettings, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Handle one client connection until either side closes it.

    Args:
        settings: What the proxy does.
        reader: From the client.
        writer: To the client.
    """
    try:
        target_reader, target_writer = await _accept(settings, reader)
    except Refused as refusal:
        with contextlib.suppress(ConnectionError):
            writer.write(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()
        return
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        writer.close()
        return
    try:
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        pumps = {
            asyncio.create_task(_pump(reader, target_writer)),
            asyncio.create_task(_pump(target_reader, writer)),
        }
        # TLS knows no half-open connection: when one side is done, so is the tunnel.
        _, pending = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pending:
            pump.cancel()
    finally:
        target_writer.close()
        writer.close()


async def _accept(
    settings: ProxySettings, reader: asyncio.StreamReader
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request, *header_lines = head.split("\r\n")
    method, target, *_ = [*request.split(" "), "", ""]
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in header_lines)}
    _check_key(settings, headers.get("proxy-authorization", ""))
    host, _, port = target.rpartition(":")
    host = host.strip("[]").lower()
    if method != "CONNECT" or not host or not port.isdigit():
        raise Refused("405 Only CONNECT host:port is answered")
    return await _connect(settings, host, int(port))


def _check_key(settings: ProxySettings, authorization: str) -> None:
    expected = "Basic " + base64.b64encode(f"{USER}:{settings.key}".encode()).decode()
    if not hmac.compare_digest(authorization.encode(), expected.encode()):
        raise Refused('407 Proxy key missing or wrong\r\nProxy-Authenticate: Basic realm="amlocal"')


async def _connect(settings: ProxySettings, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if names.is_workspace_host(host):
        return await asyncio.open_connection("127.0.0.1", settings.https_port)
    if not settings.allow_egress:
        log.warning("egress refused: %s:%d", host, port)
        raise Refused("403 This workspace was started without egress")
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            if settings.upstream is None:
                return await asyncio.open_connection(host, port)
            return await _connect_through(settings.upstream, host, port)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        log.warning("cannot reach %s:%d: %s", host, port, error)
        raise Refused("502 Host cannot be reached") from error


async def _connect_through(upstream: str, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a tunnel through another proxy."""
    url = urllib.parse.urlsplit(upstream if "://" in upstream else f"http://{upstream}")
    tls = url.scheme == "https"
    reader, writer = await asyncio.open_connection(url.hostname, url.port or (443 if tls else 80), ssl=tls or None)
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if url.username is not None:
        user = f"{urllib.parse.unquote(url.username)}:{urllib.parse.unquote(url.password or '')}"
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(user.encode()).decode())
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    status_line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode("latin-1")
    if status_line.split(" ")[1:2] != ["200"]:
        writer.close()
        raise OSError(f"upstream proxy answered: {status_line}")
    return reader, writer


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until it ends."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
