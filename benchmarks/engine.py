"""Measure what amlocal costs beyond the steps it runs, beside Kubeflow Pipelines' local runner.

Prints the tables that docs/results.md quotes; exits 1 when a figure misses its target. Everything is kept in a
temporary folder but kfp, which is installed once into an environment of its own.

Example:
    python benchmarks/engine.py --kfp-environment build/kfp
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).parent
KFP = "kfp==2.17.0"
COMMAND = "echo hello > hello.txt"
WIDTH = 10
MOST_MILLISECONDS = 50.0
MOST_REUSED_SECONDS = 2.0
LEAST_TIMES_LESS = 5.0
SAMPLE_SECONDS = 0.02
MOST_GROWTH = 1.1
"""How much more memory a job may take at its end than after a quarter of its steps."""


@dataclass(frozen=True)
class Cost:
    """What one run of a command took.

    Attributes:
        wall: seconds.
        cpu: processor seconds, of all processes it waited for too.
        memory: MiB of the process itself, from its start to its end.
    """

    wall: float
    cpu: float
    memory: Sequence[float]


@dataclass(frozen=True)
class Run:
    """One run of a pipeline of amlocal.

    Attributes:
        own: processor seconds of the steps' own commands.
        workspace: processor seconds of the workspace's daemon and MLflow server meanwhile.
    """

    steps: int
    cost: Cost
    own: float
    workspace: float

    @property
    def engine_overhead(self) -> float:
        """Milliseconds of processor time per step beyond its own, amlocal's processes alone."""
        return (self.cost.cpu - self.own) / self.steps * 1000

    @property
    def whole_overhead(self) -> float:
        """The same with the workspace's: tracking of every step in MLflow included."""
        return self.engine_overhead + self.workspace / self.steps * 1000


def measure(command: Sequence[str], log: Path) -> Cost:
    """Run a command and tell what it and all processes it waited for took.

    Raises:
        SystemExit: it failed; its output has been shown.
    """
    memory: list[float] = []
    with log.open("wb") as stream:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        watched = psutil.Process(process.pid)
        pid = 0
        while not pid:
            memory.append(watched.memory_info().rss / 2**20)
            time.sleep(SAMPLE_SECONDS)
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{log.read_text(errors='replace')}\n{' '.join(command)} failed")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, memory)


class Amlocal:
    """amlocal in a home of its own, with its workspace running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._number = 0

    def pipeline(self, name: str, steps: int, width: int) -> Path:
        """Write a pipeline in which a step waits for the one ``width`` before it."""
        lines = ["type: pipeline", "jobs:"]
        for number in range(steps):
            lines += [
                f"  step_{number}:",
                "    type: command",
                "    environment: azureml:any:1",
                f"    command: echo {number} > /dev/null; {COMMAND}",
                "    outputs: {out: {type: uri_folder}}",
            ]
            if number >= width:
                lines.append(f'    inputs: {{after: "${{{{parent.jobs.step_{number - width}.outputs.out}}}}"}}')
        path = self.folder / f"{name}.yml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def run(self, file: Path, *options: str) -> Run:
        """Run a pipeline by the command line."""
        self._number += 1
        name = f"run-{self._number}"
        arguments = ["job", "create", "--file", str(file), "--name", name, *options]
        before = self._workspace_cpu()
        cost = measure([*self._command(), *arguments], self.folder / "log.txt")
        workspace = self._workspace_cpu() - before
        steps = json.loads((self.home / "jobs" / name / "job.json").read_text())["steps"].values()
        return Run(len(steps), cost, sum(step["cpu_seconds"] or 0.0 for step in steps), workspace)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep the workspace running."""
        subprocess.run([*self._command(), "workspace", "start"], check=True, stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            subprocess.run([*self._command(), "workspace", "stop"], check=True, stdout=subprocess.DEVNULL)

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "amlocal", "--home", str(self.home)]

    def _workspace_cpu(self) -> float:
        daemon = psutil.Process(json.loads((self.home / "workspace" / "workspace.json").read_text())["pid"])
        return sum(sum(process.cpu_times()[:2]) for process in (daemon, *daemon.children(recursive=True)))


def kfp_python(environment: Path) -> Path:
    """Make an environment with kfp, unless it is there, and give its interpreter."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", KFP], check=True)
    return python


def command_cpu(folder: Path, times: int = 50) -> float:
    """Give the processor seconds that the steps' command takes by itself."""
    command = ["bash", "-c", f"cd {folder}; for i in $(seq {times}); do bash -c '{COMMAND}'; done"]
    return measure(command, folder / "log.txt").cpu / times


def median(values: Sequence[float]) -> float:
    """Give the middle value."""
    return statistics.median(values)


class Report:
    """Prints figures, and remembers whether one missed its target."""

    def __init__(self) -> None:
        self.missed = False

    def row(self, what: str, figure: str, target: str = "", met: bool = True) -> None:
        """Print a row of the table."""
        verdict = "" if not target else ("met" if met else "**missed**")
        self.missed |= not met
        print(f"| {what} | {figure} | {target} | {verdict} |", flush=True)


