"""The arguments that a script takes, read from its source: argparse, HfArgumentParser and click.

What is found is rebuilt as an ``argparse`` parser that converts nothing, so that argparse itself decides what fits.
Where a script does more than can be seen, its interface is open or not known at all.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from amlocal.lint.script.modules import Module, Sources

_TYPES = {"int": int, "float": float}
_ACTIONS = frozenset(
    {"store", "store_true", "store_false", "store_const", "append", "append_const", "count", "extend", "version"}
)
_FLAG_ACTIONS = frozenset({"store_true", "store_false", "store_const", "append_const", "count"})
_READS = ("parse_args", "parse_known_args", "parse_intermixed_args")
_GROUPS = frozenset({"add_argument_group", "add_mutually_exclusive_group", "add_parser"})


@dataclass(frozen=True)
class Argument:
    """One argument.

    Attributes:
        names: ``-x``, ``--long`` …, or the one name of a positional.
        action: argparse's name for what it does with a value.
        nargs: as argparse takes it.
        required: False also where a condition in the script decides.
        type: "int" or "float" where the script converts so, "bool" for the builtin; else None.
        choices: literal choices; empty for any.
    """

    names: tuple[str, ...]
    action: str = "store"
    nargs: int | str | None = None
    required: bool = False
    type: str | None = None
    choices: tuple[Any, ...] = ()

    @property
    def positional(self) -> bool:
        """Tell whether it has no flag."""
        return not self.names[0].startswith("-")

    @property
    def takes_value(self) -> bool:
        """Tell whether a value follows its flag."""
        return self.action not in _FLAG_ACTIONS


@dataclass(frozen=True)
class Interface:
    """What a script takes.

    Attributes:
        open: True when it may take more than is seen here.
        outside: True when part of it is a class of another package, so that nothing can be said of an argument.
        texts: texts of the source that an argument's name may be worked out from.
        certain: False when what is required cannot be told (subcommands, several parsers).
        abbreviations: whether unambiguous beginnings of a flag count.
        reader: what the script reads its command line with.
        file_prefixes: a word that starts with one of these characters names a file with more arguments.
    """

    arguments: tuple[Argument, ...]
    open: bool = False
    outside: bool = False
    texts: frozenset[str] = frozenset()
    certain: bool = True
    abbreviations: bool = True
    reader: str = "argparse"
    file_prefixes: str = ""


def interface(script: Module, sources: Sources) -> Interface | None:
    """Read what a script takes.

    Returns:
        Its interface; None when it is read in a way that this module does not follow.
    """
    names = _imported_names(script.tree)
    if names & {"fire", "typer", "hydra", "absl", "jsonargparse", "simple_parsing", "configargparse", "docopt", "tap"}:
        return None
    if "click" in names:
        return _click(script)
    for module in (script, *_called_modules(script, sources)):
        if _calls(module.tree, "HfArgumentParser"):
            return _dataclasses(script, module, sources)
        if _calls(module.tree, "ArgumentParser"):
            return _argparse(module, sources)
    return None


def _imported_names(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def _called_modules(script: Module, sources: Sources) -> Iterator[Module]:
    """Give the modules of the directory whose functions a script calls by name."""
    seen: set[object] = {script.path}
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found = sources.named(script, node.func.id)
            if found is None or found[0].path in seen or not isinstance(found[1], ast.FunctionDef):
                continue
            if _calls(found[1], "ArgumentParser") or _calls(found[1], "HfArgumentParser"):
                seen.add(found[0].path)
                yield found[0]


def _calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _callee(node) == name]


def _callee(call: ast.Call) -> str:
    if isinstance(call.func, ast.Name):
        return call.func.id
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _literal(node: ast.AST | None, otherwise: Any = None) -> Any:
    if node is None:
        return otherwise
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return otherwise


def _keywords(call: ast.Call) -> Mapping[str, ast.expr]:
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}


# argparse


def _argparse(module: Module, sources: Sources) -> Interface | None:
    parsers = _calls(module.tree, "ArgumentParser")
    if not _from_argparse(module.tree) or any("prefix_chars" in _keywords(call) for call in parsers):
        return None
    collector = _Collector()
    collector.visit(module.tree)
    opened = collector.open or len(parsers) > 1 or bool(_calls(module.tree, "parse_known_args"))
    opened = opened or any({"parents", "fromfile_prefix_chars"} & _keywords(call).keys() for call in parsers)
    for call in _parser_goes_to(module.tree):
        found = sources.named(module, _callee(call)) if isinstance(call.func, ast.Name) else None
        if found is None:
            opened = True
        elif found[0].path != module.path:
            outside = _Collector(depth=1)
            outside.visit(found[0].tree)
            collector.arguments.extend(outside.arguments)
            opened = opened or outside.open
    if _calls(module.tree, "add_subparsers"):
        collector.arguments.append(Argument(("subcommand",), nargs="*"))
    reads = [call for name in _READS for call in _calls(module.tree, name)]
    if reads:
        own = all(_reads_command_line(call) for call in reads)
        opened = opened or not own
        certain = own and len(parsers) == 1 and not _calls(module.tree, "add_subparsers")
        abbreviations = all(_literal(_keywords(call).get("allow_abbrev"), True) is not False for call in parsers)
        texts = frozenset(
            node.value
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
        prefixes = [_keywords(call).get("fromfile_prefix_chars") for call in parsers]
        return Interface(
            tuple(collector.arguments),
            opened,
            texts=texts,
            certain=certain and all(isinstance(_literal(prefix, ""), str) for prefix in prefixes if prefix is not None),
            abbreviations=abbreviations,
            file_prefixes="".join(str(_literal(prefix, "")) for prefix in prefixes),
        )
    return None


def _reads_command_line(call: ast.Call) -> bool:
    """Tell whether a parser reads the arguments that the script was started with, and not a list of its own."""
    given = call.args[0] if call.args else _keywords(call).get("args")
    if given is None or isinstance(given, ast.Name) or (isinstance(given, ast.Constant) and given.value is None):
        return True
    return ast.unparse(given) == "sys.argv[1:]"


def _from_argparse(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "ArgumentParser" for alias in node.names):
            return node.module == "argparse"
    return True


def _parser_goes_to(tree: ast.AST) -> Iterator[ast.Call]:
    """Give the calls that a parser is handed to, where more arguments may be added."""
    parsers: set[str] = set()
    for node in ast.walk(tree):
        made = isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _callee(node.value)
        if isinstance(node, ast.Assign) and made in {"ArgumentParser", *_GROUPS}:
            parsers.update(target.id for target in node.targets if isinstance(target, ast.Name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(isinstance(value, ast.Name) and value.id in parsers for value in given):
                yield node


@dataclass
class _Collector(ast.NodeVisitor):
    """Gathers ``add_argument`` calls; below a condition or in a function of its own nothing counts as required."""

    depth: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)
    arguments: list[Argument] = field(default_factory=list)
    open: bool = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        own = any(_callee(call) == "ArgumentParser" for call in _calls(node, "ArgumentParser"))
        self._deeper(node, 0 if own or node.name == "main" else 1)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._deeper(node, 1)

    def visit_If(self, node: ast.If) -> None:
        main = isinstance(node.test, ast.Compare) and "__name__" in ast.unparse(node.test)
        self._deeper(node, 0 if main else 1)

    def visit_For(self, node: ast.For) -> None:
        items = _literal(node.iter)
        if not isinstance(node.target, ast.Name) or not isinstance(items, (list, tuple)):
            self._deeper(node, 1)
            return
        before = self.values
        for item in items:
            self.values = {**before, node.target.id: item}
            self._deeper(node, 0)
        self.values = before

    def visit_Try(self, node: ast.Try) -> None:
        self._deeper(node, 1)

    def visit_Call(self, node: ast.Call) -> None:
        if _callee(node) == "add_argument" and isinstance(node.func, ast.Attribute):
            argument = _add_argument(_Filled(self.values).visit(copy.deepcopy(node)), conditional=self.depth > 0)
            if argument is None:
                self.open = True
            else:
                self.arguments.append(argument)
        self.generic_visit(node)

    def _deeper(self, node: ast.AST, by: int) -> None:
        self.depth += by
        self.generic_visit(node)
        self.depth -= by


class _Filled(ast.NodeTransformer):
    """Puts a loop's literal values in, and f-strings of them together."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self.values[node.id]) if node.id in self.values else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        self.generic_visit(node)
        parts = [_literal(part.value if isinstance(part, ast.FormattedValue) else part) for part in node.values]
        return ast.Constant("".join(map(str, parts))) if all(isinstance(part, (str, int)) for part in parts) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        left, right = _literal(node.left), _literal(node.right)
        if isinstance(node.op, ast.Add) and isinstance(left, str) and isinstance(right, str):
            return ast.Constant(left + right)
        return node


