import pytest

from finetune.data.labels import parse_label_mapping
from finetune.errors import InputError


@pytest.mark.parametrize(("value", "name"), [(3, "3"), (3.0, "3"), ("3", "3"), (" joy ", "joy"), (2.5, "2.5")])
def test_as_is_reads_a_value_alike_from_every_format(value: object, name: str) -> None:
    assert parse_label_mapping("as-is").name_of(value) == name


def test_names() -> None:
    mapping = parse_label_mapping("0:different, 1:same")
    assert [mapping.name_of(value) for value in (0, "1", 1.0, 2)] == ["different", "same", "same", None]
    assert not mapping.drops_unmatched


def test_a_source_may_hold_a_colon() -> None:
    assert parse_label_mapping("a:b:same").name_of("a:b") == "same"


def test_thresholds_leave_the_middle_out() -> None:
    mapping = parse_label_mapping("<=2:negative,>=4:positive")
    assert [mapping.name_of(value) for value in (1, "2", 2.5, 3, 4, "5")] == [
        *("negative", "negative", None, None, "positive", "positive")
    ]
    assert mapping.drops_unmatched


@pytest.mark.parametrize("text", ["", "0", "0:", ":no", "0:no,>=4:yes", "<=x:no", "0:a,0:b"])
def test_a_broken_mapping_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--label_mapping"):
        parse_label_mapping(text)


@pytest.mark.parametrize("value", ["good", None, float("nan")])
def test_a_rating_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="thresholds need ratings"):
        parse_label_mapping("<=2:negative,>=4:positive").name_of(value)
