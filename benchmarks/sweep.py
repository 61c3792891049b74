r"""What a sweep costs end to end: this project's against the seeds' way, in CPU-seconds of all processes.

The seeds' way: each trial is a cold process that tokenises the texts for itself and trains by the seed recipe to the
end (benchmarks/seed_recipe.py). This project's: prep and sweep of pipelines/finetune.yml, run by amlocal; its own
processes and the workspace's are counted. Trials have the same hyperparameters and seed on all sides. Beside the whole,
the sweep with cold starts and without early termination, which shows what recipe, warm start and bandit each give.

MRPC, the first rows of train; validation is whole. Figures are written as they come; a rerun goes on with what is
missing. It fails where the whole sweep is less than 8 times cheaper, or its best validation score is below the seeds'
by more than noise (a standard error of a share of that size on the validation rows).

Example:
    python benchmarks/sweep.py --data ../shared/data --figures build/sweep.jsonl
"""

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from metering import metered
from seed_recipe import mrpc_texts, prepared_mrpc

ROOT = Path(__file__).parents[1]
SEEDS_WAY, RECIPE, WARM, WHOLE = (
    "seeds' way",
    "recipe: cold starts, no early termination",
    "and warm starts",
    "and early termination: the whole",
)
LEAST_TIMES_LESS = 8.0
MAX_LENGTH = 128
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Way:
    """How a sweep of the project is run."""

    start: str
    """amlocal's --start."""
    early_termination: bool


WAYS: Mapping[str, Way] = {RECIPE: Way("cold", False), WARM: Way("warm", False), WHOLE: Way("warm", True)}


@dataclass(frozen=True)
class Setting:
    """What is swept."""

    rows: int
    validation_rows: int
    trials: int


def main() -> None:
    """Measure what is missing, print the table, and fail where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of real data")
    parser.add_argument("--figures", type=Path, required=True, help="JSON lines: read, and added to")
    parser.add_argument("--rows", type=int, default=1200, help="rows to train on")
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--ways", nargs="+", choices=[*WAYS, SEEDS_WAY], default=[*WAYS, SEEDS_WAY])
    given = parser.parse_args()
    given.figures.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        counts = mrpc_texts(given.data / "mrpc", given.rows, folder / "texts")
        setting = Setting(given.rows, counts["validation"], given.trials)
        for way in [way for way in WAYS if way in given.ways]:
            if not found(given.figures, setting, way):
                figures = run_sweep(WAYS[way], setting, folder / "texts", folder / WAYS[way].start)
                add(given.figures, setting, {"way": way, **figures})
        if SEEDS_WAY in given.ways:
            # The hyperparameters are what amlocal drew; a sweep without early termination has all of them.
            drawn = [trial["parameters"] for way in (RECIPE, WARM) for trial in trials(given.figures, setting, way)]
            if len(drawn) < given.trials:
                sys.exit(f"error: the trials' hyperparameters are those of the way {RECIPE!r}, which was not measured")
            seed_trials(given.figures, setting, drawn[: given.trials], folder)
    measured = {way: lines for way in [SEEDS_WAY, *WAYS] if (lines := found(given.figures, setting, way))}
    print(table(measured, setting))
    problems = failures(measured, setting)
    if problems:
        sys.exit("error: " + "; ".join(problems))


def pipeline(definition: Mapping[str, Any], texts: Path, trials: int, early_termination: bool) -> dict[str, Any]:
    """Return prep and sweep of pipelines/finetune.yml, to be written anywhere."""
    jobs = {name: dict(definition["jobs"][name]) for name in ("prep", "sweep")}
    jobs["prep"]["component"] = str(ROOT / "components" / "prep" / "component.yml")
    sweep = jobs["sweep"]
    sweep["trial"] = str(ROOT / "components" / "train" / "component.yml")
    sweep["limits"] = {**sweep["limits"], "max_total_trials": trials}
    if not early_termination:
        del sweep["early_termination"]
    inputs = {
        **definition["inputs"],
        "data": {"type": "uri_folder", "path": str(texts)},
        "data_checks": {"type": "uri_file", "path": str(ROOT / "endpoints" / "text-classifier" / "data_checks.yml")},
        "task": "text-pair-classification",
        "text_column": "text",
        "text_pair_column": "text_pair",
        "label_column": "label",
    }
    for unused in ("gate_policy", "endpoint_definition", "endpoint_name", "model_name", "commit"):
        del inputs[unused]
    return {
        **{name: definition[name] for name in ("$schema", "type", "settings")},
        "inputs": inputs,
        "outputs": {"model": definition["outputs"]["model"]},
        "jobs": jobs,
    }


def run_sweep(way: Way, setting: Setting, texts: Path, folder: Path) -> dict[str, Any]:
    """Run prep and sweep in a home of their own; return cost, best score and the trial table."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    definition = yaml.safe_load((ROOT / "pipelines" / "finetune.yml").read_text(encoding="utf-8"))
    file = folder / "sweep.yml"
    file.write_text(yaml.safe_dump(pipeline(definition, texts, setting.trials, way.early_termination)))
    amlocal = str(Path(sys.executable).with_name("amlocal"))
    commands = [
        [amlocal, "job", "create", "--file", str(file), "--name", "sweep", "--start", way.start],
        [amlocal, "workspace", "stop"],
    ]
    environment = {**one_thread(), "AMLOCAL_HOME": str(folder / "home")}
    cost = metered(commands, _PATIENCE_SECONDS, environment, folder / "metered.json")
    table = json.loads((folder / "home" / "jobs" / "sweep" / "steps" / "sweep" / "trials.json").read_text())
    return {
        "cpu_seconds": cost.cpu_seconds,
        "wall_seconds": cost.wall_seconds,
        "score": max(trial["best_value"] for trial in table if trial["best_value"] is not None),
        "trials": table,
    }


