"""The file in a model folder that lets a deployment be compared with the model itself."""

EXAMPLE_PREDICTION = "example_prediction.json"
"""Input example and the model's own answer to it: what a deployment of the model must answer too."""
