"""The workspace's daemon: ``python -m amlocal.workspace.serve --home DIR``."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import filelock
import psutil
import uvicorn
from starlette.types import ASGIApp

from amlocal.endpoints.serving import Serving
from amlocal.workspace import names, proxy
from amlocal.workspace.certificates import ensure_certificates
from amlocal.workspace.daemon_record import LISTENERS, DaemonRecord, new_record, read_record, write_record
from amlocal.workspace.job_runner import ProcessJobRunner
from amlocal.workspace.layout import Layout
from amlocal.workspace.mlflow_process import running_mlflow, wait_for_mlflow
from amlocal.workspace.mlflow_server import AZURE_PREFIX
from amlocal.workspace.services import Addresses, running_services

REQUEST_STOP_SECONDS = 5
BACKLOG = 512

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Serve one workspace until SIGTERM or SIGINT.

    Args:
        arguments: Command line without the program's name.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder that holds the workspace's state")
    parser.add_argument("--refuse-egress", action="store_true", help="let the proxy pass no other hosts")
    options = parser.parse_args(arguments)
    # One request line per request belongs to the caller's log, not to the daemon's.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "httpcore", "uvicorn", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    layout = Layout(options.home.resolve())
    layout.create()
    try:
        with filelock.FileLock(layout.daemon_lock, timeout=2):
            asyncio.run(serve(layout, allow_egress=not options.refuse_egress))
    except filelock.Timeout:
        print(f"another workspace already serves {layout.home}", file=sys.stderr)
        return 1
    return 0


async def serve(layout: Layout, *, allow_egress: bool) -> None:
    """Run the listeners until asked to stop.

    Args:
        layout: Where the workspace keeps its state.
        allow_egress: Whether the proxy passes other hosts.
    """
    began = time.monotonic()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    record = read_record(layout) or new_record()
    listeners = {name: bind_loopback(record.ports.get(name, 0)) for name in LISTENERS}
    ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
    settings = proxy.ProxySettings(record.key, ports["https"], allow_egress, proxy.upstream_from(os.environ))
    async with contextlib.AsyncExitStack() as stack:
        # mlflow takes longest, so it starts first and loads while the rest is set up.
        await stack.enter_async_context(running_mlflow(layout, record.key, listeners["mlflow"]))
        certificate, private_key = ensure_certificates(layout)
        addresses = Addresses(
            tracking_uri=names.TRACKING_URI,
            scoring_base_url=f"http://127.0.0.1:{ports['scoring']}",
            mlflow_server=f"http://127.0.0.1:{ports['mlflow']}{AZURE_PREFIX}",
        )
        services = await stack.enter_async_context(
            running_services(
                layout,
                record.key,
                addresses,
                lambda router: Serving(router, layout.socket_folder(), os.environ),
                ProcessJobRunner(layout.home, os.environ),
            )
        )
        tls = {"ssl_certfile": certificate, "ssl_keyfile": private_key}
        await stack.enter_async_context(running_http(services.https, listeners["https"], tls))
        await stack.enter_async_context(running_http(services.scoring, listeners["scoring"]))
        await stack.enter_async_context(running_proxy(settings, listeners["proxy"]))
        await wait_for_mlflow(ports["mlflow"], record.key)
        process = psutil.Process()
        write_record(layout, DaemonRecord(record.key, ports, process.pid, process.create_time()))
        log.info("ready after %.1f s, ports %s", time.monotonic() - began, ports)
        await stopping.wait()
        log.info("stopping")
    write_record(layout, DaemonRecord(record.key, ports))
    log.info("stopped")


def bind_loopback(port: int) -> socket.socket:
    """Bind a listening socket on 127.0.0.1.

    Args:
        port: Port of the last time, or 0 for any. When it has been taken meanwhile, the system gives another.
    """
    # asyncio switches Nagle's algorithm off only where the protocol is named; with it, answers come 40 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    return listener


@contextlib.asynccontextmanager
async def running_http(
    app: ASGIApp, listener: socket.socket, tls: Mapping[str, Path] | None = None
) -> AsyncIterator[None]:
    """Serve an application while the context lasts, without uvicorn's own handling of signals.

    Args:
        app: What to serve.
        listener: Listening socket; closed at the end.
        tls: uvicorn's settings for https; ``None`` serves http.
    """
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=REQUEST_STOP_SECONDS,
        **(tls or {}),  # type: ignore[arg-type]
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    loop = asyncio.create_task(server.main_loop())
    try:
        yield
    finally:
        server.should_exit = True
        await loop
        await server.shutdown(sockets=[listener])


@contextlib.asynccontextmanager
async def running_proxy(settings: proxy.ProxySettings, listener: socket.socket) -> AsyncIterator[None]:
    """Serve the CONNECT proxy while the context lasts.

    Args:
        settings: What it does.
        listener: Listening socket; closed at the end.
    """
    tunnels: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnel = asyncio.create_task(proxy.serve_client(settings, reader, writer))
        tunnels.add(tunnel)
        tunnel.add_done_callback(tunnels.discard)

    server = await asyncio.start_server(accept, sock=listener, limit=proxy.HEADER_LIMIT)
    try:
        yield
    finally:
        server.close()
        # Clients keep idle connections for later; the servers behind would wait for them.
        for tunnel in tunnels:
            tunnel.cancel()
        await asyncio.gather(*tunnels, return_exceptions=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
