"""Run shellcheck over every `run:` block of the workflows and composite actions.

Example:
    python .github/scripts/shellcheck_blocks.py
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

GITHUB = Path(__file__).parents[1]


def run_blocks(value: Any) -> Iterator[str]:
    """Yield the text of each `run:` in a parsed file."""
    if isinstance(value, dict):
        if isinstance(value.get("run"), str):
            yield value["run"]
        for part in value.values():
            yield from run_blocks(part)
    elif isinstance(value, list):
        for part in value:
            yield from run_blocks(part)


def main() -> int:
    """Check all blocks; return how many files have a finding."""
    failed = 0
    for path in sorted([*GITHUB.glob("workflows/*.yml"), *GITHUB.glob("actions/*/action.yml")]):
        for block in run_blocks(yaml.safe_load(path.read_text(encoding="utf-8"))):
            command = [str(Path(sys.executable).with_name("shellcheck")), "--shell=bash", "-"]
            done = subprocess.run(command, input=block, text=True, check=False)
            if done.returncode != 0:
                print(f"{path}: shellcheck, see above", file=sys.stderr)
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
