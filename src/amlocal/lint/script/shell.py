"""Finds the scripts that a command line starts, and with which arguments.

Commands are read as far as they are plain: words, quotes, ``&&``, ``;``, ``|``, ``cd``. Where a command uses more of
the shell (loops, conditions, here-documents), nothing is said about it.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from amlocal.reader.expressions import Optional, Reference, Template

# Private-use characters stand for what is no text: a reference by its number, and the ends of an optional part.
_REFERENCE = re.compile("\ue000([0-9]+)\ue001")
_OPEN, _CLOSE = "\ue002", "\ue003"

_REDIRECTION = re.compile(r"(?<!\S)[0-9]*&?(>>|>&|>\||>|<)\s*(\S+)")
_HARMLESS_TARGET = re.compile(r"&?[0-9-]|/dev/\S+")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_PYTHON = re.compile(r"(.*/)?python[0-9.]*")
_SHELL = re.compile(r"(.*/)?(ba|da|z)?sh")
_BRACES = re.compile(r"\{[\w./-]*(,|\.\.)[\w.,/-]*\}")
_KEYWORDS = frozenset(
    {"for", "while", "until", "if", "case", "select", "function", "{", "(", "[[", "((", "trap", "eval"}
)
_PREFIXES = frozenset({"time", "nohup", "sudo", "exec", "env", "command", "unbuffer"})
_LAUNCHERS = frozenset({"torchrun", "deepspeed"})
_LAUNCHER_MODULES = frozenset(
    {"torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch", "deepspeed.launcher.runner"}
)
_RUNNERS = frozenset({"mpirun", "mpiexec", "horovodrun", "xvfb-run", "conda", "mamba", "uv", "poetry", "numactl"})
# Commands that put no script into the working directory.
_HARMLESS = frozenset(
    {"echo", "ls", "pwd", "set", "export", "mkdir", "env", "printenv", "date", "sleep", "true", "nvidia-smi", "pip"}
    | {"pip3", "conda", "mamba", "apt", "apt-get", "which", "hostname", "ulimit", "df", "free", "chmod"}
    | {"cat", "head", "tail", "tee", "test", "["}
)


@dataclass(frozen=True)
class Word:
    """One word of a command.

    Attributes:
        text: as the program gets it; a reference is one placeholder character sequence in it.
        references: those in it.
        dynamic: True when the shell puts something in, so that it may be any number of words.
        optional: True inside ``$[[ ]]``.
    """

    text: str
    references: tuple[Reference, ...]
    dynamic: bool
    optional: bool

    @property
    def known(self) -> bool:
        """Tell whether the text is all there is."""
        return not self.references and not self.dynamic

    def shown(self) -> str:
        """Write the word as the file has it."""
        found = iter(self.references)
        return _REFERENCE.sub(lambda match: str(next(found)), self.text)

    def filled(self, values: dict[Reference, str]) -> str:
        """Put values in for the references that have one."""
        found = iter(self.references)
        return _REFERENCE.sub(lambda match: values.get(next(found), match[0]), self.text)


@dataclass(frozen=True)
class Invocation:
    """A script being started.

    Attributes:
        script: its path in the working directory; None for a module.
        module: the dotted name after ``python -m``; None for a script.
        folder: where it is started, relative to the working directory.
        arguments: what follows it.
        first: False when a command before it, or another script, may have made or changed the script.
        python: whether it is a Python script.
    """

    script: str | None
    module: str | None
    folder: str
    arguments: tuple[Word, ...]
    first: bool
    python: bool


def invocations(command: Template) -> tuple[Invocation, ...]:
    """List the scripts that a command starts; none where it cannot be told."""
    references: list[Reference] = []
    text = "".join(_flat(command, references)).replace("\\\n", " ")
    if "<<" in text or "`" in text:
        return ()
    text, writes = _without_redirections(text)
    try:
        commands = list(_commands(text, references))
    except ValueError:  # a quote that is never closed
        return ()
    folder, first = "", not writes
    found: list[Invocation] = []
    for words in commands:
        words = _without_prefixes(words)
        if not words:
            continue
        name = posixpath.basename(words[0].text)
        if words[0].text in _KEYWORDS or (not words[0].known and not words[0].text.endswith((".py", ".sh"))):
            return ()
        if name in {"cd", "pushd"}:
            if len(words) != 2 or not words[1].known:
                return tuple(found)
            folder = posixpath.normpath(posixpath.join(folder, words[1].text))
            continue
        started = _started(words)
        if started is not None:
            found.append(replace(started, folder=folder, first=first))
            first = False
        elif name not in _HARMLESS:
            first = False
    return tuple(found)


def unclosed_quote(command: Template) -> bool:
    """Tell whether a quote is certainly never closed: nothing but plain words, quotes and references is judged."""
    text = "".join(_flat(command, []))
    if any(sign in text for sign in ("<<", "`", "\\", "#", "$(", "${", "$'")):
        return False
    try:
        shlex.split(text)
    except ValueError:
        return True
    return False


def _flat(command: Template, references: list[Reference]) -> Iterator[str]:
    def sign(reference: Reference) -> str:
        references.append(reference)
        return f"\ue000{len(references) - 1}\ue001"

    for part in command.parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Reference):
            yield sign(part)
        elif isinstance(part, Optional):
            yield f" {_OPEN} "
            yield from (inner if isinstance(inner, str) else sign(inner) for inner in part.parts)
            yield f" {_CLOSE} "


def _without_redirections(text: str) -> tuple[str, bool]:
    writes = False

    def drop(match: re.Match[str]) -> str:
        nonlocal writes
        writes = writes or (match[1] != "<" and not _HARMLESS_TARGET.fullmatch(match[2]) and ".py" in match[2])
        return " "

    return _REDIRECTION.sub(drop, text), writes


def _commands(text: str, references: Sequence[Reference]) -> Iterator[list[Word]]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[Word] = []
    optional = comment = False
    for token in _substitutions_whole(lexer):
        if token and set(token) <= set(";&|\n"):
            comment = comment and "\n" not in token
            if words and not comment:
                yield words
                words = []
        elif comment or token.startswith("#"):
            comment = True
        elif token in {_OPEN, _CLOSE}:
            optional = token == _OPEN
        else:
            inside = tuple(references[int(number)] for number in _REFERENCE.findall(token))
            dynamic = "$" in token or "*" in token or _OPEN in token or _BRACES.search(token) is not None
            words.append(Word(token, inside, dynamic, optional))
    if words:
        yield words


def _substitutions_whole(tokens: Iterable[str]) -> Iterator[str]:
    """Put ``$(…)``, ``$((…))`` and ``${…}`` with spaces in them together again."""
    whole: list[str] = []
    depth = 0
    for token in tokens:
        if depth or "$(" in token or "${" in token:
            whole.append(token)
            depth += sum(token.count(sign) for sign in "({") - sum(token.count(sign) for sign in ")}")
            if depth > 0:
                continue
            token, whole, depth = " ".join(whole), [], 0
        yield token
    if whole:
        yield " ".join(whole)


def _without_prefixes(words: list[Word]) -> list[Word]:
    index = 0
    while index < len(words) and (words[index].text in _PREFIXES or _ASSIGNMENT.fullmatch(words[index].text)):
        index += 1
    return words[index:]


def _started(words: Sequence[Word]) -> Invocation | None:
    name, rest = words[0].text, words[1:]
    if _PYTHON.fullmatch(name):
        return _python(rest)
    if name in _LAUNCHERS or (name == "accelerate" and rest and rest[0].text == "launch"):
        return _launched(rest)
    if name in _RUNNERS:
        for index, word in enumerate(rest):
            if _PYTHON.fullmatch(word.text):
                return _python(rest[index + 1 :])
        return None
    if _SHELL.fullmatch(name) or name == "Rscript":
        while rest and rest[0].text in {"-e", "-x", "-ex", "-xe", "-u", "-eux", "--vanilla"}:
            rest = rest[1:]
        return _script(rest, python=False)
    if name.startswith("./") or ("/" in name and not name.startswith("/") and name.endswith((".sh", ".py"))):
        return _script(words, python=name.endswith(".py"))
    return None


def _python(words: Sequence[Word]) -> Invocation | None:
    index = 0
    while index < len(words) and words[index].text.startswith("-"):
        option = words[index].text
        if option == "-m" and index + 1 < len(words) and words[index + 1].known:
            module, rest = words[index + 1].text, tuple(words[index + 2 :])
            if module in _LAUNCHER_MODULES:
                return _launched(rest)
            return Invocation(None, module, "", rest, True, True)
        if option.startswith(("-c", "-m")) or option == "-":
            return None
        index += 2 if option in {"-W", "-X"} else 1
    return _script(words[index:], python=True)


def _script(words: Sequence[Word], python: bool) -> Invocation | None:
    if not words or not words[0].known or words[0].text.startswith("-"):
        return None
    return Invocation(words[0].text, None, "", tuple(words[1:]), True, python)


def _launched(words: Sequence[Word]) -> Invocation | None:
    """Find the script behind a launcher's own options: the first word that is a Python file."""
    for index, word in enumerate(words):
        if word.known and word.text.endswith(".py"):
            return _script(words[index:], python=True)
        if word.text in {"-m", "--module"}:
            return None
    return None
