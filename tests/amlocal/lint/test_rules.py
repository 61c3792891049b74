"""Every rule has a good and a bad folder: nothing is found in the first, and in the second what its comments expect.

``# expect: rule`` stands on the faulty line; ``rule@4`` and ``rule@+2`` name another line, ``rule@end`` the last one.
"""

import re
from pathlib import Path

import pytest

from amlocal.lint.check import lint_file
from amlocal.lint.files import find, kind_of
from amlocal.lint.registry import RULES

FIXTURES = Path(__file__).parent / "fixtures"
EXPECT = re.compile(r"expect: ([a-z-]+)(?:@(\+?\w+))?")


def lint(folder):
    found = set()
    for path in find([folder]):
        if kind_of(path.read_text()) is not None:
            found.update(lint_file(path).problems)
    return found


def expected(folder):
    for path in sorted(folder.rglob("*.yml")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            for rule, at in EXPECT.findall(line):
                where = len(lines) + 1 if at == "end" else number + int(at) if at.startswith("+") else int(at or number)
                yield str(path.relative_to(folder)), where, rule


def test_every_rule_has_a_good_and_a_bad_folder():
    names = [rule.name for rule in RULES]
    assert sorted(names) == sorted(path.name for path in FIXTURES.iterdir())
    assert len(set(names)) == len(names)
    for name in names:
        assert list((FIXTURES / name / "good").rglob("*.yml"))
        assert name in {rule for _, _, rule in expected(FIXTURES / name / "bad")}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_good(rule):
    assert [str(problem) for problem in lint(FIXTURES / rule.name / "good")] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_bad(rule):
    folder = FIXTURES / rule.name / "bad"
    found = lint(folder)

    places = {(str(one.place.file.relative_to(folder)), one.place.line, one.rule) for one in found}
    assert places == set(expected(folder)), "\n".join(map(str, found))
    severities = {"warning" if problem.warning else "error" for problem in found if problem.rule == rule.name}
    assert all(severity in rule.severity.value for severity in severities)
