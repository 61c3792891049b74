"""A deployment's files: its model, its code, its log."""

import asyncio
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from amlocal.endpoints.environment import WORKERS, asked_workers, available_cores, workers
from amlocal.endpoints.spec import DeploymentSpec
from amlocal.workspace.arm_shapes import parse_asset_id
from amlocal.workspace.blobs import BlobStore
from amlocal.workspace.deployment_body import DeploymentRequest
from amlocal.workspace.deployment_python import DeploymentPythons, EnvironmentMode
from amlocal.workspace.errors import bad_request, not_found
from amlocal.workspace.folders import build_folder, code_files, model_files
from amlocal.workspace.store import Json, Store


@dataclass(frozen=True)
class DeploymentFiles:
    """The files of all deployments of a workspace.

    Attributes:
        store: Where assets are kept.
        blobs: Where their contents are kept.
        models: Folder with one folder per model version.
        folder: Folder with one folder per endpoint.
        pythons: Their interpreters.
    """

    store: Store
    blobs: BlobStore
    models: Path
    folder: Path
    pythons: DeploymentPythons

    def log(self, endpoint: str, name: str) -> Path:
        """Name the file with what a deployment's processes print."""
        return self.folder / endpoint / name / "console.log"

    def remove(self, endpoint: str, name: str) -> None:
        """Remove a deployment's code and log."""
        shutil.rmtree(self.folder / endpoint / name, ignore_errors=True)

    def check_references(self, wanted: DeploymentRequest) -> None:
        """Check that the workspace has what a deployment refers to.

        Args:
            wanted: What it asks for.

        Raises:
            ArmError: Something is not there.
        """
        for kind, reference in (("codes", wanted.code), ("models", wanted.model), ("environments", wanted.environment)):
            # Environments of Azure's own registries have no meaning here and are not looked up.
            if reference is not None and not reference.startswith("azureml://registries/"):
                self._asset(kind, reference)

    async def prepare(
        self, endpoint: str, name: str, wanted: DeploymentRequest, mode: EnvironmentMode
    ) -> DeploymentSpec:
        """Lay out a deployment's files.

        Args:
            endpoint: Name of its endpoint.
            name: Its own name.
            wanted: What it asks for.
            mode: Whether its environment is built.

        Returns:
            What is to be run.

        Raises:
            ArmError: A model, code snapshot or file of it is missing, or its environment cannot be built.
        """
        folder = self.folder / endpoint / name
        _, _, code = self._asset("codes", wanted.code)
        # A copy, for a script may write next to itself; a fresh one, for the previous one may still be
        # running.
        snapshot = folder / "code" / uuid.uuid4().hex
        await asyncio.to_thread(build_folder, snapshot, code_files(self.blobs, code["codeUri"]), link=False)
        if not (snapshot / wanted.scoring_script).is_file():
            raise bad_request(f"The code has no scoring script {wanted.scoring_script}.")
        model_dir = None
        if wanted.model is not None:
            model_name, version, model = self._asset("models", wanted.model)
            model_dir = self.models / model_name / version
            files = model_files(self.blobs, model["modelUri"])
            await asyncio.to_thread(build_folder, model_dir, files, link=True)
        log = self.log(endpoint, name)
        python = await self.pythons.provide(wanted.environment, mode, log)
        spec = DeploymentSpec(
            endpoint=endpoint,
            name=name,
            app_root=snapshot,
            scoring_script=wanted.scoring_script,
            model_dir=model_dir,
            log=log,
            environment_variables=wanted.environment_variables,
            instance_count=wanted.instance_count,
            max_concurrent_requests_per_instance=wanted.max_concurrent_requests_per_instance,
            request_timeout=wanted.request_timeout,
            max_queue_wait=wanted.max_queue_wait,
            liveness=wanted.liveness,
            readiness=wanted.readiness,
            python=python,
        )
        _note_what_is_ignored(spec, wanted, mode)
        return spec

    def _asset(self, collection: str, reference: str) -> tuple[str, str, Json]:
        asset = parse_asset_id(reference, collection)
        if asset is None:
            raise bad_request(f"{reference!r} is no reference to {collection}; expected name:version or an ARM id.")
        resource = self.store.get(f"{collection}/{asset[0]}/versions", asset[1])
        if resource is None:
            raise not_found(f"{collection.removesuffix('s')} {asset[0]}:{asset[1]}")
        return (*asset, resource.body["properties"])


def remove_other_snapshots(kept: Path) -> None:
    """Remove the code of a deployment's earlier processes, once they are gone.

    Args:
        kept: Code of those that run now.
    """
    for folder in kept.parent.iterdir():
        if folder != kept:
            shutil.rmtree(folder, ignore_errors=True)


def _note_what_is_ignored(spec: DeploymentSpec, wanted: DeploymentRequest, mode: EnvironmentMode) -> None:
    environment = wanted.environment or "(none)"
    ignored = f"environment {environment} with its image and conda file"
    if mode == "isolated":
        ignored = f"the image of environment {environment}"
    cores = available_cores()
    with spec.log.open("a", encoding="utf-8") as file:
        if (given := workers(spec, cores)) < (asked := asked_workers(spec)):
            file.write(f"amlocal: {WORKERS} lowered from {asked} to {given}: this machine has {cores} cores\n")
        file.write(
            f"amlocal: ignored on this machine: {ignored}, instance type {wanted.instance_type}; "
            f"scoring runs in {spec.python}\n"
        )
