"""The Python that a deployment runs in: the workspace's own, or one built for the deployment's environment."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from amlocal.errors import AmlocalError
from amlocal.job_variable import JOB_VARIABLE
from amlocal.workspace.arm_shapes import parse_asset_id
from amlocal.workspace.errors import ArmError, bad_request
from amlocal.workspace.layout import Layout
from amlocal.workspace.store import Store

if TYPE_CHECKING:
    from amlocal.run.environments.recipe import Recipe

EnvironmentMode = Literal["current", "isolated"]
MODES: tuple[EnvironmentMode, ...] = get_args(EnvironmentMode)
SERVER = "azureml-inference-server-http"
_SETTINGS, _DEPLOYMENTS = "settings", "deployments"


def read_mode(store: Store) -> EnvironmentMode:
    """Read which Python new deployments get; ``current`` unless somebody has said otherwise."""
    resource = store.get(_SETTINGS, _DEPLOYMENTS)
    return "isolated" if resource is not None and resource.body.get("environment") == "isolated" else "current"


def write_mode(store: Store, mode: EnvironmentMode) -> None:
    """Say which Python deployments get from now on; those that run keep theirs."""
    store.put(_SETTINGS, _DEPLOYMENTS, {"environment": mode})


@dataclass(frozen=True)
class DeploymentPythons:
    """Finds and builds the Pythons of deployments.

    Attributes:
        layout: Where the workspace keeps its state.
    """

    layout: Layout

    def check(self, environment: str | None) -> None:
        """Check, before anything starts, that an environment can be built here.

        Args:
            environment: The deployment's reference to it.

        Raises:
            ArmError: It cannot.
        """
        self._recipe(environment)

    async def provide(self, environment: str | None, mode: EnvironmentMode, log: Path) -> Path:
        """Give the interpreter for a deployment, built first where it has to be.

        Args:
            environment: The deployment's reference to it.
            mode: ``current`` takes the workspace's own.
            log: The deployment's log, which is told what is built.

        Returns:
            The executable.

        Raises:
            ArmError: It cannot be built, or has no server to run a scoring script with.
        """
        if mode == "current":
            return Path(sys.executable)
        from amlocal.run.environments.build import build_all
        from amlocal.run.guard import guarded

        recipe = await asyncio.to_thread(self._recipe, environment)
        builds = self.layout.root / "builds"
        try:
            # A build that outlived a killed daemon would still write where the next daemon builds.
            with guarded(builds):
                mark = {JOB_VARIABLE: str(builds)}
                built = await build_all({"scoring": recipe}, self.layout.home, _progress(log), 1, mark)
        except (AmlocalError, OSError) as error:
            raise bad_request(str(error)) from error
        python = built["scoring"]
        module = SERVER.replace("-", "_")
        if not any((folder / module).is_dir() for folder in python.site_packages):
            raise bad_request(
                f"Environment {recipe.label} has no {SERVER}, which runs scoring scripts here and on Azure; "
                "list it in the environment's conda file."
            )
        return python.commands / "python"

    def _recipe(self, environment: str | None) -> Recipe:
        from amlocal.reader.environment import read_environment
        from amlocal.reader.section import Report
        from amlocal.reader.source import InvalidJobError, load
        from amlocal.run.environments.recipe import Tables, make_recipe

        if environment is None:
            raise bad_request("The deployment states no environment, and this workspace runs each in its own.")
        try:
            report = Report()
            found = read_environment(load(self._definition(environment)), report)
            return make_recipe(found, Tables(self.layout.home, self.layout.home))
        except InvalidJobError as error:
            raise bad_request(str(error)) from error

    def _definition(self, environment: str) -> Path:
        """Give an environment as YAML file."""
        from amlocal.reader.addresses import AssetReference
        from amlocal.workspace.registry import Registry

        asset = parse_asset_id(environment, "environments")
        path = None if asset is None else Registry(self.layout.home).environment(AssetReference(*asset))
        if path is None:
            raise ArmError(404, "ResourceNotFound", f"Environment {environment} is not registered in this workspace.")
        return path


def _progress(log: Path) -> Callable[[str], None]:
    def tell(line: str) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"amlocal: {line}\n")

    return tell
