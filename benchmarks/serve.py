r"""What serving costs: this project's score.py against the seed recipe's, behind the same server, in turns.

The seed recipe is what public samples do: a transformers pipeline in fp32, one request at a time. Both run behind
azureml-inference-server-http, started as deployments are, with as many workers on the same cores, a thread for each
worker, and both serve the same trained weights. They are asked the rows of the data set's test split, whose lengths
differ, one row a request, and take turns by rounds; the client runs on the same cores. Exits 1 when a target is missed.

Example:
    python benchmarks/serve.py --data ../shared/data/mrpc --folder build/bench-serve
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import scoring

from amlocal.endpoints.environment import available_cores
from finetune.data.manifest import LABEL, MANIFEST, TEST_FILE, read_manifest
from finetune.training.contents import COMPRESSION_RECORD, TRAINING_RECORD

ROOT = Path(__file__).parents[1]
SEED, PLAIN, COMPRESSED = "seed recipe", "score.py, plain model", "score.py, compressed model"
SCRIPTS = {"seed recipe": ROOT / "benchmarks" / "serve_seed", "score.py": ROOT / "endpoints" / "text-classifier"}
CONCURRENCIES = (1, 8, 32)
LEAST_GAIN = 4.0
"""Times more requests a second at 8 and 32 at once, and times lower p50 at 1."""
GREATEST_LOSS = 0.005
"""Of test accuracy, as a share of the rows."""


@dataclass(frozen=True)
class Variant:
    """A scoring script with a model."""

    name: str
    script: Path
    model: Path


@dataclass
class Measured:
    """What was measured of a variant."""

    seconds: dict[int, list[list[float]]] = field(default_factory=dict)
    """Concurrency → for each round the seconds of its requests."""
    rates: dict[int, list[float]] = field(default_factory=dict)
    """Concurrency → requests per second of each round."""
    labels: list[str] = field(default_factory=list)
    """The answer to each test row."""
    cold_starts: list[float] = field(default_factory=list)
    """Seconds from the process's start to its first answer, of each start."""
    megabytes: list[float] = field(default_factory=list)
    """MiB of all its processes after a load, of each start, while no other server runs."""

    def percentile(self, concurrency: int, share: float) -> list[float]:
        """Return a percentile of each round, in milliseconds: nearest rank."""
        ordered = [sorted(seconds) for seconds in self.seconds[concurrency]]
        return [1000 * each[min(len(each) - 1, int(share * len(each)))] for each in ordered]


@dataclass(frozen=True)
class Plan:
    """How much is asked."""

    workers: int
    requests: int
    rounds: int
    starts: int


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of MRPC, as text pairs with their label")
    parser.add_argument("--folder", type=Path, required=True, help="where the models are made, unless they are there")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes of each server")
    parser.add_argument("--requests", type=int, default=500, help="requests in a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each; the median counts")
    parser.add_argument(
        "--starts", type=int, default=3, help="cold starts of each, after one that fills the disk cache"
    )
    arguments = parser.parse_args()
    plan = Plan(min(arguments.workers, available_cores()), arguments.requests, arguments.rounds, arguments.starts)
    dataset, model, compressed = made(arguments.data, arguments.folder)
    variants = (
        Variant(SEED, SCRIPTS["seed recipe"], model),
        Variant(PLAIN, SCRIPTS["score.py"], model),
        Variant(COMPRESSED, SCRIPTS["score.py"], compressed),
    )
    chosen = json.loads((compressed / COMPRESSION_RECORD).read_text())["chosen"]
    manifest = read_manifest(dataset)
    rows = pd.read_parquet(dataset / TEST_FILE)
    bodies = [
        json.dumps({"input_data": [row]}).encode() for row in rows[list(manifest.text_columns)].to_dict("records")
    ]
    before = os.getloadavg()[0]
    measured = measure(variants, bodies, plan, arguments.folder)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "onnxruntime"))
    print(
        f"{len(rows)} test rows, {plan.workers} workers of one thread on {available_cores()} cores, "
        f"{plan.rounds} rounds of {plan.requests} requests; compressed: {chosen}; {packages}; load "
        f"{before:.1f} before, {os.getloadavg()[0]:.1f} after\n"
    )
    print(table(measured, list(rows[LABEL])))
    if missed := failures(measured, list(rows[LABEL]), chosen):
        raise SystemExit("\n".join(missed))


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


def measure(variants: Sequence[Variant], bodies: Sequence[bytes], plan: Plan, folder: Path) -> dict[str, Measured]:
    """Return variant → what was measured.

    First each starts alone, in turns; then all serve at once and one is asked at a time.
    """
    found = {variant.name: Measured() for variant in variants}

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def start(variant: Variant, stack: ExitStack) -> tuple[scoring.Server, float]:
        log = folder / f"{variant.name.replace(' ', '-').replace(',', '')}.log"
        # As many threads as the seed recipe's own, which knows nothing of workers.
        one = {"OMP_NUM_THREADS": "1"}
        server = stack.enter_context(scoring.serving(variant.script, variant.model, plan.workers, log, **one))
        return server, server.wait(bodies[0])

    for number in range(plan.starts + 1):
        for variant in variants:
            with ExitStack() as stack:
                server, seconds = start(variant, stack)
                load(server, cut(bodies, 0, plan.requests), max(CONCURRENCIES))
                megabytes = sum(each.memory_full_info().pss for each in server.family()) / 2**20
            say(f"{variant.name}, start {number}: {seconds:.1f} s, {megabytes:.0f} MiB")
            if number:
                found[variant.name].cold_starts.append(seconds)
                found[variant.name].megabytes.append(megabytes)
    with ExitStack() as stack:
        servers = {variant.name: start(variant, stack)[0] for variant in variants}
        for name, server in servers.items():
            # All test rows: the answers, and the warm-up of all workers.
            answered = load(server, bodies, max(CONCURRENCIES)).bodies
            found[name].labels = [json.loads(body)[0]["label"] for body in answered]
        for number in range(plan.rounds):
            chosen = cut(bodies, number * plan.requests, plan.requests)
            for concurrency in CONCURRENCIES:
                # Whoever comes first changes from round to round.
                for name in turned(list(servers), number):
                    done = load(servers[name], chosen, concurrency)
                    found[name].seconds.setdefault(concurrency, []).append(done.seconds)
                    found[name].rates.setdefault(concurrency, []).append(done.rate)
                    p50 = 1000 * statistics.median(done.seconds)
                    say(f"{name}, {concurrency} at once: {done.rate:.0f}/s, p50 {p50:.1f} ms")
    return found


