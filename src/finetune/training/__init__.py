"""From a tokenised data set and a checkpoint to a model folder."""
