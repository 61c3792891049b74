r"""What serving costs: this project's score.py against the seed recipe's, behind the same server, in turns.

The seed recipe is what public samples do: a transformers pipeline in fp32, one request at a time. Both run behind
azureml-inference-server-http with as many workers, on the same cores, with a thread for each worker. They are asked the
rows of the data set's test split, whose lengths differ, one row a request, and take turns by rounds.

Example:
    python benchmarks/serve.py --data ../shared/data/mrpc --folder build/bench-serve
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pandas as pd
import psutil

from amlocal import endpoints
from finetune.data.manifest import LABEL, MANIFEST, TEST_FILE, read_manifest
from finetune.training.contents import COMPRESSION_RECORD, TRAINING_RECORD

ROOT = Path(__file__).parents[1]
SCRIPTS = {"seed recipe": ROOT / "benchmarks" / "serve_seed", "score.py": ROOT / "endpoints" / "text-classifier"}
SERVER = Path(endpoints.__file__).parent / "scoring_process.py"
CONCURRENCIES = (1, 8, 32)
START_SECONDS = 180.0


@dataclass(frozen=True)
class Variant:
    """A scoring script with a model."""

    name: str
    script: Path
    model: Path


@dataclass(frozen=True)
class Server:
    """A variant that serves."""

    uri: str
    process: subprocess.Popen[bytes]
    cold_start: float
    """Seconds from the process's start to its first answer."""

    def megabytes(self) -> float:
        """Return the memory that its processes have to themselves, and their shares of what they have in common."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        return sum(each.memory_full_info().pss for each in family) / 2**20


@dataclass
class Measured:
    """What was measured of a variant."""

    seconds: dict[int, list[list[float]]] = field(default_factory=dict)
    """Concurrency → for each round the seconds of its requests."""
    rates: dict[int, list[float]] = field(default_factory=dict)
    """Concurrency → requests per second of each round."""
    labels: dict[int, str] = field(default_factory=dict)
    """Test row → the answer."""
    cold_start: float = 0.0
    megabytes: float = 0.0


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of MRPC, as text pairs with their label")
    parser.add_argument("--folder", type=Path, required=True, help="where the models are made, unless they are there")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes of each server")
    parser.add_argument("--requests", type=int, default=300, help="requests in a round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each; the median counts")
    arguments = parser.parse_args()
    dataset, model, compressed = made(arguments.data, arguments.folder)
    variants = (
        Variant("seed recipe", SCRIPTS["seed recipe"], model),
        Variant("score.py, plain model", SCRIPTS["score.py"], model),
        Variant("score.py, compressed model", SCRIPTS["score.py"], compressed),
    )
    manifest = read_manifest(dataset)
    rows = pd.read_parquet(dataset / TEST_FILE)
    bodies = [
        json.dumps({"input_data": [row]}).encode() for row in rows[list(manifest.text_columns)].to_dict("records")
    ]
    print(
        f"{len(rows)} test rows, {arguments.workers} workers, rounds of {arguments.requests} requests", file=sys.stderr
    )
    measured = measure(variants, bodies, arguments.workers, arguments.requests, arguments.rounds)
    print(table(measured, list(rows[LABEL])))


def made(data: Path, folder: Path) -> tuple[Path, Path, Path]:
    """Prepare, train and compress by the components themselves; what is there is kept.

    Returns:
        The folders of the data set, the plain model and the compressed one.
    """
    dataset, model, compressed = (folder / name for name in ("dataset", "model", "compressed"))
    columns = ("--text_column", "sentence1", "--text_pair_column", "sentence2")
    pair = ("--task", "text-pair-classification", *columns)
    steps = (
        (dataset / MANIFEST, "prep", ("--data", data, *pair, "--dataset", dataset)),
        (
            model / TRAINING_RECORD,
            "train",
            ("--dataset", dataset, "--model", model, "--checkpoints", folder / "checkpoints"),
        ),
        (
            compressed / COMPRESSION_RECORD,
            "compress",
            ("--dataset", dataset, "--model", model, "--compressed", compressed),
        ),
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{(folder / 'mlflow.db').resolve()}"}
    folder.mkdir(parents=True, exist_ok=True)
    for last, stage, given in steps:
        if not last.is_file():
            script = ROOT / "components" / stage / f"{stage}.py"
            subprocess.run([sys.executable, script, *map(str, given)], check=True, env=environment)
    return dataset, model, compressed


def measure(
    variants: Sequence[Variant], bodies: Sequence[bytes], workers: int, requests: int, rounds: int
) -> dict[str, Measured]:
    """Return variant → what was measured; all serve at once, and one is asked at a time."""
    found = {variant.name: Measured() for variant in variants}
    with serving(variants, bodies[0], workers) as servers:
        for name, server in servers.items():
            found[name].cold_start = server.cold_start
            found[name].labels = dict(enumerate(answers(server, bodies)))
            found[name].megabytes = server.megabytes()
        for number in range(rounds):
            for concurrency in CONCURRENCIES:
                for name, server in servers.items():
                    chosen = [bodies[(number * requests + at) % len(bodies)] for at in range(requests)]
                    seconds, rate = asyncio.run(load(server.uri, chosen, concurrency))
                    found[name].seconds.setdefault(concurrency, []).append(seconds)
                    found[name].rates.setdefault(concurrency, []).append(rate)
                    said = (
                        f"{name}, {concurrency} at once: {rate:.0f}/s, p50 {1000 * statistics.median(seconds):.1f} ms"
                    )
                    print(said, file=sys.stderr, flush=True)
    return found


@contextmanager
def serving(variants: Sequence[Variant], body: bytes, workers: int) -> Iterator[Mapping[str, Server]]:
    """Start the variants one after another; end them all in the end."""
    servers: dict[str, Server] = {}
    try:
        for variant in variants:
            servers[variant.name] = start(variant, body, workers)
        yield servers
    finally:
        for server in servers.values():
            end(server.process)


def start(variant: Variant, body: bytes, workers: int) -> Server:
    """Start a server on a loopback port that the system picks, and wait for its first answer."""
    environment = {
        **os.environ,
        "AZUREML_MODEL_DIR": str(variant.model.resolve()),
        "AML_APP_ROOT": str(variant.script),
        "AZUREML_ENTRY_SCRIPT": "score.py",
        "WORKER_COUNT": str(workers),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}/score"
        process = subprocess.Popen(
            [sys.executable, str(SERVER), str(listener.fileno())],
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    while True:
        try:
            response = httpx.post(
                uri, content=body, timeout=START_SECONDS, headers={"Content-Type": "application/json"}
            )
            response.raise_for_status()
            return Server(uri, process, time.monotonic() - began)
        except httpx.HTTPError as error:
            if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                end(process)
                raise SystemExit(f"{variant.name}: does not serve: {error!r}") from None
            time.sleep(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server and its workers."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


def answers(server: Server, bodies: Sequence[bytes]) -> list[str]:
    """Return the label of each row."""
    with httpx.Client(timeout=60, headers={"Content-Type": "application/json"}) as client:
        return [client.post(server.uri, content=body).raise_for_status().json()[0]["label"] for body in bodies]


async def load(uri: str, bodies: Sequence[bytes], concurrency: int) -> tuple[list[float], float]:
    """Send requests, so many at once.

    Returns:
        Seconds of each, and requests per second.
    """
    left = iter(bodies)
    seconds: list[float] = []
    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(timeout=120, limits=limits, headers={"Content-Type": "application/json"}) as client:

        async def ask() -> None:
            for body in left:
                began = time.perf_counter()
                (await client.post(uri, content=body)).raise_for_status()
                seconds.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(concurrency)))
    return seconds, len(bodies) / (time.perf_counter() - began)


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return a percentile in milliseconds, nearest rank."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(measured: Mapping[str, Measured], true: Sequence[str]) -> str:
    """Return a Markdown table: medians of the rounds, and how many times more or less than the seed recipe."""
    names = list(measured)
    first = measured[names[0]]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for concurrency in CONCURRENCIES:
        for title, share in (("p50", 0.5), ("p95", 0.95)):
            base = statistics.median(percentile(each, share) for each in first.seconds[concurrency])
            cells = []
            for found in measured.values():
                value = statistics.median(percentile(each, share) for each in found.seconds[concurrency])
                cells.append(f"{value:.1f} ({base / value:.1f}×)")
            lines.append(f"| {concurrency} at once: {title}, ms | {' | '.join(cells)} |")
        base = statistics.median(first.rates[concurrency])
        rates = [statistics.median(found.rates[concurrency]) for found in measured.values()]
        cells = [f"{rate:.0f} ({rate / base:.1f}×)" for rate in rates]
        lines.append(f"| {concurrency} at once: requests/s | {' | '.join(cells)} |")
    lines.append(f"| memory, MiB | {' | '.join(f'{found.megabytes:.0f}' for found in measured.values())} |")
    lines.append(f"| cold start, s | {' | '.join(f'{found.cold_start:.1f}' for found in measured.values())} |")
    shares = [
        sum(found.labels[row] == label for row, label in enumerate(true)) / len(true) for found in measured.values()
    ]
    lines.append(f"| test accuracy | {' | '.join(f'{share:.4f}' for share in shares)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
