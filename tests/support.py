"""What tests call: files to write, components to run."""

import csv
import importlib.util
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest import mock

import yaml

if TYPE_CHECKING:
    import requests
    from azure.ai.ml.entities import ManagedOnlineDeployment

WORDS = (
    *("the", "parcel", "refund", "invoice", "password", "broken", "late", "charged", "login"),
    *("screen", "order", "money", "account", "card", "day", "my", "is", "was", "not"),
)
MESSAGES = {
    "billing": ["my card was charged", "the invoice is not my order", "charged money day", "invoice was late charged"],
    "account": [
        "my password is not the password",
        "login broken password",
        "account login is late",
        "my account password",
    ],
    "delivery": ["the parcel is late", "my parcel order was late", "order parcel not day", "late parcel broken"],
}
GATE_POLICY = {
    "primary_metric": "f1_macro",
    "minimum": {"accuracy": 0.7},
    "maximum": {},
    "required": "superior",
    "minimum_improvement": 0.01,
    "margin": 0.01,
    "confidence": 0.95,
    "slice_margin": 0.1,
    "slice_minimum_rows": 10,
    "required_slices": [],
    "empty_slices": "reject",
    "test_rows_seen_in_train": "subtract",
    "valid_days": 14,
    "without_champion": "promote",
}
"""What gate.yml says, for tests."""


def write_csv(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("text", "label")) -> Path:
    """Write a csv file with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def train_model(folder: Path, dataset: Path, checkpoint: Path, learning_rate: str, epochs: str, *more: str) -> Path:
    """Run the train component in this process and return its model folder."""
    train = load_component("train")
    track_in(folder)
    train.main(
        [
            *("--dataset", str(dataset), "--checkpoint", str(checkpoint), "--precision", "fp32"),
            *("--model", str(folder / "model"), "--checkpoints", str(folder / "checkpoints")),
            *("--learning_rate", learning_rate, "--num_train_epochs", epochs, "--keep_weights", "last"),
            *("--per_device_train_batch_size", "8", *more),
        ]
    )
    return folder / "model"


def write_evaluation(
    folder: Path, model_sha256: str, champion: str | None, policy: dict[str, Any] | None = None
) -> tuple[Path, Path]:
    """Write what evaluate writes of a model that is 0.1 better than its champion, as far as the gate reads it.

    Args:
        folder: made here.
        model_sha256: the model's digest.
        champion: what it is compared with, as "name:version".
        policy: what gate.yml says; `GATE_POLICY` unless given.

    Returns:
        The evaluation's folder and gate.yml.
    """
    from finetune.files import write_json
    from finetune.gate import Champion, Difference, Evidence, NoChampion, TestRows
    from finetune.policy import read_policy
    from finetune.tasks import task_named
    from finetune.verdict import METRICS_FILE, PREDICTIONS_FILE, REPORTS, VERDICT_FILE, describe_evidence, draft_verdict
    from finetune.workspace import parse_model_reference

    folder.mkdir(parents=True)
    policy_path = folder / "gate.yml"
    policy_path.write_text(yaml.safe_dump(policy or GATE_POLICY))
    evidence = Evidence(model_sha256, "t" * 64, {"accuracy": 0.9, "f1_macro": 0.9}, "challenger")
    serving: Any = NoChampion("messages")
    if champion is not None:
        old = Evidence("c" * 64, "t" * 64, {"accuracy": 0.8, "f1_macro": 0.8}, champion)
        difference = Difference("f1_macro", 100, 0.1, 0.05, 0.15, 0.95)
        parts = {"label: a": Difference("accuracy", 50, 0.1, 0.0, 0.2, 0.95)}
        compared = Champion(old, difference, "paired permutation test", 0.002, parts)
        serving = (parse_model_reference(champion), compared)
    rows = TestRows("t" * 64, 100, 0, slices={"label: a": 50})
    described = describe_evidence(evidence, serving, rows, datetime.now(UTC))
    write_json(folder / METRICS_FILE, {"task": "text-classification", **described})
    (folder / PREDICTIONS_FILE).write_bytes(b"answers")
    for name in REPORTS:
        (folder / name).write_text("a report")
    known = read_policy(policy_path, task_named("text-classification"))
    write_json(folder / VERDICT_FILE, draft_verdict(folder, known, policy_path))
    return folder, policy_path


def track_in(folder: Path) -> None:
    """Point MLflow to a store of this folder's own; MLflow keeps the experiment of whatever test ran before."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment("Default")


def load_component(stage: str) -> ModuleType:
    """Import components/<stage>/<stage>.py as the snapshot does: its own folder first on the path."""
    folder = str(Path(__file__).parents[1] / "components" / stage)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(stage)
    finally:
        sys.path.remove(folder)


def load_score(model: Path | None = None) -> ModuleType:
    """Import the endpoint's scoring script; let it load a model, where one is given, as the server does."""
    path = Path(__file__).parents[1] / "endpoints" / "text-classifier" / "score.py"
    spec = importlib.util.spec_from_file_location("score", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if model is not None:
        # What it sets for its own process is put back.
        threads = module.torch.get_num_threads()
        with mock.patch.dict(os.environ, {"AZUREML_MODEL_DIR": str(model), "OMP_NUM_THREADS": "1"}):
            module.init()
        module.torch.set_num_threads(threads)
    return module


ECHO_SCRIPT = Path(__file__).parent / "amlocal" / "endpoints" / "fixtures" / "echo"


def echo_deployment(endpoint: str, colour: str, model: str, **more: Any) -> "ManagedOnlineDeployment":
    """Define a deployment of the echo script.

    Args:
        endpoint: Its endpoint.
        colour: Its name, which it says in its answers where the script really runs.
        model: `<name>:<version>`.
        more: Settings that come before these.
    """
    from azure.ai.ml.entities import CodeConfiguration, ManagedOnlineDeployment

    settings: dict[str, Any] = {
        "name": colour,
        "endpoint_name": endpoint,
        "model": model,
        "code_configuration": CodeConfiguration(code=str(ECHO_SCRIPT), scoring_script="score.py"),
        "environment": "azureml://registries/azureml/environments/any/versions/1",
        "environment_variables": {"COLOUR": colour},
        "instance_type": "Standard_DS3_v2",
        "instance_count": 1,
    }
    return ManagedOnlineDeployment(**{**settings, **more})


def set_traffic(client: Any, endpoint: str, mirror: dict[str, int] | None = None, **traffic: int) -> None:
    """Give an endpoint a split of traffic as cloud code does."""
    entity = client.online_endpoints.get(endpoint)
    entity.traffic, entity.mirror_traffic = traffic, mirror or {}
    client.online_endpoints.begin_create_or_update(entity).result()


def score(client: Any, endpoint: str, pinned: str | None = None, **options: Any) -> "requests.Response":
    """Ask an endpoint as an application does; `options` are those of requests."""
    import requests

    headers = {"Authorization": f"Bearer {client.online_endpoints.get_keys(endpoint).primary_key}"}
    if pinned is not None:
        headers["azureml-model-deployment"] = pinned
    uri = client.online_endpoints.get(endpoint).scoring_uri
    return requests.post(uri, headers=headers, timeout=20, **({"json": {}} | options))
