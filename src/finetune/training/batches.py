"""Rows of a tokenised split as batches: in which order, and as which tensors."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from finetune.data.tokenise import IGNORED_LABEL, LENGTH, READ_BACK
from finetune.errors import InputError

POSITIONS = ("start_positions", "end_positions")
"""Columns whose values are places among a row's tokens."""
_MEGA_BATCHES = 50
"""Batches that are sorted together, as the Trainer's length grouping has it: similar lengths, and still much chance."""


class TokenRows:
    """The rows of a tokenised split, memory-mapped: nothing is read before it is asked for."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"{path}: missing; expected the tokenised split that prep writes")
        # The map stays open as long as the arrays made of it.
        with pa.ipc.open_stream(pa.memory_map(str(path))) as reader:
            batches = [batch for batch in reader if batch.num_rows]
        self._starts = [0, *accumulate(batch.num_rows for batch in batches)]
        self._chunks = [_arrays(batch) for batch in batches]
        self.lengths = np.concatenate([chunk[LENGTH] for chunk in self._chunks]) if batches else np.zeros(0, np.int32)
        """Tokens of each row, shape (rows,)."""

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def columns(self) -> tuple[str, ...]:
        """What is made into batches: inputs of the model, and labels."""
        return tuple(name for name in self._chunks[0] if name != LENGTH and name not in READ_BACK)

    def of_tokens(self, column: str) -> bool:
        """Tell whether a column has a value for each token."""
        return isinstance(self._chunks[0][column], tuple)

    def values(self, column: str) -> np.ndarray:
        """Return a column that has values for rows, shape (rows, …)."""
        return np.concatenate([chunk[column] for chunk in self._chunks])

    def row(self, index: int) -> dict[str, np.ndarray]:
        """Return a row's inputs and labels: column → values, shape (tokens,); () for one label, (labels,) for flags."""
        return self._of_row(index, self.columns)

    def read_back(self, index: int) -> dict[str, np.ndarray]:
        """Return what only reads a row's answer back, likewise."""
        return self._of_row(index, [name for name in self._chunks[0] if name in READ_BACK])

    def _of_row(self, index: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        number = bisect_right(self._starts, index) - 1
        at = index - self._starts[number]
        chunk = self._chunks[number]
        return {
            name: column[0][column[1][at] : column[1][at + 1]] if isinstance(column, tuple) else column[at]
            for name in names
            for column in (chunk[name],)
        }


def _arrays(batch: pa.RecordBatch) -> dict[str, np.ndarray | tuple[np.ndarray, np.ndarray]]:
    """Return column → values, or for lists (values of all rows, where each row begins)."""
    arrays: dict[str, np.ndarray | tuple[np.ndarray, np.ndarray]] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_list(column.type):
            arrays[name] = (column.values.to_numpy(), column.offsets.to_numpy())
        elif pa.types.is_fixed_size_list(column.type):
            arrays[name] = column.flatten().to_numpy().reshape(len(column), -1)
        else:
            arrays[name] = column.to_numpy()
    return arrays


@dataclass(frozen=True)
class Padding:
    """What fills up rows to the longest one of a batch, and on which side."""

    token: int
    token_type: int
    left: bool

    @classmethod
    def of(cls, tokenizer: object) -> "Padding":
        """Read a tokenizer's; one without a padding token pads with its end token, which the mask covers."""
        token = getattr(tokenizer, "pad_token_id", None)
        if token is None:
            token = getattr(tokenizer, "eos_token_id", None) or 0
        left = getattr(tokenizer, "padding_side", "right") == "left"
        return cls(int(token), int(getattr(tokenizer, "pad_token_type_id", 0) or 0), left)

    def value(self, column: str) -> int:
        """Return what a column is filled with."""
        return {"input_ids": self.token, "token_type_ids": self.token_type, "labels": IGNORED_LABEL}.get(column, 0)


def collate(rows: TokenRows, indices: Sequence[int] | np.ndarray, padding: Padding, pin: bool) -> dict[str, Tensor]:
    """Make a batch of rows, padded to the longest of them.

    Returns:
        Column → tensor of shape (rows, longest), or (rows, …) for labels of whole rows.
    """
    picked = [rows.row(int(index)) for index in indices]
    width = max(int(rows.lengths[int(index)]) for index in indices)
    batch = {}
    for name in rows.columns:
        if not rows.of_tokens(name):
            filled = np.array([row[name] for row in picked])
            if padding.left and name in POSITIONS:
                filled += width - rows.lengths[np.asarray(indices)]
        else:
            filled = np.full((len(picked), width), padding.value(name), dtype=np.int64)
            for line, row in zip(filled, picked, strict=True):
                values = row[name]
                if padding.left:
                    line[width - len(values) :] = values
                else:
                    line[: len(values)] = values
        tensor = torch.from_numpy(filled)
        batch[name] = tensor.pin_memory() if pin else tensor
    return batch


def epoch_order(lengths: np.ndarray, batch_size: int, grouped: bool, seed: int, epoch: int) -> np.ndarray:
    """Return the order of rows in an epoch; it depends on the arguments alone, so a run can go on anywhere in it.

    Grouped: rows are shuffled, and sorted by length within mega-batches of 50 batches (as Hugging Face's length
    grouping does); the batches are shuffled again, so that the lengths come in no order, and the one with the longest
    row goes first: what does not fit the memory shows at once.
    """
    chance = np.random.default_rng([seed, epoch])
    order = chance.permutation(len(lengths))
    if not grouped:
        return order
    multiple = max(1, min(len(order) // (batch_size * 4), _MEGA_BATCHES)) * batch_size
    pieces: list[np.ndarray] = []
    for start in range(0, len(order), multiple):
        mega = order[start : start + multiple]
        mega = mega[np.argsort(-lengths[mega], kind="stable")]
        pieces.extend(mega[at : at + batch_size] for at in range(0, len(mega), batch_size))
    short = [piece for piece in pieces if len(piece) < batch_size]
    whole = [piece for piece in pieces if len(piece) == batch_size]
    chance.shuffle(whole)
    if whole:
        longest = max(range(len(whole)), key=lambda i: int(lengths[whole[i]].max()))
        whole[0], whole[longest] = whole[longest], whole[0]
    return np.concatenate([*whole, *short])


@dataclass(frozen=True)
class Share:
    """What one process computes at a time of an optimiser step."""

    rows: np.ndarray
    """Row numbers; never empty, so that every process takes part in every exchange."""
    counts: bool
    """False for a row that only keeps this process in step, where there are fewer rows than processes."""


def shares(batch: np.ndarray, micro_batch: int, rank: int, processes: int) -> list[Share]:
    """Split the rows of an optimiser step over processes and gradient accumulation; return this process's.

    Every process gets equally many shares.
    """
    rounds = max(1, -(-len(batch) // (micro_batch * processes)))
    pieces = np.array_split(batch, rounds * processes)
    mine = pieces[rank * rounds : (rank + 1) * rounds]
    return [Share(piece, True) if len(piece) else Share(batch[:1], False) for piece in mine]


def tensors_to(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Move a batch to a device, without waiting where its memory is pinned."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