def _add_argument(call: ast.Call, conditional: bool) -> Argument | None:
    names = tuple(_literal(arg) for arg in call.args)
    stated = _keywords(call)
    if not names and isinstance(_literal(stated.get("dest")), str):
        names = (_literal(stated["dest"]),)
    if not names or not all(isinstance(name, str) for name in names) or len(stated) < len(call.keywords):
        return None
    action_node = stated.get("action")
    action = _literal(action_node, "store")
    if action_node is not None and ast.unparse(action_node).endswith("BooleanOptionalAction"):
        long = tuple(f"--no-{name[2:]}" for name in names if name.startswith("--"))
        return Argument((*names, *long), "store_true", required=_required(stated, names, conditional))
    if action in {"help"}:
        return Argument(names, "store_true")
    if action not in _ACTIONS:
        action = "store"
    nargs = _literal(stated.get("nargs"))
    if "nargs" in stated and nargs is None:
        if not ast.unparse(stated["nargs"]).endswith("REMAINDER"):
            return None
        nargs = "..."
    if nargs == 0:
        action, nargs = "store_true", None
    choices = _literal(stated.get("choices"), ())
    kind = ast.unparse(stated["type"]) if "type" in stated else None
    if isinstance(action_node, (ast.Name, ast.Attribute)) and nargs is None:
        nargs = "*"  # a class of the script's own
    return Argument(
        names=names,
        action=action,
        nargs=nargs,
        required=_required(stated, names, conditional),
        type=kind if kind in {"int", "float", "bool"} else None,
        choices=tuple(choices) if isinstance(choices, (list, tuple, set)) and kind in {None, "str", *_TYPES} else (),
    )


