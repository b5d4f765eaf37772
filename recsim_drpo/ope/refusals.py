"""The reasons why a log cannot support an answer, and what it shows of a policy's items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from recsim_drpo.core import scratch
from recsim_drpo.ope.formulas import (
    Floats,
    direct_method,
    effective_sample_size,
    r_squared,
    rewarded_matches,
    snips,
)
from recsim_drpo.reporting.statistics import Estimate, mean_interval

MIN_ESS = 100.0
"""The effective sample size below which no estimator that weighs rounds answers."""
MIN_REWARDED = 10
"""The rewarded rounds with weight below which no estimator that weighs rounds answers: with fewer
the interval is wider than the value, and covers less than it says."""
MAX_UNSUPPORTED = 0.05
"""The share of a policy's probability that a log may leave without support."""
MAX_MISCALIBRATED = 0.5
"""How far from 1 the mean weight of clusters may be, whose propensities are estimated."""
MAX_EXTRAPOLATED = 0.5
"""The share of a policy's probability on items never logged up to which ``dm`` answers."""

EXAMPLES = 3
"""Items and contexts that a refusal names."""


@dataclass(frozen=True)
class Support:
    """The share of a policy's probability on items, or clusters, that a log never shows.

    Attributes:
        kind: what is shown, ``"item"`` or ``"cluster"``.
        missing: the share of the policy's probability on those without a logged round, in [0, 1].
        examples: the worst of them as (name, share of the policy's probability).
        num_contexts: contexts in which the policy shows only such.
        contexts: the first of those, as numbers of rounds.
    """

    kind: str
    missing: float
    examples: Sequence[tuple[int | str, float]] = ()
    num_contexts: int = 0
    contexts: Sequence[int] = ()

    @classmethod
    def of(
        cls,
        kind: str,
        shares: Floats,
        logged: Tensor,
        names: NDArray[np.generic],
        unsupported: Tensor | None = None,
    ) -> Support:
        """The support of a policy that shows each of N items, or clusters, so often.

        Args:
            kind: ``"item"`` or ``"cluster"``.
            shares: (N,), of the policy's probability.
            logged: bool (N,), whether the log shows it.
            names: (N,), integers or text.
            unsupported: int64 (m,), the rounds in whose contexts the policy shows only what is
                never logged, if that is known.
        """
        missing = np.where(logged.cpu().numpy(), 0.0, shares)
        worst = np.argsort(-missing, kind="stable")[:EXAMPLES]
        return cls(
            kind,
            float(missing.sum()),
            [(names[k].item(), float(missing[k])) for k in worst if missing[k] > 0],
            0 if unsupported is None else len(unsupported),
            [] if unsupported is None else unsupported[:EXAMPLES].tolist(),
        )

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
    weights: ArrayLike,
    support: Support | None = None,
    tolerance: float = MAX_UNSUPPORTED,
    *,
    requests: ArrayLike | None = None,
) -> str | None:
    """Why weighted rounds cannot answer, or ``None``.

    Where the logger can show all that the policy does, weights have mean 1. A mean whose interval
    lies below 1 - ``tolerance`` means that part of the policy's probability is where the logger has
    none; above 1 + ``tolerance``, that propensities are not those of the logger.

    Args:
        weights: (n,), ≥ 0.
        support: what is known of it besides.
        tolerance: larger for propensities of clusters, which are estimated.
        requests: (n,), as of :func:`.formulas.ips`.

    Raises:
        ValueError: as :func:`.formulas.ips`.
    """
    w = scratch.floats(weights)
    ess = effective_sample_size(w)
    mean, largest = mean_interval(w, requests), float(w.max())
    unseen = "" if support is None or support.missing == 0 else f"; {support}"
    if support is not None and support.missing > MAX_UNSUPPORTED:
        return f"{support}; at most {MAX_UNSUPPORTED:.0%} may be"
    if ess < MIN_ESS:
        matched = int(scratch.total(lambda part: np.count_nonzero(part > 0), w))
        return (
            f"the effective sample size is {ess:.1f} of {len(w):,} rounds ({matched:,} have "
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


def overlap_refusal(thin: float | None, num_rounds: int) -> str | None:
    """Why propensities that were estimated cannot carry a policy, or ``None``.

    Args:
        thin: share of the policy's probability where they expect less than one such round in the
            log; ``None`` where propensities were logged.
        num_rounds: n.
    """
    if thin is None or thin <= MAX_UNSUPPORTED:
        return None
    return (
        f"overlap is missing: {thin:.1%} of the policy's probability is where the logger, by the "
        f"estimated propensities, shows its item less than once in {num_rounds:,} rounds; at most "
        f"{MAX_UNSUPPORTED:.0%} may be"
    )


def rewarded_refusal(rewards: ArrayLike, weights: ArrayLike) -> str | None:
    """Why too few rewards, such as clicks, speak of a policy, or ``None``.

    Args:
        rewards: (n,).
        weights: (n,), ≥ 0.

    Raises:
        ValueError: as :func:`.formulas.ips`.
    """
    rewarded, matched = rewarded_matches(rewards, weights)
    if rewarded >= MIN_REWARDED:
        return None
    return (
        f"{rewarded:,} of the {matched:,} rounds with weight are rewarded, at least "
        f"{MIN_REWARDED} have to be"
    )


def cluster_refusal(
    weights: ArrayLike,
    rewards: ArrayLike,
    predicted: ArrayLike,
    expected: ArrayLike,
    value: Estimate,
) -> str | None:
    """Why items of a cluster are, or may be, too different for ``mips``, or ``None``.

    Were the reward model's predictions the rewards, the direct method would be exact, and what
    ``mips`` makes of them would differ by its own bias. A model that is no better than the mean
    reward cannot tell.

    Args:
        weights: (n,), of clusters.
        rewards: (n,), as for :func:`.formulas.doubly_robust`, and so are the next two.
        predicted: (n,).
        expected: (n,).
        value: what ``mips`` says.

    Raises:
        ValueError: as :func:`.formulas.ips`.
    """
    skill = r_squared(rewards, predicted)
    if not skill > 0.0:
        return (
            "whether items of a cluster pay alike cannot be checked: on rounds it was not fitted "
            f"on, the reward model is no better than the mean reward (R² {skill:.4f})"
        )
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
        ValueError: as :func:`.formulas.ips`.
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
