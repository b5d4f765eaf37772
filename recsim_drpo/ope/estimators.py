r"""The estimators of off-policy evaluation: how good a policy is, from what another policy logged.

Each is a class that reads :class:`Terms`, with its formula and where it comes from, and a line in
:data:`ESTIMATORS_BY_NAME`. The notation is that of :mod:`recsim_drpo.ope.formulas`, whose functions
of plain arrays may be imported from here as well; :class:`recsim_drpo.ope.OffPolicyEvaluator`
computes the terms of a policy that outputs embeddings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypedDict

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.reward_unit import RewardUnit
from recsim_drpo.ope.formulas import (
    Floats as Floats,
    direct_method as direct_method,
    doubly_robust as doubly_robust,
    effective_sample_size as effective_sample_size,
    ips as ips,
    mean_reward as mean_reward,
    r_squared as r_squared,
    rewarded_matches as rewarded_matches,
    snips as snips,
)
from recsim_drpo.ope.intervals import Range
from recsim_drpo.ope.refusals import (
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
from recsim_drpo.reporting.statistics import Estimate

_ALL_ITEMS, _ALL_CLUSTERS = Support("item", 0.0), Support("cluster", 0.0)


class Sampling(TypedDict):
    """Keyword arguments of the formulas that are about intervals only."""

    reward_range: Range | None
    requests: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class Terms:
    """The numbers that estimators read, of a log and a policy: float64 (n,), one a round.

    Attributes:
        rewards: r, as they were logged.
        predicted: q̂(x, i), of the item shown, by a reward model that has not seen the round.
        expected: q̂(x, π), the same model's mean over the policy's items.
        weights: w = π(i | x) / p of the item shown; ``None`` of a log without propensities.
        cluster_weights: π(c | x) / π̂_0(c | x) of the cluster c of the item shown; ``None`` where
            items are in no clusters.
        items: how the log supports the policy's items; by default it shows all of them.
        clusters: how it supports their clusters.
        nothing_shown: share of actions that decode to no item, which pay nothing.
        reward_range: the least and the largest reward there can be, in which intervals lie;
            ``None`` leaves them normal.
        requests: int64 (n,), alike for rounds that came together, over which intervals are;
            ``None`` where each round is independent.
        thin: share of the policy's probability where propensities that were estimated expect less
            than one such round in the log; ``None`` where they were logged.
    """

    rewards: Floats
    predicted: Floats
    expected: Floats
    weights: Floats | None
    cluster_weights: Floats | None = None
    items: Support = _ALL_ITEMS
    clusters: Support = _ALL_CLUSTERS
    nothing_shown: float = 0.0
    reward_range: Range | None = None
    requests: NDArray[np.int64] | None = None
    thin: float | None = None

    @property
    def sampling(self) -> Sampling:
        """What intervals have to know, as keyword arguments of the formulas."""
        return {"reward_range": self.reward_range, "requests": self.requests}


@dataclass(frozen=True)
class OffPolicyEstimate:
    """The value of a policy by one estimator, or why it is refused.

    Attributes:
        estimator: one of :data:`ESTIMATORS`.
        value: mean reward of the policy with its 95 % interval; ``None`` where it is refused.
        ess: effective sample size (Σw)² / Σw² of its weights; of ``dm`` the number of rounds.
        largest_weight: of a round; ``None`` for ``dm``, which weighs none.
        refusal: why the log cannot support an answer; ``None`` where it can.
        rewarded: rounds with weight that were rewarded, as clicks are; ``None`` for ``dm``.
        matched: rounds with weight; ``None`` for ``dm``.
        estimated_propensities: whether it weighs by propensities that were not logged.
    """

    estimator: str
    value: Estimate | None
    ess: float
    largest_weight: float | None
    refusal: str | None = None
    rewarded: int | None = None
    matched: int | None = None
    estimated_propensities: bool = False

    def told_in(self, unit: RewardUnit) -> OffPolicyEstimate:
        """The same estimate, of rewards as they are learnt from, with its value in a log's unit."""
        value = None if self.value is None else self.value.mapped(unit.to_tell)
        return replace(self, value=value)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers by name, for JSON."""
        value = None if self.value is None else self.value._asdict()
        return {**vars(self), "value": value}


class Estimator(ABC):
    """An estimator of a policy's value: a class, and a line in :data:`ESTIMATORS_BY_NAME`.

    As it is here it weighs all rounds alike; :class:`WeightedEstimator` is the base of those that
    do not.

    Attributes:
        name: what results call it.
        weighs_items: whether it weighs rounds by their items' propensities.
    """

    name: ClassVar[str]
    weighs_items: ClassVar[bool] = False

    @abstractmethod
    def value(self, terms: Terms) -> Estimate | None:
        """Mean reward of the policy, 95 % interval; ``None`` where the log lacks what it takes."""

    @abstractmethod
    def refusal(self, terms: Terms) -> str | None:
        """Why the log cannot support an answer, or ``None``."""

    def ess(self, terms: Terms) -> float:
        """Effective number of rounds."""
        return float(len(terms.rewards))

    def largest_weight(self, terms: Terms) -> float | None:
        """The largest weight of a round; ``None`` where there are no weights."""
        return None

    def matches(self, terms: Terms) -> tuple[int | None, int | None]:
        """Rewarded rounds with weight, and rounds with weight; ``None`` without weights."""
        return None, None

    def estimate(self, terms: Terms, *, refuse: bool = True) -> OffPolicyEstimate:
        """The value, and what it rests on; with ``refuse=False`` it answers in any case.

        Raises:
            ValueError: a column is empty, of another length than the others or not finite.
        """
        refusal = self.refusal(terms) if refuse else None
        value = None if refusal else self.value(terms)
        return OffPolicyEstimate(
            self.name,
            value,
            self.ess(terms),
            self.largest_weight(terms),
            refusal,
            *self.matches(terms),
            self.weighs_items and terms.thin is not None,
        )


class DirectMethod(Estimator):
    r"""DM: :math:`\frac1n \sum_n \hat q(x_n, \pi)`, what a reward model expects of the policy.

    Right where the model is. Source: named so by Dudík, Langford and Li, *Doubly Robust Policy
    Evaluation and Learning*, ICML 2011.
    """

    name = "dm"

    def value(self, terms: Terms) -> Estimate:
        """Mean of ``expected`` (n,); its interval is over contexts, not about the model."""
        return direct_method(terms.expected, **terms.sampling)

    def refusal(self, terms: Terms) -> str | None:
        """Refused where the model is no better than the mean, or would extrapolate."""
        return model_refusal(terms.rewards, terms.predicted, terms.items)


class WeightedEstimator(Estimator):
    """An estimator that weighs rounds, by default by their items' propensities."""

    weighs_items = True

    @abstractmethod
    def weighted(self, terms: Terms, weights: Floats) -> Estimate:
        """The value by weights (n,), ≥ 0, that the log does have."""

    def weights(self, terms: Terms) -> Floats | None:
        """The weights (n,), ≥ 0; ``None`` where the log has no propensities."""
        return terms.weights

    def value(self, terms: Terms) -> Estimate | None:
        """See :meth:`weighted`; ``None`` without weights."""
        weights = self.weights(terms)
        return None if weights is None else self.weighted(terms, weights)

    def refusal(self, terms: Terms) -> str | None:
        """Refused without support, for few rounds or rewards, or a mean weight other than 1."""
        weights = self.weights(terms)
        if weights is None:
            return "the log has no propensities"
        return (
            overlap_refusal(terms.thin, len(weights))
            or weights_refusal(weights, terms.items, requests=terms.requests)
            or rewarded_refusal(terms.rewards, weights)
        )

    def ess(self, terms: Terms) -> float:
        """(Σw)² / Σw²; 0 without weights."""
        weights = self.weights(terms)
        return 0.0 if weights is None else effective_sample_size(weights)

    def largest_weight(self, terms: Terms) -> float | None:
        """The largest weight of a round; ``None`` without weights."""
        weights = self.weights(terms)
        return None if weights is None else float(weights.max())

    def matches(self, terms: Terms) -> tuple[int | None, int | None]:
        """Rewarded rounds with weight, and rounds with weight; ``None`` without weights."""
        weights = self.weights(terms)
        return (None, None) if weights is None else rewarded_matches(terms.rewards, weights)


