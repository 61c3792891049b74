"""Azure ML on this machine. Knows nothing of fine-tuning."""
