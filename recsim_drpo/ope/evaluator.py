"""Off-policy evaluation of policies that output embeddings, at item level.

A deterministic policy shows the item that its action decodes to. For a stochastic one actions are
drawn, and each is decoded: the share of draws that decode to an item is an unbiased estimate of its
probability, and but for the self-normalised ones every estimator is linear in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recsim_drpo.core import scratch
from recsim_drpo.core.policy import ROWS_AT_A_TIME, Policy, actions_of, check_acts, checked_actions
from recsim_drpo.core.random_policies import restarted
from recsim_drpo.core.reward_unit import RewardUnit
from recsim_drpo.core.torch_settings import matrix_precision
from recsim_drpo.core.validation import check_integer, check_seed
from recsim_drpo.evaluation.measured import Floats, host
from recsim_drpo.ope.columns import of_rows
from recsim_drpo.ope.estimators import ESTIMATORS_BY_NAME, OffPolicyEstimate, Terms
from recsim_drpo.ope.formulas import mean_reward, r_squared, rewarded_matches
from recsim_drpo.ope.limits import MAX_SAMPLES
from recsim_drpo.ope.logs import ItemLog
from recsim_drpo.ope.models import ClusterModel, CrossFitted, RewardModel
from recsim_drpo.ope.propensities import EstimatedPropensities, estimate_propensities
from recsim_drpo.ope.refusals import EXAMPLES, Support
from recsim_drpo.reporting.statistics import Estimate, mean_interval
from recsim_drpo.simulator.catalogue import spherical_k_means
from recsim_drpo.simulator.decoder import decode, directions
from recsim_drpo.simulator.decoder_names import EXACT
from recsim_drpo.simulator.retrieval import SAMPLE, is_exact, label, make_decoder, recall


@dataclass(frozen=True)
class OffPolicyEvaluation:
    """The value of a policy by every estimator, and what the log supports of it.

    Attributes:
        estimates: one by each of :data:`recsim_drpo.ope.ESTIMATORS_BY_NAME`, in that order.
        logged: mean reward of the log, the value of who logged it.
        num_rounds: n.
        samples: actions drawn in each context; 0 where the policy's ``act`` was asked.
        unlogged: share of the policy's probability on items without a logged round.
        nothing_shown: share of actions with a non-finite component: they show no item.
        r_squared: of the reward model, on rounds that it was not fitted on.
        rewarded: rounds of the log that were rewarded, as clicks are.
        unlogged_items: the worst of the items without a logged round, and the share of the
            policy's probability that is on each.
        num_requests: requests that the rounds came in, over which intervals are; ``None`` where
            each round is independent.
        propensities: diagnostics of the log's propensities where they were estimated, else
            ``None``.
        unit: of the rewards, in which values are told.
        decoder: the name of what finds policies' items.
        recall: recall@1 of an approximate one, on the first contexts; ``None`` where it is exact.
    """

    estimates: tuple[OffPolicyEstimate, ...]
    logged: Estimate
    num_rounds: int
    samples: int
    unlogged: float
    nothing_shown: float
    r_squared: float
    rewarded: int = 0
    unlogged_items: Sequence[tuple[int | str, float]] = ()
    num_requests: int | None = None
    propensities: EstimatedPropensities | None = None
    unit: RewardUnit = field(default_factory=RewardUnit)
    decoder: str = EXACT
    recall: Estimate | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers by name, for JSON."""
        estimated = None if self.propensities is None else self.propensities.as_dict()
        plain = vars(self) | {"logged": self.logged._asdict(), "propensities": estimated}
        plain |= {"unit": asdict(self.unit)}
        if self.recall is None:
            del plain["decoder"], plain["recall"]
        else:
            plain["recall"] = self.recall._asdict()
        return plain | {"estimates": [estimate.as_dict() for estimate in self.estimates]}


