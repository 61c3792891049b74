import pandas as pd
import pytest

from finetune.data.checks.texts import parse_repairs, repair, text_problems
from finetune.errors import InputError

CLEAN = ["a < b & c", "AT&T; fine", "café “quoted”", "tab\tand\nline", "emoji 😀", "ÜBER", "x && y;"]


def found(*texts: str) -> dict[str, list[bool]]:
    problems = text_problems(pd.DataFrame({"text": texts}), ["text"])
    return {problem.check: problem.mask.tolist() for problem in problems if problem.mask.any()}


def test_texts_as_they_should_be_are_let_alone() -> None:
    assert found(*CLEAN) == {}


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("it&#8217;s", "html_entities"),
        ("R&amp;B", "html_entities"),
        ("&#x27;", "html_entities"),
        ("cafÃ© au lait", "mojibake"),
        ("itâ€™s", "mojibake"),
        ("a bell\x07", "control_characters"),
        ("\u202eturned", "control_characters"),
        ("\x93quoted\x94", "control_characters"),
        ('he said "yes', "unbalanced_quotes"),
    ],
)
def test_a_mark_that_should_not_be_there_is_found(text: str, check: str) -> None:
    assert found("fine", text)[check] == [False, True]


def test_a_row_has_what_one_of_its_texts_has() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "text_pair": ["c", "d&quot;"]})
    masks = {problem.check: problem.mask.tolist() for problem in text_problems(frame, ["text", "text_pair"])}
    assert masks["html_entities"] == [False, True]


@pytest.mark.parametrize(
    ("text", "repairs", "repaired"),
    [
        ("R&amp;B", "html", "R&B"),
        ("R&amp;B", "encoding", "R&amp;B"),
        ("cafÃ©", "encoding", "café"),
        ("cafÃ©", "html", "cafÃ©"),
        ("M\udcfcnchen \udc93x\udc94 \udc81", "encoding", "München “x” \x81"),
        ("cafÃ© &lt;3", "html,encoding", "café <3"),
        *((text, "html, encoding", text) for text in CLEAN),
    ],
)
def test_only_what_is_asked_for_is_undone(text: str, repairs: str, repaired: str) -> None:
    assert repair(text, parse_repairs(repairs)) == repaired


def test_repairs_are_none_or_known() -> None:
    assert parse_repairs("none") == ()
    assert parse_repairs("tags, html") == ("tags", "html")
    for wrong in ("", "all", "none,html", "html;encoding"):
        with pytest.raises(InputError, match="expected none, or html, encoding and tags"):
            parse_repairs(wrong)
