"""Smaller, faster forms of a trained model: exported, quantised, measured, chosen."""
