"""What train leaves behind, named here so that readers need not import what writes it."""

TRAINING_RECORD = "training.json"
"""Arguments, validation figures, seconds, hardware and versions of the run."""

COMPRESSION_RECORD = "compression.json"
"""The forms of a model that were measured, and why one of them was chosen."""

CHECKPOINT = "artifacts/checkpoint"
"""Where a model folder keeps configuration, tokenizer and weights."""

GRAPH = "model.onnx"
"""The weights of a compressed model, as an ONNX graph in the checkpoint's folder."""

EXAMPLE_PREDICTION = "example_prediction.json"
"""Input example and the model's own answer to it: what a deployment of the model must answer too."""

SCORE = "score"
"""The metric every trial logs: the task's primary metric on validation, oriented so that more is better."""

MACHINE_TAG = "machine"
"""MLflow tag of a trial's run: what it ran on, as a table of prices names it."""

HARDWARE_METRICS = "system/"
"""Prefix of the metrics that say what the hardware did."""
