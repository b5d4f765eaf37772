"""Off-policy evaluation of policies that output embeddings, at item level.

What a deterministic policy shows is the item that its action decodes to. What a stochastic one
shows is estimated by drawing actions and decoding each: the share of draws that decode to an item
is an unbiased estimate of its probability, and but for the self-normalised ones every estimator is
linear in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from recsim_drpo.core.policy import Policy, check_acts, checked_actions
from recsim_drpo.core.random_policies import restarted
from recsim_drpo.core.torch_settings import matrix_precision
from recsim_drpo.core.validation import check_integer, check_seed
from recsim_drpo.ope import estimators as ope
from recsim_drpo.ope.estimators import ESTIMATORS, Floats, OffPolicyEstimate, Support
from recsim_drpo.ope.logs import ItemLog
from recsim_drpo.ope.models import ClusterModel, CrossFitted, RewardModel
from recsim_drpo.reporting.statistics import Estimate, mean_interval
from recsim_drpo.simulator.catalogue import spherical_k_means
from recsim_drpo.simulator.decoder import ExactDecoder, decode

_ROWS = 8_192
_EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class Terms:
    """What the estimators need to know of a policy: float64 (n,) each, a number a round.

    Attributes:
        weights: π(i | x) / p of the item shown; ``None`` of a log without propensities.
        expected: the reward model's mean over the policy's items.
        cluster_weights: π(c | x) / π̂_0(c | x) of the cluster shown.
        items: how the policy's items are supported.
        clusters: how their clusters are.
        nothing_shown: share of actions that decode to no item, which pay nothing.
    """

    weights: Floats | None
    expected: Floats
    cluster_weights: Floats
    items: Support
    clusters: Support
    nothing_shown: float


@dataclass(frozen=True)
class OffPolicyEvaluation:
    """How good a policy is, as far as a log tells.

    Attributes:
        estimates: one for each of :data:`recsim_drpo.ope.estimators.ESTIMATORS`, in that order.
        logged: mean reward of the log, the value of who logged it.
        num_rounds: n.
        samples: actions drawn in each context; 0 where the policy's ``act`` was asked.
        unlogged: share of the policy's probability on items without a logged round.
        nothing_shown: share of actions with a non-finite component: they show no item.
        r_squared: of the reward model, on rounds that it was not fitted on.
    """

    estimates: tuple[OffPolicyEstimate, ...]
    logged: Estimate
    num_rounds: int
    samples: int
    unlogged: float
    nothing_shown: float
    r_squared: float

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers by name, for JSON."""
        plain = vars(self) | {"logged": self.logged._asdict()}
        return plain | {"estimates": [one.as_dict() for one in self.estimates]}


