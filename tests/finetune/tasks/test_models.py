"""The models' own code: each file is copied into a model's folder by itself, so what they share is there in copies."""

import ast
from collections import defaultdict
from pathlib import Path

import finetune.tasks
from finetune.training.problems import HEADS

FILES = sorted(Path(finetune.tasks.__file__).parent.glob("*_model.py"))


def test_copies_of_a_function_are_equal() -> None:
    copies: dict[str, dict[str, str]] = defaultdict(dict)
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                copies[node.name][path.name] = ast.get_source_segment(text, node) or ""
    assert copies["open_network"].keys() == {path.name for path in FILES}
    assert {name: len(set(sources.values())) for name, sources in copies.items()} == dict.fromkeys(copies, 1)


def test_every_file_is_some_heads_model() -> None:
    assert {head.model_script for head in HEADS.values()} == set(FILES)
