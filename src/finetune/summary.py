"""What a finished pipeline has to say to the person who started it, ending with a live prediction.

Example:
    amlocal exec -- python -m finetune.summary --outputs .amlocal/jobs/<name>/outputs
"""

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finetune.answers import KINDS
from finetune.data.manifest import LABEL
from finetune.errors import InputError
from finetune.files import read_json
from finetune.report import REPORT_PAGE
from finetune.stage import run_stage
from finetune.tasks import task_named
from finetune.training.contents import TRAINING_RECORD
from finetune.verdict import BASELINE, CHALLENGER, CHAMPION, PREDICTIONS_FILE
from finetune.workspace import connect, serving_model

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN_ARGUMENTS = ("learning_rate", "num_train_epochs", "per_device_train_batch_size", "seed")


def main(argv: "Sequence[str]") -> None:
    """Print the summary of a job's outputs."""
    parser = argparse.ArgumentParser(
        prog="python -m finetune.summary",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--outputs", type=Path, required=True, help="folder with the pipeline's outputs")
    parser.add_argument(
        "--key_command",
        required=True,
        help="command that prints the endpoint's key, for the curl line: no key is shown",
    )
    arguments = parser.parse_args(argv)
    outputs = arguments.outputs
    console = Console(highlight=False, soft_wrap=True)
    training = read_json(outputs / "model" / TRAINING_RECORD, "the record that train writes")
    metrics = read_json(outputs / "evaluation" / "metrics.json", "the metrics that evaluate writes")
    verdict = read_json(outputs / "evaluation" / "verdict.json", "the verdict that evaluate writes")
    registration = read_json(outputs / "registration", "the file that register writes")
    rollout = read_json(outputs / "rollout", "the journal that deploy writes")
    _print_training(console, training)
    console.print(metrics_table(metrics))
    word = "[bold green]promoted[/]" if verdict["promoted"] else "[bold yellow]not promoted[/]"
    console.print(f"[bold]Verdict[/]       {word}: {'; '.join(verdict['reasons'])}")
    console.print(f"[bold]Registered[/]    {describe_registration(registration)}")
    console.print(f"[bold]Report[/]        {outputs / 'evaluation' / REPORT_PAGE}")
    _print_endpoint(console, rollout, outputs / "evaluation", arguments.key_command)


def metrics_table(metrics: Mapping[str, Any]) -> Table:
    """Return a table with a column per measured model and a row per metric."""
    measured = metrics["metrics"]
    names = {
        CHALLENGER: CHALLENGER,
        CHAMPION: CHAMPION,
        BASELINE: KINDS[task_named(metrics["task"]).problem].baseline_name,
    }
    models = [name for name in names if name in measured]
    table = Table(title=f"Test split, {metrics['rows']} rows", title_justify="left", title_style="bold")
    table.add_column("metric")
    for name in models:
        table.add_column(names[name], justify="right")
    for metric in measured[CHALLENGER]:
        cells = [f"{measured[name][metric]:.4f}" if metric in measured[name] else "–" for name in models]
        table.add_row(metric, *cells)
    return table


def describe_registration(registration: Mapping[str, Any]) -> str:
    """Return the registered name:version, or that nothing was registered."""
    if not registration["registered"]:
        return "nothing new"
    return f"{registration['model']['name']}:{registration['model']['version']}"


def first_test_row(evaluation: Path) -> dict[str, str]:
    """Return the texts of the first test row, to ask the endpoint something that the user knows."""
    frame = pd.read_parquet(evaluation / PREDICTIONS_FILE)
    texts = frame.columns[: frame.columns.get_loc(LABEL)]
    return {name: str(frame[name].iloc[0]) for name in texts}


def curl_line(uri: str, key_command: str, request: Mapping[str, Any]) -> str:
    """Return a command that sends a request to the endpoint, with a command in the place of the key."""
    return (
        f'curl -s {shlex.quote(uri)} -H "Authorization: Bearer $({key_command})" '
        f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(request, ensure_ascii=False))}"
    )


def _print_training(console: Console, training: Mapping[str, Any]) -> None:
    chosen = ", ".join(f"{name} {training['arguments'][name]:.4g}" for name in _SHOWN_ARGUMENTS)
    console.print(f"\n[bold]Best trial[/]    score {training['validation']['score']:.4f} on validation: {chosen}")
    console.print(f"[bold]Trained from[/]  {training['checkpoint']} in {training['precision']['name']}")


def _print_endpoint(console: Console, rollout: Mapping[str, Any], evaluation: Path, key_command: str) -> None:
    client = connect()
    name = rollout["endpoint"]
    serving = serving_model(client, name)
    if serving is None:
        console.print(f"[bold]Endpoint[/]      {name} serves no model: {'; '.join(rollout['reasons'])}")
        return
    endpoint = client.online_endpoints.get(name)
    key = client.online_endpoints.get_keys(name).primary_key
    request = {"input_data": [first_test_row(evaluation)]}
    console.print(f"[bold]Endpoint[/]      {endpoint.scoring_uri} serves {serving} ({rollout['state']})\n")
    console.print(curl_line(endpoint.scoring_uri, key_command, request), markup=False)
    try:
        response = httpx.post(
            endpoint.scoring_uri, json=request, headers={"Authorization": f"Bearer {key}"}, timeout=30
        )
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise InputError(f"the endpoint {name} does not answer: {error}") from None
    console.print(f"\n[bold]Its answer[/]    {escape(response.text)}")


if __name__ == "__main__":
    run_stage(main)
