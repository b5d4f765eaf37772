r"""Off-policy evaluation: how good a policy is, from rounds that another policy logged.

Round n of a log has a context :math:`x_n`, the item :math:`i_n` that was shown, its propensity
:math:`p_n = \pi_0(i_n \mid x_n)` and the reward :math:`r_n`. With weights
:math:`w_n = \pi(i_n \mid x_n) / p_n` and a reward model :math:`\hat q`, the value of π is
estimated by

=================  ============================================================================
``ips``            :math:`\frac1n \sum_n w_n r_n` (Horvitz and Thompson, 1952)
``snips``          :math:`\sum_n w_n r_n / \sum_n w_n` (Swaminathan and Joachims, 2015)
``dm``             :math:`\frac1n \sum_n \hat q(x_n, \pi)`, with
                   :math:`\hat q(x, \pi) = \sum_i \pi(i \mid x) \hat q(x, i)`
``dr``             :math:`\frac1n \sum_n \hat q(x_n, \pi) + w_n (r_n - \hat q(x_n, i_n))` (Dudík,
                   Langford and Li, 2011)
``mips``           ``snips`` with the weights :math:`\pi(c_n \mid x_n) / \hat\pi_0(c_n \mid x_n)`
                   of the clusters :math:`c` of items (after Saito and Joachims, 2022): right where
                   items of a cluster pay alike; self-normalised, since the clusters' propensities
                   are estimated
=================  ============================================================================

Here they are functions of those numbers, whoever computed them; :mod:`recsim_drpo.ope.evaluator`
computes them for a policy that outputs embeddings.

Intervals are normal ones over rounds at 95 % (for ``snips`` by the delta method), so rounds have to
be independent. The bootstrap covers as much at a hundred times the cost, and empirical
Bernstein's needs a bound on the weights, which a log does not tell; docs/off_policy_evaluation.md
has what they cover. They know nothing of a reward model's error: that of ``dm`` is about contexts
only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsim_drpo.reporting.statistics import Estimate, mean_interval, ratio_interval

Floats = NDArray[np.float64]

ESTIMATORS = ("ips", "snips", "dm", "dr", "mips")
MIN_ESS = 100.0
"""Below this effective sample size no estimator that weighs rounds answers."""
MAX_UNSUPPORTED = 0.05
"""The share of a policy's probability that a log may leave without support."""
MAX_MISCALIBRATED = 0.5
"""How far from 1 the mean weight of clusters may be, whose propensities are estimated."""
MAX_EXTRAPOLATED = 0.5
"""The share of it on items without a logged round up to which ``dm`` answers."""


