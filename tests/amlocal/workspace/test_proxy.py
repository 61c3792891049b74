"""The CONNECT proxy."""

import asyncio
import base64
import functools

import pytest

from amlocal.workspace import proxy

AUTHORIZATION = "Proxy-Authorization: Basic " + base64.b64encode(b"amlocal:key").decode()


async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello from the target")
    writer.close()


def connect(target: str, *, allow_egress: bool, authorization: str = AUTHORIZATION, upstream: bool = False) -> bytes:
    """Ask a proxy for a target; a workspace's host leads to ``greet``, and so does 127.0.0.1:TARGET."""

    async def run() -> bytes:
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        passing = proxy.ProxySettings("up", port, True, None)
        behind = await asyncio.start_server(functools.partial(proxy.serve_client, passing), "127.0.0.1", 0)
        above = f"http://amlocal:up@127.0.0.1:{behind.sockets[0].getsockname()[1]}" if upstream else None
        settings = proxy.ProxySettings("key", port, allow_egress, above)
        middle = await asyncio.start_server(functools.partial(proxy.serve_client, settings), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*middle.sockets[0].getsockname())
        writer.write(f"CONNECT {target.replace('TARGET', str(port))} HTTP/1.1\r\n{authorization}\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer

    return asyncio.run(run())


def test_workspace_hosts_lead_to_the_workspace() -> None:
    answer = connect("management.amlocal.test:443", allow_egress=False)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"hello from the target")


def test_other_hosts_pass_only_when_allowed() -> None:
    assert connect("127.0.0.1:TARGET", allow_egress=False).startswith(b"HTTP/1.1 403")
    assert connect("127.0.0.1:TARGET", allow_egress=True).endswith(b"hello from the target")


def test_other_hosts_go_through_the_machines_own_proxy() -> None:
    assert connect("127.0.0.1:TARGET", allow_egress=True, upstream=True).endswith(b"hello from the target")


@pytest.mark.parametrize("authorization", ["", "Proxy-Authorization: Basic eDp5", "Proxy-Authorization: Bearer key"])
def test_no_passage_without_the_key(authorization: str) -> None:
    answer = connect("management.amlocal.test:443", allow_egress=True, authorization=authorization)
    assert answer.startswith(b"HTTP/1.1 407")
    assert b"hello" not in answer


def test_a_host_that_cannot_be_reached_is_a_bad_gateway() -> None:
    assert connect("127.0.0.1:1", allow_egress=True).startswith(b"HTTP/1.1 502")


def test_only_connect_is_answered() -> None:
    assert connect("nonsense", allow_egress=True).startswith(b"HTTP/1.1 405")


def test_the_workspaces_own_proxy_is_no_upstream() -> None:
    assert proxy.upstream_from({"HTTPS_PROXY": "http://amlocal:k@127.0.0.1:1"}) is None
    assert proxy.upstream_from({"https_proxy": "http://corporate:3128"}) == "http://corporate:3128"
    assert proxy.upstream_from({}) is None