def _required(stated: Mapping[str, ast.expr], names: tuple[str, ...], conditional: bool) -> bool:
    if conditional:
        return False
    if names[0].startswith("-"):
        return _literal(stated.get("required"), False) is True
    return _literal(stated.get("nargs")) not in {"?", "*"} and "default" not in stated


# HfArgumentParser


def _dataclasses(script: Module, module: Module, sources: Sources) -> Interface | None:
    call = _calls(module.tree, "HfArgumentParser")[0]
    if not call.args:
        return None
    wanted = call.args[0].elts if isinstance(call.args[0], (ast.Tuple, ast.List)) else [call.args[0]]
    arguments: list[Argument] = []
    opened = bool(_calls(module.tree, "parse_known_args"))
    outside = False
    for node in wanted:
        where, name = _argument_class(node, call, script, module)
        found = None if name is None else sources.named(where, name)
        if found is None or not isinstance(found[1], ast.ClassDef):
            outside = True
            continue
        fields, complete = _fields(found[0], found[1], sources)
        arguments.extend(fields)
        outside = outside or not complete
    for inner in _calls(module.tree, "parse_args_into_dataclasses"):
        opened = opened or _literal(_keywords(inner).get("return_remaining_strings"), False) is not False
    if any(_calls(module.tree, name) for name in ("parse_json_file", "parse_yaml_file")):
        opened = True
    abbreviations = _literal(_keywords(call).get("allow_abbrev"), True) is not False
    return Interface(
        tuple(arguments),
        opened,
        outside,
        certain=not opened,
        abbreviations=abbreviations,
        reader="HfArgumentParser",
    )


def _argument_class(node: ast.expr, call: ast.Call, script: Module, module: Module) -> tuple[Module, str | None]:
    """Name the dataclass that a parser is made for; where it is a function's parameter, look at the function's call."""
    if not isinstance(node, ast.Name):
        return module, None
    for function in ast.walk(module.tree):
        if not isinstance(function, ast.FunctionDef) or call not in list(ast.walk(function)):
            continue
        parameters = [argument.arg for argument in function.args.args]
        if node.id in parameters:
            for caller in _calls(script.tree, function.name):
                given = _keywords(caller).get(node.id)
                position = parameters.index(node.id)
                if given is None and position < len(caller.args):
                    given = caller.args[position]
                if isinstance(given, ast.Name):
                    return script, given.id
            return module, None
    return module, node.id


