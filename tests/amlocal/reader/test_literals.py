from pathlib import Path

import pytest

from amlocal.reader.literals import coerce, fit
from amlocal.reader.model import InputSpec
from amlocal.reader.source import Place


def spec(kind: str | None, **more: object) -> InputSpec:
    return InputSpec("x", Place(Path("f.yml"), 1), kind, **more)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (3, "integer", "3"),
        ("3", "integer", "3"),
        (3.0, "integer", "3"),
        ("1e3", "integer", "1000"),
        (123456789012345678, "integer", "123456789012345678"),
        ("123456789012345678", "integer", "123456789012345678"),
        (3, "number", "3"),
        (0.1, "number", "0.1"),
        ("1e-3", "number", "0.001"),
        (1e-5, "number", "1e-05"),
        (True, "boolean", "True"),
        ("false", "boolean", "False"),
        ("text", "string", "text"),
        (True, "string", "True"),
        (1.50, "string", "1.5"),
    ],
)
def test_value_as_a_command_sees_it(value, kind, text):
    assert str(coerce(value, kind)) == text


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("three", "integer", "expected an integer, found 'three'"),
        (2.5, "integer", "expected an integer, found 2.5"),
        (True, "integer", "expected an integer, found the boolean True"),
        ("", "number", "expected a number, found ''"),
        ("nan", "number", "finite"),
        (".5.", "number", "expected a number"),
        (1, "boolean", "expected a boolean, found 1"),
        ("yes please", "boolean", "expected a boolean"),
    ],
)
def test_value_of_the_wrong_type(value, kind, message):
    with pytest.raises(ValueError, match=message):
        coerce(value, kind)


@pytest.mark.parametrize(
    ("value", "declared", "message"),
    [
        (0, spec("integer", minimum=1), "at least 1"),
        (6, spec("integer", maximum=5), "at most 5"),
        ("blue", spec("string", enum=("red", "green")), "one of red, green"),
        ("x", spec("uri_folder"), "expected a uri_folder"),
    ],
)
def test_value_that_is_ruled_out(value, declared, message):
    with pytest.raises(ValueError, match=message):
        fit(value, declared)


def test_value_within_its_bounds():
    assert fit(5, spec("integer", minimum=1, maximum=5)) == 5
    assert fit("red", spec("string", enum=("red", "green"))) == "red"
    assert fit(7, spec(None)) == 7
