"""Between the HTTP libraries of this process and a workspace: requests (with it all of Azure's clients), httpx, urllib.

The libraries' own transports are replaced while a context lasts; everything above them is theirs.
"""

import asyncio
import contextlib
import email.message
import http.client
import io
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from amlocal.testing.faults import Answer
from amlocal.testing.wire import Request, Wire


@contextlib.contextmanager
def intercepted(wire: Wire) -> Iterator[None]:
    """Put a workspace's wire between the HTTP libraries and the network while the context lasts.

    Args:
        wire: The wire.
    """
    with pytest.MonkeyPatch.context() as patch:
        _intercept_requests(wire, patch)
        _intercept_httpx(wire, patch)
        _intercept_urllib(wire, patch)
        _intercept_azure_core(wire, patch)
        yield


def _intercept_requests(wire: Wire, patch: pytest.MonkeyPatch) -> None:
    import requests
    import urllib3

    original = requests.adapters.HTTPAdapter.send

    def send(self: Any, request: Any, *arguments: Any, **options: Any) -> requests.Response:
        def build(answer: Answer) -> requests.Response:
            raw = urllib3.HTTPResponse(
                body=io.BytesIO(answer.body),
                headers=urllib3.HTTPHeaderDict(answer.headers),
                status=answer.status,
                reason=http.client.responses.get(answer.status),
                preload_content=False,
                request_method=request.method,
            )
            return self.build_response(request, raw)  # type: ignore[no-any-return]

        def read() -> Request:
            return Request(request.method, request.url, list(request.headers.items()), _read_body(request.body))

        try:
            call = wire.call(request.method, request.url)
            if call is None:
                return original(self, request, *arguments, **options)
            return wire.exchange(
                call,
                read,
                build,
                lambda: original(self, request, *arguments, **options),
                lambda response: response.status_code,
            )
        except ConnectionError as error:
            aborted = urllib3.exceptions.ProtocolError("Connection aborted.", error)
            raise requests.exceptions.ConnectionError(aborted, request=request) from error
        except TimeoutError as error:
            raise requests.exceptions.ReadTimeout(str(error), request=request) from error

    patch.setattr(requests.adapters.HTTPAdapter, "send", send)


def _intercept_httpx(wire: Wire, patch: pytest.MonkeyPatch) -> None:
    import httpx

    original = httpx.HTTPTransport.handle_request
    original_async = httpx.AsyncHTTPTransport.handle_async_request

    def read(request: httpx.Request) -> Request:
        return Request(request.method, str(request.url), list(request.headers.multi_items()), request.read())

    def build(answer: Answer) -> httpx.Response:
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    @contextlib.contextmanager
    def in_its_words(request: httpx.Request) -> Iterator[None]:
        try:
            yield
        except ConnectionError as error:
            raise httpx.ReadError(str(error), request=request) from error
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error), request=request) from error

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        with in_its_words(request):
            call = wire.call(request.method, str(request.url))
            if call is None:
                return original(self, request)
            return wire.exchange(
                call,
                lambda: read(request),
                build,
                lambda: original(self, request),
                lambda response: response.status_code,
            )

    async def handle_async(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        with in_its_words(request):
            call = None if _is_unix_socket(self) else wire.call(request.method, str(request.url))
            if call is None:
                return await original_async(self, request)
            await request.aread()
            loop = asyncio.get_running_loop()

            def send() -> httpx.Response:
                return asyncio.run_coroutine_threadsafe(original_async(self, request), loop).result()

            # In a thread, so that several requests of one loop are under way at once.
            return await asyncio.to_thread(
                wire.exchange, call, lambda: read(request), build, send, lambda response: response.status_code
            )

    patch.setattr(httpx.HTTPTransport, "handle_request", handle)
    patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)


def _is_unix_socket(transport: Any) -> bool:
    return getattr(transport._pool, "_uds", None) is not None


def _intercept_urllib(wire: Wire, patch: pytest.MonkeyPatch) -> None:
    original = urllib.request.AbstractHTTPHandler.do_open

    def do_open(
        self: urllib.request.AbstractHTTPHandler, http_class: Any, request: urllib.request.Request, **options: Any
    ) -> http.client.HTTPResponse:
        def build(answer: Answer) -> http.client.HTTPResponse:
            return _urllib_response(answer, request)

        def read() -> Request:
            headers = [*request.unredirected_hdrs.items(), *request.headers.items()]
            return Request(request.get_method(), request.full_url, headers, _read_body(request.data))

        try:
            call = wire.call(request.get_method(), request.full_url)
            if call is None:
                return original(self, http_class, request, **options)
            return wire.exchange(
                call,
                read,
                build,
                lambda: original(self, http_class, request, **options),
                lambda response: response.status,
            )
        except (ConnectionError, TimeoutError) as error:
            raise urllib.error.URLError(error) from error

    patch.setattr(urllib.request.AbstractHTTPHandler, "do_open", do_open)


def _urllib_response(answer: Answer, request: urllib.request.Request) -> http.client.HTTPResponse:
    """Let the standard library parse an answer as if it had come from a socket."""
    headers = email.message.Message()
    for name, value in answer.headers:
        headers[name] = value
    del headers["content-length"]
    headers["Content-Length"] = str(len(answer.body))
    head = f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, '')}\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    raw = (head + lines + "\r\n").encode("latin-1") + answer.body

    class Received:
        def makefile(self, _mode: str) -> io.BytesIO:
            return io.BytesIO(raw)

    response = http.client.HTTPResponse(Received(), method=request.get_method())  # type: ignore[arg-type]
    response.begin()
    response.url = request.full_url
    response.msg = response.reason  # type: ignore[assignment]  # where urllib looks for it
    return response


def _intercept_azure_core(wire: Wire, patch: pytest.MonkeyPatch) -> None:
    from azure.core.pipeline.transport import HttpTransport
    from azure.core.polling import LROPoller

    original = LROPoller.wait

    def wait(self: LROPoller, *arguments: Any, **options: Any) -> None:
        try:
            original(self, *arguments, **options)
        finally:
            wire.faults.pay_interrupt()

    patch.setattr(HttpTransport, "sleep", lambda _self, seconds: time.sleep(min(seconds, wire.longest_wait)))
    patch.setattr(LROPoller, "wait", wait)


def _read_body(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    if hasattr(body, "read"):
        return _read_body(body.read())
    return b"".join(_read_body(piece) for piece in body)
