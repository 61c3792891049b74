"""AutoML nodes: what Azure's AutoML service does for one, with scikit-learn's learners and FLAML's search."""
