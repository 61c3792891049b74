"""A repository on GitHub, connected to a workspace of this machine."""

import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from github.az import AzureCommand
from github.commands import programs
from github.files import ROOT
from github.gh import GitHub
from github.make import Make
from github.oidc import Provider, serve
from github.runner import Run, Runner

from amlocal.testing import running_workspace

REPOSITORY = "acme/messages"
SUBJECTS = (f"repo:{REPOSITORY}:ref:refs/heads/main", f"repo:{REPOSITORY}:environment:production")
"""The federated credentials of docs/azure.md."""


@dataclasses.dataclass
class Reviewers:
    """The required reviewers of the environment `production`.

    Attributes:
        approve: What they answer.
        pages: What they had on the run's page when they were asked.
    """

    approve: bool = True
    pages: list[str] = dataclasses.field(default_factory=list)

    def __call__(self, environment: str, run: Run) -> bool:
        assert environment == "production"
        self.pages.append("\n".join(job.summary for job in run.jobs.values()))
        return self.approve


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that a commit would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    folder = tmp_path_factory.mktemp("repository")
    # Tests and pictures are most of the files, and no workflow that talks to Azure reads them.
    for name in listed.stdout.split("\0"):
        if name and not name.startswith(("tests/", "docs/images/")) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, repository: Path, tiny_checkpoint: Path) -> Iterator[Runner]:
    """Runs workflows of the repository against a workspace of their own."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    folder = tmp_path_factory.mktemp("github")
    with (
        pytest.MonkeyPatch.context() as patch,
        running_workspace(folder / "home") as workspace,
        serve(Provider()) as provider,
    ):
        for name, value in workspace.client_environment().items():
            patch.setenv(name, value)
        client = MLClient(
            DefaultAzureCredential(), workspace.subscription_id, workspace.resource_group, workspace.workspace_name
        )
        expected = {
            "AZURE_SUBSCRIPTION_ID": workspace.subscription_id,
            "AZURE_DEFAULTS_GROUP": workspace.resource_group,
            "AZURE_DEFAULTS_WORKSPACE": workspace.workspace_name,
        }
        reviewed = {"protection_rules": [{"type": "required_reviewers", "reviewers": [{"type": "User"}]}]}
        github = GitHub(REPOSITORY, environments={"production": reviewed})
        az = AzureCommand(client, SUBJECTS, expected)
        variables = {
            "AZURE_CLIENT_ID": "11111111-1111-1111-1111-111111111111",
            "AZURE_TENANT_ID": "22222222-2222-2222-2222-222222222222",
            "AZURE_SUBSCRIPTION_ID": workspace.subscription_id,
            "AZURE_RESOURCE_GROUP": workspace.resource_group,
            "AZURE_WORKSPACE": workspace.workspace_name,
            "MODEL_NAME": "messages",
            "ENDPOINT_NAME": "messages",
        }
        with programs(folder / "bin", {"az": az, "gh": github, "make": Make(tiny_checkpoint)}) as environment:
            yield Runner(
                folder=folder / "runs",
                repository=repository,
                github=github,
                provider=provider,
                variables=variables,
                environment={**environment, "POLL_SECONDS": "0.5"},
                bin=folder / "bin",
                client=client,
                approve=Reviewers(),
            )
