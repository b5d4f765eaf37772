"""Propensities that were not logged, estimated from what was shown in which context.

They are right where the logger knew no more of a context than the log tells, which no number can
check: what it chose by and did not log stays in every estimate that is weighed by them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recsim_drpo.core import scratch
from recsim_drpo.ope.columns import numbers, of_rows, rows_where
from recsim_drpo.ope.formulas import effective_sample_size
from recsim_drpo.ope.logs import ItemLog
from recsim_drpo.ope.models import BATCH_SIZE, LEARNING_RATE, CrossFitted, fitted
from recsim_drpo.ope.standardize import Standardizer
from recsim_drpo.reporting.statistics import Estimate, mean_interval
from recsim_drpo.simulator.catalogue import spherical_k_means

MAX_GROUPS = 1_000
"""The most items whose probabilities one softmax gives; of more, it gives those of clusters."""
MAX_STEPS = 2_000
"""The most optimiser steps of a fit."""

_SHARP = 5.0  # logits by products with vectors of unit length, from a network's small numbers
_EDGES = (0.0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
_SCALES = (0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.15, 1.4)
_MIXED = (1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)
_CANDIDATES = ((0, 60), (2, 5), (2, 20))  # hidden layers and passes over the rounds
_BALANCINGS = 3
_HELD_BACK = 5  # each fifth round calibrates
_CELLS = 2**22  # probabilities looked at together


class Groups(NamedTuple):
    """Items that one softmax tells apart: each item its own group, or clusters of them.

    Attributes:
        of_item: int64 (N,), -1 for an item that the log never shows.
        number: of groups, G.
        vectors: float32 (G, d), the mean direction of each group's items, of unit length.
    """

    of_item: Tensor
    number: int
    vectors: Tensor

    @classmethod
    def of(cls, log: ItemLog, seed: int) -> Groups:
        """Those of a log: its items, or where it shows more than :data:`MAX_GROUPS`, clusters."""
        shown = torch.bincount(log.items, minlength=len(log.embeddings)) > 0
        rows = shown.nonzero().squeeze(1)
        names, number = torch.arange(len(rows), device=rows.device), len(rows)
        if number > MAX_GROUPS:
            number = round(math.sqrt(number))
            directions = nn.functional.normalize(log.embeddings[rows], dim=1).cpu().numpy()
            names = torch.from_numpy(spherical_k_means(directions, number, seed)[0]).to(rows)
        of_item = torch.full((len(log.embeddings),), -1, device=rows.device)
        of_item[rows] = names
        sums = torch.zeros(number, log.embeddings.shape[1], device=rows.device)
        sums.index_add_(0, names, log.embeddings[rows])
        return cls(of_item, number, nn.functional.normalize(sums, dim=1))


class PropensityModel:
    """A multinomial model of what a logger shows in a context, calibrated on rounds held back.

    Part of the traffic is taken to be shown whatever the context, the rest by a softmax over items:
    the probability of a group of items with vector v that has the share f of all rounds is
    g f + (1 - g) softmax(b log f + s h·v), where h, b and g are a network's answer to the context.
    Of that 1 - ε is taken, and ε f; s, ε and the size of the network have the largest likelihood
    on a fifth of the rounds, which it has not seen. Then groups are weighed so that on the whole
    each has its share of the rounds. Within a group, an item has its share of what was shown.

    Args:
        contexts: float32 (n, o).
        items: int64 (n,), those that were shown.
        groups: which items are told apart.
        seed: of initialisation and order.
        rounds: int64 (m,), m ≥ 2, those to fit on.

    Attributes:
        scale: s; 0 where contexts tell nothing of what is shown.
        mixed: ε.
    """

    def __init__(
        self, contexts: Tensor, items: Tensor, groups: Groups, seed: int, rounds: Tensor
    ) -> None:
        self._groups, self._standard = groups, Standardizer(contexts, rounds)
        counts = [
            torch.bincount(items[some], minlength=len(groups.of_item))
            for some in torch.split(rounds, scratch.BLOCK)
        ]
        smoothed = torch.stack(counts).sum(dim=0).to(torch.float64) + 0.5
        smoothed[groups.of_item < 0] = 0.0
        totals = torch.zeros(groups.number, dtype=torch.float64, device=items.device)
        totals.index_add_(0, groups.of_item.clamp_min(0), smoothed)
        self._within = smoothed / totals[groups.of_item.clamp_min(0)]
        self._often = (totals / totals.sum()).to(torch.float32)
        held_back = rounds[::_HELD_BACK][: 8 * max(1, _CELLS // groups.number)]
        calibrating = contexts[held_back], groups.of_item[items[held_back]]
        learnt = _without_each(rounds, _HELD_BACK)

        def loss(network: nn.Module, rows: Tensor) -> Tensor:
            out = network(self._standard(contexts[rows]))
            targets = groups.of_item[items[rows]]
            return -self._mixture(out, 1.0).gather(1, targets.unsqueeze(1)).log().mean()

        best = -math.inf
        for hidden, passes in _CANDIDATES:
            steps = min(MAX_STEPS, math.ceil(passes * len(learnt) / BATCH_SIZE))
            width = groups.vectors.shape[1] + 2
            network = fitted(
                contexts.shape[1],
                width,
                loss,
                contexts,
                seed,
                steps,
                LEARNING_RATE,
                hidden,
                rounds=learnt,
            )
            found = self._calibrated(network, *calibrating)
            if found[0] > best:
                best, self.scale, self.mixed = found
                self._network = network
        self._tilt = torch.ones_like(self._often)
        self._balance(contexts, rounds)

    @torch.no_grad()
    def shares(self, contexts: Tensor) -> Tensor:
        """Probabilities of the groups, float32 (B, G)."""
        soft = self._soft(self._network, contexts, self.scale)
        shares = ((1.0 - self.mixed) * soft + self.mixed * self._often) * self._tilt
        return shares / shares.sum(dim=1, keepdim=True)

    def _balance(self, contexts: Tensor, rounds: Tensor) -> None:
        """Tilt the probabilities so that each group has, over all contexts, its share of rounds."""
        rows = max(1, _CELLS // self._groups.number)
        for _ in range(_BALANCINGS):
            total = torch.zeros_like(self._often)
            for some in torch.split(rounds, rows):
                total += self.shares(contexts[some]).sum(dim=0)
                scratch.let_go()
            self._tilt = self._tilt * self._often * len(rounds) / total

    @torch.no_grad()
    def predict(self, contexts: Tensor, items: Tensor) -> Tensor:
        """π̂_0(i | x), float64 (B,), of items int64 (B,); 0 for one that the log never shows."""
        rows = max(1, _CELLS // self._groups.number)
        group = self._groups.of_item[items]
        found = [
            self.shares(contexts[start : start + rows]).gather(
                1, group[start : start + rows].clamp_min(0).unsqueeze(1)
            )
            for start in range(0, len(items), rows)
        ]
        shares = torch.cat(found).squeeze(1) if found else torch.zeros(0, device=items.device)
        return shares.to(torch.float64) * self._within[items]

    def _mixture(self, out: Tensor, scale: float) -> Tensor:
        """Probabilities (B, G) by what the network says of contexts, (B, d + 2)."""
        query, popular, gate = out[:, :-2], out[:, -2:-1], torch.sigmoid(out[:, -1:])
        logits = _SHARP * scale * query @ self._groups.vectors.T
        soft = torch.softmax(popular * self._often.log() + logits, dim=1)
        return gate * self._often + (1.0 - gate) * soft

    def _soft(self, network: nn.Module, contexts: Tensor, scale: float) -> Tensor:
        out: Tensor = network(self._standard(contexts))
        return self._mixture(out, scale)

    @torch.no_grad()
    def _calibrated(
        self, network: nn.Module, contexts: Tensor, shown: Tensor
    ) -> tuple[float, float, float]:
        """The largest mean log-likelihood of what was shown, and the scale and ε that give it."""
        rows = max(1, _CELLS // self._groups.number)
        often, chunks = self._often[shown], range(0, len(shown), rows)
        found = []
        for scale in _SCALES:
            pieces = [
                self._soft(network, contexts[start : start + rows], scale).gather(
                    1, shown[start : start + rows].unsqueeze(1)
                )
                for start in chunks
            ]
            soft = torch.cat(pieces).squeeze(1)
            for mixed in _MIXED:
                likelihood = ((1.0 - mixed) * soft + mixed * often).log().mean()
                found.append((float(likelihood), scale, mixed))
        return max(found)


class Bin(NamedTuple):
    """Pairs of a round and an item (or cluster) whose estimated propensity is in a range.

    Attributes:
        low, high: the range.
        pairs: how many there are.
        expected: sum of their propensities, the times that they should be shown.
        shown: the times that they are.
    """

    low: float
    high: float
    pairs: int
    expected: float
    shown: int


@dataclass(frozen=True, eq=False)
class EstimatedPropensities:
    """Estimates of a log's propensities, each by a model that has not seen its round.

    Attributes:
        values: float64 (n,), of the items that were shown.
        models: they, cross-fitted: of any item in any of the log's contexts.
        calibration: a line for each range of propensities.
        mean_weight: of the uniform policy over the items that the log shows: 1 where all is right.
        ess: its effective sample size.
        apart: mean of |log(estimated / logged)|; ``None`` where none were logged.
    """

    values: Tensor
    models: CrossFitted[PropensityModel]
    calibration: Sequence[Bin]
    mean_weight: Estimate
    ess: float
    apart: float | None

    def as_dict(self) -> dict[str, Any]:
        """The diagnostics by name, for JSON."""
        return {
            "calibration": [line._asdict() for line in self.calibration],
            "mean_weight": self.mean_weight._asdict(),
            "ess": self.ess,
            "apart": self.apart,
        }


def estimate_propensities(log: ItemLog, *, seed: int = 0, folds: int = 2) -> EstimatedPropensities:
    """Estimate a log's propensities, whether it has its own or not.

    Args:
        log: with the contexts that its logger saw, and the places that it chose for.
        seed: of the models.
        folds: ≥ 2 of the cross-fitting.

    Raises:
        ValueError: there are fewer rounds than folds.
    """
    groups = Groups.of(log, seed)

    seen = log.choices

    def fit(rounds: Tensor) -> PropensityModel:
        return PropensityModel(seen, log.items, groups, seed, rounds)

    models = CrossFitted(fit, len(log), folds, log.requests)
    values = of_rows(models.predict, numbers(len(log)), seen, log.items)
    estimated, number = values.cpu().numpy(), int((groups.of_item >= 0).sum())
    uniform = scratch.elementwise(lambda part: 1.0 / number / part, estimated)
    apart = None
    if log.propensities is not None:
        logged = log.propensities.cpu().numpy()
        logs = scratch.elementwise(
            lambda one, other: np.abs(np.log(one / other)), estimated, logged
        )
        apart = scratch.mean(logs)
    return EstimatedPropensities(
        values,
        models,
        _calibration(log, seen, models, groups),
        mean_interval(uniform, None if log.requests is None else log.requests.cpu()),
        effective_sample_size(uniform),
        apart,
    )


def _without_each(rounds: Tensor, each: int) -> Tensor:
    """Rounds (m,), on the CPU, without the first and every so manieth after it."""
    places = rows_where(lambda place: place % each != 0, numbers(len(rounds)))
    return of_rows(lambda at: rounds[at], places)


def _calibration(
    log: ItemLog, seen: Tensor, models: CrossFitted[PropensityModel], groups: Groups
) -> tuple[Bin, ...]:
    """What is expected and what is shown, by range of the propensity, on unseen rounds."""
    edges = torch.tensor(_EDGES[1:-1], device=log.items.device)
    pairs, expected, shown = torch.zeros(3, len(_EDGES) - 1, dtype=torch.float64)
    rows = max(1, _CELLS // groups.number)
    for start in range(0, len(log), rows):
        scratch.let_go()
        chunk = slice(start, min(start + rows, len(log)))
        rounds = torch.arange(chunk.start, chunk.stop)
        for number, model in enumerate(models.models):
            fold = rounds[models.fold[rounds] == number]
            shares = model.shares(seen[fold])
            of = torch.bucketize(shares, edges, right=True)
            taken = of.gather(1, groups.of_item[log.items[fold]].unsqueeze(1))
            size = len(pairs)
            pairs += torch.bincount(of.flatten(), minlength=size).cpu()
            weights = shares.flatten().to(torch.float64)
            expected += torch.bincount(of.flatten(), weights, minlength=size).cpu()
            shown += torch.bincount(taken.flatten(), minlength=size).cpu()
    lines = zip(_EDGES, _EDGES[1:], pairs, expected, shown, strict=False)
    return tuple(Bin(a, b, int(n), float(e), int(k)) for a, b, n, e, k in lines if n)
