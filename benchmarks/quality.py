r"""Equal quality: the recipe against the seed recipe on MRPC, test accuracy and F1 over several seeds a side.

Both sides train all-MiniLM-L6-v2 on the same prepared rows, with the same learning rate, epochs, batch and seeds, keep
the weights of the best validation, and are measured once on test, by the code that serves. Every training is a process
of its own. The figures of each are written as they come; a rerun goes on with what is missing.

It fails when the recipe is worse than noise, by accuracy or F1: the upper end of Welch's 95 % interval of the
difference of the means is below 0, or the difference is below what single seeds differ by (0.02), or there are fewer
than three seeds a side.

Example:
    python benchmarks/quality.py --data ../shared/data --figures build/quality.jsonl --seeds 1 2 3
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import stats
from seed_recipe import mrpc_texts, prepared_mrpc

SIDES = ("seed recipe", "recipe")
METRICS = ("accuracy", "f1")
LEAST_SEEDS = 3
WORST_DIFFERENCE = -0.02
"""Seeds of one recipe differ by as much; more than that is no noise, however wide the interval."""
POSITIVE = "equivalent"
LEARNING_RATE, EPOCHS, BATCH, MAX_LENGTH = 1e-4, 3.0, 32, 128


@dataclass(frozen=True)
class Figures:
    """What one training came to."""

    side: str
    seed: int
    rows: int
    """Rows trained on."""
    learning_rate: float
    epochs: float
    batch: int
    accuracy: float
    f1: float
    """Of the label "equivalent", which the field reports for MRPC."""
    score: float
    """The best validation's macro F1."""
    cpu_seconds: float
    """Of the whole process: imports, training, validations, saving."""
    training_cpu_seconds: float
    """Of training and validations."""


@dataclass(frozen=True)
class Difference:
    """Recipe minus seed recipe, over the seeds."""

    mean: float
    low: float
    high: float
    """Welch's 95 % interval."""


def main() -> None:
    """Train what is missing, print the table, and fail where the recipe is worse than noise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of real data")
    parser.add_argument("--figures", type=Path, required=True, help="JSON lines: read, and added to")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="what to train")
    parser.add_argument("--rows", type=int, help="train on the first so many rows; default: all")
    given = parser.parse_args()
    given.figures.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        dataset = Path(temporary) / "dataset"
        mrpc_texts(given.data / "mrpc", given.rows, Path(temporary) / "texts")
        rows = prepared_mrpc(Path(temporary) / "texts", dataset, MAX_LENGTH).splits["train"].rows
        wanted = [(side, seed) for seed in given.seeds for side in given.sides]
        for side, seed in wanted:
            if not any(
                of_setting(each, rows) and (each.side, each.seed) == (side, seed) for each in known(given.figures)
            ):
                figures = trained(side, seed, rows, dataset, Path(temporary) / f"{side.replace(' ', '-')}-{seed}")
                with given.figures.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(dataclasses.asdict(figures)) + "\n")
                print(f"{side}, seed {seed}: {dataclasses.asdict(figures)}", file=sys.stderr, flush=True)
    found = [each for each in known(given.figures) if of_setting(each, rows) and each.seed in given.seeds]
    print(table(found))
    problems = failures(found)
    if problems:
        sys.exit("error: " + "; ".join(problems))


def trained(side: str, seed: int, rows: int, dataset: Path, folder: Path) -> Figures:
    """Train in a process of its own, measure on test.

    Raises:
        SystemExit: training failed; its output has been shown.
    """
    folder.mkdir()
    result = folder / "result.json"
    arguments = [
        *("--dataset", dataset, "--folder", folder, "--result", result, "--seed", seed),
        *("--learning_rate", LEARNING_RATE, "--num_train_epochs", EPOCHS, "--per_device_train_batch_size", BATCH),
    ]
    script = {"seed recipe": "seed_recipe.py", "recipe": "recipe.py"}[side]
    seconds = cpu_seconds_of([sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)])
    told = json.loads(result.read_text(encoding="utf-8"))
    accuracy, f1 = tested(folder / "model", dataset)
    return Figures(
        *(side, seed, rows, LEARNING_RATE, EPOCHS, BATCH, accuracy, f1, told["score"], seconds),
        training_cpu_seconds=told["training_cpu_seconds"],
    )


def cpu_seconds_of(command: Sequence[str]) -> float:
    """Run a command with one thread; return the CPU-seconds of it and of all processes that it waited for.

    Raises:
        SystemExit: it failed.
    """
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(command, env={**os.environ, **one})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"error: {' '.join(command)} failed with exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def tested(model: Path, dataset: Path) -> tuple[float, float]:
    """Return accuracy and F1 of "equivalent" on the test rows, without those that occur in train, as evaluate does."""
    from sklearn.metrics import accuracy_score, f1_score

    from finetune.answers.test_rows import choose_test_rows, read_test_rows
    from finetune.data.manifest import LABEL, read_manifest
    from finetune.evaluation import predict

    manifest = read_manifest(dataset)
    frame, _ = choose_test_rows(read_test_rows(dataset, manifest), manifest, subtract=True)
    answered = list(predict(model, frame, manifest).columns[""])
    true = list(frame[LABEL])
    return float(accuracy_score(true, answered)), float(f1_score(true, answered, pos_label=POSITIVE))


def known(path: Path) -> list[Figures]:
    """Return the figures that were written so far."""
    if not path.exists():
        return []
    return [Figures(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def of_setting(figures: Figures, rows: int) -> bool:
    """Tell whether figures are of the rows and hyperparameters that are compared."""
    setting = (figures.rows, figures.learning_rate, figures.epochs, figures.batch)
    return setting == (rows, LEARNING_RATE, EPOCHS, BATCH)


def values(found: Sequence[Figures], side: str, metric: str) -> list[float]:
    """Return a side's figures, in the order of the seeds."""
    return [getattr(each, metric) for each in sorted(found, key=lambda each: each.seed) if each.side == side]


