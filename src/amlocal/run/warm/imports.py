"""What a script imports before it does anything else, read from its source: nothing of it is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ENVIRONMENT = frozenset({"environ", "environb", "putenv", "unsetenv"})


@dataclass(frozen=True)
class SharedImport:
    """An import of a module that does not lie in the working directory.

    Attributes:
        module: its dotted name.
        names: what is imported from it; empty for the module itself.
        optional: a script goes on without it, as an import inside ``try`` does.
    """

    module: str
    names: tuple[str, ...] = ()
    optional: bool = False


def shared_imports(folder: Path, script: str) -> tuple[SharedImport, ...]:
    """List the imports that may be done before a script starts without its noticing, in its own order.

    These are the imports at the top of the script and of the modules beside it that it imports there, as far as nothing
    but imports, definitions and assignments to plain names comes before: a script that sets an environment variable,
    calls a function or changes a library before its next import has that import done by itself, after it.

    Args:
        folder: the working directory.
        script: the script's path in it.
    """
    path = folder / script
    walk = _Walk(path.parent)
    walk.file(path, package="", is_script=True)
    return tuple(walk.found)


def local_names(folder: Path) -> frozenset[str]:
    """Name the modules of a script's folder, which come before installed ones of the same names."""
    names = set()
    for entry in folder.iterdir():
        if entry.is_dir():
            names |= {entry.name} if any(entry.glob("__init__.*")) else set()
        elif entry.suffix in {".py", ".pyc", ".so", ".pyd"}:
            names.add(entry.name.split(".")[0])
    return frozenset(names)


@dataclass
class _Walk:
    """Goes through a script and the modules beside it in the order in which Python would."""

    root: Path
    found: dict[SharedImport, None] = field(default_factory=dict)
    visited: set[Path] = field(default_factory=set)

    def file(self, path: Path, package: str, is_script: bool = False) -> bool:
        """Go through a file.

        Returns:
            False when something was met that may matter to what is imported after it.
        """
        if path in self.visited:
            return True
        self.visited.add(path)
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return False
        return self._statements(tree.body, package, is_script, optional=False)

    def _statements(self, body: Sequence[ast.stmt], package: str, is_script: bool, optional: bool) -> bool:
        return all(self._statement(statement, package, is_script, optional) for statement in body)

    def _statement(self, statement: ast.stmt, package: str, is_script: bool, optional: bool) -> bool:
        if isinstance(statement, ast.Import):
            return all(self._imported(alias.name, (), optional) for alias in statement.names)
        if isinstance(statement, ast.ImportFrom):
            return self._imported_from(statement, package, optional)
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Pass)):
            return True
        if isinstance(statement, ast.Expr):
            return isinstance(statement.value, ast.Constant)
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            return _is_plain(statement)
        if isinstance(statement, ast.If) and not statement.orelse:
            # Checkers alone see what TYPE_CHECKING guards, and a module that is imported is never __main__.
            return _names(statement.test) == {"TYPE_CHECKING"} or (
                not is_script and "__name__" in _names(statement.test)
            )
        if isinstance(statement, ast.Try) and not statement.finalbody:
            handlers = [inner for handler in statement.handlers for inner in handler.body]
            if all(isinstance(inner, (ast.Pass, ast.Assign)) and _is_plain(inner) for inner in handlers):
                return self._statements([*statement.body, *statement.orelse], package, is_script, optional=True)
        return False

    def _imported_from(self, statement: ast.ImportFrom, package: str, optional: bool) -> bool:
        module = statement.module or ""
        if statement.level:
            parts = package.split(".")[: len(package.split(".")) - statement.level + 1]
            module = ".".join([*filter(None, parts), *filter(None, [module])])
        names = tuple(alias.name for alias in statement.names)
        if module == "__future__":
            return True
        return self._imported(module, names, optional)

    def _imported(self, module: str, names: tuple[str, ...], optional: bool) -> bool:
        local = list(self._local(module))
        if not local:
            listed = () if "*" in names else names
            self.found.setdefault(SharedImport(module, listed, optional))
            return True
        inner = [found for name in names for found in self._local(f"{module}.{name}") if found not in local]
        return all(self.file(path, package) for path, package in [*local, *inner])

    def _local(self, module: str) -> Iterator[tuple[Path, str]]:
        """Give the files that importing a module runs, each with its package; none when it is not in the directory."""
        folder = self.root
        parts = module.split(".")
        for index, part in enumerate(parts):
            inside = folder / part
            if (inside / "__init__.py").is_file():
                yield inside / "__init__.py", ".".join(parts[: index + 1])
            elif (folder / f"{part}.py").is_file():
                yield folder / f"{part}.py", ".".join(parts[:index])
                return
            elif not inside.is_dir():
                return
            folder = inside


def _is_plain(statement: ast.stmt) -> bool:
    """Tell whether an assignment gives names values, and neither it nor what it calls changes the environment."""
    if isinstance(statement, ast.Pass):
        return True
    if isinstance(statement, ast.Assign):
        targets = [name for target in statement.targets for name in getattr(target, "elts", [target])]
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return False
    return all(isinstance(target, ast.Name) for target in targets) and not _names(statement) & _ENVIRONMENT


def _names(node: ast.AST) -> set[str]:
    """Give the names in an expression: of an attribute, its last part."""
    attributes = {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
    owners = {id(inner.value) for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
    plain = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and id(inner) not in owners}
    return attributes | plain