class _Comparison(NamedTuple):
    """The items that a policy shows in each of B rounds, held against the one that was logged.

    Attributes:
        matches: float64 (B,), the share of its draws that show the item logged.
        expected: float32 (B,), the reward model's mean over its draws.
        cluster_matches: float64 (B,), the share that shows an item of the same cluster.
        unsupported: int64 (m,), the rounds in which all show items that are never logged.
        thin: float64 (B,), the share of its draws that show what, by estimated propensities, less
            than one round of the log would.
    """

    matches: Tensor
    expected: Tensor
    cluster_matches: Tensor
    unsupported: Tensor
    thin: Tensor


class OffPolicyEvaluator:
    """A log to evaluate any number of policies on; its models are fitted once for all of them.

    Args:
        log: rounds that the policies have not learnt from.
        num_clusters: C of ``mips``, from 1 to the number of items N; ``None``: √N, rounded.
        seed: integer in [0, 2**63) of the models, the clusters and what policies draw.
        folds: ≥ 2 of the cross-fitting.
        estimate: whether to estimate the propensities, in place of those of the log if it has any.
        progress: whether to show rates and time left on a terminal.
        decoder: how policies' items are found, by a name of
            :mod:`recsim_drpo.simulator.decoder_names`.

    Attributes:
        log: the rounds.
        num_clusters: C.
        clusters: int64 (N,), the cluster of each item, in [0, C).
        estimated: the propensities that were estimated, or ``None``.

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
        estimate: bool = False,
        progress: bool = False,
        decoder: str = EXACT,
    ) -> None:
        num_items = len(log.embeddings)
        if num_clusters is None:
            num_clusters = round(math.sqrt(num_items))
        check_integer("num_clusters", num_clusters, 1, num_items)
        self.log, self.num_clusters = log, num_clusters
        self._seed, self._progress = check_seed(seed), progress
        self._decoder = make_decoder(decoder, log.embeddings[: log.num_items])
        directions = torch.nn.functional.normalize(log.embeddings, dim=1).cpu().numpy()
        clusters, _ = spherical_k_means(directions, num_clusters, seed)
        self.clusters = torch.from_numpy(clusters).to(log.items.device)
        self._shown_clusters = of_rows(lambda items: self.clusters[items], log.items)
        self._fit_models(folds)
        self._observed = scratch.floats(log.rewards.cpu().numpy())
        self._requests = None if log.requests is None else log.requests.cpu().numpy()
        self._choices = log.choices
        self.estimated = estimate_propensities(log, seed=seed, folds=folds) if estimate else None
        propensities = self.estimated.values if self.estimated else log.propensities
        self._propensities = (
            None if propensities is None else scratch.floats(propensities.cpu().numpy())
        )
        self._logged_items = torch.bincount(log.items, minlength=num_items) > 0
        self._logged_clusters = torch.bincount(self._shown_clusters, minlength=num_clusters) > 0

    def _fit_models(self, folds: int) -> None:
        """Fit the models of rewards and of clusters, and have them predict what was logged."""
        log, clusters, seed = self.log, self._shown_clusters, self._seed
        silent = None if self._progress else True
        bar = tqdm(total=2 * folds, desc="fit models", unit="model", disable=silent)

        def fit_rewards(rounds: Tensor) -> RewardModel:
            bar.update()
            logged = log.contexts, log.embeddings, log.items, log.rewards
            return RewardModel(*logged, seed, reward_range=log.bounds, rounds=rounds)

        def fit_clusters(rounds: Tensor) -> ClusterModel:
            bar.update()
            return ClusterModel(log.contexts, clusters, self.num_clusters, seed, rounds=rounds)

        with bar:
            self._reward_models = CrossFitted(fit_rewards, len(log), folds, log.requests)
            cluster_models = CrossFitted(fit_clusters, len(log), folds, log.requests)
        self._predicted, self._cluster_propensities = self._rooms(2)
        for rows, rounds in self._chunks():
            contexts, vectors = log.contexts[rows], log.embeddings[log.items[rows]]
            self._predicted[rows] = host(self._reward_models.predict(rounds, contexts, vectors))
            chances = cluster_models.predict(rounds, contexts, clusters[rows])
            self._cluster_propensities[rows] = host(chances)

    def __call__(self, policy: Policy, *, samples: int = 0) -> OffPolicyEvaluation:
        """Evaluate a policy.

        Args:
            policy: anything with ``act(observations) -> actions``.
            samples: from 0 to 100,000; K > 0 evaluates the stochastic policy that
                ``sample(observations, generator)`` draws from, by K draws in each context.
                Time grows with K.

        Raises:
            TypeError: it has no ``act``, or for K > 0 no ``sample``.
            ValueError: it returns actions of another shape than (B, d).
        """
        terms = self.terms(policy, samples=samples)
        return OffPolicyEvaluation(
            estimates=self.estimates(terms),
            logged=mean_reward(self._observed, **terms.sampling).mapped(self.log.unit.to_tell),
            num_rounds=len(self.log),
            samples=samples,
            unlogged=terms.items.missing,
            nothing_shown=terms.nothing_shown,
            r_squared=r_squared(self._observed, self._predicted),
            rewarded=rewarded_matches(self._observed, np.broadcast_to(1.0, len(self.log)))[0],
            unlogged_items=terms.items.examples,
            num_requests=None if self._requests is None else int(self._requests.max()) + 1,
            propensities=self.estimated,
            unit=self.log.unit,
            decoder=label(self._decoder),
            recall=self._recall(policy, samples),
        )

    def _recall(self, policy: Policy, samples: int) -> Estimate | None:
        """The recall@1 of an approximate decoder on a policy's actions in the first contexts."""
        if is_exact(self._decoder):
            return None
        queries = directions(self._acting(policy, samples)(self.log.contexts[:SAMPLE]))
        hits = recall(self._decoder, self.log.embeddings[: self.log.num_items], queries)
        return mean_interval(host(hits)) if len(hits) else Estimate(*[math.nan] * 3)

    def estimates(self, terms: Terms, *, refuse: bool = True) -> tuple[OffPolicyEstimate, ...]:
        """The estimate of every estimator, in the log's own unit.

        ``refuse=False`` has them answer in any case.
        """
        return tuple(
            estimator.estimate(terms, refuse=refuse).told_in(self.log.unit)
            for estimator in ESTIMATORS_BY_NAME.values()
        )

    def terms(self, policy: Policy, *, samples: int = 0) -> Terms:
        """The numbers that estimators read of a policy, its rewards as they are learnt from.

        Arguments and errors as of a call.
        """
        check_integer("samples", samples, 0, MAX_SAMPLES)
        draw = self._drawing(policy, samples)
        log = self.log
        counts = torch.zeros(len(log.embeddings) + 1, dtype=torch.int64, device=log.items.device)
        matches, expected, cluster_matches, thin = self._rooms(4)
        num_unsupported, unsupported = 0, torch.empty(0, dtype=torch.int64)
        for rows, rounds in self._chunks("evaluate"):
            items = draw(log.contexts[rows])
            counts += torch.bincount(items.flatten() + 1, minlength=len(counts))
            compared = self._compare(items, rows, rounds)
            matches[rows], expected[rows] = host(compared.matches), host(compared.expected)
            cluster_matches[rows], thin[rows] = host(compared.cluster_matches), host(compared.thin)
            num_unsupported += len(compared.unsupported)
            if len(unsupported) < EXAMPLES:
                unsupported = torch.cat([unsupported, compared.unsupported])
        shares = host(counts) / float(counts.sum())
        cluster_shares = np.zeros(self.num_clusters)
        np.add.at(cluster_shares, self.clusters.cpu().numpy(), shares[1:])
        names = np.arange(self.num_clusters)
        propensities = self._propensities
        return Terms(
            rewards=self._observed,
            predicted=self._predicted,
            expected=expected,
            weights=None
            if propensities is None
            else scratch.elementwise(np.divide, matches, propensities),
            cluster_weights=scratch.elementwise(
                lambda share, chance: share / np.maximum(chance, 1e-12),
                cluster_matches,
                self._cluster_propensities,
            ),
            items=replace(
                Support.of("item", shares[1:], self._logged_items, log.item_ids, unsupported),
                num_contexts=num_unsupported,
            ),
            clusters=Support.of("cluster", cluster_shares, self._logged_clusters, names),
            nothing_shown=float(shares[0]),
            reward_range=log.bounds,
            requests=self._requests,
            thin=scratch.mean(thin) if self.estimated else None,
        )

    def _compare(self, items: Tensor, rows: slice, rounds: Tensor) -> _Comparison:
        """Hold the items (B, K) of a policy, -1 for none, against what was logged in its rounds."""
        log, num_draws = self.log, items.shape[1]
        known, any_item = items.clamp_min(0), items >= 0
        predicted = self._reward_models.predict(
            rounds.repeat_interleave(num_draws),
            log.contexts[rows].repeat_interleave(num_draws, dim=0),
            log.embeddings[known.flatten()],
        )
        same_item = items == log.items[rows].unsqueeze(1)
        same_cluster = self.clusters[known] == self._shown_clusters[rows].unsqueeze(1)
        unsupported = (any_item & ~self._logged_items[known]).all(dim=1)
        return _Comparison(
            matches=_share(same_item),
            expected=torch.where(any_item, predicted.view(items.shape), 0.0).mean(dim=1),
            cluster_matches=_share(same_cluster & any_item),
            unsupported=rounds[unsupported.cpu()],
            thin=_share(self._thin(known, rows, rounds) & any_item),
        )

    def _thin(self, items: Tensor, rows: slice, rounds: Tensor) -> Tensor:
        """Whether the logger shows items (B, K) less than once in the log, by estimates."""
        if self.estimated is None:
            return torch.zeros_like(items, dtype=torch.bool)
        num_draws = items.shape[1]
        chances = self.estimated.models.predict(
            rounds.repeat_interleave(num_draws),
            self._choices[rows].repeat_interleave(num_draws, dim=0),
            items.flatten(),
        )
        return (chances * len(self.log) < 1.0).view(items.shape) & self._logged_items[items]

    def _drawing(self, policy: Policy, samples: int) -> Callable[[Tensor], Tensor]:
        """From contexts (B, o) to the items, int64 (B, max(1, K)), that the policy shows."""
        act, device = self._acting(policy, samples), self.log.items.device

        def shown(actions: Tensor) -> Tensor:
            with matrix_precision("float32", device):  # most of the time goes into these products
                return decode(self._decoder, actions)

        def items(contexts: Tensor) -> Tensor:
            return torch.stack([shown(act(contexts)) for _ in range(max(1, samples))], dim=1)

        return items

    def _acting(self, policy: Policy, samples: int) -> Callable[[Tensor], Tensor]:
        """From contexts (B, o) to actions (B, d) of the policy, drawn where ``samples`` > 0."""
        actor = restarted(policy)
        sample: Any = getattr(policy, "sample", None)
        if not samples:
            check_acts(policy)
        elif not callable(sample):
            raise TypeError(
                f"{type(policy).__name__} has no method 'sample', which samples > 0 needs."
            )
        device, dim = self.log.items.device, self.log.embeddings.shape[1]
        generator = torch.Generator(device).manual_seed(self._seed)

        def drawn(contexts: Tensor) -> Tensor:
            actions = sample(contexts.clone(), generator)
            return checked_actions(actions, (len(contexts), dim), "contexts").to(device)

        def acted(contexts: Tensor) -> Tensor:
            return actions_of(actor, contexts, dim, rows="contexts").to(device)

        return drawn if samples else acted

    def _chunks(self, title: str | None = None) -> Iterator[tuple[slice, Tensor]]:
        starts = range(0, len(self.log), ROWS_AT_A_TIME)
        silent = True if title is None or not self._progress else None
        for start in tqdm(starts, title, unit="chunk", disable=silent):
            stop = min(start + ROWS_AT_A_TIME, len(self.log))
            yield slice(start, stop), torch.arange(start, stop)
            if stop // scratch.BLOCK > start // scratch.BLOCK:
                scratch.let_go()

    def _rooms(self, count: int) -> list[Floats]:
        """Columns to be filled, float64 (n,) each."""
        return [scratch.room((len(self.log),), np.float64) for _ in range(count)]


def _share(hits: Tensor) -> Tensor:
    return hits.to(torch.float64).mean(dim=1)