def overheads(amlocal: Amlocal, report: Report, repeats: int) -> None:
    """Measure the cost per step, wide and deep, and of a run that reuses everything."""
    for name, steps, width in (("200 steps, 10 wide", 200, WIDTH), ("chain of 50 steps", 50, 1)):
        file = amlocal.pipeline(f"steps{steps}", steps, width)
        amlocal.run(file)
        runs = [amlocal.run(file, "--rerun") for _ in range(repeats)]
        whole = median([run.whole_overhead for run in runs])
        report.row(
            f"{name}: CPU-ms of overhead per step, with MLflow and the workspace",
            f"{whole:.1f}",
            f"≤ {MOST_MILLISECONDS:.0f}",
            whole <= MOST_MILLISECONDS,
        )
        report.row(f"{name}: the same, amlocal's process alone", f"{median([run.engine_overhead for run in runs]):.1f}")
        report.row(f"{name}: wall seconds", f"{median([run.cost.wall for run in runs]):.1f}")
    reused = [amlocal.run(amlocal.folder / "steps200.yml") for _ in range(repeats)]
    wall = median([run.cost.wall for run in reused])
    report.row(
        "200 steps, all reused: wall seconds of the whole command",
        f"{wall:.2f}",
        f"≤ {MOST_REUSED_SECONDS:.0f}",
        wall <= MOST_REUSED_SECONDS,
    )
    report.row("200 steps, all reused: CPU-seconds", f"{median([run.cost.cpu + run.workspace for run in reused]):.2f}")


def memory(amlocal: Amlocal, report: Report, sizes: Sequence[int]) -> None:
    """Measure amlocal's memory by number of steps, and as steps are done."""
    runs = {steps: amlocal.run(amlocal.pipeline(f"size{steps}", steps, WIDTH)).cost.memory for steps in sizes}
    peaks = " / ".join(f"{max(samples):.0f}" for samples in runs.values())
    report.row(f"peak MiB at {' / '.join(map(str, sizes))} steps", peaks)
    longest = runs[sizes[-1]]
    quarter, most = longest[len(longest) // 4], max(longest)
    report.row(
        f"{sizes[-1]} steps: MiB after a quarter of the time / at most",
        f"{quarter:.0f} / {most:.0f}",
        f"grows ≤ {MOST_GROWTH - 1:.0%}",
        most <= MOST_GROWTH * quarter,
    )


def beside_kfp(amlocal: Amlocal, python: Path, report: Report, steps: int, repeats: int) -> None:
    """Run one pipeline with both, in turns."""
    file = amlocal.pipeline("beside", steps, WIDTH)
    own = command_cpu(amlocal.folder)
    script = [str(python), str(HERE / "engine_kfp.py"), "--steps", str(steps), "--width", str(WIDTH)]
    script += ["--root", str(amlocal.folder / "kfp"), "--command", f"cd {amlocal.folder}; {COMMAND}"]
    with_kfp: Callable[[], Cost] = lambda: measure(script, amlocal.folder / "kfp.txt")  # noqa: E731
    amlocal.run(file)
    with_kfp()
    pairs = [(amlocal.run(file, "--rerun"), with_kfp()) for _ in range(repeats)]
    ours = median([run.engine_overhead for run, _ in pairs])
    whole = median([run.whole_overhead for run, _ in pairs])
    theirs = median([(cost.cpu / steps - own) * 1000 for _, cost in pairs])
    target = f"≥ {LEAST_TIMES_LESS:.0f} times less"
    report.row(f"{steps} steps, 10 wide, kfp's SubprocessRunner: CPU-ms of overhead per step", f"{theirs:.1f}")
    report.row(
        "the same DAG, amlocal without the tracking that kfp has not",
        f"{ours:.1f} ({theirs / ours:.1f} times less)",
        target,
        theirs / ours >= LEAST_TIMES_LESS,
    )
    report.row("the same DAG, amlocal with MLflow and the workspace", f"{whole:.1f} ({theirs / whole:.1f} times less)")
    walls = [median([run.cost.wall for run, _ in pairs]), median([cost.wall for _, cost in pairs])]
    report.row("the same DAG: wall seconds, amlocal / kfp", f"{walls[0]:.1f} / {walls[1]:.1f}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kfp-environment", type=Path, default=Path("build/kfp"), help="where kfp is, or goes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200, 800], help="steps, for memory")
    parser.add_argument("--kfp-steps", type=int, default=100)
    options = parser.parse_args()
    python = kfp_python(options.kfp_environment.absolute())
    report = Report()
    with tempfile.TemporaryDirectory(prefix="amlocal-engine-") as folder:
        amlocal = Amlocal(Path(folder))
        with amlocal.running():
            print(f"{KFP}, {os.cpu_count()} cores, medians of {options.repeats} runs, load {os.getloadavg()[0]:.1f}\n")
            print("| what | figure | target | |\n|---|---|---|---|", flush=True)
            overheads(amlocal, report, options.repeats)
            memory(amlocal, report, options.sizes)
            beside_kfp(amlocal, python, report, options.kfp_steps, options.repeats)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
