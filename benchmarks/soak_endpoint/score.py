"""Scoring script of the soak: answers by a word, names its model, and misbehaves as the model's folder says."""

import json
import os
import signal
import time
from pathlib import Path

model = {}
answered = 0


def init():
    """Read what the model is like."""
    global model
    (path,) = Path(os.environ["AZUREML_MODEL_DIR"]).rglob("behaviour.json")
    model = json.loads(path.read_text(encoding="utf-8"))
    if model["behaviour"] == "does not load":
        raise RuntimeError("the model does not load, on purpose")


def run(data):
    """Answer one request."""
    global answered
    answered += 1
    if model["behaviour"] == "dies" and answered > 6:
        os.killpg(os.getpgrp(), signal.SIGKILL)
    if model["behaviour"] == "slow":
        time.sleep(0.8)
    answers = []
    for row in json.loads(data)["input_data"]:
        billing = ("charged" in row["text"]) != (model["behaviour"] == "wrong")
        label, other = ("billing", "delivery") if billing else ("delivery", "billing")
        probabilities = {label: 0.9, other: 0.1}
        answers.append({"label": label, "score": 0.9, "probabilities": probabilities, "model": model["model"]})
    return answers
