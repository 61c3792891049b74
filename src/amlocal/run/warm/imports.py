"""What a script imports before it does anything else, read from its source: nothing of it is run."""

from __future__ import annotations

import ast
import dataclasses
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
        attributes: what is asked of it while definitions are made (``pyfunc.PythonModel``, say, as a base class): a
            library that loads its parts when they are first asked for does so then.
        optional: a script goes on without it, as an import inside ``try`` does.
    """

    module: str
    names: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
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
class _File:
    """One file on the way.

    Attributes:
        package: what its relative imports start from.
        is_script: it is run, not imported.
        optional: it is imported inside ``try``.
        postponed: its annotations are not looked at when it is run.
        known: the module, and what of it, that a name means.
    """

    package: str
    is_script: bool
    optional: bool
    postponed: bool = False
    known: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass
class _Walk:
    """Goes through a script and the modules beside it in the order in which Python would."""

    root: Path
    found: dict[SharedImport, None] = field(default_factory=dict)
    visited: set[Path] = field(default_factory=set)

    def file(self, path: Path, package: str, is_script: bool = False, optional: bool = False) -> bool:
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
        return self._statements(tree.body, _File(package, is_script, optional))

    def _statements(self, body: Sequence[ast.stmt], file: _File) -> bool:
        return all(self._statement(statement, file) for statement in body)

    def _statement(self, statement: ast.stmt, file: _File) -> bool:
        if isinstance(statement, ast.Import):
            return all(self._import(alias, file) for alias in statement.names)
        if isinstance(statement, ast.ImportFrom):
            return self._import_from(statement, file)
        if isinstance(statement, ast.If) and not statement.orelse:
            # Checkers alone see what TYPE_CHECKING guards, and a module that is imported is never __main__.
            names = _names(statement.test)
            return names == {"TYPE_CHECKING"} or (not file.is_script and "__name__" in names)
        if isinstance(statement, ast.Try) and not statement.finalbody:
            handlers = [inner for handler in statement.handlers for inner in handler.body]
            if all(isinstance(inner, ast.Pass) or _is_plain_assignment(inner) for inner in handlers):
                inside = dataclasses.replace(file, optional=True)
                return self._statements([*statement.body, *statement.orelse], inside)
            return False
        definition = isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Pass))
        constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not (definition or constant or _is_plain_assignment(statement)):
            return False
        for expression in _evaluated(statement, file.postponed):
            self._ask(expression, file)
        return True

    def _import(self, alias: ast.alias, file: _File) -> bool:
        if alias.asname is not None:
            file.known[alias.asname] = (alias.name, "")
        else:
            file.known[alias.name.split(".")[0]] = (alias.name.split(".")[0], "")
        return self._imported(alias.name, (), file)

    def _import_from(self, statement: ast.ImportFrom, file: _File) -> bool:
        module = statement.module or ""
        if module == "__future__":
            file.postponed = file.postponed or any(alias.name == "annotations" for alias in statement.names)
            return True
        if statement.level:
            parts = file.package.split(".")
            above = parts[: len(parts) - statement.level + 1]
            module = ".".join(part for part in (*above, module) if part)
        for alias in statement.names:
            file.known[alias.asname or alias.name] = (module, alias.name)
        return self._imported(module, tuple(alias.name for alias in statement.names), file)

    def _imported(self, module: str, names: tuple[str, ...], file: _File) -> bool:
        if not self._is_local(module):
            listed = () if "*" in names else names
            self.found.setdefault(SharedImport(module, listed, optional=file.optional))
            return True
        local = list(self._local(module))
        inner = [found for name in names for found in self._local(f"{module}.{name}") if found not in local]
        return all(self.file(path, package, optional=file.optional) for path, package in [*local, *inner])

    def _ask(self, expression: ast.AST, file: _File) -> None:
        """Note what an expression asks of modules that are not in the directory."""
        chain = _chain(expression)
        if chain is not None:
            module, inside = file.known.get(chain[0], ("", ""))
            if module and len(chain) > 1 and not self._is_local(module):
                attribute = ".".join(part for part in (inside, *chain[1:]) if part)
                self.found.setdefault(SharedImport(module, attributes=(attribute,), optional=file.optional))
            return
        if not isinstance(expression, ast.Lambda):
            for inner in ast.iter_child_nodes(expression):
                self._ask(inner, file)

    def _is_local(self, module: str) -> bool:
        folder = self.root / module.split(".")[0]
        return folder.with_name(f"{folder.name}.py").is_file() or any(folder.rglob("*.py"))

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


def _is_plain_assignment(statement: ast.stmt) -> bool:
    """Tell whether a statement gives names values, and neither it nor what it calls changes the environment."""
    if isinstance(statement, ast.Assign):
        targets = [name for target in statement.targets for name in getattr(target, "elts", [target])]
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return False
    return all(isinstance(target, ast.Name) for target in targets) and not _names(statement) & _ENVIRONMENT


def _evaluated(statement: ast.stmt, postponed: bool) -> Iterator[ast.expr]:
    """Give the expressions that are evaluated when a statement is run, for a definition when it is made."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        given = statement.args
        yield from (*statement.decorator_list, *given.defaults, *filter(None, given.kw_defaults))
        if not postponed:
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, [given.vararg, given.kwarg])]
            yield from filter(None, [*(argument.annotation for argument in every), statement.returns])
    elif isinstance(statement, ast.ClassDef):
        yield from (*statement.decorator_list, *statement.bases, *(keyword.value for keyword in statement.keywords))
        for inner in statement.body:
            yield from _evaluated(inner, postponed)
    elif isinstance(statement, ast.Assign):
        yield statement.value
    elif isinstance(statement, ast.AnnAssign):
        yield from filter(None, [statement.value, None if postponed else statement.annotation])


def _chain(expression: ast.AST) -> list[str] | None:
    """Take ``a.b.c`` apart; None for anything else."""
    if isinstance(expression, ast.Name):
        return [expression.id]
    if isinstance(expression, ast.Attribute):
        above = _chain(expression.value)
        return None if above is None else [*above, expression.attr]
    return None


def _names(node: ast.AST) -> set[str]:
    """Give the names in an expression: of an attribute, its last part."""
    attributes = {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
    owners = {id(inner.value) for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
    plain = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and id(inner) not in owners}
    return attributes | plain
