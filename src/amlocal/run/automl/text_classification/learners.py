"""The learners: what texts are turned into, and what classifies them, as one scikit-learn pipeline.

All are kinds that skops loads without trusting the file; its trees are not (a crafted one can read foreign memory).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC

MOST_FEATURES = 100_000
"""Of each kind and text column; the most frequent ones."""
_WORDS = {"analyzer": "word", "token_pattern": r"(?u)\b\w+\b"}
_CHARACTERS = {"analyzer": "char_wb", "ngram_range": (2, 5)}
_FEATURES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "words": ({**_WORDS, "ngram_range": (1, 1)},),
    "word_pairs": ({**_WORDS, "ngram_range": (1, 2)},),
    "characters": (_CHARACTERS,),
    "words_and_characters": ({**_WORDS, "ngram_range": (1, 2)}, _CHARACTERS),
}


def make_pipeline(text_columns: Sequence[str], parameters: Mapping[str, Any]) -> Pipeline:
    """Return an unfitted classifier of frames with these text columns.

    Args:
        text_columns: each gets features of its own.
        parameters: the trial's hyperparameters, by the names of component.yml.
    """
    features = [
        (
            f"{column}_{number}",
            TfidfVectorizer(
                **kind, min_df=parameters["min_rows"], max_features=MOST_FEATURES, sublinear_tf=True, dtype=np.float32
            ),
            column,
        )
        for column in text_columns
        for number, kind in enumerate(_FEATURES[parameters["features"]])
    ]
    return Pipeline([("features", ColumnTransformer(features)), ("classifier", _classifier(parameters))])


def _classifier(parameters: Mapping[str, Any]) -> Any:
    seed = parameters["seed"]
    weight = "balanced" if parameters["class_weight"] == "balanced" else None
    if parameters["learner"] == "naive_bayes":
        return ComplementNB(alpha=parameters["smoothing"])
    if parameters["learner"] == "logistic_regression":
        return LogisticRegression(C=parameters["inverse_regularisation"], class_weight=weight, max_iter=500)
    if parameters["learner"] == "linear_svm":
        # Its margins become probabilities by Platt's method, fitted on thirds of the rows.
        margins = LinearSVC(C=parameters["inverse_regularisation"], class_weight=weight, random_state=seed)
        return CalibratedClassifierCV(margins, method="sigmoid", cv=3)
    return SGDClassifier(
        loss=parameters["loss"], alpha=parameters["regularisation"], class_weight=weight, random_state=seed
    )
