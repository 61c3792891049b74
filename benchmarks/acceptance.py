"""Run pipelines/finetune.yml on real data, print what docs/results.md quotes, and fail where a figure is too low.

Example:
    python benchmarks/acceptance.py --data ../shared/data --datasets mrpc emotion amazon_musical_instruments_5core
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Case:
    """A data set, how `make run` reads it, and the least test figures that are accepted."""

    variables: tuple[str, ...]
    least: dict[str, float] = field(default_factory=dict)
    positive_label: str | None = None
    """Label whose own F1 the field reports for this data set."""


CASES = {
    "mrpc": Case(
        ("TASK=text-pair-classification", "TEXT=sentence1", "TEXT_PAIR=sentence2", "LABEL=label"),
        {"accuracy": 0.77},
        positive_label="equivalent",
    ),
    "emotion": Case(("TEXT=text", "LABEL=label"), {"accuracy": 0.92}),
    "amazon_musical_instruments_5core": Case(
        ("TEXT=reviewText", "LABEL=overall", "LABELS=<=2:negative,>=4:positive"), {"auc_weighted": 0.85}
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What one run came to."""

    dataset: str
    seconds: float
    sweep_seconds: float
    metrics: dict[str, Any]
    training: dict[str, Any]
    trials: list[dict[str, Any]]


def run_case(name: str, data: Path) -> Outcome:
    """Run one data set through all stages, reusing nothing.

    Raises:
        subprocess.CalledProcessError: the pipeline failed; its output has been shown.
    """
    job = f"acceptance-{name.replace('_', '-')}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    command = ["make", "run", f"DATA={data / name}", f"JOB={job}", "SET=--rerun", *CASES[name].variables]
    print("$", " ".join(command), flush=True)
    started = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True)
    seconds = time.monotonic() - started
    folder = ROOT / ".amlocal" / "jobs" / job
    record = json.loads((folder / "job.json").read_text())
    sweep = record["steps"]["sweep"]
    return Outcome(
        name,
        seconds,
        sweep["ended"] - sweep["started"],
        json.loads((folder / "outputs" / "evaluation" / "metrics.json").read_text()),
        json.loads((folder / "outputs" / "model" / "training.json").read_text()),
        json.loads((folder / "steps" / "sweep" / "trials.json").read_text()),
    )


def failures(outcome: Outcome) -> list[str]:
    """Return what is below the accepted figures."""
    figures = outcome.metrics["metrics"]["challenger"]
    return [
        f"{outcome.dataset}: {metric} {figures.get(metric)} is below {least}"
        for metric, least in CASES[outcome.dataset].least.items()
        if not figures.get(metric, 0.0) >= least
    ]


def row(outcome: Outcome) -> str:
    """Return the outcome as a row of the Markdown table."""
    figures, majority = (outcome.metrics["metrics"][model] for model in ("challenger", "majority_class"))
    positive = CASES[outcome.dataset].positive_label
    of_label = next((label["f1"] for label in outcome.metrics["labels"] if label["label"] == positive), None)
    f1 = f"{figures['f1_macro']:.3f}" + (f" ({positive}: {of_label:.3f})" if of_label is not None else "")
    completed = sum(trial["status"] == "Completed" for trial in outcome.trials)
    best = outcome.training["arguments"]
    cells = [
        outcome.dataset,
        outcome.metrics["rows"],
        f"{len(outcome.trials)} ({completed} to the end)",
        f"{best['learning_rate']:.2g}, {best['num_train_epochs']:g}, {best['per_device_train_batch_size']}",
        f"{figures['accuracy']:.3f}",
        f1,
        f"{figures['auc_weighted']:.3f}",
        f"{majority['accuracy']:.3f}",
        f"{outcome.sweep_seconds:.0f}",
        f"{outcome.seconds:.0f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Run the chosen cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder per data set")
    parser.add_argument("--datasets", nargs="+", choices=list(CASES), default=list(CASES))
    arguments = parser.parse_args()
    missing = [name for name in arguments.datasets if not (arguments.data / name).is_dir()]
    if missing:
        sys.exit(f"error: {arguments.data}: no folder {', '.join(missing)}; give the real data with --data")
    outcomes = [run_case(name, arguments.data.resolve()) for name in arguments.datasets]
    print(
        "\n| data | test rows | trials | best: learning rate, epochs, batch | accuracy | macro F1 | AUC_weighted ",
        end="",
    )
    print("| majority class's accuracy | sweep, s | all, s |\n|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(map(row, outcomes)))
    problems = [problem for outcome in outcomes for problem in failures(outcome)]
    if problems:
        sys.exit("error: " + "; ".join(problems))


if __name__ == "__main__":
    main()
