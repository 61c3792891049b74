"""Files that are no job and no component: endpoints, deployments, schedules, environments, data, models."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from amlocal.lint.files import Kind
from amlocal.lint.rule import Document
from amlocal.reader.conda import read_conda
from amlocal.reader.section import Report, suggestion
from amlocal.reader.source import Located, Problem, UnreadableError, load, plain, shown

# azure-ai-ml's EndpointConfigurations: 3 to 32 characters.
_ENDPOINT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]")
# Azure's virtual machine sizes: Standard_DS3_v2, Standard_NC24ads_A100_v4, Basic_A1 …
_INSTANCE_TYPE = re.compile(r"(Standard|Basic)_[A-Z]+[0-9][A-Za-z0-9_-]*")
# "No-code deployment": Azure brings the server.
_SELF_SERVING = ("mlflow_model", "triton_model")
_NODE_NAME = re.compile(r"[a-z_][a-z0-9_]*")  # azure-ai-ml's is_valid_node_name
_KUBERNETES_SCHEMA = "kubernetes"
_MOST_TIMEOUT_MS = 180_000
_CRON_RANGES = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_CRON_NAMES = {
    **{name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])},
    **{
        name: number
        for number, name in enumerate(
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
        )
    },
}


def child(node: Located | None, *keys: str) -> Located | None:
    """Follow keys into mappings; None where one is absent or null."""
    for key in keys:
        if node is None or not isinstance(node.value, dict):
            return None
        node = node.value.get(key)
    return None if node is None or node.value is None else node


def node_names(document: Document) -> Iterator[Problem]:
    """Nodes of a pipeline are named in lower-case letters, digits and underscores."""
    nodes = child(document.root, "jobs")
    for name, node in nodes.value.items() if nodes is not None and isinstance(nodes.value, dict) else ():
        if not _NODE_NAME.fullmatch(name):
            message = f"node {name!r}: expected lower-case letters, digits and underscores, not starting with a digit"
            yield Problem(node.place, "name", message)


def endpoint_name(document: Document) -> Iterator[Problem]:
    """Names of endpoints and deployments have 3 to 32 letters, digits and dashes, the first one a letter."""
    for key in ("name", "endpoint_name"):
        node = child(document.root, key)
        if node is not None and isinstance(node.value, str) and not _ENDPOINT_NAME.fullmatch(node.value):
            message = f"{key} {node.value!r}: expected 3 to 32 letters, digits and dashes, starting with a letter"
            yield Problem(node.place, "endpoint-name", message)


def traffic(document: Document) -> Iterator[Problem]:
    """Traffic adds up to 100 (or 0, for none); mirrored traffic goes to one deployment, at most 50."""
    shares = _percentages(document, "traffic")
    if shares is not None:
        node, values = shares
        total = sum(values.values())
        if total not in {0, 100}:
            yield Problem(node.place, "traffic", f"traffic adds up to {total}, expected 100 (or 0 for none)")
        for name, value in values.items():
            if value < 0:
                yield Problem(node.value[name].place, "traffic", f"{name} gets {value} percent, expected 0 to 100")
    mirrored = _percentages(document, "mirror_traffic")
    if mirrored is not None:
        node, values = mirrored
        if len(values) > 1:
            message = f"mirror_traffic goes to {', '.join(values)}; expected one deployment"
            yield Problem(node.place, "traffic", message)
        for name, value in values.items():
            place = node.value[name].place
            if not 0 <= value <= 50:
                yield Problem(place, "traffic", f"{name} gets {value} percent mirrored, expected at most 50")
            if shares is not None and shares[1].get(name, 0) > 0:
                yield Problem(place, "traffic", f"{name} gets live traffic, so none can be mirrored to it")


def _percentages(document: Document, key: str) -> tuple[Located, dict[str, int]] | None:
    node = child(document.root, key)
    if node is None or not isinstance(node.value, dict):
        return None
    values = {name: share.value for name, share in node.value.items()}
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in values.values()):
        return None  # a wrong type is the schema's to report
    return node, values


def deployment_instances(document: Document) -> Iterator[Problem]:
    """A managed deployment names a virtual machine size and how many of them."""
    size = child(document.root, "instance_type")
    kubernetes = _KUBERNETES_SCHEMA in str(plain(document.root).get("$schema", "")).lower()
    if size is not None and not kubernetes and not _INSTANCE_TYPE.fullmatch(str(size.value)):
        message = f"instance_type {plain(size)!r}: expected a virtual machine size, as in Standard_DS3_v2"
        yield Problem(size.place, "instances", message)
    least, most = (child(document.root, "scale_settings", key) for key in ("min_instances", "max_instances"))
    bounds = [node.value for node in (least, most) if node is not None and isinstance(node.value, int)]
    if least is not None and len(bounds) == 2 and bounds[0] > bounds[1]:
        message = f"min_instances {bounds[0]} is above max_instances {bounds[1]}"
        yield Problem(least.place, "instances", message)
    count = child(document.root, "instance_count")
    scale = child(document.root, "scale_settings", "type")
    if count is not None and isinstance(count.value, int) and count.value < 1:
        yield Problem(count.place, "instances", f"instance_count is {count.value}, expected at least 1")
    elif count is None and document.kind is Kind.ONLINE_DEPLOYMENT and (scale is None or scale.value == "default"):
        message = "there is no instance_count, which a deployment of default scale needs"
        yield Problem(document.root.place, "instances", message, True)


def deployment_parts(document: Document) -> Iterator[Problem]:
    """A deployment has a model, and an environment and code unless its model is an MLflow or Triton model."""
    root = document.root
    if child(root, "component") is not None or str(plain(root).get("type", "")) == "pipeline":
        return
    model, code, environment = (child(root, key) for key in ("model", "code_configuration", "environment"))
    model_type = child(model, "type")
    mlflow = model_type is not None and model_type.value == "mlflow_model"
    inline_model = model is not None and isinstance(model.value, dict)
    if model is None and code is None and environment is None:
        yield Problem(root.place, "deployment-parts", "expected a model, or code_configuration and environment")
    elif code is not None and environment is None and not mlflow:
        message = "there is code_configuration, and no environment for it to run in"
        yield Problem(code.place, "deployment-parts", message, not (inline_model or model is None))
    elif inline_model and model_type is not None and code is None and environment is None:
        if str(model_type.value) in _SELF_SERVING:
            return
        expected = " or ".join(_SELF_SERVING)
        message = f"a {model_type.value} needs code_configuration and environment; only {expected} serves itself"
        yield Problem(root.place, "deployment-parts", message)


def scoring_script(document: Document) -> Iterator[Problem]:
    """The scoring script is in the code folder and defines init and run."""
    configuration = child(document.root, "code_configuration")
    code, script = child(configuration, "code"), child(configuration, "scoring_script")
    if configuration is None or code is None:
        return
    folder = local_file(code)
    if folder is None:
        return
    if not folder.is_dir():
        yield Problem(code.place, "scoring-script", f"code folder {shown(folder)} does not exist")
        return
    if script is None:
        yield Problem(configuration.place, "scoring-script", "code_configuration needs 'scoring_script'")
        return
    path = folder / str(script.value)
    if not path.is_file():
        yield Problem(script.place, "scoring-script", f"{script.value} is not in {shown(folder)}")
        return
    for message in _wrong_parameters(path):
        yield Problem(script.place, "scoring-script", f"{shown(path)}: {message}")
    for name, warning in _missing_functions(path):
        yield Problem(script.place, "scoring-script", f"{shown(path)} defines no {name}()", warning)


def _missing_functions(path: Path) -> Iterator[tuple[str, bool]]:
    if path.suffix != ".py":
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    names = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names |= {alias.asname or alias.name for node in imported for alias in node.names}
    for name in ("init", "run"):
        if name not in names:
            yield name, "*" in names


def _wrong_parameters(path: Path) -> Iterator[str]:
    """Compare how init and run are defined with how the server calls them; a decorator may change that."""
    try:
        tree = ast.parse(path.read_bytes()) if path.suffix == ".py" else ast.Module([], [])
    except (SyntaxError, ValueError, OSError):
        return
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.decorator_list]
    for node in defined:
        if node.name not in {"init", "run"} or sum(other.name == node.name for other in defined) > 1:
            continue
        positional = [*node.args.posonlyargs, *node.args.args]
        required = len(positional) - len(node.args.defaults)
        if node.name == "init" and required > 0:
            yield f"init() is called without arguments, and requires {positional[0].arg!r}"
        elif node.name == "run" and not positional and node.args.vararg is None and node.args.kwarg is None:
            yield "run() is called with what is to be scored, and takes no argument"


def request_settings(document: Document) -> Iterator[Problem]:
    """Timeouts, concurrency and probes are within what Azure takes."""
    limits = {
        ("request_settings", "request_timeout_ms"): (1, _MOST_TIMEOUT_MS),
        ("request_settings", "max_concurrent_requests_per_instance"): (1, None),
        ("request_settings", "max_queue_wait_ms"): (0, None),
    }
    if document.kind is Kind.BATCH_DEPLOYMENT:
        for key in ("mini_batch_size", "max_concurrency_per_instance"):
            limits["settings", key] = (1, None)
    for probe in ("liveness_probe", "readiness_probe"):
        for key in ("period", "timeout", "success_threshold", "failure_threshold"):
            limits[probe, key] = (1, None)
        limits[probe, "initial_delay"] = (0, None)
    for (section, key), (least, most) in limits.items():
        node = child(document.root, section, key)
        if node is None or not isinstance(node.value, int) or isinstance(node.value, bool):
            continue
        if node.value < least or (most is not None and node.value > most):
            expected = f"{least} to {most}" if most is not None else f"at least {least}"
            yield Problem(node.place, "request-settings", f"{section} {key} is {node.value}, expected {expected}")


def schedule_trigger(document: Document) -> Iterator[Problem]:
    """A trigger is a cron expression of five fields, or a recurrence with a positive interval."""
    trigger = child(document.root, "trigger")
    expression = child(trigger, "expression")
    if expression is not None and isinstance(expression.value, str):
        for message in _cron(expression.value):
            yield Problem(expression.place, "trigger", message)
    interval = child(trigger, "interval")
    if interval is not None and isinstance(interval.value, int) and interval.value < 1:
        yield Problem(interval.place, "trigger", f"interval is {interval.value}, expected at least 1")
    for key, most in (("hours", 23), ("minutes", 59)):
        node = child(trigger, "schedule", key)
        for item in [] if node is None else node.value if isinstance(node.value, list) else [node]:
            if isinstance(item.value, int) and not 0 <= item.value <= most:
                yield Problem(item.place, "trigger", f"{key}: {item.value}, expected 0 to {most}")
    start, end = child(trigger, "start_time"), child(trigger, "end_time")
    if start is not None and end is not None and _is_before(end, start):
        yield Problem(end.place, "trigger", f"end_time {end.value} is not after start_time {start.value}")
    zone = child(trigger, "time_zone")
    if zone is not None and "/" in str(zone.value):
        message = f"time_zone {zone.value!r}: expected a Windows time zone name, as in 'Pacific Standard Time' or UTC"
        yield Problem(zone.place, "trigger", message)
    elif zone is not None:
        from azure.ai.ml.constants import TimeZone

        names = [known.value for known in TimeZone]
        if str(zone.value).lower() not in {name.lower() for name in names}:
            close = get_close_matches(str(zone.value), names, n=1, cutoff=0.6)
            hint = f"did you mean {close[0]!r}?" if close else "expected a Windows name, as in 'Pacific Standard Time'"
            message = f"time_zone {zone.value!r} is none that azure-ai-ml knows; {hint}"
            yield Problem(zone.place, "trigger", message, True)


def _is_before(end: Located, start: Located) -> bool:
    try:
        times = [datetime.fromisoformat(str(node.value)) for node in (end, start)]
        return times[0] <= times[1]
    except (ValueError, TypeError):  # another notation, or only one of them has an offset
        return False


def _cron(text: str) -> Iterator[str]:
    fields = text.split()
    if len(fields) != 5:
        yield f"{text!r} has {len(fields)} fields, expected 5: minute, hour, day of month, month, day of week"
        return
    for value, (name, least, most) in zip(fields, _CRON_RANGES, strict=True):
        for part in value.split(","):
            bounds, _, step = part.partition("/")
            numbers = [] if bounds == "*" else [_cron_number(item) for item in bounds.split("-")]
            wrong = any(number is None or not least <= number <= most for number in numbers)
            if wrong or (step and not (step.isdigit() and int(step))) or ("/" in part and not step):
                yield f"{name} is {value!r}, expected {least} to {most}, *, lists, ranges and steps"
                break


def _cron_number(text: str) -> int | None:
    return int(text) if text.isdigit() else _CRON_NAMES.get(text.lower())


def schedule_job(document: Document) -> Iterator[Problem]:
    """The job file of a schedule exists, and the inputs that the schedule gives are the job's."""
    created = child(document.root, "create_job")
    reference = child(created, "job") or created
    if reference is None or not isinstance(reference.value, str):
        return
    path = local_file(reference)
    if path is None:
        return
    if not path.is_file():
        yield Problem(reference.place, "schedule-job", f"job file {shown(path)} does not exist")
        return
    given = child(created, "inputs")
    try:
        job = load(path)
    except UnreadableError:
        return
    declared = child(job, "inputs")
    if given is None or not isinstance(given.value, dict) or child(job, "component") is not None:
        return
    names = list(declared.value) if declared is not None and isinstance(declared.value, dict) else []
    for name, node in given.value.items():
        if name not in names:
            message = f"{shown(path)} has no input {name!r}; {suggestion(name, names)}"
            yield Problem(node.place, "schedule-job", message)


