"""Off-policy evaluation: the value of policies from logs alone."""

from recsim_drpo.ope.estimators import (
    ESTIMATORS,
    MAX_EXTRAPOLATED,
    MAX_MISCALIBRATED,
    MAX_UNSUPPORTED,
    MIN_ESS,
    OffPolicyEstimate,
    Support,
    cluster_refusal,
    direct_method,
    doubly_robust,
    effective_sample_size,
    ips,
    model_refusal,
    r_squared,
    snips,
    weights_refusal,
)

__all__ = [
    "ESTIMATORS",
    "MAX_EXTRAPOLATED",
    "MAX_MISCALIBRATED",
    "MAX_UNSUPPORTED",
    "MIN_ESS",
    "OffPolicyEstimate",
    "Support",
    "cluster_refusal",
    "direct_method",
    "doubly_robust",
    "effective_sample_size",
    "ips",
    "model_refusal",
    "r_squared",
    "snips",
    "weights_refusal",
]
