"""Small networks fitted on logs: of rewards, and of how a logger chooses clusters of items."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from recsim_drpo.core import scratch
from recsim_drpo.core.torch_settings import threads
from recsim_drpo.core.validation import check_integer
from recsim_drpo.ope.columns import numbers, of_rows, rows_where
from recsim_drpo.ope.standardize import Standardizer

MAX_STEPS = 800
"""The most optimiser steps of a fit, by default."""
MAX_PASSES = 20
"""The most passes over the rounds, by default: more of them learn a small log by heart."""
LEARNING_RATE = 3e-3
"""The learning rate of Adam, by default."""

BATCH_SIZE = 512
"""Rounds of a step."""
_WIDTH = 128
_STEPS_A_LOOK = 50  # between letting go of what they read of a long log


class RewardModel:
    """A network that regresses the logged reward on context and item embedding.

    Contexts may be in any unit (:class:`.standardize.Standardizer`), and rewards on any scale: it
    learns where a reward lies in its range, and never predicts one beyond.

    Args:
        contexts: float32 (n, o) on any device, n ≥ 1.
        embeddings: float32 (N, d), on the same device.
        items: int64 (n,), the rows of ``embeddings`` that were shown.
        rewards: float32 (n,).
        seed: of initialisation and order.
        steps: of the optimiser, Adam; ``None``: :data:`MAX_STEPS`, or those of
            :data:`MAX_PASSES` passes if they are fewer.
        learning_rate: of the optimiser.
        reward_range: the least and the largest reward there can be; ``None``: those of ``rewards``.
        rounds: int64 (m,), m ≥ 1, the rounds to fit on; ``None``: all.
    """

    def __init__(
        self,
        contexts: Tensor,
        embeddings: Tensor,
        items: Tensor,
        rewards: Tensor,
        seed: int,
        steps: int | None = None,
        learning_rate: float = LEARNING_RATE,
        reward_range: tuple[float, float] | None = None,
        rounds: Tensor | None = None,
    ) -> None:
        if reward_range is None:
            paid = rewards if rounds is None else rewards[rounds]
            reward_range = float(paid.min()), float(paid.max())
        self._low, self._width = reward_range[0], reward_range[1] - reward_range[0]
        self._standard = Standardizer(contexts, rounds)

        def loss(network: nn.Module, rows: Tensor) -> Tensor:
            inputs = self._inputs(contexts[rows], embeddings[items[rows]])
            unit = (rewards[rows] - self._low) / (self._width or 1.0)
            error: Tensor = network(inputs).squeeze(1) - unit
            return error.square().mean()

        width = contexts.shape[1] + embeddings.shape[1]
        self._network = fitted(width, 1, loss, contexts, seed, steps, learning_rate, rounds=rounds)

    @torch.no_grad()
    def predict(self, contexts: Tensor, vectors: Tensor) -> Tensor:
        """Rewards, float32 (B,), of items with embeddings (B, d) in contexts (B, o)."""
        predicted: Tensor = self._network(self._inputs(contexts, vectors)).squeeze(1)
        return self._low + self._width * predicted.clamp(0.0, 1.0)

    def _inputs(self, contexts: Tensor, vectors: Tensor) -> Tensor:
        return torch.cat((self._standard(contexts), vectors), dim=1)


class ClusterModel:
    """A network of the probabilities with which a logger shows each cluster in a context.

    Args:
        contexts: float32 (n, o), n ≥ 1.
        clusters: int64 (n,), those that were shown, in [0, C).
        num_clusters: C ≥ 1.
        seed: of initialisation and order.
        steps: as of :class:`RewardModel`.
        rounds: as of it.
    """

    def __init__(
        self,
        contexts: Tensor,
        clusters: Tensor,
        num_clusters: int,
        seed: int,
        steps: int | None = None,
        rounds: Tensor | None = None,
    ) -> None:
        self._standard = Standardizer(contexts, rounds)

        def loss(network: nn.Module, rows: Tensor) -> Tensor:
            logits = network(self._standard(contexts[rows]))
            return nn.functional.cross_entropy(logits, clusters[rows])

        self._network = fitted(
            contexts.shape[1], num_clusters, loss, contexts, seed, steps, rounds=rounds
        )

    @torch.no_grad()
    def predict(self, contexts: Tensor, clusters: Tensor) -> Tensor:
        """π̂_0(c | x), float32 (B,), of clusters int64 (B,) in contexts (B, o)."""
        shares = torch.softmax(self._network(self._standard(contexts)), dim=1)
        return shares.gather(1, clusters.unsqueeze(1)).squeeze(1)


class Model(Protocol):
    """What predicts a number for something shown in a context."""

    def predict(self, contexts: Tensor, shown: Tensor, /) -> Tensor:
        """Predictions (B,) for contexts (B, o) and what is shown in each, (B, …)."""


ModelT = TypeVar("ModelT", bound=Model)


class CrossFitted(Generic[ModelT]):
    """Models that are each fitted without one fold of the rounds, to predict that fold.

    Args:
        fit: from the rounds to fit on, int64 (m,), to a model.
        num_rounds: n.
        folds: from 2 to n; round t is of fold t mod ``folds``.
        requests: int64 (n,), from 0: a round is of the fold of its request, in place of its own;
            at least ``folds`` of them.

    Attributes:
        fold: int64 (n,), of each round.
        models: one for each fold, which it has not seen.
    """

    def __init__(
        self,
        fit: Callable[[Tensor], ModelT],
        num_rounds: int,
        folds: int = 2,
        requests: Tensor | None = None,
    ) -> None:
        names = numbers(num_rounds) if requests is None else requests.cpu()
        check_integer("folds", folds, 2, int(names.max()) + 1)
        self.fold = of_rows(lambda part: part % folds, names)
        del names
        self.models = [fit(self._others(number)) for number in range(folds)]

    def _others(self, number: int) -> Tensor:
        """The rounds, int64 (m,), that are not of a fold."""
        return rows_where(lambda fold: fold != number, self.fold)

    def predict(self, rounds: Tensor, contexts: Tensor, shown: Tensor) -> Tensor:
        """Predictions (B,) for rounds int64 (B,), by the models that have not seen them.

        ``contexts`` and ``shown`` (vectors, clusters or items) are as the models' ``predict`` takes
        them, and the type is that of what it returns.
        """
        folds = [self.fold[rounds] == number for number in range(len(self.models))]
        parts = [
            model.predict(contexts[fold], shown[fold])
            for model, fold in zip(self.models, folds, strict=True)
        ]
        predicted = torch.empty(len(rounds), device=contexts.device, dtype=parts[0].dtype)
        for part, fold in zip(parts, folds, strict=True):
            predicted[fold] = part
        return predicted


def fitted(
    inputs: int,
    outputs: int,
    loss: Callable[[nn.Module, Tensor], Tensor],
    data: Tensor,
    seed: int,
    steps: int | None,
    learning_rate: float = LEARNING_RATE,
    hidden: int = 2,
    *,
    rounds: Tensor | None = None,
) -> nn.Module:
    """A network of hidden layers, after ``steps`` steps of Adam on rows of ``data``.

    Args:
        inputs: how many numbers go in.
        outputs: how many come out.
        loss: of the network on rows of the data, int64 (B,).
        data: (n, …), n ≥ 1, whose device the network is on.
        seed: of initialisation and order.
        steps: as of :class:`RewardModel`.
        learning_rate: as of it.
        hidden: layers of 128 units; 0 for a linear model.
        rounds: int64 (m,), the rows to fit on; ``None``: all.
    """
    number = len(data) if rounds is None else len(rounds)
    if steps is None:
        steps = min(MAX_STEPS, math.ceil(MAX_PASSES * number / BATCH_SIZE))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        widths = [inputs, *[_WIDTH] * hidden]
        layers: list[nn.Module] = []
        for wide, following in itertools.pairwise(widths):
            layers += [nn.Linear(wide, following), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Linear(widths[-1], outputs)).to(data.device)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    with threads(1):  # networks this small gain nothing from more, and wait for them
        for step in range(steps):
            if step % _STEPS_A_LOOK == 0:
                scratch.let_go()
            rows = torch.randint(number, (BATCH_SIZE,), generator=generator)
            rows = (rows if rounds is None else rounds[rows.to(rounds.device)]).to(data.device)
            error = loss(network, rows)
            optimizer.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network
