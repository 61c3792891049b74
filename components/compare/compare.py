r"""Compare: what the same training steps took on several computes, what that costs, and which one to take.

Example:
    python components/compare/compare.py --skus pipelines/skus/local.yml --runs build/first build/second \
        --prices prices.yml --max_minutes 30 --comparison build/comparison
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from finetune.errors import InputError
from finetune.report.costs import read_prices
from finetune.report.tracked import log_files, tracked_run
from finetune.skus.compared import compare_runs
from finetune.skus.hardware_use import read_hardware_use
from finetune.skus.listing import read_compute_list
from finetune.skus.measured import read_runs
from finetune.skus.recommendation import recommend
from finetune.skus.write import write_comparison
from finetune.stage import parse_arguments, run_stage

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompareArguments:
    """The command line of compare."""

    skus: str = field(metadata={"help": "list of computes that the pipeline was written from"})
    runs: list[str] = field(
        metadata={"help": "model folders that train wrote, in the order of the list", "action": "extend"}
    )
    comparison: str = field(metadata={"help": "output folder: comparison.json, comparison.html, comparison.md"})
    prices: str | None = field(default=None, metadata={"help": "table of prices by machine; default: no costs"})
    max_minutes: float | None = field(
        default=None, metadata={"help": "limit of a run's time for the recommendation; default: none"}
    )


def main(argv: Sequence[str]) -> None:
    """Run compare.

    Raises:
        InputError: list, prices or runs cannot be used; see `read_runs`.
    """
    arguments = parse_arguments(CompareArguments, argv, __doc__)
    limit = arguments.max_minutes
    if limit is not None and not (limit > 0 and math.isfinite(limit)):
        raise InputError(f"--max_minutes {limit}: expected a number above 0")
    prices = None if arguments.prices is None else read_prices(Path(arguments.prices))
    listed = read_compute_list(Path(arguments.skus))
    runs = read_runs([Path(folder) for folder in arguments.runs], listed.runs)
    comparison = compare_runs(runs, [read_hardware_use(run) for run in runs], prices)
    answer = recommend(comparison, limit)
    with tracked_run() as run:
        log_files(run, "report", *write_comparison(Path(arguments.comparison), comparison, answer))
    LOGGER.info("%s: %s", answer.compute or "none within the limit", " ".join(answer.reasons))


if __name__ == "__main__":
    run_stage(main)
