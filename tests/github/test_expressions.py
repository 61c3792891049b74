"""The evaluator of `${{ … }}` that the workflows' tests rest on."""

import pytest
from github.expressions import ExpressionError, Scope, evaluate, evaluate_condition, interpolate

SCOPE = Scope(
    {
        "github": {"ref": "refs/heads/main", "event": {"pull_request": {"number": 7}}},
        "needs": {"train": {"result": "success", "outputs": {"promoted": "true"}}},
        "inputs": {"epochs": ""},
    }
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("github.event.pull_request.number", 7),
        ("github.event.issue.number", None),
        ("github['ref']", "refs/heads/main"),
        ("needs.train.outputs.promoted == 'true'", True),
        ("needs.train.outputs.promoted == 'TRUE'", True),
        ("needs.train.outputs.promoted == true", False),
        ("needs.train.outputs.promoted != 'true' || github.ref == 'refs/heads/main'", True),
        ("inputs.epochs || 'three'", "three"),
        ("inputs.epochs && 'never'", ""),
        ("!inputs.epochs", True),
        ("'it''s'", "it's"),
        ("startsWith(github.ref, 'refs/HEADS/')", True),
        ("contains(fromJSON('[1, 2]'), 2)", True),
        ("format('{0}-{1}', 'a', 2)", "a-2"),
        ("(1 == 2) || 3", 3),
        ("'' == 0", True),
    ],
)
def test_expressions_have_the_values_that_github_gives_them(text: str, value: object) -> None:
    assert evaluate(text, SCOPE) == value


@pytest.mark.parametrize(
    "text",
    [
        "secrets.KEY",
        "needs.test.result",
        "needs.train.outputs.promted",
        "github.refs",
        "hashFiles('a')",
        "1 +",
        "a b",
        "github.",
        "'open",
        "1 < 2",
    ],
)
def test_what_is_not_understood_or_not_there_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(text, SCOPE)


@pytest.mark.parametrize(
    ("condition", "status", "holds"),
    [
        (None, "success", True),
        (None, "failure", False),
        ("github.ref == 'refs/heads/main'", "failure", False),
        ("always()", "failure", True),
        ("always()", "cancelled", True),
        ("failure()", "failure", True),
        ("failure()", "success", False),
        ("cancelled()", "cancelled", True),
        ("cancelled()", "failure", False),
        ("${{ success() && github.ref == 'refs/heads/main' }}", "success", True),
        ("success() || failure()", "cancelled", False),
    ],
)
def test_conditions_depend_on_how_it_went_so_far(condition: str | None, status: str, holds: bool) -> None:
    assert evaluate_condition(condition, Scope(SCOPE.contexts, status)) is holds


def test_a_text_with_marks_is_put_together() -> None:
    assert interpolate("a ${{ github.ref }}-${{ inputs.epochs }}.", SCOPE) == "a refs/heads/main-."
    with pytest.raises(ExpressionError, match="always true"):
        evaluate_condition("${{ inputs.epochs }} == 'a'", SCOPE)