class InversePropensityScoring(WeightedEstimator):
    r"""IPS: :math:`\frac1n \sum_n w_n r_n`, unbiased where propensities are right.

    Source: Horvitz and Thompson, *A Generalization of Sampling Without Replacement From a Finite
    Universe*, JASA 1952.
    """

    name = "ips"

    def weighted(self, terms: Terms, weights: Floats) -> Estimate:
        """Mean of w r over ``rewards`` and ``weights`` (n,)."""
        return ips(terms.rewards, weights, **terms.sampling)


class SelfNormalizedIPS(WeightedEstimator):
    r"""SNIPS: :math:`\sum_n w_n r_n / \sum_n w_n`, less variance for a bias of order 1 / n.

    Source: Swaminathan and Joachims, *The Self-Normalized Estimator for Counterfactual Learning*,
    NeurIPS 2015.
    """

    name = "snips"

    def weighted(self, terms: Terms, weights: Floats) -> Estimate:
        """Mean of ``rewards`` (n,) weighted by ``weights`` (n,)."""
        return snips(terms.rewards, weights, **terms.sampling)


class DoublyRobust(WeightedEstimator):
    r"""DR: :math:`\frac1n \sum_n \hat q(x_n, \pi) + w_n (r_n - \hat q(x_n, i_n))`.

    Right where propensities or the reward model are. Source: Dudík, Langford and Li, *Doubly Robust
    Policy Evaluation and Learning*, ICML 2011.
    """

    name = "dr"

    def weighted(self, terms: Terms, weights: Floats) -> Estimate:
        """The formula on ``rewards``, ``weights``, ``predicted`` and ``expected``, each (n,)."""
        return doubly_robust(
            terms.rewards,
            weights,
            terms.predicted,
            terms.expected,
            **terms.sampling,
        )


