"""An MLflow model of a Hugging Face sequence classifier or regressor, as code: no pickle, no import of this project.

MLflow copies this file into the model's folder and runs it there (mlflow.org/docs/latest/ml/model/models-from-code).
The folder is complete: this code, the checkpoint in safetensors or as an ONNX graph, the tokenizer.
"""

from pathlib import Path
from types import SimpleNamespace

import mlflow
import pandas as pd
import torch
from mlflow.pyfunc import PythonModel
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

_THRESHOLD = 0.5


class SequenceModel(PythonModel):
    """Answers a frame of texts, each row by itself."""

    def load_context(self, context):
        """Load the checkpoint.

        `context.model_config` gives problem (single_label, multi_label or regression), text_columns, max_length
        (tokens) and batch_size (rows).
        """
        folder = context.artifacts["checkpoint"]
        config = context.model_config
        self.answer = {"single_label": self._label, "multi_label": self._labels, "regression": self._value}[
            config["problem"]
        ]
        self.text_columns = list(config["text_columns"])
        self.max_length = int(config["max_length"])
        self.batch_size = int(config["batch_size"])
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.network = open_network(folder, AutoModelForSequenceClassification)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        self.labels = [config.id2label[i] for i in range(config.num_labels)]

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        """Return a frame with a row per input row.

        Columns, by problem:
            single_label: label (str), score (the label's probability), probabilities (list of float, in the order of
                `labels` in the model's metadata).
            multi_label: labels (list of str: those with a probability of at least 0.5), probabilities (list of float,
                each label by itself, in the same order).
            regression: value (float).
        """
        columns = {name: model_input[name].astype(str).tolist() for name in self.text_columns}
        return pd.DataFrame(self.answer_rows(columns))

    def answer_rows(self, columns):
        """Return what `predict` does, as a dict of plain Python values per row: no frame is made for a single request.

        `columns` gives each input column's texts.
        """
        return self.answer(self._logits([columns[name] for name in self.text_columns]))

    def _label(self, logits):
        best = logits.argmax(dim=-1).tolist()
        rows = zip(best, logits.softmax(dim=-1).tolist(), strict=True)
        return [{"label": self.labels[i], "score": row[i], "probabilities": row} for i, row in rows]

    def _labels(self, logits):
        return [
            {
                "labels": [label for label, value in zip(self.labels, row, strict=True) if value >= _THRESHOLD],
                "probabilities": row,
            }
            for row in logits.sigmoid().tolist()
        ]

    def _value(self, logits):
        return [{"value": value} for value in logits[:, 0].tolist()]

    @torch.inference_mode()
    def _logits(self, columns):
        rows = len(columns[0])
        # Batches of like length waste little on padding; results are put back into the caller's order.
        order = sorted(range(rows), key=lambda row: sum(len(column[row]) for column in columns))
        result = torch.zeros((rows, len(self.labels)), dtype=torch.float64)
        for start in range(0, rows, self.batch_size):
            batch = order[start : start + self.batch_size]
            encoded = self.tokenizer(
                *[[column[row] for row in batch] for column in columns],
                truncation=True,
                max_length=self.max_length,
                padding=True,
                return_tensors="pt",
            )
            result[batch] = self.network(encoded).logits.double().cpu()
        return result


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


mlflow.models.set_model(SequenceModel())
