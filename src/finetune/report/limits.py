"""Intended use and limits of a model, as far as they follow from what was measured."""

from collections.abc import Sequence

from finetune.report.analysis import SliceRow
from finetune.report.facts import Facts


def intended_use(facts: Facts, what: str) -> str:
    """Return what the model was made for.

    Args:
        facts: of the report.
        what: it does with a row, such as "Gives each row (text) a number".
    """
    manifest = facts.manifest
    return (
        f"{what}. Fine-tuned from {manifest.checkpoint} on {manifest.splits['train'].rows:,} rows of "
        f"{manifest.source}, and meant for texts like these."
    )


def limits(facts: Facts, own: Sequence[str], slices: Sequence[SliceRow]) -> list[str]:
    """Return what the figures say about where not to trust the model, and what they do not say.

    Args:
        facts: of the report.
        own: what only models for this problem have to be told of.
        slices: of the test rows.
    """
    found = [
        *own,
        f"It was measured on {facts.metrics['rows']:,} rows of the same origin as its training data. Texts from "
        "elsewhere, in other languages, or of a later time were not.",
        _cut(facts),
    ]
    seen = facts.metrics["test_rows"]["seen_in_train"]
    if seen:
        found.append(f"{seen:,} of the test rows occur in train, so the figures are better than on new texts.")
    fewest = facts.verdict["policy"]["slice_minimum_rows"]
    small = [part.name for part in slices if part.rows < fewest]
    if small:
        names = ", ".join(small[:8]) + (f" and {len(small) - 8} more" if len(small) > 8 else "")
        found.append(f"Fewer than {fewest} test rows, so hardly known: {names}.")
    found.append("Nothing was measured about groups of people, or about texts made to mislead the model.")
    return found


def _cut(facts: Facts) -> str:
    manifest, train = facts.manifest, facts.manifest.splits["train"]
    length = f"{manifest.max_length:,} tokens"
    if manifest.window_overlap is not None:
        return f"Longer texts are read in windows of {length} that share {manifest.window_overlap:,}."
    if train.truncated_share:
        return f"Texts are cut at {length}; {train.truncated_share:.1%} of the training rows were."
    return f"Texts longer than {length} are cut; no training row was."