def seed_trials(path: Path, setting: Setting, drawn: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Run the seeds' way, a trial at a time, as far as it was not measured before."""
    dataset = folder / "dataset"
    # For the label names and the test of what was saved alone: its tokens are not used, and its cost does not count.
    prepared_mrpc(folder / "texts", dataset, MAX_LENGTH)
    for number, parameters in enumerate(drawn):
        if any(line["number"] == number for line in found(path, setting, SEEDS_WAY)):
            continue
        own = folder / f"seed-{number}"
        own.mkdir()
        words: list[str] = [sys.executable, str(Path(__file__).with_name("seed_recipe.py"))]
        for name, value in {
            "dataset": dataset,
            "texts": folder / "texts",
            "folder": own,
            "result": own / "result.json",
        }.items():
            words += [f"--{name}", str(value)]
        for name, value in parameters.items():
            words += [f"--{name}", str(value)]
        cost = metered([words], _PATIENCE_SECONDS, one_thread(), own / "metered.json")
        told = json.loads((own / "result.json").read_text(encoding="utf-8"))
        line = {"way": SEEDS_WAY, "number": number, "parameters": dict(parameters), "score": told["score"]}
        add(path, setting, {**line, "cpu_seconds": cost.cpu_seconds, "wall_seconds": cost.wall_seconds})


def one_thread() -> dict[str, str]:
    """Return the variables under which all processes are measured."""
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **one}


def add(path: Path, setting: Setting, line: Mapping[str, Any]) -> None:
    """Write one figure."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"rows": setting.rows, "of": setting.trials, **line}) + "\n")
    print({name: value for name, value in line.items() if name != "trials"}, file=sys.stderr, flush=True)


def found(path: Path, setting: Setting, way: str) -> list[dict[str, Any]]:
    """Return the figures of a way that were written so far."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wanted = (setting.rows, setting.trials, way)
    return [line for line in lines if (line["rows"], line["of"], line["way"]) == wanted]


def trials(path: Path, setting: Setting, way: str) -> list[dict[str, Any]]:
    """Return the trial table of a way, empty where it was not measured."""
    return [trial for line in found(path, setting, way) for trial in line["trials"]]


def cost_of(lines: Sequence[Mapping[str, Any]]) -> float:
    """Return the CPU-seconds of a way: its only sweep's, or all of its trials'."""
    return math.fsum(line["cpu_seconds"] for line in lines)


def score_of(lines: Sequence[Mapping[str, Any]]) -> float:
    """Return the best validation score of a way."""
    return max(line["score"] for line in lines)


def noise(score: float, rows: int) -> float:
    """Return the standard error of a share on so many rows; of the macro F1 of two labels it is about that."""
    return math.sqrt(score * (1 - score) / rows)


def failures(measured: Mapping[str, Sequence[Mapping[str, Any]]], setting: Setting) -> list[str]:
    """Return what keeps the whole sweep from its target, or what was not measured."""
    missing = [way for way in (SEEDS_WAY, WHOLE) if way not in measured]
    if missing:
        return [f"{way}: not measured" for way in missing]
    if (count := len(measured[SEEDS_WAY])) < setting.trials:
        return [f"{SEEDS_WAY}: {count} of {setting.trials} trials measured"]
    problems = []
    times = cost_of(measured[SEEDS_WAY]) / cost_of(measured[WHOLE])
    if not times >= LEAST_TIMES_LESS:
        problems.append(f"{times:.2f} times fewer CPU-seconds; expected {LEAST_TIMES_LESS:g}")
    seeds, own = score_of(measured[SEEDS_WAY]), score_of(measured[WHOLE])
    allowed = noise(seeds, setting.validation_rows)
    if not own >= seeds - allowed:
        problems.append(f"best score {own:.4f} is below the seeds' {seeds:.4f} by more than {allowed:.4f}")
    return problems


def table(measured: Mapping[str, Sequence[Mapping[str, Any]]], setting: Setting) -> str:
    """Return a Markdown table: cost and best score of each way, each way's part, and every trial's score."""
    lines = [
        f"MRPC, {setting.rows} train rows, {setting.validation_rows} validation rows, {setting.trials} trials\n",
        "| | CPU-seconds | times less than the seeds' way | than the row above | best macro F1 | of each trial |",
        "|---|---|---|---|---|---|",
    ]
    before = None
    for way, figures in measured.items():
        cost = cost_of(figures)
        against = f"{cost_of(measured[SEEDS_WAY]) / cost:.2f}" if SEEDS_WAY in measured else "not measured"
        step = "" if before is None else f"{before / cost:.2f}"
        lines.append(
            f"| {way} | {cost:.0f} | {against} | {step} | {score_of(figures):.4f} | {', '.join(scores(figures))} |"
        )
        before = cost
    return "\n".join(lines)


def scores(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return each trial's best score; those that were ended early are marked."""
    if "trials" not in lines[0]:
        return [f"{line['score']:.4f}" for line in sorted(lines, key=lambda line: line["number"])]
    return [
        ("none" if trial["best_value"] is None else f"{trial['best_value']:.4f}")
        + ("" if trial["status"] == "Completed" else f" ({trial['status'].lower()})")
        for trial in lines[0]["trials"]
    ]


if __name__ == "__main__":
    main()
