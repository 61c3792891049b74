"""Long-running operations: work that outlives the request for it, and the address that tells how it goes."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from amlocal.endpoints.instance import ProvisioningError
from amlocal.workspace import names
from amlocal.workspace.arm_shapes import arm_id, timestamp
from amlocal.workspace.errors import not_found
from amlocal.workspace.store import Json, Store

COLLECTION = "operations"
# Azure's poller takes "Retry-After: 0" for absent and then sleeps for seconds.
POLL_MILLISECONDS = 100

KEPT_SECONDS = 24 * 3600.0
"""For so long a poller may learn how an operation ended."""

Hold = Callable[[str], Awaitable[None]]
"""What an operation waits for before it begins; gets its name."""

log = logging.getLogger(__name__)


async def no_hold(_operation: str) -> None:
    """Let an operation begin at once."""


class Operations:
    """The operations of one workspace.

    Args:
        store: Where their states are kept, so that a poller learns of the end after a restart, too.
        hold: What each of them waits for before it begins.
    """

    def __init__(self, store: Store, hold: Hold = no_hold) -> None:
        self._store = store
        self._hold = hold
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: set[str] = set()
        for resource in store.members(COLLECTION):
            if resource.body["status"] == "InProgress":
                self._finish(resource.name, "The workspace was stopped while the operation was running.")

    def begin(self, work: Coroutine[None, None, None]) -> dict[str, str]:
        """Start an operation.

        Args:
            work: Does it. Raises :class:`ProvisioningError` when it fails.

        Returns:
            Headers for the answer to the request that asked for it.
        """
        name = str(uuid.uuid4())
        self._purge()
        self._under_way.add(name)
        self._store.put(COLLECTION, name, {"status": "InProgress", "startTime": timestamp(time.time())})
        task = asyncio.create_task(self._run(name, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        address = f"https://{names.MANAGEMENT_HOST}{arm_id(COLLECTION)}/{name}?api-version=2025-12-01"
        return {
            "Azure-AsyncOperation": address,
            "Location": address,
            "retry-after-ms": str(POLL_MILLISECONDS),
        }

    def routes(self) -> list[Route]:
        """Build the routes that pollers ask."""
        return [Route(f"/{COLLECTION}/{{name}}", self._get)]

    async def close(self) -> None:
        """Cancel what is still running."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _get(self, request: Request) -> Response:
        name = request.path_params["name"]
        resource = self._store.get(COLLECTION, name)
        if resource is None:
            raise not_found(f"operation {name}")
        body = {"id": arm_id(resource.path), "name": name, **resource.body}
        return JSONResponse(body, headers={"retry-after-ms": str(POLL_MILLISECONDS)})

    async def _run(self, name: str, work: Coroutine[None, None, None]) -> None:
        message = "The operation ended unexpectedly; see the log of the workspace."
        try:
            await self._hold(name)
            await work
            message = ""
        except ProvisioningError as error:
            message = str(error)
        except asyncio.CancelledError:
            message = "The workspace was stopped while the operation was running."
            raise
        finally:
            work.close()  # it never began when it was still held
            # Also reached by an error of ours, which asyncio logs: a poller must never wait for ever.
            self._finish(name, message)

    def _finish(self, name: str, message: str) -> None:
        resource = self._store.get(COLLECTION, name)
        self._under_way.discard(name)
        body: Json = dict(resource.body) if resource is not None else {}
        body |= {"status": "Failed" if message else "Succeeded", "endTime": timestamp(time.time())}
        if message:
            body["error"] = {"code": "ResourceNotReady", "message": message}
        self._store.put(COLLECTION, name, body)

    def _purge(self) -> None:
        """Forget the operations that nobody asks about any more."""
        for name in self._store.names_before(COLLECTION, time.time() - KEPT_SECONDS):
            if name not in self._under_way:
                self._store.delete(COLLECTION, name)
