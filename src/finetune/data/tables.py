"""Train and validation as MLTables of raw texts, for stages that bring no tokenizer of ours, such as AutoML."""

from pathlib import Path

import pandas as pd

from finetune.data.manifest import LABEL
from finetune.errors import InputError
from finetune.files import write_text

ROWS_FILE = "rows.parquet"
MLTABLE = """\
$schema: https://azuremlschemas.azureedge.net/latest/MLTable.schema.json
type: mltable
paths:
  - file: ./rows.parquet
transformations:
  - read_parquet:
      include_path_column: false
"""
"""Parquet, so that a label "1" stays the text that it is and a line feed in a text ends no row."""


def write_table(folder: Path, frame: pd.DataFrame) -> None:
    """Write a split's rows: its text columns and the label's name, in their order.

    Args:
        folder: the output folder.
        frame: the split's examples; columns after the label are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frame.loc[:, :LABEL].to_parquet(folder / ROWS_FILE, index=False)
    write_text(folder / "MLTable", MLTABLE)


def read_table(folder: Path) -> pd.DataFrame:
    """Read what `write_table` wrote.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    path = folder / ROWS_FILE
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable: {error}; expected the table that prep writes") from None
