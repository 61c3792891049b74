"""A stand-in for the `az` program: `az ml …` becomes the calls of Azure's own client, as the ml extension makes them.

It knows the commands and flags that this repository uses, and refuses all others as az does, with exit code 2. It is
stricter than az in one point: az has cached access tokens for a while, and this one fails as soon as the assertion that
it was logged in with has expired.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from github.commands import Answer, Call
from github.oidc import LoginError, check_assertion

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

FLAGS: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "login": {
        "--service-principal": {"action": "store_true", "required": True},
        "--username": {"required": True},
        "--tenant": {"required": True},
        "--federated-token": {"required": True},
    },
    "account set": {"--subscription": {"required": True}},
    "extension add": {
        "--name": {"choices": ["ml"]},
        "--version": {"required": True},
        "--yes": {"action": "store_true"},
    },
    "ml job create": {"--file": {"required": True}, "--name": {}, "--set": {"nargs": "+", "default": []}},
    "ml job show": {"--name": {"required": True}},
    "ml job cancel": {"--name": {"required": True}},
    "ml job download": {"--name": {"required": True}, "--output-name": {}, "--download-path": {"default": "."}},
    "ml model show": {"--name": {"required": True}, "--version": {"required": True}},
    "ml compute show": {"--name": {"required": True}},
    "ml compute create": {"--file": {"required": True}},
    "ml compute update": {
        "--name": {"required": True},
        "--min-instances": {"type": int},
        "--max-instances": {"type": int},
        "--idle-time-before-scale-down": {"type": int},
    },
    "ml environment create": {"--file": {"required": True}},
    "ml data show": {"--name": {"required": True}, "--version": {"required": True}},
    "ml data create": {"--file": {"required": True}, "--set": {"nargs": "+", "default": []}},
    "ml online-endpoint show": {"--name": {"required": True}},
    "ml online-endpoint create": {"--file": {"required": True}, "--name": {}},
}
"""Flags by command; the values are for argparse."""
GLOBAL: Mapping[str, dict[str, Any]] = {
    "--output": {"choices": ["json", "none"], "default": "json"},
    "--only-show-errors": {"action": "store_true"},
}


class UsageError(Exception):
    """An unknown command or flag."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse(arguments: list[str]) -> tuple[str, argparse.Namespace]:
    """Return the command and its flags.

    Raises:
        UsageError: one of them is not known.
    """
    words = []
    for argument in arguments:
        if argument.startswith("-"):
            break
        words.append(argument)
    command = " ".join(words)
    if command not in FLAGS:
        raise UsageError(f"'{command}' is misspelled or not recognized by the system.")
    parser = _Parser(prog=f"az {command}", allow_abbrev=False, add_help=False)
    for flag, settings in {**FLAGS[command], **GLOBAL}.items():
        parser.add_argument(flag, **settings)
    return command, parser.parse_args(arguments[len(words) :])


@dataclass
class AzureCommand:
    """The stand-in, for one subscription.

    Attributes:
        client: Logged in to the workspace.
        subjects: Subjects of the federated credentials.
        expected: Environment that every `az ml` call must come with, such as the workspace's name.
    """

    client: "MLClient"
    subjects: tuple[str, ...]
    expected: Mapping[str, str]

    def __call__(self, call: Call) -> Answer:
        """Run one command line."""
        from azure.core.exceptions import AzureError
        from marshmallow import ValidationError

        try:
            command, flags = parse(call.arguments)
        except UsageError as error:
            return Answer(error=f"ERROR: {error}\n", code=2)
        try:
            value = self._run(command, flags, call)
        except (AzureError, LoginError, ValidationError, OSError) as error:
            return Answer(error=f"ERROR: {error}\n", code=1)
        return Answer(out="" if value is None or flags.output == "none" else json.dumps(value, default=str))

    def _run(self, command: str, flags: argparse.Namespace, call: Call) -> Any:
        # az keeps who is logged in, and its extensions, in a folder of the user.
        state = Path(call.environment["HOME"]) / ".azure" / "state.json"
        known = json.loads(state.read_text()) if state.is_file() else {}
        if command == "extension add":
            return _remember(state, {**known, "extension": flags.version})
        if command == "login":
            check_assertion(flags.federated_token, self.subjects)
            return _remember(state, {**known, "assertion": flags.federated_token})
        if "assertion" not in known:
            raise LoginError("Please run 'az login' to setup account.")
        if command == "account set":
            if flags.subscription != self.expected["AZURE_SUBSCRIPTION_ID"]:
                raise LoginError(f"The subscription of '{flags.subscription}' doesn't exist.")
            return None
        if "extension" not in known:
            raise LoginError("The command requires the extension ml, which was not added.")
        wrong = [name for name, value in self.expected.items() if call.environment.get(name) != value]
        if wrong:
            raise LoginError(f"{', '.join(wrong)}: not of this workspace")
        check_assertion(known["assertion"], self.subjects)
        return COMMANDS[command](self.client, flags, call.folder)


