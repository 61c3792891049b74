"""YAML with the file and line of every value kept.

PyYAML's ``safe_load`` is what azure-ai-ml reads with (YAML 1.1: ``1e-3`` is text, ``on`` is true), so the
same constructor builds the scalars here; only the marks are kept beside them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from amlocal.errors import AmlocalError

_PLAIN = re.compile(r"[-+]?(0|[1-9]\d*)|[-+]?(\d+\.\d*|\.\d+)([eE][-+]\d+)?|true|false|null", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where something was written.

    Attributes:
        file: the YAML file; relative paths in it are relative to its folder.
        line: counted from 1.
        option: the ``--set`` text that put the value there instead of the file.
    """

    file: Path
    line: int
    option: str | None = None

    def __str__(self) -> str:
        if self.option is not None:
            return f"--set {self.option}"
        return f"{shown(self.file)}:{self.line}"


def shown(path: Path) -> str:
    """Shorten a path for a message: relative to the current folder where that is inside it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@dataclass(frozen=True)
class Located:
    """A YAML value and the place of its key (or of itself, for a list item).

    Attributes:
        value: a scalar, a dict of ``str`` to ``Located`` or a list of ``Located``.
        place: where it was written.
    """

    value: Any
    place: Place


@dataclass(frozen=True)
class Problem:
    """Something in a file that cannot be run as written.

    Attributes:
        place: the file and line at fault.
        rule: the short name of what was checked.
        message: what was found and what was expected.
        warning: True for what may be meant or cannot be known; a job with nothing worse runs.
    """

    place: Place
    rule: str
    message: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {'warning: ' if self.warning else ''}{self.rule}: {self.message}"


class UnreadableError(AmlocalError):
    """Reading cannot go on past this problem."""

    def __init__(self, place: Place, rule: str, message: str) -> None:
        self.problem = Problem(place, rule, message)
        super().__init__(str(self.problem))


class InvalidJobError(AmlocalError):
    """A job file has problems; all that were found, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        unique = dict.fromkeys(problems)
        self.problems = sorted(unique, key=lambda p: (str(p.place.file), p.place.line))
        lines = [str(problem) for problem in self.problems]
        super().__init__(lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} problems", *lines]))


def load(path: Path) -> Located:
    """Read one YAML document.

    Args:
        path: the file.

    Returns:
        Its root value.

    Raises:
        UnreadableError: when the file is missing, is no YAML, or states a key twice.
    """
    start = Place(path, 1)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UnreadableError(start, "missing-file", "no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(start, "missing-file", f"cannot be read: {error}") from None
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            raise UnreadableError(start, "yaml", "the file is empty")
        _refuse_circles(root, path, [])
        return _locate(loader, root, path, Place(path, root.start_mark.line + 1))
    except RecursionError:
        raise UnreadableError(start, "yaml", "nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(path, mark.line + 1 if mark else 1)
        raise UnreadableError(place, "yaml", error.problem or "not valid YAML") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableError(start, "yaml", f"not valid YAML: {error}") from None
    finally:
        loader.dispose()


def _refuse_circles(node: yaml.Node, path: Path, above: list[yaml.Node]) -> None:
    if isinstance(node, yaml.ScalarNode):
        return
    if any(node is outer for outer in above):
        line = node.start_mark.line + 1
        raise UnreadableError(Place(path, line), "yaml", "an alias inside this value stands for the value itself")
    children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    for child in children:
        _refuse_circles(child, path, [*above, node])


def _locate(loader: yaml.SafeLoader, node: yaml.Node, path: Path, place: Place) -> Located:
    if isinstance(node, yaml.MappingNode):
        return Located(_mapping(loader, node, path), place)
    if isinstance(node, yaml.SequenceNode):
        items = [_locate(loader, item, path, Place(path, item.start_mark.line + 1)) for item in node.value]
        return Located(items, place)
    return Located(loader.construct_object(node), place)


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path) -> dict[str, Located]:
    stated: dict[Any, int] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node)
        line = key_node.start_mark.line + 1
        if isinstance(key, (dict, list)) or key is None or isinstance(key, bool):
            if isinstance(key_node, yaml.MappingNode):
                message = "{{…}} is a mapping in YAML; did you mean ${{…}}? Otherwise put it in quotes"
                raise UnreadableError(Place(path, line), "yaml", message)
            found = "a list" if isinstance(key, list) else f"{key_node.value!r}, which YAML 1.1 reads as {key!r}"
            raise UnreadableError(Place(path, line), "yaml", f"a key must be text, found {found}")
        if key in stated:
            message = f"{key!r} is stated twice, first on line {stated[key]}"
            raise UnreadableError(Place(path, line), "duplicate-key", message)
        stated[key] = line
    loader.flatten_mapping(node)  # merge keys (<<) come first, so that what is stated here wins
    result: dict[str, Located] = {}
    for key_node, value_node in node.value:
        place = Place(path, key_node.start_mark.line + 1)
        result[str(loader.construct_object(key_node))] = _locate(loader, value_node, path, place)
    return result


