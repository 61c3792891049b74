"""What prep does differently for kinds of labels.

How a value becomes a label's text, which names there are, how a split is cut, and how rows become token ids.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from finetune.data import label_values
from finetune.data.encoders import Encoder, encode_classes, encode_flags, encode_numbers, encode_spans, encode_tags
from finetune.data.label_texts import read_names, read_tags
from finetune.data.labels import LabelMapping
from finetune.errors import InputError
from finetune.tasks import Problem


@dataclass(frozen=True)
class LabelKind:
    """One row of the table."""

    read: Callable[[Any, LabelMapping], str | None]
    """Value and mapping → the label's text; None leaves the row out. Raises InputError, without the row."""
    encode: Encoder
    pieces: Callable[[str], list[str]]
    """The names that a label's text holds, each as often as it counts."""
    fewest_names: int
    """Names that train must have for something to be learnt."""
    mapping: Literal["all", "names", "none"] = "names"
    """Which label mappings go with it: also thresholds; names only; as-is only."""
    missing: Callable[[Any], bool] = label_values.is_missing
    read_text: Callable[[Any], str] = label_values.plain_text
    check: Callable[[Mapping[str, str], str], None] = label_values.check_nothing
    """A row's texts and its label's text; raises InputError where they do not go together."""
    label_column: str = "label"
    """Where the label is when no column is named."""
    several_columns: bool = False
    """Labels may be columns of 0 and 1."""
    background: str | None = None
    """A name that stands for nothing, and is expected to be frequent."""
    stratified: bool = False
    """Cut splits get the same share of each label."""
    together: str | None = None
    """Rows with the same text in this column stay in one split when splits are cut."""
    tags: bool = False
    """Labels are tags, whose order says where an entity begins."""
    repairs: bool = True
    """False where labels are places in the text as it is."""
    numbers: bool = False
    offsets: bool = False
    """The tokenizer has to say where its tokens stand."""
    most_tokens: int = 512
    """Maximum length when none is asked for and the model takes more."""
    windows: bool = False
    """Long texts are read in overlapping windows, in the place of being cut."""


def _itself(text: str) -> list[str]:
    return [text]


def _nothing(text: str) -> list[str]:
    return []


LABEL_KINDS: Mapping[Problem, LabelKind] = MappingProxyType(
    {
        "single_label": LabelKind(
            label_values.one_name, encode_classes, _itself, fewest_names=2, mapping="all", stratified=True
        ),
        "multi_label": LabelKind(
            label_values.any_names,
            encode_flags,
            read_names,
            fewest_names=1,
            missing=label_values.has_no_flags,
            several_columns=True,
        ),
        "regression": LabelKind(
            label_values.number, encode_numbers, _nothing, fewest_names=0, mapping="none", numbers=True
        ),
        "token_labels": LabelKind(
            label_values.tags,
            encode_tags,
            read_tags,
            fewest_names=2,
            read_text=label_values.words_text,
            check=label_values.check_tags,
            background=label_values.OUTSIDE,
            tags=True,
            offsets=True,
        ),
        "answer_spans": LabelKind(
            label_values.answers,
            encode_spans,
            _nothing,
            fewest_names=0,
            mapping="none",
            missing=label_values.has_no_answer,
            check=label_values.check_answers,
            label_column="answers",
            together="context",
            repairs=False,
            offsets=True,
            most_tokens=384,
            windows=True,
        ),
    }
)


def check_mapping(kind: LabelKind, mapping: LabelMapping, text: str) -> None:
    """Refuse a label mapping that says nothing about such labels.

    Raises:
        InputError: numbers or answers are to be mapped, or thresholds given for several labels.
    """
    if mapping.rules and kind.mapping == "none":
        raise InputError(f"--label_mapping {text!r}: this task's labels have no names; expected 'as-is'")
    if mapping.drops_unmatched and kind.mapping != "all":
        raise InputError(f"--label_mapping {text!r}: thresholds are for one rating a row; expected 'as-is' or names")
