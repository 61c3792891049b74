"""One scoring process: started, watched, restarted, asked."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from amlocal.endpoints.environment import available_cores, scoring_environment
from amlocal.endpoints.exchange import Scored, Scoring
from amlocal.endpoints.process import Child, spawn
from amlocal.endpoints.spec import DeploymentSpec

QUEUE = 256
BACK_OFF_FIRST = 0.5
BACK_OFF_LIMIT = 30.0
WELL_AFTER = 60.0
STOP_GRACE = 5.0

log = logging.getLogger(__name__)


class ProvisioningError(Exception):
    """A deployment did not become healthy; the message ends with the last lines of its log."""


def back_off(failures: int) -> float:
    """Say how long to wait before starting a process again.

    Args:
        failures: How often in a row it has died, at least 1.

    Returns:
        Seconds.
    """
    return float(min(BACK_OFF_LIMIT, BACK_OFF_FIRST * 2 ** min(failures - 1, 10)))


class Instance:
    """One of a deployment's scoring processes.

    The listening socket belongs to the daemon and outlives the process.

    Args:
        spec: The deployment.
        path: Where the Unix socket is to be; nobody but this user can reach its folder.
        base: The daemon's environment.

    Attributes:
        busy: Requests that it has now.
        ready: Set from its first healthy answer until it ends or misses its readiness probes.
    """

    def __init__(self, spec: DeploymentSpec, path: Path, base: Mapping[str, str]) -> None:
        self.busy = 0
        self.ready = asyncio.Event()
        self._spec = spec
        self._path = path
        self._environment = scoring_environment(spec, base, available_cores())
        self._listener: socket.socket | None = None
        # The server closes every connection after one answer, so there is nothing to keep alive.
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(path)),
            base_url="http://scoring",
            timeout=None,  # noqa: S113 - the deployment's request timeout is around every call
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
        )
        # A scoring script sees what the client sent; above all it compresses for those alone who can take it.
        self._client.headers.clear()
        self._child: Child | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process.

        Raises:
            OSError: The machine has no room for it. :meth:`stop` still has to be called.
        """
        if self._listener is None:
            self._listener = self._listen()
        command = [str(self._spec.python), str(Path(__file__).with_name("scoring_process.py"))]
        self._child = await spawn(
            [*command, str(self._listener.fileno())],
            environment=self._environment,
            log=self._spec.log,
            cwd=self._spec.app_root,
            pass_fds=[self._listener.fileno()],
        )

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.unlink(missing_ok=True)
            listener.bind(str(self._path))
            listener.listen(QUEUE)
        except OSError:
            listener.close()
            raise
        return listener

    async def wait_until_ready(self) -> None:
        """Wait for the first healthy answer of the process just started.

        Raises:
            ProvisioningError: It ended, or was silent for longer than its readiness probe allows.
        """
        if self._child is None:
            raise AssertionError("wait_until_ready before start")
        patience = self._spec.readiness.patience
        ended = asyncio.create_task(self._child.wait())
        healthy = asyncio.create_task(self._wait_until_healthy(patience))
        try:
            await asyncio.wait({ended, healthy}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise ProvisioningError(f"the scoring process ended with exit code {ended.result()}")
            if not healthy.done():
                raise ProvisioningError(f"the scoring process did not answer healthy within {patience:.0f} s")
            self.ready.set()
        finally:
            ended.cancel()
            healthy.cancel()

    def keep_running(self, on_restart: Callable[[], None]) -> None:
        """From now on, restart the process when it dies or its liveness probe gives it up.

        Args:
            on_restart: Told each time.
        """
        self._keeper = asyncio.create_task(self._keep_running(on_restart))

    async def send(self, scoring: Scoring) -> Scored:
        """Let the process answer a request.

        Args:
            scoring: The request.

        Raises:
            httpx.TransportError: The process died before it had answered.
        """
        request = self._client.build_request(
            scoring.method, scoring.path, headers=[*scoring.headers], content=scoring.body
        )
        self.busy += 1
        try:
            answer = await self._client.send(request, stream=True)
            try:
                # Raw: httpx would decompress what the client is told to be compressed.
                body = b"".join([piece async for piece in answer.aiter_raw()])
            finally:
                await answer.aclose()
        finally:
            self.busy -= 1
        headers = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in answer.headers.raw]
        return Scored(answer.status_code, answer.reason_phrase, headers, body)

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """End the process and its whole group.

        Args:
            grace: Seconds it is given to finish what it is doing.
        """
        if self._keeper is not None:
            self._keeper.cancel()
        if self._child is not None:
            await self._child.terminate(grace)
        self.ready.clear()
        await self._client.aclose()
        if self._listener is not None:
            self._listener.close()
        self._path.unlink(missing_ok=True)

    async def _keep_running(self, on_restart: Callable[[], None]) -> None:
        failures = 0
        while self._child is not None:
            started = time.monotonic()
            reason = await self._wait_until_unwell(self._child)
            failures = failures + 1 if time.monotonic() - started < WELL_AFTER else 1
            while not await self._start_again(reason, back_off(failures), on_restart):
                failures += 1
                reason = "the machine has no room for the scoring process"

    async def _start_again(self, reason: str, delay: float, on_restart: Callable[[], None]) -> bool:
        """Start the process once more after a while; whether the machine had room for it."""
        self._note(f"{reason}; it is started again in {delay:.1f} s")
        await asyncio.sleep(delay)
        try:
            await self.start()
        except OSError as error:
            # No reason to give it up: the machine may have room the next time.
            log.error("%s/%s: a scoring process cannot be started: %s", self._spec.endpoint, self._spec.name, error)
            return False
        on_restart()
        return True

    async def _wait_until_unwell(self, child: Child) -> str:
        """Wait until the process has died or does not answer any more; say which."""
        try:
            # A process that has been started again may load for longer than liveness probes are patient.
            await self.wait_until_ready()
        except ProvisioningError as error:
            self.ready.clear()
            await child.terminate(0)
            return str(error)
        ended = asyncio.create_task(child.wait())
        ended.add_done_callback(lambda _: self.ready.clear())
        silent = asyncio.create_task(self._wait_until_silent())
        following = asyncio.create_task(self._follow_readiness())
        try:
            await asyncio.wait({ended, silent}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return f"the scoring process ended with exit code {ended.result()}"
            following.cancel()
            self.ready.clear()
            await child.terminate(STOP_GRACE)
            return f"the scoring process missed {self._spec.liveness.failure_threshold} liveness probes"
        finally:
            for task in (ended, silent, following):
                task.cancel()
            self.ready.clear()

    async def _wait_until_silent(self) -> None:
        """Wait until the process has missed as many liveness probes in a row as make it unwell."""
        probe, misses = self._spec.liveness, 0
        await asyncio.sleep(probe.initial_delay)
        while True:
            misses = 0 if await self._probe(probe.timeout) else misses + 1
            if misses >= probe.failure_threshold:
                return
            await asyncio.sleep(probe.period)

    async def _follow_readiness(self) -> None:
        """Take the process out of the rotation while it misses its readiness probes."""
        probe, misses = self._spec.readiness, 0
        while True:
            await asyncio.sleep(probe.period)
            misses = 0 if await self._probe(probe.timeout) else misses + 1
            if misses == 0 and not self.ready.is_set():
                self._note("the scoring process is ready again")
                self.ready.set()
            elif misses >= probe.failure_threshold and self.ready.is_set():
                self._note(
                    f"the scoring process missed {misses} readiness probes; it gets no requests until it passes one"
                )
                self.ready.clear()

    async def _wait_until_healthy(self, patience: float) -> None:
        # Normally one question: it waits in the socket's queue until the process has loaded.
        while not await self._probe(patience):
            await asyncio.sleep(0.05)

    async def _probe(self, patience: float) -> bool:
        """Ask once; whether a healthy answer came in time."""
        try:
            async with asyncio.timeout(patience):
                answer = await self._client.get("/")
        except (httpx.TransportError, TimeoutError):
            return False
        return answer.is_success

    def _note(self, line: str) -> None:
        log.warning("%s/%s: %s", self._spec.endpoint, self._spec.name, line)
        try:
            with self._spec.log.open("a", encoding="utf-8") as file:
                file.write(f"amlocal: {line}\n")
        except OSError as error:
            log.error("%s cannot be written: %s", self._spec.log, error)