def _fields(module: Module, node: ast.ClassDef, sources: Sources) -> tuple[list[Argument], bool]:
    """Read a dataclass's fields; the second value is False when a base class is not at hand."""
    found: dict[str, Argument] = {}
    complete = True
    for base in node.bases:
        inner = sources.named(module, base.id) if isinstance(base, ast.Name) else None
        if inner is None or not isinstance(inner[1], ast.ClassDef):
            complete = complete and isinstance(base, ast.Name) and base.id == "object"
            continue
        arguments, whole = _fields(inner[0], inner[1], sources)
        found.update({argument.names[0]: argument for argument in arguments})
        complete = complete and whole
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            argument = _field(item.target.id, ast.unparse(item.annotation), item.value)
            if argument is not None:
                found[argument.names[0]] = argument
    return list(found.values()), complete


def _field(name: str, annotation: str, value: ast.expr | None) -> Argument | None:
    if "ClassVar" in annotation or "InitVar" in annotation:
        return None
    has_default = value is not None
    names = [f"--{name}"]
    if isinstance(value, ast.Call) and _callee(value) in {"field", "HfArg"}:
        stated = _keywords(value)
        if _literal(stated.get("init"), True) is False:
            return None
        has_default = bool({"default", "default_factory"} & stated.keys())
        aliases = _literal(stated.get("aliases"), ()) or ()
        names.extend([aliases] if isinstance(aliases, str) else aliases)
    if "_" in name:
        names.append(f"--{name.replace('_', '-')}")
    bare = annotation.strip("\"'").replace("typing.", "")
    bare = bare.removeprefix("Optional[").removesuffix("]") if bare.startswith("Optional[") else bare
    bare = bare.removesuffix(" | None")
    if bare == "bool":
        names.extend(f"--no_{name}" if "_" in long or long == f"--{name}" else f"--no-{long[2:]}" for long in names[:2])
        return Argument(tuple(dict.fromkeys(names)), nargs="?")
    nargs = "+" if bare.lower().startswith(("list[", "sequence[")) else None
    choices = _literal(ast.parse(f"({bare[8:-1]},)", mode="eval").body, ()) if bare.startswith("Literal[") else ()
    kind = bare if bare in _TYPES else None
    return Argument(tuple(names), nargs=nargs, required=not has_default, type=kind, choices=tuple(choices))


# click


def _click(script: Module) -> Interface | None:
    commands = []
    for node in ast.walk(script.tree):
        if isinstance(node, ast.FunctionDef):
            kinds = [_decorator(item) for item in node.decorator_list]
            if "group" in kinds:
                return None
            if "command" in kinds:
                commands.append(node)
    if len(commands) != 1:
        return None
    arguments = []
    for item in commands[0].decorator_list:
        kind = _decorator(item)
        if kind == "command" and "ignore_unknown_options" in ast.unparse(item):
            return None
        if kind not in {"option", "argument", "command"}:
            return None  # a decorator of the script's own may add options
        if kind != "command":
            argument = _click_parameter(item, kind) if isinstance(item, ast.Call) else None
            if argument is None:
                return None
            arguments.append(argument)
    return Interface(tuple(arguments), abbreviations=False, reader="click")


def _decorator(node: ast.expr) -> str:
    target = node.func if isinstance(node, ast.Call) else node
    if isinstance(target, ast.Name):
        return target.id
    return target.attr if isinstance(target, ast.Attribute) else ""


def _click_parameter(call: ast.Call, kind: str) -> Argument | None:
    names = tuple(_literal(arg) for arg in call.args)
    stated = _keywords(call)
    if not names or not all(isinstance(name, str) for name in names) or len(stated) < len(call.keywords):
        return None
    nargs = _literal(stated.get("nargs"))
    if kind == "argument":
        optional = _literal(stated.get("required"), True) is False or "default" in stated
        return Argument((names[0],), nargs="*" if nargs == -1 else "?" if optional else None, required=not optional)
    flags = tuple(part for name in names if name.startswith("-") for part in name.split("/"))
    is_flag = _literal(stated.get("is_flag"), False) is True or any("/" in name for name in names)
    type_node = stated.get("type")
    choices: Any = ()
    if isinstance(type_node, ast.Call) and _callee(type_node) == "Choice" and type_node.args:
        choices = _literal(type_node.args[0], ())
    type_name = ast.unparse(type_node) if type_node is not None else ""
    return Argument(
        names=flags,
        action="store_true" if is_flag or "count" in stated else "store",
        nargs=nargs if isinstance(nargs, int) and nargs > 1 else None,
        required=_literal(stated.get("required"), False) is True,
        type=type_name.lower().rpartition(".")[2] if type_name.lower().rpartition(".")[2] in _TYPES else None,
        choices=tuple(choices),
    )