class MarginalizedIPS(SelfNormalizedIPS):
    r"""MIPS: SNIPS with clusters' weights :math:`\pi(c_n \mid x_n) / \hat\pi_0(c_n \mid x_n)`.

    Right where items of a cluster c pay alike; self-normalised, since the clusters' propensities
    are estimated. Source: after Saito and Joachims, *Off-Policy Evaluation for Large Action Spaces
    via Embeddings*, ICML 2022.
    """

    name = "mips"
    weighs_items = False

    def weights(self, terms: Terms) -> Floats | None:
        """The clusters' weights (n,); ``None`` where items are in no clusters."""
        return terms.cluster_weights

    def refusal(self, terms: Terms) -> str | None:
        """Refused as other weighted ones, and where items of a cluster seem to pay differently."""
        weights = self.weights(terms)
        if weights is None:
            return "the log's items are in no clusters"
        refusal = weights_refusal(
            weights, terms.clusters, MAX_MISCALIBRATED, requests=terms.requests
        )
        refusal = refusal or rewarded_refusal(terms.rewards, weights)
        if refusal is None:
            value = self.weighted(terms, weights)
            model = terms.rewards, terms.predicted, terms.expected
            refusal = cluster_refusal(weights, *model, value)
        return refusal


ESTIMATORS_BY_NAME: Mapping[str, Estimator] = {
    estimator.name: estimator
    for estimator in (
        InversePropensityScoring(),
        SelfNormalizedIPS(),
        DirectMethod(),
        DoublyRobust(),
        MarginalizedIPS(),
    )
}
"""The estimators by name, in the order of reports."""

ESTIMATORS = tuple(ESTIMATORS_BY_NAME)
"""Their names, in that order."""
