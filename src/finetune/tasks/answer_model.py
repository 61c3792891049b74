"""An MLflow model of a Hugging Face extractive question answerer, as code: no pickle, no import of this project.

MLflow copies this file into the model's folder and runs it there (mlflow.org/docs/latest/ml/model/models-from-code).
The folder is complete: this code, the checkpoint in safetensors or as an ONNX graph, the tokenizer.
"""

from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc import PythonModel
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

_MAX_ANSWER_TOKENS = 30
_BEST_SPANS = 20


class AnswerModel(PythonModel):
    """Answers a frame of questions with a piece of each one's context."""

    def load_context(self, context):
        """Load the checkpoint.

        `context.model_config` gives text_columns (question, context), max_length and window_overlap (tokens), and
        batch_size (windows).
        """
        folder = context.artifacts["checkpoint"]
        config = context.model_config
        self.question_column, self.context_column = config["text_columns"]
        self.max_length = int(config["max_length"])
        self.window_overlap = int(config["window_overlap"])
        self.batch_size = int(config["batch_size"])
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.network = open_network(folder, AutoModelForQuestionAnswering)

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        """Return a frame with a row per input row.

        Columns: answer (str), score (its probability among the 20 best spans), start and end (characters of the
        context, the end exclusive; answer == context[start:end]).
        """
        names = (self.question_column, self.context_column)
        rows = self.answer_rows({name: model_input[name].astype(str).tolist() for name in names})
        return pd.DataFrame(rows).astype({"score": "float64", "start": "int64", "end": "int64"})

    def answer_rows(self, columns):
        """Return what `predict` does, as a dict of plain Python values per row: no frame is made for a single request.

        `columns` gives each input column's texts.
        """
        contexts = columns[self.context_column]
        rows = []
        for text, windows in zip(contexts, self._windows(columns[self.question_column], contexts), strict=True):
            start, end, score = best_span(windows, text)
            rows.append({"answer": text[start:end], "score": score, "start": start, "end": end})
        return rows

    @torch.inference_mode()
    def _windows(self, questions, contexts):
        """Return (start logits, end logits, offsets) of each row's windows; offsets are -1 outside the context."""
        encoded = self.tokenizer(
            [cut_question(question, self.tokenizer, self.max_length) for question in questions],
            contexts,
            truncation="only_second",
            max_length=self.max_length,
            stride=self.window_overlap,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        offsets = encoded.pop("offset_mapping")
        rows = encoded.pop("overflow_to_sample_mapping")
        windows: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = [[] for _ in questions]
        order = sorted(range(len(rows)), key=lambda window: len(offsets[window]))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            padded = self.tokenizer.pad(
                {name: [values[window] for window in batch] for name, values in encoded.items()}, return_tensors="pt"
            )
            output = self.network(padded)
            starts, ends = output.start_logits.double().cpu().numpy(), output.end_logits.double().cpu().numpy()
            for line, window in enumerate(batch):
                length = len(offsets[window])
                first = len(starts[line]) - length if self.tokenizer.padding_side == "left" else 0
                real = slice(first, first + length)
                places = np.array(offsets[window]).reshape(-1, 2)
                inside = np.array([part == 1 for part in encoded.sequence_ids(window)])
                places[~inside | (places[:, 0] == places[:, 1])] = -1
                windows[rows[window]].append((starts[line][real], ends[line][real], places))
        return windows


def cut_question(question, tokenizer, max_length):
    """Return as much of a question as fits a quarter of the model's length, so that a context has room beside it."""
    tokens = tokenizer(
        question, add_special_tokens=False, truncation=True, max_length=max_length // 4, return_offsets_mapping=True
    )["offset_mapping"]
    return question[: tokens[-1][1]] if tokens else question


def best_span(windows, context):
    """Return start, end (characters) and probability of the likeliest answer among all windows of one context.

    A span's logit is the sum of its first token's start logit and its last token's end logit; it has at most 30 tokens.
    The probability is the softmax over the 20 best different spans (as the SQuAD recipe of Devlin et al. 2019).
    """
    found: dict[tuple[int, int], float] = {}
    for starts, ends, places in windows:
        usable = np.flatnonzero(places[:, 0] >= 0)
        if not len(usable):
            continue
        # Tokens of the context follow each other, so a span is a token and one of the next 29.
        last = np.concatenate([ends[usable], np.full(_MAX_ANSWER_TOKENS - 1, -np.inf)])
        sums = starts[usable][:, None] + np.lib.stride_tricks.sliding_window_view(last, _MAX_ANSWER_TOKENS)
        for flat in np.argsort(-sums, axis=None, kind="stable")[:_BEST_SPANS]:
            first, more = divmod(int(flat), _MAX_ANSWER_TOKENS)
            if first + more < len(usable):
                span = int(places[usable[first], 0]), int(places[usable[first + more], 1])
                found[span] = max(found.get(span, -np.inf), float(sums[first, more]))
    if not found:
        return 0, 0, 0.0
    best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:_BEST_SPANS]
    weights = np.exp(np.array([logit for _, logit in best]) - best[0][1])
    start, end = best[0][0]
    text = context[start:end]
    # A token may take in the space beside its word.
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip()), float(weights[0] / weights.sum())


def open_network(folder, auto_model):
    """Return the model as a function of a batch: its ONNX graph where the folder has one, else its weights."""
    graph = Path(folder) / "model.onnx"
    if not graph.is_file():
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = auto_model.from_pretrained(folder, trust_remote_code=False, use_safetensors=True)
        model = model.to(device).float().eval()
        return lambda batch: model(**batch.to(device))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    # It keeps what the largest batch took, once for each shape: gigabytes after some long ones. Answers take as long.
    options.enable_cpu_mem_arena = False
    # Its sum and normalisation in one is slower than the two, by a seventh of a short text's time.
    session = onnxruntime.InferenceSession(
        str(graph), options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
    )
    inputs, outputs = ([each.name for each in sides] for sides in (session.get_inputs(), session.get_outputs()))

    def answer(batch):
        values = session.run(outputs, {name: batch[name].numpy() for name in inputs})
        return SimpleNamespace(**{name: torch.from_numpy(value) for name, value in zip(outputs, values, strict=True)})

    return answer


mlflow.models.set_model(AnswerModel())