class OffPolicyEvaluator:
    """A log to evaluate any number of policies on; what does not depend on them is fitted once.

    Args:
        log: rounds that the policies have not learnt from.
        num_clusters: C of ``mips``, from 1 to the number of items N; ``None``: √N, rounded.
        seed: integer in [0, 2**63) of the models, the clusters and what policies draw.
        folds: ≥ 2 of the cross-fitting.
        progress: whether to show what is going on.

    Raises:
        ValueError: an argument is out of its range, or there are fewer rounds than folds.
    """

    def __init__(
        self,
        log: ItemLog,
        *,
        num_clusters: int | None = None,
        seed: int = 0,
        folds: int = 2,
        progress: bool = False,
    ) -> None:
        num_items = len(log.embeddings)
        if num_clusters is None:
            num_clusters = round(math.sqrt(num_items))
        check_integer("num_clusters", num_clusters, 1, num_items)
        self.log, self.num_clusters = log, num_clusters
        self._seed, self._progress = check_seed(seed), progress
        self._decoder = ExactDecoder(log.embeddings)
        directions = torch.nn.functional.normalize(log.embeddings, dim=1).cpu().numpy()
        clusters, _ = spherical_k_means(directions, num_clusters, seed)
        self._clusters = torch.from_numpy(clusters).to(log.items.device)
        shown = self._clusters[log.items]
        bar = tqdm(total=2 * folds, desc="fit models", unit="model", disable=not progress or None)

        def fit_rewards(rounds: Tensor) -> RewardModel:
            bar.update()
            some = log.contexts[rounds], log.embeddings, log.items[rounds], log.rewards[rounds]
            return RewardModel(*some, seed)

        def fit_clusters(rounds: Tensor) -> ClusterModel:
            bar.update()
            return ClusterModel(log.contexts[rounds], shown[rounds], num_clusters, seed)

        with bar:
            self._rewards = CrossFitted(fit_rewards, len(log), folds)
            self._shares = CrossFitted(fit_clusters, len(log), folds)
        columns = [
            (
                self._rewards.predict(rounds, log.contexts[rows], log.embeddings[log.items[rows]]),
                self._shares.predict(rounds, log.contexts[rows], shown[rows]),
            )
            for rows, rounds in self._chunks()
        ]
        self._predicted, self._cluster_propensities = (
            _host(torch.cat(column)) for column in zip(*columns, strict=True)
        )
        self._observed = _host(log.rewards)
        self._propensities = None if log.propensities is None else _host(log.propensities)
        self._logged_items = torch.bincount(log.items, minlength=num_items) > 0
        self._logged_clusters = torch.bincount(shown, minlength=num_clusters) > 0
        self._shown_clusters = shown

    def __call__(self, policy: Policy, *, samples: int = 0) -> OffPolicyEvaluation:
        """Evaluate a policy.

        Args:
            policy: anything with ``act(observations) -> actions``.
            samples: ≥ 0; K > 0 evaluates the stochastic policy that ``sample(observations,
                generator)`` draws from, by K draws in each context. Time grows with K.

        Raises:
            TypeError: it has no ``act``, or for K > 0 no ``sample``.
            ValueError: it returns actions of another shape than (B, d).
        """
        terms = self.terms(policy, samples=samples)
        return OffPolicyEvaluation(
            estimates=self.estimates(terms),
            logged=mean_interval(self._observed),
            num_rounds=len(self.log),
            samples=samples,
            unlogged=terms.items.missing,
            nothing_shown=terms.nothing_shown,
            r_squared=ope.r_squared(self._observed, self._predicted),
        )

    def estimates(self, terms: Terms, *, refuse: bool = True) -> tuple[OffPolicyEstimate, ...]:
        """What each estimator makes of a policy; ``refuse=False`` has them answer in any case."""
        why = dict.fromkeys(ESTIMATORS, None) | (self._refusals(terms) if refuse else {})
        return tuple(self._estimate(name, terms, why[name]) for name in ESTIMATORS)

    def terms(self, policy: Policy, *, samples: int = 0) -> Terms:
        """See :class:`Terms`; arguments and errors as of :meth:`__call__`."""
        check_integer("samples", samples, 0)
        draw = self._drawing(policy, samples)
        log = self.log
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        counts = torch.zeros(len(log.embeddings) + 1, dtype=torch.int64, device=log.items.device)
        alone: list[Tensor] = []
        for rows, rounds in self._chunks("evaluate"):
            contexts = log.contexts[rows]
            items = draw(contexts)  # (B, K)
            known = items.clamp_min(0)
            flat, some = known.flatten(), items >= 0
            every = rounds.repeat_interleave(items.shape[1])
            repeated = contexts.repeat_interleave(items.shape[1], dim=0)
            predicted = self._rewards.predict(every, repeated, log.embeddings[flat])
            worth = torch.where(some, predicted.view(items.shape), 0.0).mean(dim=1)
            same_item = items == log.items[rows].unsqueeze(1)
            same_cluster = self._clusters[known] == self._shown_clusters[rows].unsqueeze(1)
            parts.append((_share(same_item), worth, _share(same_cluster & some)))
            counts += torch.bincount(items.flatten() + 1, minlength=len(counts))
            alone.append(rounds[(some & ~self._logged_items[known]).all(dim=1).cpu()])
        matches, expected, in_clusters = (
            _host(torch.cat(column)) for column in zip(*parts, strict=True)
        )
        shares = _host(counts) / float(counts.sum())
        totals = np.zeros(self.num_clusters)
        np.add.at(totals, self._clusters.cpu().numpy(), shares[1:])
        return Terms(
            weights=None if self._propensities is None else matches / self._propensities,
            expected=expected,
            cluster_weights=in_clusters / np.maximum(self._cluster_propensities, 1e-12),
            items=_support("item", shares[1:], self._logged_items, log.item_ids, torch.cat(alone)),
            clusters=_support(
                "cluster", totals, self._logged_clusters, np.arange(self.num_clusters)
            ),
            nothing_shown=float(shares[0]),
        )

    def _drawing(self, policy: Policy, samples: int) -> Callable[[Tensor], Tensor]:
        """From contexts (B, o) to the items, int64 (B, max(1, K)), that the policy shows."""
        actor: Any = policy if samples else restarted(policy)
        method: Any = getattr(actor, "sample" if samples else "act", None)
        if not samples:
            check_acts(policy)
        elif not callable(method):
            raise TypeError(
                f"{type(policy).__name__} has no method 'sample', which samples > 0 needs."
            )
        generator = torch.Generator(self.log.items.device).manual_seed(self._seed)
        dim = self.log.embeddings.shape[1]

        def shown(contexts: Tensor) -> Tensor:
            given = method(contexts, generator) if samples else method(contexts)
            actions = checked_actions(given, (len(contexts), dim), "contexts")
            device = self.log.items.device
            with matrix_precision("float32", device):  # most of the time goes into these products
                return decode(self._decoder, actions.to(device))

        return lambda contexts: torch.stack(
            [shown(contexts.clone()) for _ in range(max(1, samples))], dim=1
        )

    def _chunks(self, title: str | None = None) -> Iterator[tuple[slice, Tensor]]:
        starts = range(0, len(self.log), _ROWS)
        silent = True if title is None or not self._progress else None
        for start in tqdm(starts, title, unit="chunk", disable=silent):
            stop = min(start + _ROWS, len(self.log))
            yield slice(start, stop), torch.arange(start, stop)

    def _refusals(self, terms: Terms) -> dict[str, str | None]:
        if terms.weights is None:
            weighted: str | None = "the log has no propensities"
        else:
            weighted = ope.weights_refusal(terms.weights, terms.items)
        return {
            "ips": weighted,
            "snips": weighted,
            "dm": ope.model_refusal(self._observed, self._predicted, terms.items),
            "dr": weighted,
            "mips": self._cluster_refusal(terms),
        }

    def _cluster_refusal(self, terms: Terms) -> str | None:
        weights = terms.cluster_weights
        refusal = ope.weights_refusal(weights, terms.clusters, ope.MAX_MISCALIBRATED)
        if refusal is None and ope.r_squared(self._observed, self._predicted) > 0.0:
            value = ope.snips(self._observed, weights)
            refusal = ope.cluster_refusal(weights, self._predicted, terms.expected, value)
        return refusal

    def _estimate(self, name: str, terms: Terms, refusal: str | None) -> OffPolicyEstimate:
        weights = terms.cluster_weights if name == "mips" else terms.weights
        if name == "dm":
            value = ope.direct_method(terms.expected)
            size, largest = float(len(self.log)), None
        elif weights is None:
            value, size, largest = None, 0.0, None
        else:
            size, largest = ope.effective_sample_size(weights), float(weights.max())
            if name == "ips":
                value = ope.ips(self._observed, weights)
            elif name == "dr":
                value = ope.doubly_robust(self._observed, weights, self._predicted, terms.expected)
            else:
                value = ope.snips(self._observed, weights)
        return OffPolicyEstimate(name, None if refusal else value, size, largest, refusal)


def _support(
    kind: str,
    shares: Floats,
    logged: Tensor,
    names: NDArray[np.generic],
    alone: Tensor | None = None,
) -> Support:
    """Support from the policy's shares (N,), which of them were logged, and their names."""
    missing = np.where(logged.cpu().numpy(), 0.0, shares)
    worst = np.argsort(-missing, kind="stable")[:_EXAMPLES]
    return Support(
        kind,
        float(missing.sum()),
        [(names[k].item(), float(missing[k])) for k in worst if missing[k] > 0],
        0 if alone is None else len(alone),
        [] if alone is None else alone[:_EXAMPLES].tolist(),
    )


def _share(hits: Tensor) -> Tensor:
    return hits.to(torch.float64).mean(dim=1)


def _host(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().numpy().astype(np.float64)
