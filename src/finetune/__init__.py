"""Fine-tuning: what the pipeline stages share."""
