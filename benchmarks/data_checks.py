"""Run the data checks on public data sets and hold what they find against what is known to be odd there.

Example:
    python benchmarks/data_checks.py --data ../shared/data
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from finetune.data.checks.finding import Finding
from finetune.data.checks.findings import describe
from finetune.data.checks.policy import DEFAULT_CHECKS
from finetune.data.checks.splits import check_rows, check_splits
from finetune.data.columns import select_examples
from finetune.data.labels import parse_label_mapping
from finetune.data.problems import LABEL_KINDS
from finetune.data.sources import SourceTable, read_path
from finetune.errors import InputError
from finetune.tasks import Problem


@dataclass(frozen=True)
class Case:
    """How a data set is read, and the rows that its description names as odd."""

    texts: tuple[str, ...]
    label: str
    mapping: str = "as-is"
    group: str | None = None
    problem: Problem = "single_label"
    known: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(check, split) → rows."""


CASES = {
    "mrpc": Case(("sentence1", "sentence2"), "label", known={("unbalanced_quotes", "train"): 207}),
    "emotion": Case(
        ("text",),
        "label",
        known={
            ("leakage", "validation"): 5,
            ("leakage", "test"): 11,
            ("conflicting_labels", "train"): 60,
        },
    ),
    "amazon_musical_instruments_5core": Case(
        ("reviewText",),
        "overall",
        "<=2:negative,>=4:positive",
        group="asin",
        known={
            **{("empty_text", split): rows for split, rows in (("train", 5), ("validation", 1), ("test", 1))},
            **{("html_entities", split): rows for split, rows in (("train", 358), ("validation", 39), ("test", 46))},
            **{("group_leakage", split): 948 for split in ("validation", "test")},
            ("imbalance", "train"): 373,
        },
    ),
    "conll2003": Case(("tokens",), "ner_tags", known={("leakage", "test"): 126}, problem="token_labels"),
    "sst2": Case(("text",), "label", known={("duplicates", "train"): 366, ("conflicting_labels", "train"): 10}),
    "cola": Case(("text",), "label", known={("leakage", "validation"): 16}),
    "stsb": Case(("sentence1", "sentence2"), "label", known={("unbalanced_quotes", "train"): 52}),
    "squad_v1_dev": Case(("question", "context"), "title"),
}


def joined(table: SourceTable) -> SourceTable:
    """Return a table whose lists are texts, as tokens and their tags."""
    frame = table.frame.apply(
        lambda column: column.map(lambda value: value if isinstance(value, str | float | int) else _text(value))
    )
    return SourceTable(table.origin, frame, table.first_line, table.all_columns)


def _text(value: object) -> str | None:
    return " ".join(map(str, value)) if isinstance(value, list) else None


def findings(case: Case, folder: Path) -> list[Finding]:
    """Check a data set as prep does, but for what hangs on a checkpoint: the texts' lengths in tokens.

    Raises:
        InputError: it cannot be read as prep reads data.
    """
    kind = LABEL_KINDS[case.problem]
    columns = dict(zip(("text", "text_pair"), case.texts, strict=False))
    found, splits = list[Finding](), {}
    for split, table in read_path(folder).items():
        examples, more = select_examples(
            *(joined(table), columns, case.label, parse_label_mapping(case.mapping), split),
            group_column=case.group,
            kind=kind,
        )
        found += more
        examples, more = check_rows(split, examples, list(columns), DEFAULT_CHECKS, kind)
        splits[split], found = examples, found + more
    if "test" not in splits:
        splits["test"] = splits["validation"]
    *_, more = check_splits(splits, list(columns), DEFAULT_CHECKS, case.group, kind)
    return found + more


def main() -> None:
    """Check every data set that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--datasets", nargs="+", choices=list(CASES), default=list(CASES))
    arguments = parser.parse_args()
    missed = []
    for name in arguments.datasets:
        print(f"\n{name}")
        try:
            found = findings(CASES[name], arguments.data / name)
        except InputError as error:
            print(f"  refused: {error}")
            continue
        for finding in found:
            print(f"  {finding.split}: {finding.action}: {describe(finding)}")
        rows = {(finding.check, finding.split): finding.rows for finding in found}
        missed += [
            f"{name}: {check} in {split}: {rows.get((check, split), 0)} rows, not {number}"
            for (check, split), number in CASES[name].known.items()
            if rows.get((check, split)) != number
        ]
    sys.exit("\n".join(missed) if missed else 0)


if __name__ == "__main__":
    main()
