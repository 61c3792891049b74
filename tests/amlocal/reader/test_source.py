import re
from pathlib import Path

import pytest
import yaml

from amlocal.errors import AmlocalError
from amlocal.reader.source import UnreadableError, line_of, load, override, plain, set_value


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.yml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "a: 1e-3\nb: 1.0e-3\nc: yes\nd: on\ne: ~\nf: 0x10\ng: 1_000\nh: 010\ni: '5'\nj: 12:30\n",
        "day: 2024-01-31\ntime: 2024-01-31T10:00:00Z\n",
        "base: &b {x: 1, y: [1, {z: 2}]}\nchild:\n  <<: *b\n  x: 3\nagain: *b\n",
        "folded: >-\n  one\n  two\nliteral: |\n  one\n  two\n",
        "1: integer key\n",
        "[1, [2, 3], {a: b}]",
    ],
)
def test_reads_what_safe_load_reads(tmp_path, text):
    loaded = yaml.safe_load(text)
    expected = {str(key): value for key, value in loaded.items()} if isinstance(loaded, dict) else loaded

    assert plain(load(written(tmp_path, text))) == expected


def test_every_value_knows_its_line(tmp_path):
    root = load(written(tmp_path, "# comment\na: 1\nb:\n  c: [x,\n      y]\n\n  d:\n    e: 2\n"))

    b = root.value["b"]
    assert root.value["a"].place.line == 2
    assert b.place.line == 3
    assert [item.place.line for item in b.value["c"].value] == [4, 5]
    assert b.value["d"].value["e"].place.line == 8


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is stated twice, first on line 1"),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", 4, "'b' is stated twice, first on line 2"),
        ("a: 1\nyes: 2\n", 2, "a key must be text, found 'yes', which YAML 1.1 reads as True"),
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "expected ',' or ']'"),
        ("a: *nowhere\n", 1, "undefined alias"),
        ("a: !!python/object:os.system x\n", 1, "could not determine a constructor"),
        ("a: 1\njobs: &b {x: *b}\n", 2, "stands for the value itself"),
        ("a: 1\nb: &b\n- [*b]\n", 2, "stands for the value itself"),
        ("a:\n  b: &b\n    <<: *b\n", 2, "stands for the value itself"),
        ("[" * 5000, 1, "nested too deeply"),
        ("", 1, "empty"),
        ("a: 1\n---\nb: 2\n", 2, "another document"),
    ],
)
def test_bad_yaml_is_an_error_with_its_line(tmp_path, text, line, message):
    with pytest.raises(UnreadableError) as caught:
        load(written(tmp_path, text))

    assert caught.value.problem.place.line == line
    assert message in str(caught.value)
    assert f"file.yml:{line}: " in str(caught.value)


def test_missing_file_is_an_error(tmp_path):
    with pytest.raises(UnreadableError, match="no such file"):
        load(tmp_path / "none.yml")


def test_overrides_replace_and_add_without_touching_the_document(tmp_path):
    root = load(written(tmp_path, "inputs:\n  epochs: 3\n  name: a\n"))

    changed = override(root, ["inputs.epochs=5", "settings.force_rerun=true", "inputs.path=a=b", "inputs.none="])

    assert plain(changed) == {
        "inputs": {"epochs": 5, "name": "a", "path": "a=b", "none": ""},
        "settings": {"force_rerun": True},
    }
    assert plain(root)["inputs"]["epochs"] == 3
    assert str(changed.value["inputs"].value["epochs"].place) == "--set inputs.epochs=5"


def test_plain_override_keeps_the_declaration(tmp_path):
    declared = (
        "inputs:\n  n: {type: integer, default: 5, max: 7}\n  m: {type: number, value: 1}\n  d: {type: uri_folder}\n"
    )
    root = load(written(tmp_path, declared))

    changed = override(root, ["inputs.n=9.0", "inputs.m=2", "inputs.d=${{parent.inputs.x}}"])
    assert plain(changed)["inputs"] == {
        "n": {"type": "integer", "default": 9.0, "max": 7},
        "m": {"type": "number", "value": 2},
        "d": "${{parent.inputs.x}}",
    }
    with pytest.raises(AmlocalError, match=r"--set inputs\.d=x: this is a uri_folder, .* use --set inputs\.d\.path=x"):
        override(root, ["inputs.d=x"])
    assert str(changed.value["inputs"].value["n"].value["default"].place) == "--set inputs.n=9.0"
    assert plain(override(root, ["inputs.n={type: string}"]))["inputs"]["n"] == {"type": "string"}


@pytest.mark.parametrize("setting", ["inputs.a=&a {x: *a}", "inputs.epochs", "=5", "inputs..x=1", "inputs.epochs.x=1"])
def test_bad_override_is_an_error(tmp_path, setting):
    root = load(written(tmp_path, "inputs: {epochs: 3}\n"))

    with pytest.raises(AmlocalError, match="--set"):
        override(root, [setting])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("2", 2), ("-1", -1), ("0.5", 0.5), ("1.0e-3", 0.001), ("true", True), ("False", False), ("null", None)),
        *(('"2"', "2"), ("'no'", "no"), ("[1, 2]", [1, 2]), ("{type: choice}", {"type": "choice"})),
        *(
            ("no", "no"),
            ("on", "on"),
            ("0x10", "0x10"),
            ("1:2", "1:2"),
            ("2024-01-02", "2024-01-02"),
            ("1_000", "1_000"),
            ("010", "010"),
        ),
        *(("<=2:bad,>=4:good", "<=2:bad,>=4:good"), (">x", ">x"), ("a: b: c", "a: b: c"), ("", ""), ("~", "~")),
    ],
)
def test_set_keeps_what_a_user_means_as_text(text: str, value: object) -> None:
    assert set_value(text) == value
    assert type(set_value(text)) is type(value)


def test_setting_of_a_node_that_is_not_there_names_those_that_are(tmp_path):
    root = load(written(tmp_path, "jobs:\n  sweep: {type: sweep}\n  score: {type: command}\n"))

    with pytest.raises(
        AmlocalError, match=r"--set jobs\.swep\.timeout=3: there is no node 'swep'; nodes: sweep, score"
    ):
        override(root, ["jobs.swep.timeout=3"])


def test_a_text_is_found_in_its_value_alone_or_in_the_whole_document(tmp_path):
    path = written(tmp_path, "# note\ntype: sweep\njobs:\n  a:\n    x: 1\n  b:\n    goal: 2\ngoal: 3\n")

    assert line_of(load(path).place, re.compile("goal")).line == 7
    jobs = load(path).value["jobs"].value
    assert line_of(jobs["b"].place, re.compile("goal")).line == 7
    assert line_of(jobs["a"].place, re.compile("goal")).line == 4
