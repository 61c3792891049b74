"""Reading an answer from the logits of its context's windows.

The model's own script, `finetune/tasks/answer_model.py`, does the same without this package; a test holds both to the
same answers.
"""

from collections.abc import Sequence

import numpy as np

MAX_ANSWER_TOKENS = 30
BEST_SPANS = 20


def best_span(windows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], context: str) -> tuple[int, int, float]:
    """Return the likeliest answer among all windows of one context.

    A span's logit is the sum of its first token's start logit and its last token's end logit; it has at most 30 tokens.

    Args:
        windows: start logits and end logits, shape (tokens,), and each token's place in the context, in characters,
            shape (tokens, 2), -1 for tokens that are not of it.
        context: the text.

    Returns:
        Start and end (characters, exclusive), and the softmax over the 20 best different spans (as the SQuAD recipe of
        Devlin et al. 2019). Where no window holds a token of the context: 0, 0, 0.
    """
    found: dict[tuple[int, int], float] = {}
    for starts, ends, places in windows:
        usable = np.flatnonzero(places[:, 0] >= 0)
        if not len(usable):
            continue
        # Tokens of the context follow each other, so a span is a token and one of the next 29.
        last = np.concatenate([ends[usable], np.full(MAX_ANSWER_TOKENS - 1, -np.inf)])
        sums = starts[usable][:, None] + np.lib.stride_tricks.sliding_window_view(last, MAX_ANSWER_TOKENS)
        for flat in np.argsort(-sums, axis=None, kind="stable")[:BEST_SPANS]:
            first, more = divmod(int(flat), MAX_ANSWER_TOKENS)
            if first + more < len(usable):
                span = int(places[usable[first], 0]), int(places[usable[first + more], 1])
                found[span] = max(found.get(span, -np.inf), float(sums[first, more]))
    if not found:
        return 0, 0, 0.0
    best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:BEST_SPANS]
    weights = np.exp(np.array([logit for _, logit in best]) - best[0][1])
    start, end = best[0][0]
    text = context[start:end]
    # A token may take in the space beside its word.
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip()), float(weights[0] / weights.sum())