def line_of(place: Place, pattern: re.Pattern[str]) -> Place:
    """Find a text in the lines of a value: those of its key and what is indented below it, or of the whole document.

    Args:
        place: where the key stands.
        pattern: what to look for.

    Returns:
        The place of the first line that holds it; the key's own when none does.
    """
    if place.option is not None:
        return place
    try:
        lines = place.file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return place
    key = lines[place.line - 1] if place.line <= len(lines) else ""
    before = [line for line in lines[: place.line - 1] if line.strip() and not line.startswith(("#", "---", "%"))]
    indent = len(key) - len(key.lstrip()) if before else -1  # a document stands where its first key does
    for number, line in enumerate(lines[place.line - 1 :], place.line):
        if number > place.line and line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        if pattern.search(line):
            return Place(place.file, number)
    return place


def plain(node: Located) -> Any:
    """Give back the value without places, as ``yaml.safe_load`` would."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def override(root: Located, settings: Sequence[str]) -> Located:
    """Apply ``--set a.b=c`` the way ``az ml job create`` does.

    Args:
        root: the document; it is left as it is.
        settings: ``path=value`` texts; see ``set_value``. A plain value takes the place of that of an input with a
            declared plain type, and the declaration stays.

    Returns:
        A document with the values put in, missing mappings made on the way.

    Raises:
        AmlocalError: when a setting is no ``path=value`` or leads through something that is no mapping.
    """
    for setting in settings:
        path, separator, text = setting.partition("=")
        if not separator or not path or "" in path.split("."):
            raise AmlocalError(f"--set {setting}: expected path=value, as in inputs.epochs=2")
        place = Place(root.place.file, root.place.line, option=setting)
        _check_node(root, path.split("."), setting)
        try:
            leaf = _wrap(set_value(text), place)
        except RecursionError:
            raise AmlocalError(f"--set {setting}: nested too deeply") from None
        root = _put(root, path.split("."), leaf, setting)
    return root


def _check_node(root: Located, keys: Sequence[str], setting: str) -> None:
    jobs = root.value.get("jobs") if isinstance(root.value, dict) else None
    if len(keys) < 3 or keys[0] != "jobs" or jobs is None or not isinstance(jobs.value, dict):
        return
    if keys[1] not in jobs.value:
        raise AmlocalError(f"--set {setting}: there is no node {keys[1]!r}; nodes: {', '.join(jobs.value)}")


def set_value(text: str) -> Any:
    """Read the value of a ``--set``: numbers, true, false, null, quoted text, lists and mappings; all else is text.

    YAML's other plain scalars would turn what a user means as text into something else: ``no`` into false, ``1:2``
    into 62, ``0x10`` into 16, ``2024-01-02`` into a date.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, (str, list, dict)):
        return value
    return value if _PLAIN.fullmatch(text.strip()) else text


def _wrap(value: Any, place: Place) -> Located:
    if isinstance(value, dict):
        return Located({str(key): _wrap(child, place) for key, child in value.items()}, place)
    if isinstance(value, list):
        return Located([_wrap(child, place) for child in value], place)
    return Located(value, place)


def _put(node: Located, keys: Sequence[str], leaf: Located, setting: str) -> Located:
    if not keys:
        return _replaced(node, leaf, setting)
    children = {} if node.value is None else node.value
    if not isinstance(children, dict):
        raise AmlocalError(f"--set {setting}: {node.place} is {plain(node)!r}, which has no {keys[0]!r} inside")
    child = children.get(keys[0], Located(None, leaf.place))
    return Located({**children, keys[0]: _put(child, keys[1:], leaf, setting)}, node.place)


def _replaced(node: Located, leaf: Located, setting: str) -> Located:
    from amlocal.reader.model import LITERAL_TYPES, PATH_TYPES  # which are built on this module

    kind = node.value.get("type") if isinstance(node.value, dict) else None
    if kind is None or leaf.value is None or isinstance(leaf.value, (dict, list)):
        return leaf
    if kind.value in PATH_TYPES and "${{" not in str(leaf.value):
        path, _, value = setting.partition("=")
        raise AmlocalError(f"--set {setting}: this is a {kind.value}, which has a path; use --set {path}.path={value}")
    if kind.value not in LITERAL_TYPES:
        return leaf
    return Located({**node.value, "value" if "value" in node.value else "default": leaf}, leaf.place)