def cut(bodies: Sequence[bytes], start: int, count: int) -> list[bytes]:
    """Return so many bodies from a place on, from the first one again after the last."""
    return [bodies[(start + at) % len(bodies)] for at in range(count)]


def turned(names: list[str], number: int) -> list[str]:
    """Return the names with another one first each time."""
    first = number % len(names)
    return names[first:] + names[:first]


@dataclass(frozen=True)
class Load:
    """What came of a load."""

    bodies: list[bytes]
    """The answers, in the order of what was asked."""
    seconds: list[float]
    """Of each request."""
    rate: float
    """Requests per second."""


def load(server: scoring.Server, bodies: Sequence[bytes], concurrency: int) -> Load:
    """Send requests, so many at once, each next one as soon as one is answered.

    Raises:
        SystemExit: an answer is not 200.
    """

    def ask(body: bytes) -> tuple[bytes, float]:
        began = time.perf_counter()
        answer = server.ask(body)
        seconds = time.perf_counter() - began
        if answer.status != 200:
            raise SystemExit(f"status {answer.status}: {answer.body[:300]!r}; the server's log: {server.log}")
        return answer.body, seconds

    with ThreadPoolExecutor(concurrency) as pool:
        began = time.perf_counter()
        done = list(pool.map(ask, bodies))
        rate = len(bodies) / (time.perf_counter() - began)
    return Load([body for body, _ in done], [seconds for _, seconds in done], rate)


def gains(first: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return how many times less a variant takes than the seed recipe, round by round."""
    return [base / value for base, value in zip(first, values, strict=True)]


def accuracy(measured: Measured, true: Sequence[str]) -> float:
    """Return the share of test rows that were answered right."""
    return sum(found == label for found, label in zip(measured.labels, true, strict=True)) / len(true)


def table(measured: Mapping[str, Measured], true: Sequence[str]) -> str:
    """Return a Markdown table: medians of the rounds; how many times better than the seed recipe, median and range."""
    first = measured[SEED]
    lines = [f"| | {' | '.join(measured)} |", f"|---|{'---|' * len(measured)}"]

    def row(title: str, cell: Callable[[Measured], str]) -> None:
        lines.append(f"| {title} | {' | '.join(cell(found) for found in measured.values())} |")

    def compared(values: Sequence[float], times: Sequence[float]) -> str:
        middle, low, high = statistics.median(times), min(times), max(times)
        return f"{statistics.median(values):.1f} ({middle:.1f}×, {low:.1f} to {high:.1f})"

    for at_once in CONCURRENCIES:
        for title, share in (("p50", 0.5), ("p95", 0.95)):
            base = first.percentile(at_once, share)
            values = {id(found): found.percentile(at_once, share) for found in measured.values()}
            row(
                f"{at_once} at once: {title}, ms",
                lambda found, values=values, base=base: compared(values[id(found)], gains(base, values[id(found)])),
            )
        row(
            f"{at_once} at once: requests/s",
            lambda found, at_once=at_once: compared(
                found.rates[at_once], gains(found.rates[at_once], first.rates[at_once])
            ),
        )
    row("memory of all processes after a load, MiB", lambda found: f"{statistics.median(found.megabytes):.0f}")
    row("cold start to the first answer, s", lambda found: f"{statistics.median(found.cold_starts):.1f}")
    row("test accuracy", lambda found: f"{accuracy(found, true):.4f}")
    row(
        "rows answered otherwise than by the seed recipe",
        lambda found: str(sum(one != other for one, other in zip(first.labels, found.labels, strict=True))),
    )
    return "\n".join(lines)


def failures(measured: Mapping[str, Measured], true: Sequence[str], chosen: str) -> list[str]:
    """Return which targets the compressed model misses."""
    seed, found = measured[SEED], measured[COMPRESSED]
    missed = [] if chosen != "plain" else ["compress fell back to the plain model: there is no compressed one"]
    less = gains(seed.percentile(1, 0.5), found.percentile(1, 0.5))
    if (gain := statistics.median(less)) < LEAST_GAIN:
        missed.append(f"p50 at 1: {gain:.2f} times lower; expected {LEAST_GAIN:g}")
    for concurrency in CONCURRENCIES[1:]:
        more = gains(found.rates[concurrency], seed.rates[concurrency])
        if (gain := statistics.median(more)) < LEAST_GAIN:
            missed.append(f"requests/s at {concurrency}: {gain:.2f} times more; expected {LEAST_GAIN:g}")
    if (lost := round(accuracy(seed, true) - accuracy(found, true), 9)) > GREATEST_LOSS:
        missed.append(f"test accuracy is {lost:.4f} lower; expected at most {GREATEST_LOSS:g}")
    return missed


if __name__ == "__main__":
    main()
