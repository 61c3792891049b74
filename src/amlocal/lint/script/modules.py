"""A command's working directory, as far as Python looks into it."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from amlocal.lint.script.shell import Invocation
from amlocal.reader.model import CodeSpec

# What CPython says of mistakes that no version of it takes, where neither Python 2's tabs nor the same quotes inside an
# f-string (Python 3.12) confuse it.
_ANY_PYTHON = re.compile(r"was never closed|unmatched|does not match opening|indent|expected ':'")
_NESTED_QUOTES = re.compile(rb"""[fF][rR]?("[^"\n]*\{[^}"\n]*"|'[^'\n]*\{[^}'\n]*')""")


@dataclass(frozen=True)
class Module:
    """A parsed Python file.

    Attributes:
        path: where its source lies.
        folder: its folder in the working directory, which ``from .`` starts from.
        package: folder that imports start from: that of the script started.
    """

    path: Path
    folder: str
    root: str
    tree: ast.Module


@dataclass
class Sources:
    """The Python files of one working directory, each parsed once.

    Attributes:
        code: what the working directory holds.
    """

    code: CodeSpec
    _parsed: dict[Path, ast.Module | None] = field(default_factory=dict)

    def find(self, name: str) -> Path | None:
        """Find what is at a path of the working directory; None when nothing is."""
        name = posixpath.normpath(name)
        if name.startswith(("..", "/")):
            return None
        top, _, rest = name.partition("/")
        for include in self.code.includes:
            if include.name == top:
                path = include / rest if rest else include
                return path if path.exists() else None
        root = self.code.root
        if root is None:
            return None
        if root.is_file():
            return root if name == root.name else None
        path = root / name
        return path if path.exists() else None

    def start(self, invocation: Invocation) -> Module | None:
        """Parse the script that is started; None when it is not there or no Python 3."""
        if invocation.script is not None:
            name = posixpath.normpath(posixpath.join(invocation.folder, invocation.script))
            return self._module(name, posixpath.dirname(name))
        for name in _candidates(invocation.folder, str(invocation.module), "__main__.py"):
            module = self._module(name, invocation.folder)
            if module is not None:
                return module
        return None

    def syntax_error(self, invocation: Invocation) -> tuple[SyntaxError, bool] | None:
        """Say why a script that is there cannot be parsed, and whether no version of Python could.

        Returns:
            None when it can be parsed, or is not there.
        """
        path = self.find(posixpath.join(invocation.folder, str(invocation.script)))
        if path is None or not path.is_file():
            return None
        try:
            source = path.read_bytes()
            ast.parse(source)
        except SyntaxError as error:
            other_python = b"\t" in source or _NESTED_QUOTES.search(source) or error.msg.startswith("f-string")
            return error, not other_python and _ANY_PYTHON.search(error.msg) is not None
        except (ValueError, OSError):
            return None
        return None

    def imported(self, module: Module) -> Iterator[tuple[str, Module | None]]:
        """Give what a module imports: the first part of each name, and the module where it is in the directory."""
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name.split(".")[0], self._by_name(module.root, alias.name, module.root)
            elif isinstance(node, ast.ImportFrom):
                base = self.base(module, node)
                dotted = node.module or ""
                found = self._by_name(base, dotted, module.root) if dotted else None
                if found is not None or not node.level:
                    yield dotted.split(".")[0], found
                for alias in node.names:
                    inner = self._by_name(base, f"{dotted}.{alias.name}".strip("."), module.root)
                    if inner is not None:
                        yield alias.name, inner

    def named(self, module: Module, name: str) -> tuple[Module, ast.AST] | None:
        """Find a function or class by its name in a module, also one that it imports from the directory."""
        for node in module.tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
                return module, node
        for inner in ast.walk(module.tree):
            if not isinstance(inner, ast.ImportFrom) or not inner.module:
                continue
            for alias in inner.names:
                if (alias.asname or alias.name) == name:
                    found = self._by_name(self.base(module, inner), inner.module, module.root)
                    if found is not None and found.path != module.path:
                        return self.named(found, alias.name)
        return None

    def base(self, module: Module, node: ast.ImportFrom) -> str:
        """Say where a ``from … import`` starts to look."""
        if not node.level:
            return module.root
        folder = module.folder
        for _ in range(node.level - 1):
            folder = posixpath.dirname(folder)
        return folder

    def closure(self, start: Module) -> tuple[tuple[Module, ...], frozenset[str]]:
        """Follow imports.

        Returns:
            All modules of the directory that are reached, and the names imported from elsewhere.
        """
        seen = {start.path: start}
        outside: set[str] = set()
        left = [start]
        while left:
            for name, found in self.imported(left.pop()):
                if found is None:
                    outside.add(name)
                elif found.path not in seen:
                    seen[found.path] = found
                    left.append(found)
        inside = {module.path.stem for module in seen.values()} | {module.path.parent.name for module in seen.values()}
        return tuple(seen.values()), frozenset(outside - inside)

    def _by_name(self, base: str, dotted: str, root: str) -> Module | None:
        for name in _candidates(base, dotted, "__init__.py"):
            module = self._module(name, root)
            if module is not None:
                return module
        return None

    def _module(self, name: str, root: str) -> Module | None:
        path = self.find(name)
        if path is None or not path.is_file():
            return None
        if path not in self._parsed:
            try:
                self._parsed[path] = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError, OSError):
                self._parsed[path] = None
        tree = self._parsed[path]
        return None if tree is None else Module(path, posixpath.dirname(name), root, tree)


def _candidates(base: str, dotted: str, package_file: str) -> tuple[str, str]:
    stem = posixpath.join(base, dotted.replace(".", "/"))
    return f"{stem}.py", f"{stem}/{package_file}"
