"""Every name that a message is printed under is known."""

import ast
from pathlib import Path

import amlocal
from amlocal.lint.registry import NAMES, OF_THIS_MACHINE

PLACED = {"Problem": 1, "UnreadableError": 1, "problem": 1, "unresolve": 1}


def test_every_name_given_to_a_problem_is_a_rule_or_of_this_machine():
    found = {}
    for path in Path(amlocal.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and len(node.args) > 1:
                name = getattr(node.func, "id", getattr(node.func, "attr", None))
                argument = node.args[PLACED[name]] if name in PLACED else None
                for literal in ast.walk(argument) if argument is not None else ():
                    # The parts of an f-string are only halves of names.
                    if isinstance(literal, ast.Constant) and isinstance(argument, ast.Constant | ast.IfExp):
                        found.setdefault(literal.value, path)
    assert len(found) > 40
    assert {name: path for name, path in found.items() if name not in NAMES | OF_THIS_MACHINE} == {}
    assert not NAMES & OF_THIS_MACHINE
