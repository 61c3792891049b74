"""An MLflow model around AutoML's, as code: it answers as our other models do, label, score and probabilities.

MLflow copies this file into the model's folder and runs it there (mlflow.org/docs/latest/ml/model/models-from-code).
The folder is complete: this code, and AutoML's own folder, which `finetune.automl.adapt` has found to be safe to load.
"""

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel


class AutoMLClassifier(PythonModel):
    """Answers a frame of texts with label, score and the probabilities of all labels."""

    def load_context(self, context):
        """Load AutoML's model; `context.model_config` gives text_columns and labels, in the order of its classes."""
        self.text_columns = list(context.model_config["text_columns"])
        self.labels = list(context.model_config["labels"])
        self.classifier = mlflow.sklearn.load_model(context.artifacts["automl"])

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        """Return a frame with a row per input row.

        Columns: label (str), score (the label's probability), probabilities (list of float, in the order of `labels` in
        the model's metadata).
        """
        probabilities = np.asarray(self.classifier.predict_proba(model_input[self.text_columns]), dtype=np.float64)
        best = probabilities.argmax(axis=1)
        return pd.DataFrame(
            {
                "label": [self.labels[i] for i in best],
                "score": probabilities[np.arange(len(best)), best],
                "probabilities": probabilities.tolist(),
            }
        )


mlflow.models.set_model(AutoMLClassifier())
