"""Every figure that evaluate measures and a policy may name."""

from finetune.metrics.classification import CLASSIFICATION_METRICS, LOWER_IS_BETTER

COST_METRICS = ("latency_p95_ms", "model_megabytes")
KNOWN_METRICS = (*CLASSIFICATION_METRICS, *COST_METRICS)
LESS_IS_BETTER = (*LOWER_IS_BETTER, *COST_METRICS)
