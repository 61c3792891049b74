"""Sweeps: which trials to run, when to end one early, and running them."""
