"""A running deployment: its processes, and the limits on what they are given."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Protocol

import httpx

from amlocal.endpoints.exchange import Scored, Scoring
from amlocal.endpoints.instance import STOP_GRACE, Instance, ProvisioningError
from amlocal.endpoints.log_file import rotate, tail
from amlocal.endpoints.spec import DeploymentSpec

LOG_LINES = 30
# Azure documents that twice the processes' capacity may wait or run at any time.
QUEUE_FACTOR = 2
ROTATE_SECONDS = 5.0
# A process that never answered has nothing to finish.
UNREADY_GRACE = 0.2

log = logging.getLogger(__name__)


class TooManyRequests(Exception):
    """The deployment has as many requests as it may hold."""


class QueueTimeout(Exception):
    """The request waited longer than the deployment lets one wait."""


class RequestTimeout(Exception):
    """The deployment did not answer within its request timeout."""


class ProcessDied(Exception):
    """The scoring process ended before it had answered."""


class ScoringInstance(Protocol):
    """What a deployment needs of one scoring process; :class:`Instance` is the real one."""

    busy: int
    """Requests that it has now."""
    ready: asyncio.Event
    """Set while it may be given requests."""

    async def start(self) -> None:
        """Start it; raises ``OSError`` when the machine has no room for it."""

    async def wait_until_ready(self) -> None:
        """Wait until it is healthy; raises :class:`ProvisioningError` when it will not be."""

    def keep_running(self, on_restart: Callable[[], None]) -> None:
        """From now on, start it again when it dies, and tell each time."""

    async def send(self, scoring: Scoring) -> Scored:
        """Let it answer; raises ``httpx.TransportError`` when it died first."""

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """End it."""


MakeInstance = Callable[[DeploymentSpec, Path, Mapping[str, str]], ScoringInstance]
"""Makes a scoring process from the deployment, the path for its socket and the daemon's environment."""


class Deployment:
    """A deployment's processes.

    Args:
        spec: What to run.
        sockets: Folder for its processes' sockets.
        base: The daemon's environment.
        on_restart: Told of every process that is started again.
        make_instance: Makes each of its processes.
    """

    def __init__(
        self,
        spec: DeploymentSpec,
        sockets: Path,
        base: Mapping[str, str],
        on_restart: Callable[[], None],
        make_instance: MakeInstance = Instance,
    ) -> None:
        self.spec = spec
        self._sockets = sockets
        numbers = range(spec.instance_count)
        self._on_restart = on_restart
        self._instances = [make_instance(spec, sockets / str(number), base) for number in numbers]
        capacity = spec.instance_count * spec.max_concurrent_requests_per_instance
        self._slots = asyncio.Semaphore(capacity)
        self._limit = QUEUE_FACTOR * capacity
        self._held = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._log_keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start all processes and wait until each is healthy.

        Raises:
            ProvisioningError: One of them is not, or cannot be started; all have been stopped.
        """
        try:
            await self._start_without_waiting()
            await asyncio.gather(*(instance.wait_until_ready() for instance in self._instances))
        except ProvisioningError as error:
            await self.stop(UNREADY_GRACE)
            printed = await asyncio.to_thread(tail, self.spec.log, LOG_LINES)
            raise ProvisioningError(f"{error}; last lines of its log:\n{printed}") from error
        except BaseException:
            await self.stop(UNREADY_GRACE)
            raise
        self._keep_running()

    async def restore(self) -> None:
        """Start a deployment that was healthy before; requests wait for it.

        Raises:
            ProvisioningError: A process cannot be started; all have been stopped.
        """
        try:
            await self._start_without_waiting()
        except BaseException:
            await self.stop(UNREADY_GRACE)
            raise
        self._keep_running()

    def _keep_running(self) -> None:
        for instance in self._instances:
            instance.keep_running(self._on_restart)
        self._log_keeper = asyncio.create_task(self._keep_log())

    async def _keep_log(self) -> None:
        while True:
            try:
                await asyncio.to_thread(rotate, self.spec.log)
            except OSError as error:
                log.error("%s cannot be rotated: %s", self.spec.log, error)
            await asyncio.sleep(ROTATE_SECONDS)

    async def _start_without_waiting(self) -> None:
        try:
            self._sockets.mkdir(parents=True, exist_ok=True)
            for instance in self._instances:
                await instance.start()
        except OSError as error:
            raise ProvisioningError(f"a scoring process cannot be started: {error}") from error

    async def score(self, scoring: Scoring) -> Scored:
        """Let the least busy of the processes that are ready answer; wait for one while none is.

        Args:
            scoring: The request.

        Raises:
            TooManyRequests: It would have to wait behind more requests than the deployment may hold.
            QueueTimeout: It waited too long for a free process.
            RequestTimeout: No answer in time.
            ProcessDied: The process that had it ended.
        """
        if self._held >= self._limit:
            raise TooManyRequests
        self._held += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(self.spec.request_timeout), self._slot():
                return await (await self._find_ready()).send(scoring)
        except TimeoutError as error:
            raise RequestTimeout from error
        except httpx.TransportError as error:
            raise ProcessDied from error
        finally:
            self._held -= 1
            if not self._held:
                self._idle.set()

    async def _find_ready(self) -> ScoringInstance:
        """Choose the least busy process of those that are ready."""
        while not (ready := [instance for instance in self._instances if instance.ready.is_set()]):
            waits = [asyncio.create_task(instance.ready.wait()) for instance in self._instances]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        return min(ready, key=lambda instance: instance.busy)

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Hold one of the processes' places for a request."""
        try:
            async with asyncio.timeout(self.spec.max_queue_wait) as patience:
                await self._slots.acquire()
        except TimeoutError:
            if patience.expired():
                raise QueueTimeout from None
            raise
        try:
            yield
        finally:
            self._slots.release()

    async def drain(self) -> None:
        """Wait until no request is in flight; none of them takes longer than the request timeout."""
        await self._idle.wait()

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """End all processes.

        Args:
            grace: Seconds they are given to finish what they are doing.
        """
        if self._log_keeper is not None:
            self._log_keeper.cancel()
        await asyncio.gather(*(instance.stop(grace) for instance in self._instances))
        with contextlib.suppress(FileNotFoundError):
            self._sockets.rmdir()
