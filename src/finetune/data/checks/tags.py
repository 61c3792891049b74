"""Whether tags follow each other as in BIO2, where B- begins every entity (or S-, where single words have their own).

In IOB1 an entity begins with I-, and with B- only beside another one of its type. Metrics read both; a model that
learns from a mixture answers in one.
"""

from collections.abc import Sequence

import numpy as np

from finetune.data.checks.findings import Problem
from finetune.data.label_texts import read_tags

CHECK = "tag_order"
_BEGINS = {"I": "B", "E": "S"}
"""What goes on with an entity → what it is called where there is none to go on with."""


def stray_tags(tags: Sequence[str]) -> list[int]:
    """Return the positions of tags that go on with an entity which does not stand before them."""
    before = ["O", *tags]
    return [
        place
        for place, tag in enumerate(tags)
        if tag[0] in _BEGINS and before[place] not in (f"B-{tag[2:]}", f"I-{tag[2:]}")
    ]


def tag_order(labels: Sequence[str]) -> Problem:
    """Find rows with stray tags."""
    mask = np.zeros(len(labels), dtype=bool)
    number, first = 0, ""
    for row, label in enumerate(labels):
        tags = read_tags(label)
        places = stray_tags(tags)
        if places and not number:
            at = places[0]
            first = f"{tags[at]} after {tags[at - 1]}" if at else f"{tags[at]} at the start"
        mask[row] = bool(places)
        number += len(places)
    detail = f"{number:,} entities begin with I- or E-, as {first}; --repair tags makes these B- and S-"
    return Problem(CHECK, mask, detail)


def with_begins(label: str) -> str:
    """Return a row's tags with stray ones made beginnings; this turns IOB1 into BIO2."""
    tags = read_tags(label)
    for place in stray_tags(tags):
        tags[place] = f"{_BEGINS[tags[place][0]]}{tags[place][1:]}"
    return " ".join(tags)
