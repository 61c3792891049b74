"""Tells a command that is one plain call of a Python script from every other one."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

_WORD = re.compile(r"""(?:[A-Za-z0-9_@%+=:,./-]|'[^']*'|"[^"$`\\!]*")+""")
_PART = re.compile(r"""'([^']*)'|"([^"]*)"|([^'"]+)""")
_PYTHON = re.compile(r"python(3(\.[0-9]+)?)?")


@dataclass(frozen=True)
class PythonCall:
    """A call of a script.

    Attributes:
        script: its path as written, relative to the working directory.
        arguments: what follows it.
        options: Python's own.
    """

    script: str
    arguments: tuple[str, ...]
    options: tuple[str, ...] = ()


def plain_call(command: str) -> PythonCall | None:
    """Read a command line that does nothing but ``python SCRIPT.py ARGUMENTS``.

    Args:
        command: what ``bash -c`` would get, all expressions filled in.

    Returns:
        The call; None where bash would do anything else than split words and take quotes away, for another program,
        and for options of Python's other than ``-u``.
    """
    words: list[str] = []
    # bash takes a line's end for the end of a command, so nothing but blanks may separate words.
    rest = command.strip(" \t\n")
    while rest:
        word = _WORD.match(rest)
        if word is None:
            return None
        words.append("".join("".join(part) for part in _PART.findall(word[0])))
        after = rest[word.end() :]
        rest = after.lstrip(" \t")
        if rest and rest == after:
            return None
    if not words or _PYTHON.fullmatch(words[0]) is None:
        return None
    options, words = (("-u",), words[2:]) if words[1:2] == ["-u"] else ((), words[1:])
    if not words or not words[0].endswith(".py") or words[0].startswith(("-", "/")):
        return None
    if posixpath.normpath(words[0]).startswith(".."):
        return None
    return PythonCall(words[0], tuple(words[1:]), options)
