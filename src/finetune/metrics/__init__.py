"""What is measured of a model's predictions."""
