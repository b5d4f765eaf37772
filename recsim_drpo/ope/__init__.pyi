from .estimators import (
    ESTIMATORS as ESTIMATORS,
    MAX_EXTRAPOLATED as MAX_EXTRAPOLATED,
    MAX_MISCALIBRATED as MAX_MISCALIBRATED,
    MAX_UNSUPPORTED as MAX_UNSUPPORTED,
    MIN_ESS as MIN_ESS,
    OffPolicyEstimate as OffPolicyEstimate,
    Support as Support,
    cluster_refusal as cluster_refusal,
    direct_method as direct_method,
    doubly_robust as doubly_robust,
    effective_sample_size as effective_sample_size,
    ips as ips,
    model_refusal as model_refusal,
    r_squared as r_squared,
    snips as snips,
    weights_refusal as weights_refusal,
)
from .evaluator import (
    OffPolicyEvaluation as OffPolicyEvaluation,
    OffPolicyEvaluator as OffPolicyEvaluator,
)
from .logs import ItemLog as ItemLog, read_item_log as read_item_log
