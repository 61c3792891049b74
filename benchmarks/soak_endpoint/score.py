"""Scoring script of the soak: answers by a word, names its model, and misbehaves as the model's folder says."""

import collections
import json
import os
import signal
import time
from pathlib import Path

model = {}
answered = 0
recent = collections.deque()


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
        time.sleep(2.5)
    now = time.monotonic()
    recent.append(now)
    while recent[0] < now - 1:
        recent.popleft()
    wrong = model["behaviour"] == "wrong" or (model["behaviour"] == "wrong under load" and len(recent) > model["busy"])
    answers = []
    for row in json.loads(data)["input_data"]:
        billing = ("charged" in row["text"]) != wrong
        label, other = ("billing", "delivery") if billing else ("delivery", "billing")
        probabilities = {label: 0.9, other: 0.1}
        answers.append({"label": label, "score": 0.9, "probabilities": probabilities, "model": model["model"]})
    return answers
