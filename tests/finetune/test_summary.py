import shlex
from pathlib import Path

import pandas as pd
from rich.console import Console

from finetune.summary import curl_line, describe_registration, first_test_row, metrics_table


def test_the_curl_line_survives_the_shell_and_shows_no_key() -> None:
    request = {"input_data": [{"text": 'it\'s "late" $HOME'}]}
    line = curl_line("http://127.0.0.1:1/score", "echo secret", request)
    words = shlex.split(line)
    assert words[:3] == ["curl", "-s", "http://127.0.0.1:1/score"]
    assert "Authorization: Bearer $(echo secret)" in words
    assert words[-1] == '{"input_data": [{"text": "it\'s \\"late\\" $HOME"}]}'


def test_the_table_has_a_column_per_measured_model() -> None:
    metrics = {
        "rows": 12,
        "metrics": {"challenger": {"accuracy": 0.9, "auc_weighted": 0.8}, "majority_class": {"accuracy": 0.5}},
    }
    console = Console(record=True, width=100)
    console.print(metrics_table(metrics))
    text = console.export_text()
    assert "12 rows" in text
    assert "0.9000" in text
    assert "champion" not in text
    assert "–" in text


def test_registrations() -> None:
    assert describe_registration({"registered": True, "model": {"name": "m", "version": "3"}}) == "m:3"
    assert describe_registration({"registered": False}) == "nothing new"


def test_the_endpoint_is_asked_a_row_of_the_users_own(tmp_path: Path) -> None:
    frame = pd.DataFrame([{"text": "a", "text_pair": "b", "label": "x", "challenger": "x", "challenger:x": 1.0}])
    frame.to_parquet(tmp_path / "predictions.parquet")
    assert first_test_row(tmp_path) == {"text": "a", "text_pair": "b"}
