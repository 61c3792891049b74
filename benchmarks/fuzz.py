"""Send score.py thousands of request bodies, good and bad, behind the real inference server, and watch its processes.

Single texts, pairs, and questions with their context, each answered by a compressed model, and single texts by a plain
one as well: made-up data, all-MiniLM-L6-v2, a few steps. The server is started as a deployment starts it, with a worker
for each core. Every answer has to be right or a refusal with its reason: no status from 500 on, no trace of the code.
Processes, threads and open files stay as they are, memory stays within a bound between the first thousand requests and
the last, and in the end a good request is answered as in the beginning. Exits 1 when any of this fails; bodies with a
wrong answer are kept in the folder.

Example:
    python benchmarks/fuzz.py --folder build/fuzz --requests 12000
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import hypothesis
import scoring
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from amlocal.endpoints.environment import available_cores
from finetune.training.contents import COMPRESSION_RECORD

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from problem_data import PAIRS, rows_of, write_problem  # noqa: E402 - the tests' own
from request_bodies import Asked, bodies, complaint  # noqa: E402

TASKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "single_label": ("text-classification", ("text",)),
    PAIRS: ("text-pair-classification", ("text", "text_pair")),
    "answer_spans": ("question-answering", ("question", "context")),
}
"""Kind of data → task and input columns."""
SERVED = (
    ("single_label", "compressed"),
    (PAIRS, "compressed"),
    ("answer_spans", "compressed"),
    ("single_label", "model"),
)
"""Kind of data and form of the model; each is asked as many requests as the others."""
JSON_TYPES = ("application/json", "application/json; charset=utf-8", "text/plain", "application/octet-stream")
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "multipart/form-data")
"""The server reads such bodies as forms, so that the script gets none."""
WARM_UP = 1000
MOST_GROWTH = 64.0
"""MiB that a worker may have more to itself after the last request than after the first thousand: the allocator keeps
pieces of what large bodies took, up to a level that they reach sooner or later."""
SETTLE_SECONDS = 10.0


@dataclass(frozen=True)
class State:
    """What a server's processes hold while they have nothing to do."""

    processes: frozenset[int]
    threads: int
    files: int
    megabytes: float
    """MiB that the processes have to themselves."""


