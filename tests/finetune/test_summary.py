import shlex
from pathlib import Path

import pandas as pd
import pytest
from answers_support import TASK_OF, made_up
from rich.console import Console

from finetune.answers import KINDS
from finetune.summary import curl_line, describe_registration, first_test_row, metrics_table
from finetune.tasks import PROBLEMS, Problem


def test_the_curl_line_survives_the_shell_and_shows_no_key() -> None:
    request = {"input_data": [{"text": 'it\'s "late" $HOME'}]}
    line = curl_line("http://127.0.0.1:1/score", "echo secret", request)
    words = shlex.split(line)
    assert words[:3] == ["curl", "-s", "http://127.0.0.1:1/score"]
    assert "Authorization: Bearer $(echo secret)" in words
    assert words[-1] == '{"input_data": [{"text": "it\'s \\"late\\" $HOME"}]}'


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_table_has_a_column_per_measured_model(problem: Problem) -> None:
    metrics = {
        "task": TASK_OF[problem],
        "rows": 12,
        "metrics": {"challenger": {"first": 0.9, "second": 0.8}, "baseline": {"first": 0.5}},
    }
    console = Console(record=True, width=100)
    console.print(metrics_table(metrics))
    text = console.export_text()
    assert "12 rows" in text
    assert "0.9000" in text
    assert KINDS[problem].baseline_name in text
    assert "champion" not in text
    assert "–" in text


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_first_row_of_any_problem_is_its_texts(tmp_path: Path, problem: Problem) -> None:
    manifest, frame = made_up(problem, 3)
    frame.assign(challenger="x").to_parquet(tmp_path / "predictions.parquet")
    assert set(first_test_row(tmp_path)) == set(manifest.text_columns)


def test_registrations() -> None:
    assert describe_registration({"registered": True, "model": {"name": "m", "version": "3"}}) == "m:3"
    assert describe_registration({"registered": False}) == "nothing new"


def test_the_endpoint_is_asked_a_row_of_the_users_own(tmp_path: Path) -> None:
    frame = pd.DataFrame([{"text": "a", "text_pair": "b", "label": "x", "challenger": "x", "challenger:x": 1.0}])
    frame.to_parquet(tmp_path / "predictions.parquet")
    assert first_test_row(tmp_path) == {"text": "a", "text_pair": "b"}
