"""Measure what the router adds to a request, beside direct calls to the same scoring process.

Direct and routed requests alternate, so that both meet the same machine. The added latency of a percentile is the
difference of that percentile between the two. Exits 1 when one misses its target.

Example:
    python benchmarks/router.py --requests 2000
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from azure.ai.ml import MLClient
from azure.ai.ml.entities import CodeConfiguration, ManagedOnlineDeployment, ManagedOnlineEndpoint
from azure.identity import DefaultAzureCredential

from amlocal.testing import running_workspace
from amlocal.workspace import lifecycle
from amlocal.workspace.layout import Layout

SCORE = "def init():\n    pass\n\ndef run(data):\n    return len(data)\n"
BODY = json.dumps({"input_data": [{"text": "my parcel has not arrived yet"}]}).encode()
WARM_UP = 100
MOST_MEDIAN = 2.0
"""Milliseconds that the router may add to the median."""
MOST_P99 = 10.0
"""Milliseconds that it may add to the 99th percentile."""


class UnixConnection(http.client.HTTPConnection):
    """A connection to a Unix socket.

    Args:
        path: The socket.
    """

    def __init__(self, path: Path) -> None:
        super().__init__("scoring")
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


@dataclass(frozen=True)
class Endpoint:
    """Where the two ways begin.

    Attributes:
        socket: Unix socket of the scoring process.
        port: Port of the router.
        headers: Headers that the router wants.
    """

    socket: Path
    port: int
    headers: dict[str, str]

    def direct(self) -> float:
        """Ask the scoring process; return milliseconds. It closes every connection after one answer."""
        return _ask(UnixConnection(self.socket), "/score", {})

    def routed(self) -> float:
        """Ask the router by a connection of its own; return milliseconds."""
        return _ask(http.client.HTTPConnection("127.0.0.1", self.port), "/endpoints/bench/score", self.headers)


def _ask(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> float:
    began = time.perf_counter()
    connection.request("POST", path, BODY, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    content = answer.read()
    took = time.perf_counter() - began
    connection.close()
    if answer.status != http.client.OK:
        raise SystemExit(f"{path}: status {answer.status}: {content[:300]!r}")
    return took * 1000


@dataclass(frozen=True)
class Cost:
    """What was measured.

    Attributes:
        direct: Milliseconds of each direct request.
        routed: Milliseconds of each request through the router.
        daemon_seconds: Processor seconds of the daemon for the requests through the router.
    """

    direct: Sequence[float]
    routed: Sequence[float]
    daemon_seconds: float

    def added(self, percentile: int) -> float:
        """Milliseconds that the router adds at a percentile."""
        return _percentile(self.routed, percentile) - _percentile(self.direct, percentile)


def _percentile(values: Sequence[float], percentile: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percentile - 1]


def measure(endpoint: Endpoint, requests: int, daemon: psutil.Process) -> Cost:
    """Let direct and routed requests alternate.

    Args:
        endpoint: Where to send them.
        requests: How many of each.
        daemon: The process of the router.
    """
    for _ in range(WARM_UP):
        endpoint.direct()
        endpoint.routed()
    direct, routed = [], []
    before = sum(daemon.cpu_times()[:2])
    for _ in range(requests):
        direct.append(endpoint.direct())
        routed.append(endpoint.routed())
    return Cost(direct, routed, sum(daemon.cpu_times()[:2]) - before)


def deploy(home: Path, folder: Path) -> Endpoint:
    """Make an endpoint of one scoring process that does next to nothing.

    Args:
        home: Home of a running workspace, to which the environment's variables point.
        folder: An empty folder.
    """
    state = lifecycle.status(home)
    if state.connection is None:
        raise SystemExit("the workspace does not run")
    os.environ.update(state.connection.client_environment())
    names = (state.connection.subscription_id, state.connection.resource_group, state.connection.workspace_name)
    client = MLClient(DefaultAzureCredential(), *names)
    (folder / "score.py").write_text(SCORE, encoding="utf-8")
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="bench")).result()
    code = CodeConfiguration(code=str(folder), scoring_script="score.py")
    blue = ManagedOnlineDeployment(name="blue", endpoint_name="bench", code_configuration=code, instance_count=1)
    client.online_deployments.begin_create_or_update(blue).result()
    endpoint = client.online_endpoints.get("bench")
    endpoint.traffic = {"blue": 100}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    key = client.online_endpoints.get_keys("bench").primary_key
    (process_socket,) = Layout(home).socket_folder().glob("*/0")
    port = int(state.connection.scoring_base_url.rsplit(":", 1)[1])
    return Endpoint(process_socket, port, {"Authorization": f"Bearer {key}"})


def main(arguments: list[str]) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="of each kind")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="amlocal-bench-") as folder:
        home, code = Path(folder, "home"), Path(folder, "code")
        code.mkdir()
        with running_workspace(home):
            endpoint = deploy(home, code)
            cost = measure(endpoint, options.requests, psutil.Process(lifecycle.status(home).pid))
    print(f"| {options.requests} requests each, alternating | p50, ms | p90, ms | p99, ms |")
    print("|---|---|---|---|")
    for name, values in (("direct to the scoring process", cost.direct), ("through the router", cost.routed)):
        print(f"| {name} | " + " | ".join(f"{_percentile(values, at):.2f}" for at in (50, 90, 99)) + " |")
    print("| added | " + " | ".join(f"{cost.added(at):.2f}" for at in (50, 90, 99)) + " |")
    spent = cost.daemon_seconds / options.requests * 1000
    print(f"\nThe daemon took {spent:.2f} CPU-ms per request through the router.")
    missed = cost.added(50) > MOST_MEDIAN or cost.added(99) > MOST_P99
    if missed:
        print(f"missed: at most {MOST_MEDIAN} ms at p50 and {MOST_P99} ms at p99 may be added", file=sys.stderr)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