@dataclass
class Found:
    """What came of the requests to one server."""

    statuses: Counter[int] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds of the slowest answer."""

    @property
    def sent(self) -> int:
        """Number of requests."""
        return self.statuses.total()


def main() -> None:
    """Ask all servers; print a table; exit 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the models are made, unless they are there")
    parser.add_argument("--requests", type=int, default=12_000, help="of all servers together")
    parser.add_argument("--seed", type=int, default=1, help="another one sends other bodies")
    arguments = parser.parse_args()
    each = max(2 * WARM_UP, arguments.requests // len(SERVED))
    lines, wrong = [], []
    for kind, form in SERVED:
        model = made(kind, arguments.folder / kind) / form
        name = f"{kind}, {form}"
        print(f"{name}: {each} requests", file=sys.stderr, flush=True)
        found, states = ask(kind, model, arguments.folder, each, arguments.seed)
        lines.append(line(name, found, states))
        wrong += [f"{name}: {said}" for said in [*found.complaints, *changes(states)]]
        for said in wrong[-20:]:
            print(said, file=sys.stderr, flush=True)
    print(
        "| | requests | answered | refused | statuses | slowest, s | MiB: first, after 1,000, last | processes, "
        "threads, files |\n|---|---|---|---|---|---|---|---|"
    )
    print("\n".join(lines))
    if wrong:
        raise SystemExit(f"{len(wrong)} wrong:\n" + "\n".join(wrong))


def made(kind: str, folder: Path) -> Path:
    """Make a plain and a compressed model by the components themselves, from made-up data; what is there is kept."""
    dataset, model, compressed = (folder / name for name in ("dataset", "model", "compressed"))
    if (compressed / COMPRESSION_RECORD).is_file():
        return folder
    data = write_problem(folder / "data", kind)
    stages = {
        "prep": ("--data", data, "--task", TASKS[kind][0], "--dataset", dataset),
        "train": (
            *("--dataset", dataset, "--model", model, "--checkpoints", folder / "checkpoints"),
            *("--max_steps", "4"),
        ),
        # Whatever it loses: this is about requests.
        "compress": (
            *("--dataset", dataset, "--model", model, "--compressed", compressed),
            *("--method", "dynamic", "--maximum_loss", "0.99"),
        ),
    }
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{(folder / 'mlflow.db').resolve()}"}
    for stage, said in stages.items():
        script = ROOT / "components" / stage / f"{stage}.py"
        subprocess.run([sys.executable, script, *map(str, said)], check=True, env=environment)
    if json.loads((compressed / COMPRESSION_RECORD).read_text())["chosen"] != "dynamic":
        raise SystemExit(f"{compressed}: is not compressed; see its {COMPRESSION_RECORD}")
    return folder


def ask(kind: str, model: Path, folder: Path, requests: int, seed: int) -> tuple[Found, Sequence[State]]:
    """Start a server, send it bodies, end it.

    Returns:
        What was answered; the processes' state before, after the first thousand, and after the last.
    """
    columns = TASKS[kind][1]
    good = json.dumps({"input_data": [{name: rows_of(kind, 1, 9)[0][name] for name in columns}]}).encode()
    found, states = Found(), []
    log = folder / f"{kind}-{model.name}.log"
    script = ROOT / "endpoints" / "text-classifier"
    with scoring.serving(script, model, available_cores(), log) as server:
        server.wait(good)
        wait_for_workers(server, good)
        first = server.ask(good).body
        # The server itself logs a traceback when it starts: it looks for versions among the model's files.
        begun = log.stat().st_size
        states.append(state(server))
        for count in (WARM_UP, requests - WARM_UP):
            send(server, columns, count, seed + len(states), found, folder)
            states.append(settled(server, states[0]))
            print(f"{found.sent}: {dict(found.statuses)}, {states[-1]}", file=sys.stderr, flush=True)
        for _ in range(2 * available_cores()):
            if server.ask(good).body != first:
                found.complaints.append("a good request is answered otherwise than in the beginning")
    printed = log.read_bytes()[begun:].decode(errors="replace")
    for sign in ("Traceback", "Encountered Exception", "WORKER TIMEOUT", "was sent SIG"):
        if sign in printed:
            found.complaints.append(f"the log says {sign!r}: {log}")
    return found, states


def wait_for_workers(server: scoring.Server, good: bytes) -> None:
    """Wait until every worker serves, and has answered."""
    while server.log.read_text(errors="replace").count("ready for serving traffic") < available_cores():
        time.sleep(0.1)
    for _ in range(20 * available_cores()):
        server.ask(good)


def send(server: scoring.Server, columns: Sequence[str], count: int, seed: int, found: Found, folder: Path) -> None:
    """Send so many bodies and take down what is wrong with the answers."""
    until = found.sent + count

    def check(asked: Asked, content_type: str) -> None:
        if found.sent >= until:
            return
        began = time.perf_counter()
        try:
            answer = server.ask(asked.content, {"Content-Type": content_type}, timeout=300)
        except OSError as error:
            answer = scoring.Answer(0, b"", repr(error).encode())
        found.slowest = max(found.slowest, time.perf_counter() - began)
        found.statuses[answer.status] += 1
        meant = asked if content_type in JSON_TYPES else replace(asked, rows=None)
        said = complaint(meant, answer.status, answer.body)
        if said is None and b"x-ms-run-function-failed: true" in answer.head.lower():
            said = "the script failed"
        if said is not None:
            kept = folder / f"wrong-{len(found.complaints)}.body"
            kept.write_bytes(asked.content)
            found.complaints.append(f"{said}; {content_type}, {kept}")

    while found.sent < until:
        drawn = given(bodies(columns), st.sampled_from(JSON_TYPES * 5 + FORM_TYPES))(check)
        drawn = settings(
            max_examples=until - found.sent,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(drawn)
        hypothesis.seed(seed)(drawn)()
        seed += 1000


def state(server: scoring.Server) -> State:
    """Return what a server's processes hold now."""
    family = server.family()
    return State(
        frozenset(each.pid for each in family),
        sum(each.num_threads() for each in family),
        sum(each.num_fds() for each in family),
        sum(each.memory_full_info().uss for each in family) / 2**20,
    )


def settled(server: scoring.Server, before: State) -> State:
    """Return what a server's processes hold once the last connection is closed; at the latest after some seconds."""
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        now = state(server)
        same = (now.processes, now.threads, now.files) == (before.processes, before.threads, before.files)
        if same or time.monotonic() > until:
            return now
        time.sleep(0.2)


def changes(states: Sequence[State]) -> list[str]:
    """Return what has changed that should not have."""
    first, warm, last = states
    said = []
    if last.processes != first.processes:
        said.append(f"processes were {sorted(first.processes)} and are {sorted(last.processes)}")
    for name in ("threads", "files"):
        if getattr(last, name) != getattr(first, name):
            said.append(f"{name} were {getattr(first, name)} and are {getattr(last, name)}")
    workers = len(first.processes) - 1
    if (grown := (last.megabytes - warm.megabytes) / workers) > MOST_GROWTH:
        said.append(f"a worker grew by {grown:.1f} MiB after the first {WARM_UP}; expected at most {MOST_GROWTH:g}")
    return said


def line(name: str, found: Found, states: Sequence[State]) -> str:
    """Return a server's line of the table."""
    last, answered = states[-1], found.statuses[200]
    cells = (
        *(name, found.sent, answered, found.sent - answered),
        ", ".join(f"{status}: {count}" for status, count in sorted(found.statuses.items())),
        f"{found.slowest:.1f}",
        ", ".join(f"{each.megabytes:.0f}" for each in states),
        f"{len(last.processes)}, {last.threads}, {last.files}",
    )
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