def difference(found: Sequence[Figures], metric: str) -> Difference:
    """Return the difference of the means with its interval (Welch 1947, The generalization of "Student's" problem)."""
    seed, own = (values(found, side, metric) for side in SIDES)
    mean = statistics.fmean(own) - statistics.fmean(seed)
    if min(len(seed), len(own)) < 2:
        return Difference(mean, float("-inf"), float("inf"))
    if len({*seed}) == len({*own}) == 1:
        return Difference(mean, mean, mean)
    interval = stats.ttest_ind(own, seed, equal_var=False).confidence_interval(0.95)
    return Difference(mean, float(interval.low), float(interval.high))


def failures(found: Sequence[Figures]) -> list[str]:
    """Return where the recipe is worse than noise, or not measured often enough to say."""
    few = [
        f"{side}: {count} seeds; {LEAST_SEEDS} are needed"
        for side in SIDES
        if (count := len(values(found, side, "accuracy"))) < LEAST_SEEDS
    ]
    if few:
        return few
    worse = []
    for metric in METRICS:
        each = difference(found, metric)
        if not each.high >= 0 or not each.mean >= WORST_DIFFERENCE:
            worse.append(f"{metric} is worse by {-each.mean:.4f} (95 % interval {each.low:+.4f} … {each.high:+.4f})")
    return worse


def table(found: Sequence[Figures]) -> str:
    """Return a Markdown table of every seed, the means and their difference."""
    lines = [
        "| | seed | test accuracy | test F1 | best validation's macro F1 | CPU-s, training | CPU-s, process |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in sorted(found, key=lambda each: (SIDES.index(each.side), each.seed)):
        lines.append(
            f"| {each.side} | {each.seed} | {each.accuracy:.4f} | {each.f1:.4f} | {each.score:.4f} "
            f"| {each.training_cpu_seconds:.0f} | {each.cpu_seconds:.0f} |"
        )
    for side in SIDES:
        cells = [_mean(values(found, side, name)) for name in (*METRICS, "score")]
        costs = [_mean(values(found, side, name), 0) for name in ("training_cpu_seconds", "cpu_seconds")]
        lines.append(f"| {side}: mean (standard deviation) | | {' | '.join([*cells, *costs])} |")
    if all(values(found, side, "accuracy") for side in SIDES):
        for metric in METRICS:
            each = difference(found, metric)
            lines.append(
                f"\nRecipe − seed recipe, {metric}: {each.mean:+.4f}, 95 % interval {each.low:+.4f} … {each.high:+.4f}"
            )
    return "\n".join(lines)


def _mean(each: Sequence[float], digits: int = 4) -> str:
    if not each:
        return "not measured"
    spread = f" ({statistics.stdev(each):.{digits}f})" if len(each) > 1 else ""
    return f"{statistics.fmean(each):.{digits}f}{spread}"


if __name__ == "__main__":
    main()
