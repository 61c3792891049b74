import pandas as pd
import pytest

from finetune.data.checks.copies import normalise, text_keys
from finetune.data.examples import Examples
from finetune.data.splits import check_labels, complete_splits, mark_seen_in_train
from finetune.errors import InputError


def examples(labels: str, prefix: str = "row") -> Examples:
    frame = pd.DataFrame({"text": [f"{prefix} {i}" for i in range(len(labels))], "label": list(labels)})
    return Examples(frame, f"{prefix}.csv", {})


def test_given_splits_are_kept() -> None:
    given = {split: examples("ab", split) for split in ("test", "train", "validation")}
    splits = complete_splits(given, 0.1, 0.1, 0)
    assert list(splits) == ["train", "validation", "test"]
    assert all(splits[split].frame.equals(given[split].frame) for split in splits)


def test_cut_splits_are_disjoint_complete_stratified_and_seeded() -> None:
    given = {"train": examples("a" * 60 + "b" * 40)}
    splits = complete_splits(given, 0.2, 0.1, 3)
    texts = [set(splits[split].frame["text"]) for split in ("train", "validation", "test")]
    assert [len(part) for part in texts] == [70, 20, 10]
    assert set.union(*texts) == set(given["train"].frame["text"])
    assert [splits[split].frame["label"].value_counts()["b"] for split in splits] == [28, 8, 4]
    again, other = complete_splits(given, 0.2, 0.1, 3), complete_splits(given, 0.2, 0.1, 4)
    assert again["test"].frame.equals(splits["test"].frame)
    assert not other["test"].frame.equals(splits["test"].frame)


def test_only_the_missing_split_is_cut() -> None:
    given = {"train": examples("ab" * 50), "test": examples("ab", "test")}
    splits = complete_splits(given, 0.1, 0.5, 0)
    assert [len(splits[split].frame) for split in splits] == [90, 10, 2]


@pytest.mark.parametrize(
    ("labels", "shares", "message"),
    [
        ("aaaaaaaaab", (0.2, 0.2), "the rarest .'b'. with 1 rows"),
        ("ab", (0.1, 0.1), "cannot cut a stratified test split of 0 rows"),
        ("ab" * 10, (1.5, 0.1), "--validation_share 1.5: expected a share between 0 and 1"),
        ("ab" * 10, (0.5, 0.6), "leave no row for train"),
    ],
)
def test_shares_that_cannot_be_cut_are_refused(labels: str, shares: tuple[float, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        complete_splits({"train": examples(labels)}, *shares, seed=0)


def test_labels_are_sorted() -> None:
    assert check_labels({"train": examples("bca"), "test": examples("a", "test")}) == ("a", "b", "c")


def test_a_label_that_train_lacks_is_named() -> None:
    with pytest.raises(InputError, match=r"test\.csv: label 'z' \(2 rows of the test split, first: row 2\)"):
        check_labels({"train": examples("ab"), "test": examples("azz", "test")})


def test_one_label_is_not_enough() -> None:
    with pytest.raises(InputError, match="the only label is 'a'"):
        check_labels({"train": examples("aa")})


def mark(split: Examples, train: Examples) -> list[str]:
    keys, known = (text_keys(part.frame, ["text"]) for part in (split, train))
    return list(mark_seen_in_train(keys, known, split, "test"))


def test_rows_that_occur_in_train_are_marked() -> None:
    train, test = examples("abab", "same"), examples("ababab", "same")
    test.frame.loc[4, "text"] = test.frame.loc[0, "text"].upper() + " !"
    assert mark(examples("ab", "other"), train) == ["no", "no"]
    assert mark(test, train) == ["exact"] * 4 + ["normalised", "no"]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("It's LATE!", "it s late"),
        ("ﬁne  day\n", "fine day"),
        ("a_b-c", "a b c"),
        ("ÉTÉ", "été"),
        ("Straße", "STRASSE"),
    ],
)
def test_texts_are_the_same_but_for_case_punctuation_and_spaces(text: str, same: str) -> None:
    assert normalise(text) == normalise(same)


def test_what_is_nothing_but_punctuation_stays_itself() -> None:
    assert normalise("?!") != normalise("...")
    assert normalise("late") != normalise("later")


def test_a_test_split_that_is_the_train_split_is_refused() -> None:
    train = examples("abab", "same")
    with pytest.raises(InputError, match=r"same\.csv: all 4 rows of the test split occur in train"):
        mark(train, train)
