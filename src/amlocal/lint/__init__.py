"""Finds what is wrong in Azure ML YAML before anything runs."""
