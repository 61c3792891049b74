r"""What attention with dropout costs on this CPU: CPU-ms for forward and backward of one layer, medians of seven.

Three ways, in turns: torch's operations one after another with threshold dropout's masks; `finetune.training.dropout`;
and row by row without padding, which is what padding-free batches need where there is no varlen kernel. Rows have the
padding that grouping by length leaves on MRPC (2 %).

Example:
    OMP_NUM_THREADS=1 python benchmarks/attention.py
"""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from finetune.training import dropout
from finetune.training.memory import keep_freed_memory

ROWS, P, REPEATS, PADDING = 32, 0.1, 7, 0.02
SHAPES = ((12, 40, 32), (12, 54, 32), (12, 100, 32), (12, 200, 32), (12, 256, 32))
"""Heads, tokens, size of a head: all-MiniLM-L6-v2's, at lengths of MRPC and Amazon reviews."""
PLAIN, OWN, BY_ROW = "one operation after another", "finetune.training.dropout", "row by row, without padding"


def main() -> None:
    """Measure and print a table."""
    torch.set_num_threads(1)
    keep_freed_memory()
    print(f"| tokens | {PLAIN} | {OWN} | {BY_ROW} |\n|---|---|---|---|")
    for heads, tokens, size in SHAPES:
        costs = measure(heads, tokens, size)
        print(f"| {tokens} | {' | '.join(f'{1000 * costs[way]:.1f}' for way in (PLAIN, OWN, BY_ROW))} |", flush=True)


def measure(heads: int, tokens: int, size: int) -> Mapping[str, float]:
    """Return way → CPU-seconds."""
    inputs, lengths, mask = batch(heads, tokens, size)
    upstream = torch.randn(ROWS, tokens, heads, size, dtype=torch.bfloat16)
    module = torch.nn.Module()
    ways: Mapping[str, Callable[[], Tensor]] = {
        PLAIN: lambda: plain(*inputs, mask),
        OWN: lambda: dropout._attention(module, *inputs, mask, dropout=P)[0],
        BY_ROW: lambda: by_row(*inputs, lengths),
    }
    costs: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(REPEATS + 2):
        for way, compute in ways.items():
            began = time.process_time()
            compute().backward(upstream)
            costs[way].append(time.process_time() - began)
    # The first two are warm-up: kernels are made and memory is had.
    return {way: statistics.median(values[2:]) for way, values in costs.items()}


def batch(heads: int, tokens: int, size: int) -> tuple[list[Tensor], list[int], Tensor]:
    """Make query, key and value as projections leave them, the rows' lengths, and the mask of their padding."""
    inputs = [
        torch.randn(ROWS, tokens, heads, size, dtype=torch.bfloat16).transpose(1, 2).detach().requires_grad_()
        for _ in range(3)
    ]
    lengths = [round(tokens * (1 - 2 * PADDING * row / ROWS)) for row in range(ROWS)]
    seen = torch.arange(tokens) < torch.tensor(lengths)[:, None]
    return inputs, lengths, seen[:, None, None].expand(ROWS, 1, tokens, tokens)


def plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Compute attention by torch's operations; shapes as `finetune.training.dropout` has them."""
    scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-1, -2))
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = dropout.threshold_dropout(torch.softmax(scores, dim=-1), P)
    return torch.matmul(weights, value).transpose(1, 2).contiguous()


def by_row(query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
    """Compute attention of each row's own tokens; the answer has zeros for padding."""
    rows = []
    for row, length in enumerate(lengths):
        own = plain(*(each[row : row + 1, :, :length] for each in (query, key, value)), None)
        rows.append(torch.nn.functional.pad(own, (0, 0, 0, 0, 0, query.shape[2] - length)))
    return torch.cat(rows)


if __name__ == "__main__":
    main()
