"""What a job file says, as data. Nothing here reads files or decides anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from amlocal.reader.addresses import DEFAULT_DATASTORE, AssetReference, RegistryReference
from amlocal.reader.expressions import Template
from amlocal.reader.search import Literal, SweepSpec
from amlocal.reader.source import Place, Problem

LITERAL_TYPES = frozenset({"string", "number", "integer", "boolean"})
FILE_TYPES = frozenset({"uri_file"})
MODEL_TYPES = frozenset({"mlflow_model", "custom_model", "triton_model"})
FOLDER_TYPES = MODEL_TYPES | {"uri_folder", "mltable"}
PATH_TYPES = FOLDER_TYPES | FILE_TYPES

ARTIFACTS = "artifacts"
"""The output that every node has without declaring it: a folder with what it wrote to ``./outputs``, as ``outputs``."""


@dataclass(frozen=True)
class InputSpec:
    """An input that a component, a node or a pipeline declares.

    Attributes:
        type: an Azure ML type; None when only the value given tells.
        minimum: smallest value allowed, for numbers.
        maximum: largest value allowed, for numbers.
        enum: the only values allowed, as text; empty for any.
        readable: False when what is declared could not be read, so that nothing can be said about its values.
    """

    name: str
    place: Place
    type: str | None
    optional: bool = False
    default: Literal | None = None
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[str, ...] = ()
    readable: bool = True


@dataclass(frozen=True)
class Destination:
    """Where an output goes besides the job's own folder.

    Attributes:
        type: the output's type where it is stated here; None for what the component declares.
        path: an address in a datastore, with ``${{name}}`` and the like in it; None for one of our own.
        asset: the data asset or model that it is registered as; None for none.
        version: the asset's version; None for the next free one.
    """

    place: Place
    type: str | None
    path: Template | None
    asset: str | None
    version: str | None


@dataclass(frozen=True)
class OutputSpec:
    """An output that a component, a node or a pipeline declares.

    Attributes:
        destination: where a job or node sends it; a component sends its outputs nowhere.
        mode: how it is written there, where that is stated.
    """

    name: str
    place: Place
    type: str
    destination: Destination | None = None
    mode: str | None = None


@dataclass(frozen=True)
class LiteralBinding:
    """An input given as a plain value."""

    value: Literal
    place: Place


@dataclass(frozen=True)
class PathBinding:
    """An input given as a file or folder of this machine."""

    path: Path
    place: Place


@dataclass(frozen=True)
class UrlBinding:
    """An input given as a file to be downloaded before anything runs."""

    url: str
    place: Place


@dataclass(frozen=True)
class UnresolvedBinding:
    """An input given by an address of something that is not on this machine; no check judges it."""

    address: str
    place: Place


@dataclass(frozen=True)
class ExpressionBinding:
    """An input given by reference, or as text with references in it."""

    template: Template
    place: Place


Binding: TypeAlias = LiteralBinding | PathBinding | UrlBinding | UnresolvedBinding | ExpressionBinding


@dataclass(frozen=True)
class OutputBinding:
    """What a node says about one of its outputs.

    Attributes:
        target: the pipeline output it is, if any.
        destination: where else it goes.
        mode: how it is written there, where that is stated.
    """

    place: Place
    target: Template | None
    destination: Destination | None = None
    mode: str | None = None


@dataclass(frozen=True)
class Package:
    """One entry of a conda file.

    Attributes:
        text: as written, without comments: a package with its versions, or an option of pip's.
        by_pip: it stands in the list of what pip installs, or in a requirements file.
    """

    text: str
    place: Place
    by_pip: bool


@dataclass(frozen=True)
class CondaFile:
    """What an environment lists.

    Attributes:
        packages: in the order of the file; requirements files have been followed.
        channels: where it states channels.
        variables: where it states environment variables.
    """

    place: Place
    packages: tuple[Package, ...]
    channels: Place | None = None
    variables: Place | None = None


@dataclass(frozen=True)
class Environment:
    """An environment.

    Attributes:
        label: how the file names it.
        definition: name or full definition including the conda file's content, as canonical JSON text: what tells it
            from another one.
        reference: the registered environment it is; None when it is defined in a file.
        name: the name that its definition states.
        build: where it states a Docker build context.
    """

    label: str
    definition: str
    place: Place
    reference: AssetReference | RegistryReference | None = None
    name: str | None = None
    image: str | None = None
    conda: CondaFile | None = None
    build: Place | None = None


@dataclass(frozen=True)
class CodeSpec:
    """The files a command sees in its working directory.

    Attributes:
        root: the code folder (or single file); None for an empty working directory.
        includes: further files and folders that appear there by their base name.
        complete: False when part of it is not on this machine, so that no check judges what it lacks.
    """

    root: Path | None
    includes: tuple[Path, ...]
    place: Place
    complete: bool = True


@dataclass(frozen=True)
class Setting:
    """A number among what a node says about how it runs: stated, or taken from an input.

    Attributes:
        name: its key, for messages.
        value: what is stated, or an expression that names an input.
        minimum: the smallest value allowed.
    """

    name: str
    place: Place
    value: Literal | Template
    minimum: int


@dataclass(frozen=True)
class DistributionSpec:
    """How a command is started as several processes.

    Attributes:
        type: pytorch, tensorflow or mpi.
        process_count_per_instance: for pytorch and mpi; one when not stated.
        worker_count: for tensorflow; one per instance when not stated.
        parameter_server_count: for tensorflow.
    """

    type: str
    place: Place
    process_count_per_instance: Setting | None = None
    worker_count: Setting | None = None
    parameter_server_count: Setting | None = None


@dataclass(frozen=True)
class ParallelSpec:
    """What makes a component a parallel one: the files or rows of one input go to its script in mini batches.

    Attributes:
        entry_script: path of the script in the code folder.
        arguments: what the script finds in ``sys.argv``.
        input_data: names the input.
        append_row_to: the file that what ``run()`` returns is appended to; None when the script keeps its results.
        logging_level: DEBUG, INFO or WARNING.
        mini_batch_size: files, or bytes of a table, in each; text such as ``10`` or ``1mb``.
        mini_batch_error_threshold: mini batches that may fail; -1 for any number.
        error_threshold: items that may fail; -1 for any number.
        max_retries: how often a mini batch is tried again.
        timeout: seconds that one call of ``run()`` may take.
    """

    place: Place
    entry_script: str
    arguments: Template
    arguments_place: Place
    input_data: Template
    input_data_place: Place
    append_row_to: Template | None = None
    append_row_to_place: Place | None = None
    logging_level: str = "INFO"
    mini_batch_size: Setting | None = None
    mini_batch_error_threshold: Setting | None = None
    error_threshold: Setting | None = None
    max_concurrency_per_instance: Setting | None = None
    max_retries: Setting | None = None
    timeout: Setting | None = None

    @property
    def settings(self) -> tuple[Setting | None, ...]:
        """All numbers that inputs may give."""
        thresholds = (self.mini_batch_error_threshold, self.error_threshold)
        limits = (self.max_concurrency_per_instance, self.max_retries, self.timeout)
        return (self.mini_batch_size, *thresholds, *limits)


@dataclass(frozen=True)
class CommandComponent:
    """Something that runs: a component of ``type: command``, or a command written into a node or job.

    A component of ``type: parallel`` is one too; its command is what would start its script without mini batches.

    Attributes:
        distribution: the processes it runs as; None for one.
        instance_count: the machines that Azure would run it on; here, how many times the processes of one.
        parallel: the mini batches that its script gets; None for a command.
        timeout: seconds after which it is ended; None for no limit.
        deterministic: False when the same inputs may give other results, so that it is never reused.
        readable: False when a part of it could not be read; the problem has been reported.
    """

    name: str
    place: Place
    command: Template
    command_place: Place
    inputs: Mapping[str, InputSpec]
    outputs: Mapping[str, OutputSpec]
    code: CodeSpec
    environment: Environment | None
    environment_variables: Mapping[str, Template]
    deterministic: bool = True
    timeout: Setting | None = None
    readable: bool = True
    distribution: DistributionSpec | None = None
    instance_count: Setting | None = None
    parallel: ParallelSpec | None = None

    @property
    def settings(self) -> tuple[Setting, ...]:
        """All numbers that inputs may give."""
        spec = self.distribution
        distribution = (spec.process_count_per_instance, spec.worker_count, spec.parameter_server_count) if spec else ()
        parallel = self.parallel.settings if self.parallel else ()
        stated = (self.timeout, self.instance_count, *distribution, *parallel)
        return tuple(setting for setting in stated if setting is not None)


@dataclass(frozen=True)
class CommandNode:
    """A step that runs a command once; with ``sweep``, many times over a search space.

    Attributes:
        automl: it is of type automl: the command is a trial of amlocal's own, which ``sweep`` searches with.
    """

    name: str
    place: Place
    component: CommandComponent
    inputs: Mapping[str, Binding]
    outputs: Mapping[str, OutputBinding]
    sweep: SweepSpec | None = None
    automl: bool = False


@dataclass(frozen=True)
class Graph:
    """A pipeline's inside: a pipeline job, or a component of ``type: pipeline``.

    Attributes:
        mentioned: names of the inputs that its nodes refer to, also in settings without a meaning on one machine.
    """

    name: str
    place: Place
    inputs: Mapping[str, InputSpec]
    outputs: Mapping[str, OutputSpec]
    nodes: Mapping[str, CommandNode | PipelineNode | UnresolvedNode]
    mentioned: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PipelineNode:
    """A pipeline used as a step of another.

    Attributes:
        force_rerun: nothing of it is reused.
    """

    name: str
    place: Place
    component: Graph
    inputs: Mapping[str, Binding]
    outputs: Mapping[str, OutputBinding]
    force_rerun: bool = False


@dataclass(frozen=True)
class UnresolvedNode:
    """A node whose component is not on this machine: no check judges its inputs and outputs, and it cannot run.

    Attributes:
        reference: how the file names the component.
    """

    name: str
    place: Place
    reference: str
    inputs: Mapping[str, Binding]
    outputs: Mapping[str, OutputBinding]


Node: TypeAlias = CommandNode | PipelineNode | UnresolvedNode


@dataclass(frozen=True)
class Settings:
    """A pipeline's ``settings``.

    Attributes:
        default_datastore: what ``${{default_datastore}}`` is.
    """

    continue_on_step_failure: bool = False
    force_rerun: bool = False
    default_datastore: str = DEFAULT_DATASTORE


@dataclass(frozen=True)
class Job:
    """A whole job file.

    Attributes:
        kind: pipeline, command, sweep or automl. The last three hold their command as the graph's only node.
        inputs: what the job gives to its graph's inputs.
        ignored: settings without a meaning on one machine, with the first place of each.
        unresolved: what it names that is not on this machine; it can be checked, but not run.
    """

    kind: str
    file: Path
    name: str | None
    display_name: str | None
    experiment_name: str | None
    graph: Graph
    inputs: Mapping[str, Binding]
    settings: Settings = Settings()
    tags: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, Place] = field(default_factory=dict)
    unresolved: tuple[Problem, ...] = ()