def conda_file(document: Document) -> Iterator[Problem]:
    """A conda file is a mapping with dependencies, and pip can read what it lists for pip."""
    for environment in (document.root, child(document.root, "environment")):
        node = child(environment, "conda_file")
        if node is None:
            continue
        content = node
        if isinstance(node.value, str):
            path = local_file(node)
            if path is None:
                continue
            if not path.is_file():
                yield Problem(node.place, "missing-file", f"conda file {shown(path)} does not exist")
                continue
            try:
                content = load(path)
            except UnreadableError as error:
                yield error.problem
                continue
        if not isinstance(content.value, dict):
            yield Problem(content.place, "conda-file", "a conda file must be a mapping with 'dependencies'")
        elif not isinstance(getattr(content.value.get("dependencies"), "value", None), list):
            yield Problem(content.place, "conda-file", "a conda file needs a list of 'dependencies'")
        else:
            report = Report()
            try:
                read_conda(content, report)
            except UnreadableError as error:
                report.problems.append(error.problem)
            yield from (problem for problem in report.problems if problem.rule == "conda-file")


def local_path(document: Document) -> Iterator[Problem]:
    """The file or folder of a data asset, model or build context exists."""
    for keys in (("path",), ("model", "path"), ("build", "path"), ("environment", "build", "path")):
        node = child(document.root, *keys)
        if node is None or not isinstance(node.value, str):
            continue
        path = local_file(node)
        if path is not None and not path.exists():
            yield Problem(node.place, "missing-file", f"{shown(path)} does not exist")


def environment_image(document: Document) -> Iterator[Problem]:
    """An environment has an image to start from, or a build context."""
    for environment in (document.root, child(document.root, "environment")):
        if environment is None or not isinstance(environment.value, dict):
            continue
        if environment is document.root and document.kind is not Kind.ENVIRONMENT:
            continue
        if child(environment, "image") is None and child(environment, "build") is None:
            yield Problem(environment.place, "required", "environment needs 'image' or 'build'")


def local_file(node: Located) -> Path | None:
    """Turn a stated path into an absolute one; None for an address of something elsewhere."""
    text = str(node.value)
    if re.match(r"(azureml|https?|wasbs?|abfss?|adl|git\+[a-z]+|runs|s3|gs):", text) or "${{" in text or not text:
        return None
    return (node.place.file.parent / Path(text.removeprefix("file:")).expanduser()).resolve()
