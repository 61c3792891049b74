"""An MLflow model of a Hugging Face token classifier, as code: no pickle, no import of this project.

MLflow copies this file into the model's folder and runs it there (mlflow.org/docs/latest/ml/model/models-from-code).
The folder is complete: this code, the checkpoint in safetensors or as an ONNX graph, the tokenizer.
"""

import re
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc import PythonModel
from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer

_OUTSIDE = "O"


class TokenModel(PythonModel):
    """Answers a frame of texts with a tag for each word, and the entities that they make."""

    def load_context(self, context):
        """Load the checkpoint; `context.model_config` gives text_columns, max_length (tokens) and batch_size (rows)."""
        folder = context.artifacts["checkpoint"]
        config = context.model_config
        (self.text_column,) = config["text_columns"]
        self.max_length = int(config["max_length"])
        self.batch_size = int(config["batch_size"])
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.network = open_network(folder, AutoModelForTokenClassification)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        self.labels = [config.id2label[i] for i in range(config.num_labels)]

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        """Return a frame with a row per input row.

        Columns: tags (list of str, one for each word of the text as white space separates them; words beyond max_length
        get O), entities (list of {label, text, start, end, score}: characters of the text, the end exclusive; score is
        the mean probability of the words' tags).
        """
        rows = self.answer_rows({self.text_column: model_input[self.text_column].astype(str).tolist()})
        return pd.DataFrame(rows, dtype=object)

    def answer_rows(self, columns):
        """Return what `predict` does, as a dict of plain Python values per row: no frame is made for a single request.

        `columns` gives the input column's texts.
        """
        texts = columns[self.text_column]
        words = [[(word.group(), word.start(), word.end()) for word in re.finditer(r"\S+", text)] for text in texts]
        answers = self._tags(words)
        return [
            {"tags": [tag for tag, _ in row[2]], "entities": self._entities(*row)}
            for row in zip(texts, words, answers, strict=True)
        ]

    @torch.inference_mode()
    def _tags(self, words):
        """Return (tag, probability) for each word of each row."""
        order = sorted(range(len(words)), key=lambda row: len(words[row]))
        result = [[(_OUTSIDE, 0.0)] * len(row) for row in words]
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            encoded = self.tokenizer(
                [" ".join(word for word, _, _ in words[row]) for row in batch],
                truncation=True,
                max_length=self.max_length,
                padding=True,
                return_offsets_mapping=True,
                return_tensors="pt",
            )
            offsets = encoded.pop("offset_mapping").numpy()
            probabilities = self.network(encoded).logits.double().softmax(dim=-1).cpu().numpy()
            for line, row in enumerate(batch):
                for word, token in enumerate(first_tokens([word for word, _, _ in words[row]], offsets[line])):
                    if token >= 0:
                        best = int(probabilities[line, token].argmax())
                        result[row][word] = (self.labels[best], float(probabilities[line, token, best]))
        return result

    @staticmethod
    def _entities(text, words, answers):
        """Join words whose tags continue each other: B-X I-X; as CoNLL's script, an I-X after another type begins."""
        entities: list[dict[str, object]] = []
        scores: list[float] = []
        for (_, start, end), (tag, probability) in zip(words, answers, strict=True):
            prefix, _, kind = tag.partition("-")
            continues = prefix in ("I", "E") and scores and entities[-1]["label"] == kind
            if tag == _OUTSIDE:
                scores = []
            elif continues:
                scores.append(probability)
                entities[-1] |= {"text": text[entities[-1]["start"] : end], "end": end, "score": float(np.mean(scores))}
            else:
                scores = [probability]
                entities.append(
                    {"label": kind, "text": text[start:end], "start": start, "end": end, "score": probability}
                )
            if prefix in ("E", "S"):
                scores = []
        return entities


def first_tokens(words, offsets):
    """Return the position of each word's first token; -1 for a word that has none.

    Args:
        words: they are separated by single spaces in the text that was tokenised.
        offsets: start and end of each token in that text, in characters; (0, 0) for tokens that stand for no text.
    """
    ends = np.cumsum([len(word) + 1 for word in words])
    found = np.full(len(words), -1)
    for token, (start, end) in enumerate(offsets):
        if end > start:
            word = int(np.searchsorted(ends, start, side="right"))
            # A token may take in the space before its word.
            if word < len(words) and start == ends[word] - 1:
                word += 1
                if end - start == 1:
                    continue
            if word < len(words) and found[word] < 0:
                found[word] = token
    return found


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


mlflow.models.set_model(TokenModel())
