"""A stand-in for the `gh` program: it keeps what it is told, and refuses what it does not know or the token may not."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from github.commands import Answer, Call
from github.files import ROOT, load

RANK = {"none": 0, "read": 1, "write": 2}


class GitHubError(Exception):
    """What gh would say before it ends with 1."""


@dataclass(frozen=True)
class Dispatch:
    """A workflow that was started by hand or by `gh workflow run`."""

    workflow: str
    ref: str
    inputs: dict[str, str]


@dataclass
class GitHub:
    """One repository, as far as gh sees it.

    Attributes:
        tokens: Permissions of the token of each job.
        runs: What the API says of a run, by its id.
        artifacts: Folder of each artifact, by run id and name.
        pulls: Pull requests that hold a commit, as the API lists them.
        comments: Texts of the comments of each pull request.
        dispatches: Workflows that were started.
        environments: What the API says of each environment.
    """

    repository: str
    tokens: dict[str, dict[str, str]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    artifacts: dict[tuple[str, str], Path] = field(default_factory=dict)
    pulls: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    comments: dict[str, list[str]] = field(default_factory=dict)
    dispatches: list[Dispatch] = field(default_factory=list)
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __call__(self, call: Call) -> Answer:
        """Run one command line."""
        for pattern, run in self._commands():
            if found := re.fullmatch(pattern, "\0".join(call.arguments).replace(self.repository, "OWNER/NAME")):
                try:
                    return Answer(out=run(call, *found.groups()))
                except GitHubError as error:
                    return Answer(error=f"gh: {error}\n", code=1)
        return Answer(error=f"gh {' '.join(call.arguments)}: unknown to this stand-in\n", code=2)

    def _commands(self) -> list[tuple[str, Callable[..., str]]]:
        part = "([^\0]+)"
        repository = "\0--repo\0OWNER/NAME"
        return [
            (rf"api\0repos/OWNER/NAME/actions/runs/{part}", self._show_run),
            (rf"api\0repos/OWNER/NAME/environments/{part}", self._show_environment),
            (rf"api\0repos/OWNER/NAME/commits/{part}/pulls", self._list_pulls),
            (rf"run\0download\0{part}{repository}\0--name\0{part}\0--dir\0{part}", self._download),
            (rf"pr\0comment\0{part}{repository}(\0--edit-last\0--create-if-none)?\0--body-file\0{part}", self._comment),
            (rf"workflow\0run\0{part}{repository}\0--ref\0{part}((?:\0--field\0[^\0]+)*)", self._dispatch),
        ]

    def _need(self, call: Call, scope: str, access: str) -> None:
        token = call.environment.get("GH_TOKEN", "")
        if token not in self.tokens:
            raise GitHubError("To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN environment variable.")
        if RANK[self.tokens[token].get(scope, "none")] < RANK[access]:
            raise GitHubError(f"HTTP 403: Resource not accessible by integration ({scope}: {access})")

    def _show_run(self, call: Call, run: str) -> str:
        self._need(call, "actions", "read")
        if run not in self.runs:
            raise GitHubError("HTTP 404: Not Found")
        return json.dumps(self.runs[run])

    def _show_environment(self, call: Call, name: str) -> str:
        self._need(call, "actions", "read")
        if name not in self.environments:
            raise GitHubError("HTTP 404: Not Found")
        return json.dumps(self.environments[name])

    def _list_pulls(self, call: Call, commit: str) -> str:
        self._need(call, "pull-requests", "read")
        return json.dumps(self.pulls.get(commit, []))

    def _download(self, call: Call, run: str, name: str, folder: str) -> str:
        self._need(call, "actions", "read")
        if (run, name) not in self.artifacts:
            raise GitHubError(f"no artifact matches any of the names or patterns provided: {name}")
        shutil.copytree(self.artifacts[run, name], call.folder / folder)
        return ""

    def _comment(self, call: Call, number: str, edit_last: str | None, body: str) -> str:
        self._need(call, "pull-requests", "write")
        comments = self.comments.setdefault(number, [])
        text = (call.folder / body).read_text(encoding="utf-8")
        if len(text) > 65536:
            raise GitHubError("Body is too long (maximum is 65536 characters)")
        if edit_last and comments:
            comments[-1] = text
        else:
            comments.append(text)
        return ""

    def _dispatch(self, call: Call, workflow: str, ref: str, fields: str) -> str:
        self._need(call, "actions", "write")
        inputs = dict(part.split("=", 1) for part in fields.split("\0--field\0") if part)
        declared = load(ROOT / ".github" / "workflows" / workflow)["on"]["workflow_dispatch"]["inputs"]
        missing = {name for name, said in declared.items() if said.get("required")} - set(inputs)
        if set(inputs) - set(declared) or missing:
            raise GitHubError(f"HTTP 422: inputs {sorted(inputs)} are not those of {workflow}")
        self.dispatches.append(Dispatch(workflow, ref, inputs))
        return ""
