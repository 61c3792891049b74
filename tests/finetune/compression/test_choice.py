import math

import pytest

from finetune.compression.choice import Form, choose, relative_loss

PLAIN = Form("plain", 0.8, 10.0, 90.0)


def chosen(*forms: Form, maximum_loss: float = 0.01) -> str:
    (name,) = [each.form.name for each in choose(PLAIN, forms, maximum_loss) if each.chosen]
    return name


def reasons(*forms: Form, maximum_loss: float = 0.01) -> list[str]:
    return [each.reason for each in choose(PLAIN, forms, maximum_loss)]


def test_the_fastest_that_keeps_the_score_is_chosen() -> None:
    forms = (Form("a", 0.8, 5.0), Form("b", 0.793, 2.0), Form("c", 0.79, 1.0))
    assert chosen(*forms) == "b"
    assert reasons(*forms)[1] == "2.0 times faster, score 0.8000 (-0.00%); another form is faster"
    assert reasons(*forms)[3] == "score 0.7900 against 0.8000: loses 1.25%, more than the 1.00% allowed"


def test_a_loss_at_the_limit_passes_and_a_gain_does() -> None:
    assert chosen(Form("a", 0.75, 1.0), maximum_loss=0.0625) == "a"
    assert chosen(Form("a", 0.9, 1.0), maximum_loss=0.0) == "a"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (Form("a", problem="cannot be exported"), "cannot be exported"),
        (Form("a", math.nan, 1.0), "measured score nan"),
        (Form("a", None, 1.0), "measured score None"),
        (Form("a", 0.8, math.inf), "inf ms against 10.00: not 1.1 times faster"),
        (Form("a", 0.8, 0.0), "and 0.0 ms; expected finite numbers"),
        (Form("a", 0.8, 9.5), "9.50 ms against 10.00: not 1.1 times faster"),
    ],
)
def test_without_a_usable_form_the_plain_model_stays_with_the_reason(form: Form, said: str) -> None:
    assert chosen(form) == "plain"
    assert reasons(form)[0] == "no other form is usable"
    assert said in reasons(form)[1]


def test_loss_is_relative_to_the_size_of_the_score() -> None:
    assert relative_loss(-2.0, -2.1) == pytest.approx(0.05)
    assert relative_loss(0.5, 0.55) == pytest.approx(-0.1)
    assert relative_loss(0.0, 0.0) == 0.0
    assert relative_loss(0.0, -0.1) == math.inf
