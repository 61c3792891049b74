"""The stand-ins refuse what they do not know, as the programs that they stand for would."""

from pathlib import Path

import pytest
from github.az import UsageError, parse
from github.commands import Call
from github.gh import Dispatch, GitHub
from github.oidc import LoginError, Provider, check_assertion


@pytest.mark.parametrize(
    "line",
    [
        "ml job",
        "ml job crate --file a.yml",
        "ml job create --fil a.yml",
        "ml job create",
        "ml job show --name a --query status",
        "ml job show --name a --output tsv",
        "ml compute update --name a --size Standard_DS3_v2",
        "ml model show --name a",
        "group create --name a",
        "extension add --name mlops --version 1",
        "",
    ],
)
def test_az_refuses_commands_and_flags_that_it_does_not_know(line: str) -> None:
    with pytest.raises(UsageError):
        parse(line.split())


def test_az_reads_what_it_knows() -> None:
    settings = ["--set", "inputs.a=1", "inputs.b=2"]
    command, flags = parse(["ml", "job", "create", "--file", "a.yml", *settings, "--output", "json"])
    assert command == "ml job create"
    assert (flags.file, flags.set) == ("a.yml", settings[1:])


@pytest.fixture
def github() -> GitHub:
    return GitHub("acme/messages", tokens={"reads": {"actions": "read"}, "writes": {"actions": "write"}})


def call(token: str, *arguments: str) -> Call:
    return Call("gh", list(arguments), Path(), {"GH_TOKEN": token})


START = ("workflow", "run", "promote.yml", "--repo", "acme/messages", "--ref", "main")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("auth", "status"), 2, "unknown to this stand-in"),
        (("api", "repos/mallory/messages/actions/runs/7"), 2, "unknown to this stand-in"),
        (("api", "repos/acme/messages/actions/runs/7", "--jq", ".path"), 2, "unknown to this stand-in"),
        (("pr", "comment", "7", "--repo", "acme/messages", "--body", "x"), 2, "unknown to this stand-in"),
        (("api", "repos/acme/messages/actions/runs/7"), 1, "404"),
        ((*START, "--field", "train_run=7", "--field", "force=true"), 1, "422"),
        (START, 1, "422"),
    ],
)
def test_gh_refuses_what_it_does_not_know(github: GitHub, arguments: tuple[str, ...], code: int, said: str) -> None:
    answer = github(call("writes", *arguments))
    assert (answer.code, said in answer.error) == (code, True), answer.error
    assert github.dispatches == []


def test_gh_refuses_what_the_token_may_not(github: GitHub) -> None:
    start = (*START, "--field", "train_run=7")
    assert "actions: write" in github(call("reads", *start)).error
    assert "GH_TOKEN" in github(call("nobody", *start)).error
    assert github.dispatches == []
    assert github(call("writes", *start)).code == 0
    assert github.dispatches == [Dispatch("promote.yml", "main", {"train_run": "7"})]


def test_an_assertion_opens_only_for_its_subject_and_its_time() -> None:
    provider = Provider()
    check_assertion(provider.assertion("repo:a/b:ref:refs/heads/main"), ("repo:a/b:ref:refs/heads/main",))
    with pytest.raises(LoginError, match="AADSTS700213"):
        check_assertion(provider.assertion("repo:a/b:pull_request"), ("repo:a/b:ref:refs/heads/main",))
    with pytest.raises(LoginError, match="AADSTS700024"):
        check_assertion(Provider(seconds=-1).assertion("x"), ("x",))
    with pytest.raises(LoginError, match="AADSTS50027"):
        check_assertion("a.b.c", ("x",))
