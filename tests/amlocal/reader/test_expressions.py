import pytest

from amlocal.reader.expressions import (
    ExpressionError,
    Kind,
    Optional,
    Reference,
    UnsetInputError,
    has_expression,
    parse,
    references,
    render,
)


def values(**known):
    return lambda reference: known.get(reference.name)


@pytest.mark.parametrize(
    ("text", "kind", "name", "node"),
    [
        ("${{parent.inputs.x}}", Kind.PARENT_INPUT, "x", None),
        ("${{ parent.inputs.x }}", Kind.PARENT_INPUT, "x", None),
        ("${{parent.inputs.group.x}}", Kind.PARENT_INPUT, "group.x", None),
        ("${{parent.jobs.train.outputs.model}}", Kind.NODE_OUTPUT, "model", "train"),
        ("${{parent.jobs.train-1.outputs.model_dir}}", Kind.NODE_OUTPUT, "model_dir", "train-1"),
        ("${{parent.outputs.report}}", Kind.PARENT_OUTPUT, "report", None),
        ("${{inputs.data}}", Kind.INPUT, "data", None),
        ("${{outputs.data}}", Kind.OUTPUT, "data", None),
        ("${{search_space.lr}}", Kind.SEARCH_SPACE, "lr", None),
        ("${{name}}", Kind.MACRO, "name", None),
        ("${{default_datastore}}", Kind.MACRO, "default_datastore", None),
        ("${{output_name}}", Kind.MACRO, "output_name", None),
    ],
)
def test_each_expression_is_understood_and_written_back(text, kind, name, node):
    reference = parse(text).reference

    assert reference == Reference(kind, name, node)
    assert str(reference) == text.replace(" ", "")


@pytest.mark.parametrize(
    "text",
    [
        "${{}}",
        "${{ }}",
        "${{x}}",
        "${{input.x}}",
        "${{inputs}}",
        "${{inputs.}}",
        "${{inputs.x.}}",
        "${{inputs.1x}}",
        "${{parent.input.x}}",
        "${{parent.jobs.train.output.x}}",
        "${{parent.jobs.train.outputs}}",
        "${{parent.jobs.outputs.x}}",
        "${{inputs.x y}}",
        "${{ ${{inputs.x}} }}",
    ],
)
def test_malformed_expression_says_what_is_expected(text):
    with pytest.raises(ExpressionError, match=r"expected parent\.inputs\.NAME"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("echo ${{inputs.x", "never closed", 5),
        ("echo $[[ --x ${{inputs.x}}", "never closed", 5),
        ("a $[[ ${{inputs.x ]] b}}", "never closed", 6),
        ("$[[ a $[[ b ]] ]]", "inside", 6),
        ("one\ntwo ${{x}}", "no expression", 8),
    ],
)
def test_error_tells_where_in_the_text(text, message, offset):
    with pytest.raises(ExpressionError, match=message) as caught:
        parse(text)
    assert caught.value.offset == offset


@pytest.mark.parametrize("text", ["", "plain", "$x ${y} $(z) {{x}} [[ -f x ]] $[1+1]", "100 % }} ]]"])
def test_other_text_passes_through_unchanged(text):
    assert not has_expression(text)
    assert render(parse(text), values()) == text


def test_values_are_put_in_as_they_are():
    template = parse("run --a ${{inputs.a}} --b=${{ inputs.b }}/x && echo ${{inputs.a}}")

    assert render(template, values(a="1 2", b="$HOME")) == "run --a 1 2 --b=$HOME/x && echo 1 2"


def test_inserted_values_are_not_read_as_expressions():
    assert render(parse("${{inputs.a}}"), values(a="${{inputs.b}}")) == "${{inputs.b}}"


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"a": "1", "b": "2"}, "run --a 1 --b 2 end"),
        ({"a": "1"}, "run --a 1 end"),
        ({"b": "2"}, "run --b 2 end"),
        ({}, "run end"),
        ({"a": ""}, "run --a  end"),
    ],
)
def test_optional_parts_drop_out_one_by_one(known, expected):
    template = parse("run $[[--a ${{inputs.a}} ]]$[[--b ${{inputs.b}} ]]end")

    assert render(template, values(**known)) == expected


def test_optional_part_drops_out_when_any_of_its_inputs_is_unset():
    template = parse("$[[${{inputs.a}}:${{inputs.b}}]]")

    assert render(template, values(a="1")) == ""
    assert render(template, values(a="1", b="2")) == "1:2"


def test_optional_part_without_reference_stays():
    assert render(parse("a $[[b]] c"), values()) == "a b c"


def test_unset_reference_outside_an_optional_part_is_an_error():
    with pytest.raises(UnsetInputError, match=r"\$\{\{inputs\.a\}\} has no value"):
        render(parse("run ${{inputs.a}}"), values())


def test_references_say_whether_they_are_optional():
    found = [
        (reference.name, optional) for reference, optional in references(parse("${{inputs.a}} $[[${{inputs.b}}]]"))
    ]

    assert found == [("a", False), ("b", True)]


def test_only_a_lone_reference_counts_as_one():
    assert parse("${{inputs.a}} ").reference is None
    assert parse("$[[${{inputs.a}}]]").reference is None
    assert isinstance(parse("$[[${{inputs.a}}]]").parts[0], Optional)
