"""Scoring script as public fine-tuning samples have it: a transformers pipeline in fp32, one text at a time."""

import json
import os
from pathlib import Path

from transformers import pipeline

classify = None


def init():
    """Load the checkpoint."""
    global classify
    (config,) = Path(os.environ["AZUREML_MODEL_DIR"]).rglob("config.json")
    folder = str(config.parent)
    classify = pipeline("text-classification", model=folder, tokenizer=folder, top_k=None)


def run(data):
    """Answer one request."""
    answers = []
    for row in json.loads(data)["input_data"]:
        text = {"text": row["text"], "text_pair": row["text_pair"]} if "text_pair" in row else row["text"]
        scores = {each["label"]: each["score"] for each in classify(text, truncation=True)}
        label = max(scores, key=scores.get)
        answers.append({"label": label, "score": scores[label], "probabilities": scores})
    return answers
