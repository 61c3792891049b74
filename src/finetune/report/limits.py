"""Intended use and limits of a model, as far as they follow from what was measured."""

from collections.abc import Sequence

from finetune.report.analysis import Reliability, SliceRow
from finetune.report.facts import Facts


def intended_use(facts: Facts) -> str:
    """Return what the model was made for."""
    manifest = facts.manifest
    columns = " and ".join(manifest.text_columns)
    return (
        f"Gives each row ({columns}) one of {len(manifest.labels)} labels: {', '.join(manifest.labels)}. "
        f"Fine-tuned from {manifest.checkpoint} on {manifest.splits['train'].rows:,} rows of {manifest.source}, and "
        "meant for texts like these."
    )


def limits(facts: Facts, calibration: Reliability | None, slices: Sequence[SliceRow]) -> list[str]:
    """Return what the figures say about where not to trust the model, and what they do not say."""
    manifest, labels = facts.manifest, facts.metrics["labels"]
    train = manifest.splits["train"]
    weakest = min((row for row in labels if row["support"]), key=lambda row: row["f1"], default=None)
    unmeasured = [row["label"] for row in labels if not row["support"]]
    found = [
        "It always answers one of its labels, also to a text that none of them fits; how it answers such texts was not "
        "measured.",
        f"It was measured on {facts.metrics['rows']:,} rows of the same origin as its training data. Texts from "
        "elsewhere, in other languages, or of a later time were not.",
    ]
    if weakest is not None:
        found.append(f"Its weakest label is {weakest['label']}: F1 {weakest['f1']:.4f} on {weakest['support']:,} rows.")
    if calibration is not None:
        found.append(f"Its probabilities are off by {calibration.error:.4f} on average (expected calibration error).")
    if unmeasured:
        found.append(f"No test row of {', '.join(unmeasured[:8])}: how it answers such texts was not measured.")
    if train.truncated_share:
        found.append(
            f"Texts are cut at {manifest.max_length:,} tokens; {train.truncated_share:.1%} of the training rows were."
        )
    else:
        found.append(f"Texts longer than {manifest.max_length:,} tokens are cut; no training row was.")
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
