"""Run pipelines/finetune.yml on real data, print what docs/results.md quotes, and fail where a figure is too low.

Each data set goes through all five stages, with a sweep of as many trials as are asked for. Beside the test figures
stands what a model without a network reaches on the same rows: see baselines.py.

Example:
    python benchmarks/acceptance.py --data ../shared/data --datasets mrpc emotion --trials 4
"""

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baselines import Baseline, most_frequent_tag, nearest_sentence, tfidf_classifier, tfidf_regressor

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Case:
    """A data set, how `make run` reads it, and the least test figures that are accepted."""

    variables: tuple[str, ...]
    shown: tuple[str, ...]
    """Test metrics of the table."""
    baseline: Baseline
    epochs: int = 3
    overrides: tuple[str, ...] = ()
    """Of the pipeline's inputs and nodes."""
    least: dict[str, float] = field(default_factory=dict)
    positive_label: str | None = None
    """Label whose own F1 the field reports for this data set."""
    least_positive_f1: float = 0.0


_PAIR = ("TEXT=sentence1", "TEXT_PAIR=sentence2", "LABEL=label")
CASES = {
    "mrpc": Case(
        ("TASK=text-pair-classification", *_PAIR),
        ("accuracy", "f1_macro", "auc_weighted"),
        tfidf_classifier,
        least={"accuracy": 0.77},
        positive_label="equivalent",
        least_positive_f1=0.83,
    ),
    "emotion": Case(
        ("TEXT=text", "LABEL=label"),
        ("accuracy", "f1_macro", "auc_weighted"),
        tfidf_classifier,
        least={"accuracy": 0.92},
    ),
    "sst2": Case(("TASK=sst2", "TEXT=text", "LABEL=label"), ("accuracy",), tfidf_classifier, epochs=1),
    # The public test split has no labels: as everybody does, validation is measured on, and a part of train chosen by.
    "cola": Case(
        ("TASK=cola", "TEXT=text", "LABEL=label"),
        ("mcc", "accuracy"),
        tfidf_classifier,
        overrides=("inputs.test_splits=validation",),
    ),
    "stsb": Case(
        ("TASK=stsb", *_PAIR), ("pearson", "spearman"), tfidf_regressor, overrides=("inputs.test_splits=test",)
    ),
    "conll2003": Case(
        ("TASK=token-classification", "TEXT=tokens", "LABEL=ner_tags"), ("f1", "accuracy"), most_frequent_tag
    ),
    "amazon_musical_instruments_5core": Case(
        ("TEXT=reviewText", "LABEL=overall", "LABELS=<=2:negative,>=4:positive"),
        ("auc_weighted", "mcc", "accuracy"),
        tfidf_classifier,
        epochs=2,
    ),
    "squad_v1_dev": Case(
        ("TASK=question-answering", "LABEL=answers"), ("f1", "exact_match"), nearest_sentence, epochs=2
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What one run came to."""

    dataset: str
    seconds: float
    sweep_seconds: float
    metrics: dict[str, Any]
    baseline: Mapping[str, float]
    training: dict[str, Any]
    trials: list[dict[str, Any]]


def split_by_title(folder: Path, target: Path) -> Path:
    """Write train and test of a question answering set that has one split: one title in five, by its name, is test."""
    with gzip.open(next(folder.glob("*.jsonl.gz")), "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    titles = sorted({row["title"] for row in rows})
    target.mkdir(parents=True)
    for split in ("train", "test"):
        with (target / f"{split}.jsonl").open("w", encoding="utf-8") as stream:
            for row in rows:
                if (titles.index(row["title"]) % 5 == 0) == (split == "test"):
                    stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    return target


def run_case(name: str, data: Path, home: Path, reports: Path | None, trials: int) -> Outcome:
    """Run one data set through all stages, in a home of its own: nothing to reuse, no champion.

    Args:
        name: Of the case.
        data: Folder with its folder.
        home: For amlocal.
        reports: Where the report is kept, in a folder of the case's name.
        trials: Of the sweep.

    Raises:
        subprocess.CalledProcessError: the pipeline failed; its output has been shown.
    """
    job = f"acceptance-{name.replace('_', '-')}"
    case, source = CASES[name], data / name
    if not list(source.glob("train.*")):
        source = split_by_title(source, home / "source" / name)
    limits = [
        f"jobs.sweep.limits.max_total_trials={trials}",
        f"jobs.sweep.limits.max_concurrent_trials={min(2, trials)}",
    ]
    command = [
        "make",
        "run",
        f"DATA={source}",
        f"JOB={job}",
        f"NAME={job[:32]}",
        f"EPOCHS={case.epochs}",
        *case.variables,
    ]
    command.append(f"SET={' '.join([*limits, *case.overrides])}")
    environment = {**os.environ, "AMLOCAL_HOME": str(home)}
    print("$", " ".join(command), flush=True)
    started = time.monotonic()
    try:
        subprocess.run(command, cwd=ROOT, check=True, env=environment)
        seconds = time.monotonic() - started
    finally:
        subprocess.run(["make", "stop"], cwd=ROOT, check=True, env=environment)
    folder = home / "jobs" / job
    if reports is not None:
        keep_report(folder / "outputs" / "evaluation", reports / name)
    sweep = json.loads((folder / "job.json").read_text())["steps"]["sweep"]
    return Outcome(
        name,
        seconds,
        sweep["ended"] - sweep["started"],
        json.loads((folder / "outputs" / "evaluation" / "metrics.json").read_text()),
        case.baseline(folder / "steps" / "prep" / "outputs" / "dataset", data / name),
        json.loads((folder / "outputs" / "model" / "training.json").read_text()),
        json.loads((folder / "steps" / "sweep" / "trials.json").read_text()),
    )


def keep_report(evaluation: Path, target: Path) -> None:
    """Keep a run's report: report.html, report.md, figures, what they are made from, and a picture of the page.

    The picture is for a look and for docs/images; without a Chromium on PATH there is none, which is said.
    """
    shutil.copytree(evaluation, target, dirs_exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print(f"{target}: no picture of the page: no chromium on PATH")
        return
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                *(chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"),
                *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
                *("--window-size=1200,1500", f"--screenshot={target / 'report.png'}"),
                (target / "report.html").resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


def positive_f1(outcome: Outcome) -> float | None:
    """Return the F1 of the case's positive label, if it has one."""
    label = CASES[outcome.dataset].positive_label
    return next((row["f1"] for row in outcome.metrics["labels"] if row["label"] == label), None)


def failures(outcome: Outcome) -> list[str]:
    """Return what is below the accepted figures."""
    figures, case = outcome.metrics["metrics"]["challenger"], CASES[outcome.dataset]
    below = [
        f"{outcome.dataset}: {metric} {figures.get(metric)} is below {least}"
        for metric, least in case.least.items()
        if not figures.get(metric, 0.0) >= least
    ]
    if case.positive_label is not None and not (positive_f1(outcome) or 0.0) >= case.least_positive_f1:
        below.append(f"{outcome.dataset}: F1 of {case.positive_label} is below {case.least_positive_f1}")
    return below


def row(outcome: Outcome) -> str:
    """Return the outcome as a row of the Markdown table."""
    case, figures, plain = CASES[outcome.dataset], outcome.metrics["metrics"]["challenger"], outcome.baseline
    shown = [f"{name} {figures[name]:.3f}" for name in case.shown]
    if (of_label := positive_f1(outcome)) is not None:
        shown.append(f"F1 of {case.positive_label} {of_label:.3f}")
    completed = sum(trial["status"] == "Completed" for trial in outcome.trials)
    best = outcome.training["arguments"]
    cells = [
        outcome.dataset,
        outcome.metrics["rows"],
        f"{len(outcome.trials)} ({completed} to the end)",
        f"{best['learning_rate']:.2g}, {best['num_train_epochs']:g}, {best['per_device_train_batch_size']}",
        ", ".join(shown),
        ", ".join(f"{name} {plain[name]:.3f}" for name in case.shown if name in plain),
        f"{outcome.sweep_seconds:.0f}",
        f"{outcome.seconds:.0f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Run the chosen cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder per data set")
    parser.add_argument("--datasets", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--trials", type=int, default=4, help="of each sweep")
    parser.add_argument("--reports", type=Path, help="folder that keeps each run's report and a picture of it")
    arguments = parser.parse_args()
    missing = [name for name in arguments.datasets if not (arguments.data / name).is_dir()]
    if missing:
        sys.exit(f"error: {arguments.data}: no folder {', '.join(missing)}; give the real data with --data")
    outcomes = []
    for name in arguments.datasets:
        with tempfile.TemporaryDirectory() as home:
            outcomes.append(run_case(name, arguments.data.resolve(), Path(home), arguments.reports, arguments.trials))
            print(row(outcomes[-1]), flush=True)
    print("\n| data | test rows | trials | best: learning rate, epochs, batch | test | baseline on test ", end="")
    print("| sweep, s | all, s |\n|---|---|---|---|---|---|---|---|")
    print("\n".join(map(row, outcomes)))
    problems = [problem for outcome in outcomes for problem in failures(outcome)]
    if problems:
        sys.exit("error: " + "; ".join(problems))


if __name__ == "__main__":
    main()