def _remember(state: Path, value: dict[str, str]) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text(json.dumps(value))


def _create_job(client: "MLClient", flags: argparse.Namespace, folder: Path) -> Any:
    from azure.ai.ml import load_job

    overrides = [dict([setting.split("=", 1)]) for setting in flags.set]
    if flags.name:
        overrides.append({"name": flags.name})
    job = load_job(folder / flags.file, params_override=overrides)
    return client.jobs.create_or_update(job)._to_dict()


def _download(client: "MLClient", flags: argparse.Namespace, folder: Path) -> None:
    client.jobs.download(flags.name, output_name=flags.output_name, download_path=folder / flags.download_path)


def _update_compute(client: "MLClient", flags: argparse.Namespace, _folder: Path) -> Any:
    compute = client.compute.get(flags.name)
    for name in ("min_instances", "max_instances", "idle_time_before_scale_down"):
        if getattr(flags, name) is not None:
            setattr(compute, name, getattr(flags, name))
    return client.compute.begin_update(compute).result()._to_dict()


def _create_compute(client: "MLClient", flags: argparse.Namespace, folder: Path) -> Any:
    from azure.ai.ml import load_compute

    return client.compute.begin_create_or_update(load_compute(folder / flags.file)).result()._to_dict()


def _create_environment(client: "MLClient", flags: argparse.Namespace, folder: Path) -> Any:
    from azure.ai.ml import load_environment

    return client.environments.create_or_update(load_environment(folder / flags.file))._to_dict()


def _create_data(client: "MLClient", flags: argparse.Namespace, folder: Path) -> Any:
    from azure.ai.ml import load_data

    overrides = [dict([setting.split("=", 1)]) for setting in flags.set]
    return client.data.create_or_update(load_data(folder / flags.file, params_override=overrides))._to_dict()


def _create_endpoint(client: "MLClient", flags: argparse.Namespace, folder: Path) -> Any:
    from azure.ai.ml import load_online_endpoint

    overrides = [{"name": flags.name}] if flags.name else []
    endpoint = load_online_endpoint(folder / flags.file, params_override=overrides)
    return client.online_endpoints.begin_create_or_update(endpoint).result()._to_dict()


COMMANDS: Mapping[str, Callable[["MLClient", argparse.Namespace, Path], Any]] = {
    "ml job create": _create_job,
    "ml job show": lambda client, flags, _: client.jobs.get(flags.name)._to_dict(),
    "ml job cancel": lambda client, flags, _: client.jobs.begin_cancel(flags.name).result(),
    "ml job download": _download,
    "ml model show": lambda client, flags, _: client.models.get(flags.name, version=flags.version)._to_dict(),
    "ml compute show": lambda client, flags, _: client.compute.get(flags.name)._to_dict(),
    "ml compute create": _create_compute,
    "ml compute update": _update_compute,
    "ml environment create": _create_environment,
    "ml data show": lambda client, flags, _: client.data.get(flags.name, version=flags.version)._to_dict(),
    "ml data create": _create_data,
    "ml online-endpoint show": lambda client, flags, _: client.online_endpoints.get(flags.name)._to_dict(),
    "ml online-endpoint create": _create_endpoint,
}
