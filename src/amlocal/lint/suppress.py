"""``# amlocal: ignore[rule]``: a line whose author knows better."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from amlocal.reader.source import Place, Problem

UNUSED = "unused-ignore"
_COMMENT = re.compile(r"#\s*amlocal:\s*ignore\b(?:\[([^\]]*)\])?")


def suppressed(problems: Iterable[Problem], files: Iterable[Path], known: Set[str]) -> Iterator[Problem]:
    """Leave out problems that a comment on their line ignores, and report comments that ignore nothing.

    Args:
        problems: what was found.
        files: the files whose unused comments are reported.
        known: the names of all rules.
    """
    ignored: dict[Path, dict[int, set[str]]] = {}
    used: set[tuple[Path, int, str]] = set()
    for problem in problems:
        file, line = problem.place.file, problem.place.line
        if file not in ignored:
            ignored[file] = _comments(file)
        if problem.rule in ignored[file].get(line, ()) and problem.place.option is None:
            used.add((file, line, problem.rule))
        else:
            yield problem
    for file in files:
        for line, rules in (ignored[file] if file in ignored else _comments(file)).items():
            if not rules:
                yield Problem(Place(file, line), UNUSED, "expected the rule to ignore, as in ignore[value]", True)
            for rule in sorted(rules):
                if rule not in known:
                    yield Problem(
                        Place(file, line), UNUSED, f"there is no rule {rule!r}; see amlocal lint --rules", True
                    )
                elif (file, line, rule) not in used:
                    yield Problem(Place(file, line), UNUSED, f"{rule} finds nothing on this line", True)


def _comments(file: Path) -> dict[int, set[str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    found: dict[int, set[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _COMMENT.search(line)
        if match:
            found[number] = {name.strip() for name in (match[1] or "").split(",") if name.strip()}
    return found
