"""The workflows' scripts, each alone: what they refuse, what they hand on, how they keep their login."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from github.az import parse
from github.commands import Answer, Call, programs
from github.files import ROOT
from github.gh import GitHub
from github.oidc import LoginError, Provider, check_assertion, serve

SCRIPTS = ROOT / ".github" / "scripts"
SUBJECT = "repo:acme/messages:ref:refs/heads/main"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


REPORT, PAGE, POLICY = "# Promoted\n", "<html>", "minimum: {mcc: 0.2}\n"
VERDICT = json.dumps(
    {
        "reports_sha256": {name: sha256(text) for name, text in (("report.md", REPORT), ("report.html", PAGE))},
        "policy_sha256": sha256(POLICY),
    }
)
DIGEST = sha256(VERDICT)
REGISTERED = {"registered": True, "model": {"name": "messages", "version": "3"}, "verdict_sha256": DIGEST}


@dataclass
class Script:
    """Runs scripts in a folder, with an `az` that answers what the test says."""

    folder: Path
    environment: dict[str, str]
    github: GitHub
    calls: list[str] = field(default_factory=list)
    answers: dict[str, list[Answer | Callable[[], Answer]]] = field(default_factory=dict)

    def az(self, call: Call) -> Answer:
        command, flags = parse(call.arguments)
        self.calls.append(command)
        if command == "login":
            try:
                check_assertion(flags.federated_token, (SUBJECT,))
            except LoginError as error:
                return Answer(error=f"ERROR: {error}\n", code=1)
            return Answer()
        if not self.answers.get(command):
            return Answer()
        answer = self.answers[command].pop(0)
        return answer() if callable(answer) else answer

    def __call__(self, name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "outputs").write_text("")
        (self.folder / "summary").write_text("")
        return subprocess.run(
            [sys.executable, "-S", str(SCRIPTS / f"{name}.py"), *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def outputs(self) -> str:
        return (self.folder / "outputs").read_text()

    @property
    def summary(self) -> str:
        return (self.folder / "summary").read_text()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serve(Provider(subjects={"request": SUBJECT})) as provider:
        yield provider


@pytest.fixture
def script(tmp_path: Path, provider: Provider) -> Iterator[Script]:
    github = GitHub("acme/messages", tokens={"token": {"actions": "read", "pull-requests": "write"}})
    script = Script(tmp_path, {}, github)
    with programs(tmp_path / "bin", {"az": script.az, "gh": github}) as reach:
        script.environment.update(
            reach,
            PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin",
            ACTIONS_ID_TOKEN_REQUEST_URL=provider.address,
            ACTIONS_ID_TOKEN_REQUEST_TOKEN="request",
            AZURE_CLIENT_ID="client",
            AZURE_TENANT_ID="tenant",
            AZURE_SUBSCRIPTION_ID="subscription",
            GITHUB_REPOSITORY="acme/messages",
            GITHUB_SHA="c0ffee",
            GITHUB_OUTPUT=str(tmp_path / "outputs"),
            GITHUB_STEP_SUMMARY=str(tmp_path / "summary"),
            GH_TOKEN="token",
        )
        yield script


def job(status: str) -> Answer:
    return Answer(out=json.dumps({"name": "j", "status": status, "services": {"Studio": {"endpoint": "https://ml/j"}}}))


RUN = ("run", "--file", "pipelines/train.yml", "--name", "j", "--folder", "job", "--poll-seconds", "0.01")


def test_one_login_serves_while_its_assertion_lives(script: Script, provider: Provider) -> None:
    script.answers = {"ml job create": [job("NotStarted")], "ml job show": [job("Running"), job("Completed")]}
    done = script("run_pipeline", *RUN, SETTINGS="inputs.epochs=2")
    assert done.returncode == 0, done.stderr
    assert script.calls == ["login", "account set", "ml job create", "ml job show", "ml job show"]
    assert "[j](https://ml/j)" in script.summary
    assert "Running" in done.stdout


def test_a_wait_that_outlives_the_assertion_logs_in_again_before_each_call(script: Script, provider: Provider) -> None:
    provider.seconds = 30  # less than the margin: every call is too late for the assertion before it
    script.answers = {"ml job create": [job("NotStarted")], "ml job show": [job("Running"), job("Completed")]}
    assert script("run_pipeline", *RUN).returncode == 0
    session = ["login", "account set"]
    assert script.calls == [*session, "ml job create", *session, "ml job show", *session, "ml job show"]
    assert len(provider.issued) == 3


def test_settings_reach_az_as_they_are_and_empty_ones_do_not(script: Script) -> None:
    given: list[list[str]] = []
    handler = script.az

    def az(call: Call) -> Answer:
        given.append(call.arguments)
        return handler(call)

    script.answers = {"ml job create": [job("Completed")], "ml job show": [job("Completed")]}
    settings = (
        "inputs.label_mapping=<=2:bad,>=4:good; jobs.sweep.limits.trials=\n\n inputs.commit=$(touch broken) `id`\n"
    )
    with programs(script.folder / "more", {"az": az}) as reach:
        done = script("run_pipeline", *RUN, SETTINGS=settings, **reach)
    assert done.returncode == 0, done.stderr
    (created,) = [arguments for arguments in given if arguments[:3] == ["ml", "job", "create"]]
    start = created.index("--set") + 1
    assert created[start : start + 3] == [
        "inputs.label_mapping=<=2:bad,>=4:good",
        "inputs.commit=$(touch broken) `id`",
        "--output",
    ]
    assert not (script.folder / "broken").exists()


@pytest.mark.parametrize("setting", ["inputs.epochs", "=3"])
def test_a_setting_that_is_none_stops_before_anything_is_sent(script: Script, setting: str) -> None:
    done = script("run_pipeline", *RUN, SETTINGS=setting)
    assert done.returncode == 1
    assert "expected key=value" in done.stdout
    assert script.calls == []


@pytest.mark.parametrize("status", ["Failed", "Canceled", "NotResponding", "JobStatus.NOT_RESPONDING"])
def test_a_job_that_did_not_complete_makes_the_step_red(script: Script, status: str) -> None:
    script.answers = {"ml job create": [job("NotStarted")], "ml job show": [job(status)]}
    done = script("run_pipeline", *RUN, "rollout")
    assert done.returncode == 1
    ended = "NotResponding" if "NOT" in status else status
    assert f"::error::j ended as {ended}: https://ml/j" in done.stdout
    assert script.calls[-1] == "ml job download", "what it did write is worth having"


def test_an_output_that_a_completed_job_lacks_makes_the_step_red(script: Script) -> None:
    script.answers = {"ml job create": [job("NotStarted")], "ml job show": [job("Completed")]}
    done = script("run_pipeline", *RUN, "registration")
    assert done.returncode == 1
    assert "output registration is empty" in done.stdout


def test_waiting_survives_questions_without_an_answer_but_not_for_ever(script: Script) -> None:
    lost = Answer(error="ERROR: Connection reset\n", code=1)
    script.answers = {"ml job create": [job("NotStarted")], "ml job show": [*[lost] * 4, job("Running"), *[lost] * 5]}
    done = script("run_pipeline", *RUN)
    assert done.returncode == 1
    assert script.calls.count("ml job show") == 10
    assert "Connection reset" in done.stdout
    assert "ml job cancel" not in script.calls


def test_a_refused_login_says_why_and_never_shows_the_assertion(script: Script, provider: Provider) -> None:
    provider.subjects["request"] = "repo:acme/messages:pull_request"
    done = script("run_pipeline", *RUN)
    assert done.returncode == 1
    assert "az login: ERROR: AADSTS700213: No matching federated identity record" in done.stdout
    assert "eyJ" not in done.stdout + done.stderr
    assert script.calls == ["login"]


@pytest.mark.parametrize(
    ("name", "hint"), [("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "id-token: write"), ("AZURE_CLIENT_ID", "docs/azure.md")]
)
def test_what_is_not_set_is_named_before_anything_is_sent(script: Script, name: str, hint: str) -> None:
    done = script("run_pipeline", *RUN, **{name: ""})
    assert done.returncode == 1
    assert f"{name} is not set" in done.stdout
    assert hint in done.stdout
    assert script.calls == []


def test_cancel_asks_for_the_end_of_the_job(script: Script) -> None:
    assert script("run_pipeline", "cancel", "--name", "j").returncode == 0
    assert script.calls[-1] == "ml job cancel"


def candidate(folder: Path, registration: object) -> None:
    policy = folder / "endpoints" / "text-classifier" / "gate-tokens.yml"
    policy.parent.mkdir(parents=True, exist_ok=True)
    policy.write_text(POLICY)
    for output, name, text in (
        ("registration", "registration", json.dumps(registration)),
        ("evaluation", "verdict.json", VERDICT),
        ("evaluation", "report.md", REPORT),
        ("evaluation", "report.html", PAGE),
    ):
        path = folder / "job" / "named-outputs" / output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_promoted_model_is_handed_on_by_exact_name_and_version(script: Script) -> None:
    candidate(script.folder, REGISTERED)
    assert script("candidate", "--job", "job", "--candidate", "kept").returncode == 0
    expected = f"promoted=true\nmodel_name=messages\nmodel_version=3\nverdict_sha256={DIGEST}\n"
    assert script.outputs == expected
    assert script.summary.startswith("# Promoted")
    assert script("candidate", "--candidate", "kept", ENDPOINT_NAME="messages").returncode == 0
    assert script.outputs == expected
    assert script.summary.startswith("# Approve messages, version 3?")
    assert "# Promoted" in script.summary


def test_the_question_links_to_training_and_report_and_to_nothing_else(script: Script) -> None:
    candidate(script.folder, REGISTERED)
    assert script("candidate", "--job", "job", "--candidate", "kept").returncode == 0
    given = {"TRAIN_RUN": "42", "REPORT_URL": "https://github.com/acme/messages/actions/runs/43/artifacts/7"}
    assert script("candidate", "--candidate", "kept", **given).returncode == 0
    assert "[training run 42](https://github.com/acme/messages/actions/runs/42)" in script.summary
    assert f"[report.html with all figures]({given['REPORT_URL']})" in script.summary
    given = {"TRAIN_RUN": "42](http://x)", "REPORT_URL": "javascript:alert(1)"}
    assert script("candidate", "--candidate", "kept", **given).returncode == 0
    assert "training run" not in script.summary
    assert "javascript" not in script.summary


def test_a_rejected_model_is_no_failure_after_training_and_cannot_be_approved(script: Script) -> None:
    candidate(script.folder, {"registered": False, "reasons": ["worse"]})
    assert script("candidate", "--job", "job", "--candidate", "kept").returncode == 0
    assert script.outputs == "promoted=false\n"
    done = script("candidate", "--candidate", "kept")
    assert done.returncode == 1
    assert "there is nothing to approve" in done.stdout
    assert script.outputs == ""


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("model", {"name": "messages", "version": "latest"}),
        ("model", {"name": "messages", "version": "3\npromoted=true"}),
        ("model", {"name": "messages; rm -rf .", "version": "3"}),
        ("model", {"name": "messages"}),
        ("model", None),
        ("verdict_sha256", "short"),
        ("registered", "yes"),
        ("registered", None),
    ],
)
def test_a_registration_that_is_not_exact_is_refused(script: Script, part: str, value: object) -> None:
    candidate(script.folder, {**REGISTERED, part: value})
    done = script("candidate", "--job", "job", "--candidate", "kept")
    assert done.returncode == 1, done.stdout
    assert script.outputs == ""


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("report.md", "# Another\n", "the reports' sha256 are"),
        ("report.html", "<html>another", "the reports' sha256 are"),
        ("verdict.json", VERDICT.replace("{", "{ ", 1), "verdict.json: its sha256 is"),
        ("verdict.json", None, "expected verdict.json and the reports that it names"),
    ],
)
def test_a_report_of_another_model_is_not_shown_for_approval(
    script: Script, name: str, text: str | None, said: str
) -> None:
    candidate(script.folder, REGISTERED)
    assert script("candidate", "--job", "job", "--candidate", "kept").returncode == 0
    path = script.folder / "kept" / name
    path.unlink() if text is None else path.write_text(text)
    done = script("candidate", "--candidate", "kept")
    assert done.returncode == 1
    assert said in done.stdout
    assert (script.outputs, script.summary) == ("", "")


@pytest.mark.parametrize("policy", ["minimum: {mcc: -1}\n", None])
def test_a_model_that_passed_by_another_policy_than_mains_is_not_approved(script: Script, policy: str | None) -> None:
    candidate(script.folder, REGISTERED)
    path = script.folder / "endpoints" / "text-classifier" / "gate-tokens.yml"
    path.unlink() if policy is None else path.write_text(policy)
    assert script("candidate", "--job", "job", "--candidate", "kept").returncode == 0
    done = script("candidate", "--candidate", "kept")
    assert done.returncode == 1
    assert "which is none of endpoints/*/gate*.yml on main" in done.stdout
    assert (script.outputs, script.summary) == ("", "")


@pytest.mark.parametrize("missing", ["registration/registration", "evaluation/report.md"])
def test_a_missing_file_is_named(script: Script, missing: str) -> None:
    candidate(script.folder, REGISTERED)
    (script.folder / "job" / "named-outputs" / missing).unlink()
    done = script("candidate", "--job", "job", "--candidate", "kept")
    assert done.returncode == 1
    assert missing.partition("/")[0] in done.stdout


TRAINING = {
    "path": ".github/workflows/train.yml",
    "head_branch": "main",
    "head_repository": {"full_name": "acme/messages"},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": ".github/workflows/ci.yml"}, "its workflow is '.github/workflows/ci.yml'"),
        ({"head_branch": "feature"}, "its branch is 'feature', expected 'main'"),
        ({"head_repository": {"full_name": "mallory/messages"}}, "its repository is 'mallory/messages'"),
    ],
)
def test_only_a_training_of_main_is_asked_about(script: Script, change: dict, said: str) -> None:
    script.github.runs["7"] = {**TRAINING, **change}
    (script.folder / "artifact").mkdir()
    script.github.artifacts["7", "candidate"] = script.folder / "artifact"
    done = script("fetch_candidate", "--train-run", "7", "--candidate", "candidate")
    assert done.returncode == 1
    assert said in done.stdout
    assert not (script.folder / "candidate").exists()
    script.github.runs["7"] = {**TRAINING, "path": f"{TRAINING['path']}@refs/heads/main"}
    assert script("fetch_candidate", "--train-run", "7", "--candidate", "candidate").returncode == 0
    assert (script.folder / "candidate").is_dir()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (None, "HTTP 404"),
        ({"protection_rules": []}, "nobody would be asked"),
        ({"protection_rules": [{"type": "wait_timer", "wait_timer": 30}]}, "nobody would be asked"),
        ({"protection_rules": [{"type": "required_reviewers", "reviewers": []}]}, "nobody would be asked"),
    ],
)
def test_an_environment_that_asks_nobody_stops_the_promotion(
    script: Script, environment: dict | None, said: str
) -> None:
    if environment is not None:
        script.github.environments["production"] = environment
    done = script("check_approval", "production")
    assert done.returncode == 1
    assert said in done.stdout
    reviewers = [{"type": "User", "reviewer": {"id": 1}}]
    script.github.environments["production"] = {
        "protection_rules": [{"type": "branch_policy"}, {"type": "required_reviewers", "reviewers": reviewers}]
    }
    assert script("check_approval", "production").returncode == 0


@pytest.mark.parametrize("run", ["7; id", "../8", "", "8"])
def test_a_run_that_is_none_is_refused(script: Script, run: str) -> None:
    assert script("fetch_candidate", "--train-run", run, "--candidate", "candidate").returncode == 1


def test_the_report_goes_to_the_pull_request_that_was_merged(script: Script) -> None:
    def pull(number: int, merged: str | None, base: str = "main") -> dict:
        return {"number": number, "merged_at": merged, "base": {"ref": base}}

    (script.folder / "report.md").write_text("# Promoted\n")
    assert script("comment_on_merged", "report.md").returncode == 0
    assert script.github.comments == {}
    merged = "2026-11-20T10:00:00Z"
    script.github.pulls["c0ffee"] = [pull(4, None), pull(5, merged, "next"), pull(6, merged)]
    assert script("comment_on_merged", "report.md").returncode == 0
    assert script.github.comments == {"6": ["# Promoted\n"]}
    script.github.tokens["token"] = {"pull-requests": "read"}
    assert script("comment_on_merged", "report.md").returncode != 0


@pytest.mark.parametrize(("state", "code"), [("live", 0), ("unchanged", 0), ("rolled back", 1), ("rollback failed", 1)])
def test_a_rollout_that_did_not_stay_makes_the_step_red(script: Script, state: str, code: int) -> None:
    steps = [{"at": "10:00", "step": "green | made", "traffic": {"blue": 90, "green": 10}}]
    journal = {
        "endpoint": "messages",
        "model": "messages:3",
        "state": state,
        "reasons": ["<b>slow</b>"],
        "steps": steps,
    }
    path = script.folder / "job" / "named-outputs" / "rollout" / "rollout"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(journal))
    assert script("show_rollout", "job").returncode == code
    assert f"# messages:3 at `messages`: {state}" in script.summary
    assert "blue 90 %, green 10 %" in script.summary
    assert "&lt;b>slow&lt;/b>" in script.summary


def test_a_rollout_without_a_journal_makes_the_step_red(script: Script) -> None:
    done = script("show_rollout", "job")
    assert done.returncode == 1
    assert "left no journal" in done.stdout


def test_who_goes_back_sees_what_the_version_is(script: Script) -> None:
    model = {"name": "messages", "version": "2", "tags": {"test_f1_macro": "0.91", "verdict": "promoted"}}
    script.answers = {"ml model show": [Answer(out=json.dumps(model))]}
    version = ("--model-name", "messages", "--model-version")
    reason = "slow\n# Approved by all `x` <img src=x> [a](b)"
    assert script("show_version", *version, "2", "--reason", reason).returncode == 0
    assert "| test\\_f1\\_macro | 0.91 |" in script.summary
    assert "<img" not in script.summary
    assert "\n# Approved" not in script.summary
    assert "\\[a\\](b)" in script.summary
    refused = script("show_version", *version, "latest", "--reason", "why")
    assert refused.returncode == 1
    assert "expected an exact number" in refused.stdout
