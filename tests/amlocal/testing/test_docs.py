"""The example in docs/workspace.md."""

import re
from pathlib import Path

from azure.ai.ml import MLClient

from amlocal.testing import InProcessWorkspace

PAGE = Path(__file__).parents[3] / "docs" / "workspace.md"


def test_the_example_runs(
    in_process_workspace: InProcessWorkspace, in_process_client: MLClient, tmp_path: Path
) -> None:
    example = re.search(r"^## For tests\n.*?^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert example is not None
    namespace: dict[str, object] = {}
    exec(compile(example[1], PAGE, "exec"), namespace)  # noqa: S102
    test = namespace["test_deploy"]
    assert callable(test)
    test(in_process_workspace, in_process_client, tmp_path)