@dataclass(frozen=True)
class OffPolicyEstimate:
    """What one estimator makes of a log.

    Attributes:
        estimator: one of :data:`ESTIMATORS`.
        value: mean reward of the policy with its 95 % interval; ``None`` where it is refused.
        ess: effective sample size (Σw)² / Σw² of its weights; of ``dm`` the number of rounds.
        largest_weight: of a round; ``None`` for ``dm``, which weighs none.
        refusal: why the log cannot support an answer; ``None`` where it can.
    """

    estimator: str
    value: Estimate | None
    ess: float
    largest_weight: float | None
    refusal: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers by name, for JSON."""
        value = None if self.value is None else self.value._asdict()
        return {**vars(self), "value": value}


def ips(rewards: ArrayLike, weights: ArrayLike) -> Estimate:
    """Inverse propensity scoring.

    Args:
        rewards: (n,).
        weights: (n,), ≥ 0: the policy's probability of what was shown, by the logger's.

    Raises:
        ValueError: arrays are empty, of different shapes, or hold what is no finite number, or a
            weight is negative.
    """
    r, w = _checked(rewards=rewards, weights=weights)
    return mean_interval(w * r)


def snips(rewards: ArrayLike, weights: ArrayLike) -> Estimate:
    """Self-normalised inverse propensity scoring, with clusters' weights the marginalised kind.

    Arguments and errors as of :func:`ips`; NaN where all weights are 0.
    """
    r, w = _checked(rewards=rewards, weights=weights)
    mean = w.mean()
    # Scaled to mean 1, so that weights of any size are no rounding.
    return ratio_interval(w / mean * r, w / mean) if mean > 0 else _NOTHING


def direct_method(expected: ArrayLike) -> Estimate:
    r"""The reward model's word for it; the interval is over contexts and not about the model.

    Args:
        expected: (n,), :math:`\hat q(x_n, \pi)`.

    Raises:
        ValueError: as :func:`ips`.
    """
    (q,) = _checked(expected=expected)
    return mean_interval(q)


def doubly_robust(
    rewards: ArrayLike, weights: ArrayLike, predicted: ArrayLike, expected: ArrayLike
) -> Estimate:
    r"""The direct method, its error on the rounds that were logged put right by weighting.

    Args:
        rewards: (n,).
        weights: (n,), ≥ 0.
        predicted: (n,), :math:`\hat q(x_n, i_n)`, by a model that has not seen round n.
        expected: (n,), :math:`\hat q(x_n, \pi)`, by the same model.

    Raises:
        ValueError: as :func:`ips`.
    """
    r, w, logged, target = _checked(
        rewards=rewards, weights=weights, predicted=predicted, expected=expected
    )
    return mean_interval(target + w * (r - logged))


def effective_sample_size(weights: ArrayLike) -> float:
    """(Σw)² / Σw² (Kish, 1965): n where all weights are equal; 0 where all are 0."""
    (w,) = _checked(weights=weights)
    largest = w.max()
    if largest == 0:
        return 0.0
    scaled = w / largest  # no square can underflow
    return float(scaled.sum() ** 2 / np.square(scaled).sum())


@dataclass(frozen=True)
class Support:
    """What of a policy's probability lies on items, or clusters, that a log never shows.

    Attributes:
        kind: what is shown, ``"item"`` or ``"cluster"``.
        missing: the share of the policy's probability on those without a logged round.
        examples: the worst of them as (name, share of the policy's probability).
        num_contexts: contexts in which the policy shows only such.
        contexts: the first of those, as numbers of rounds.
    """

    kind: str
    missing: float
    examples: Sequence[tuple[int | str, float]] = ()
    num_contexts: int = 0
    contexts: Sequence[int] = ()

    def __str__(self) -> str:
        text = f"{self.missing:.1%} of the policy's probability is on {self.kind}s never logged"
        if self.examples:
            listed = ", ".join(f"{name} ({share:.1%})" for name, share in self.examples)
            text += f", first of all {listed}"
        if self.num_contexts:
            rounds = ", ".join(map(str, self.contexts))
            text += f"; {self.num_contexts:,} contexts get nothing else (rounds {rounds}, …)"
        return text


def weights_refusal(
    weights: ArrayLike, support: Support | None = None, tolerance: float = MAX_UNSUPPORTED
) -> str | None:
    """Why weighted rounds cannot answer, or ``None``.

    Where the logger can show all that the policy does, weights have mean 1. A mean whose interval
    lies below 1 - ``tolerance`` means that part of the policy's probability is where the logger has
    none; above 1 + ``tolerance``, that propensities are not those of the logger.

    Args:
        weights: (n,), ≥ 0.
        support: what is known of it besides.
        tolerance: larger for estimated propensities.

    Raises:
        ValueError: as :func:`ips`.
    """
    (w,) = _checked(weights=weights)
    mean, ess, largest = mean_interval(w), effective_sample_size(w), float(w.max())
    unseen = "" if support is None or support.missing == 0 else f"; {support}"
    if support is not None and support.missing > MAX_UNSUPPORTED:
        return f"{support}; at most {MAX_UNSUPPORTED:.0%} may be"
    if ess < MIN_ESS:
        return (
            f"the effective sample size is {ess:.1f} of {len(w):,} rounds ({(w > 0).sum():,} have "
            f"weight, at most {largest:,.4g}), at least {MIN_ESS:g} is needed{unseen}"
        )
    if mean.high < 1.0 - tolerance:
        return (
            f"the mean weight is {mean}, where full support gives 1: about {1 - mean.value:.1%} of "
            f"the policy's probability is where the logger has none{unseen}"
        )
    if mean.low > 1.0 + tolerance:
        return f"the mean weight is {mean}, where right propensities give 1: these are too small"
    return None


def cluster_refusal(
    weights: ArrayLike, predicted: ArrayLike, expected: ArrayLike, value: Estimate
) -> str | None:
    """Why items of a cluster are too different for ``mips``, or ``None``.

    Were the reward model's predictions the rewards, the direct method would be exact, and what
    ``mips`` makes of them would differ by its own bias.

    Args:
        weights: (n,), of clusters.
        predicted: (n,), as for :func:`doubly_robust`, and so is the next.
        expected: (n,).
        value: what ``mips`` says.

    Raises:
        ValueError: as :func:`ips`.
    """
    bias = snips(predicted, weights).value - direct_method(expected).value
    half = 0.5 * (value.high - value.low)
    if not abs(bias) > half:
        return None
    return (
        "items of a cluster do not pay alike: by the reward model that shifts the estimate by "
        f"{bias:+.3f}, more than its interval's half-width {half:.3f}"
    )


def model_refusal(
    rewards: ArrayLike, predicted: ArrayLike, support: Support | None = None
) -> str | None:
    """Why a reward model cannot answer alone, or ``None``.

    Args:
        rewards: (n,).
        predicted: (n,), by models that have not seen the round.
        support: of the policy on items.

    Raises:
        ValueError: as :func:`ips`.
    """
    skill = r_squared(rewards, predicted)
    if not skill > 0.0:
        return (
            "on rounds it was not fitted on, the reward model is no better than the mean reward "
            f"(R² {skill:.4f}): it cannot tell items apart"
        )
    if support is not None and support.missing > MAX_EXTRAPOLATED:
        return f"{support}; beyond {MAX_EXTRAPOLATED:.0%} the model only extrapolates"
    return None


def r_squared(rewards: ArrayLike, predicted: ArrayLike) -> float:
    """1 − Σ(r − q̂)² / Σ(r − r̄)²; NaN where all rewards are equal."""
    r, q = _checked(rewards=rewards, predicted=predicted)
    total = float(np.square(r - r.mean()).sum())
    return 1.0 - float(np.square(r - q).sum()) / total if total > 0 else math.nan


_NOTHING = Estimate(math.nan, math.nan, math.nan)


def _checked(**columns: ArrayLike) -> list[Floats]:
    """The columns as float64 (n,), n ≥ 1, finite, weights not negative."""
    arrays = {name: np.asarray(column, dtype=np.float64) for name, column in columns.items()}
    shape = next(iter(arrays.values())).shape
    for name, array in arrays.items():
        if array.ndim != 1 or array.size == 0 or array.shape != shape:
            raise ValueError(
                f"{name} has shape {array.shape}; one number a round is due, here {shape}, and "
                "at least one round."
            )
        wrong = array.size - int(np.count_nonzero(np.isfinite(array)))
        if wrong:
            raise ValueError(f"{wrong} of {array.size} {name} are NaN or infinite.")
        if name == "weights" and array.min() < 0:
            raise ValueError(
                f"{int((array < 0).sum())} of {array.size} weights are negative "
                f"(least: {array.min():.4g}); a weight is a ratio of probabilities."
            )
    return list(arrays.values())
