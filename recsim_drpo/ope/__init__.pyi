from .ab_readout import Readout as Readout, readout as readout
from .drift import Drift as Drift, compare_logs as compare_logs
from .drift_logs import ComparedLog as ComparedLog, read_compared_log as read_compared_log
from .estimators import (
    ESTIMATORS as ESTIMATORS,
    ESTIMATORS_BY_NAME as ESTIMATORS_BY_NAME,
    DirectMethod as DirectMethod,
    DoublyRobust as DoublyRobust,
    Estimator as Estimator,
    InversePropensityScoring as InversePropensityScoring,
    MarginalizedIPS as MarginalizedIPS,
    OffPolicyEstimate as OffPolicyEstimate,
    SelfNormalizedIPS as SelfNormalizedIPS,
    Terms as Terms,
    WeightedEstimator as WeightedEstimator,
)
from .evaluator import (
    OffPolicyEvaluation as OffPolicyEvaluation,
    OffPolicyEvaluator as OffPolicyEvaluator,
)
from .formulas import (
    direct_method as direct_method,
    doubly_robust as doubly_robust,
    effective_sample_size as effective_sample_size,
    ips as ips,
    mean_reward as mean_reward,
    r_squared as r_squared,
    rewarded_matches as rewarded_matches,
    snips as snips,
)
from .intervals import log_interval as log_interval, logit_interval as logit_interval
from .logs import ItemLog as ItemLog, read_item_log as read_item_log
from .propensities import (
    EstimatedPropensities as EstimatedPropensities,
    estimate_propensities as estimate_propensities,
)
from .refusals import (
    MAX_EXTRAPOLATED as MAX_EXTRAPOLATED,
    MAX_MISCALIBRATED as MAX_MISCALIBRATED,
    MAX_UNSUPPORTED as MAX_UNSUPPORTED,
    MIN_ESS as MIN_ESS,
    MIN_REWARDED as MIN_REWARDED,
    Support as Support,
    cluster_refusal as cluster_refusal,
    model_refusal as model_refusal,
    overlap_refusal as overlap_refusal,
    rewarded_refusal as rewarded_refusal,
    weights_refusal as weights_refusal,
)
