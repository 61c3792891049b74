"""Parallel nodes: an input split into mini batches, and processes that call a script with one after the other."""
