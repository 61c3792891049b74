"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from amlocal.lint.files import Kind
from amlocal.lint.script.step import ScriptedStep
from amlocal.reader.model import CommandNode, Graph
from amlocal.reader.plan import Plan
from amlocal.reader.source import Located, Problem


class Severity(Enum):
    """How sure a rule is; EITHER says that it depends on what can be known."""

    ERROR = "error"
    WARNING = "warning"
    EITHER = "error or warning"


@dataclass(frozen=True)
class Document:
    """A YAML file whose kind the reader has no model of."""

    kind: Kind
    root: Located


JobCheck: TypeAlias = Callable[[Plan], Iterator[Problem]]
GraphCheck: TypeAlias = Callable[[Graph], Iterator[Problem]]
CommandCheck: TypeAlias = Callable[[CommandNode], Iterator[Problem]]
StepCheck: TypeAlias = Callable[[ScriptedStep], Iterator[Problem]]
DocumentCheck: TypeAlias = Callable[[Document], Iterator[Problem]]


@dataclass(frozen=True)
class Rule:
    """One thing that is checked.

    Attributes:
        name: what a message shows and ``# amlocal: ignore[name]`` takes.
        finds: one line for the list of rules.
        job: looks at a job and its steps.
        graph: looks at one pipeline, nested ones too.
        command: looks at one command node and its component.
        step: looks at one step and the scripts that its command starts.
        document: looks at a file of one of ``kinds``.
        kinds: the kinds of file that ``document`` takes.

    A rule without a check is noticed by the reader on its way: what it finds keeps a job from being read or planned.
    """

    name: str
    severity: Severity
    finds: str
    job: JobCheck | None = None
    graph: GraphCheck | None = None
    command: CommandCheck | None = None
    step: StepCheck | None = None
    document: DocumentCheck | None = None
    kinds: tuple[Kind, ...] = ()
