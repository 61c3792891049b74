"""The files that train adds to a model folder, named here so that readers need not import what writes them."""

TRAINING_RECORD = "training.json"
"""Arguments, validation figures, seconds, hardware and versions of the run."""

EXAMPLE_PREDICTION = "example_prediction.json"
"""Input example and the model's own answer to it: what a deployment of the model must answer too."""
