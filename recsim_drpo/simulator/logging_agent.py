"""The mixed logging agent (Appendix H.2 and H.4) and the policies that results are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from recsim_drpo.core import rng
from recsim_drpo.core.policy import RandomPolicy
from recsim_drpo.core.rng import Stream
from recsim_drpo.core.validation import check_number, check_seed, unknown_name
from recsim_drpo.simulator.config import POLICIES, SCENARIOS, LoggingConfig
from recsim_drpo.simulator.decoder import row_max
from recsim_drpo.simulator.world import World

_BLOCK = 64
_COLDEST = 1e-30  # a smaller temperature would be zero in float32, and 0 / 0 no number


def mixture_weights(scenario: str | Mapping[str, float]) -> tuple[float, float, float]:
    """Weights in the order of :data:`POLICIES`.

    Args:
        scenario: a name in :data:`SCENARIOS`, or weights by component; absent ones are 0.

    Raises:
        ValueError: unknown scenario or component, a negative weight, or a sum other than 1.
    """
    if isinstance(scenario, str):
        if scenario not in SCENARIOS:
            raise unknown_name("scenario", scenario, SCENARIOS)
        scenario = SCENARIOS[scenario]
    if not isinstance(scenario, Mapping):
        raise ValueError(f"scenario={scenario!r} is neither a name nor weights by component.")
    for name, weight in scenario.items():
        if name not in POLICIES:
            raise unknown_name("component of the logging agent", name, POLICIES)
        check_number(f"weight of {name!r}", weight, 0.0, 1.0)
    total = sum(scenario.values())
    if abs(total - 1.0) > 1e-6:
        raise ValueError(f"The weights {dict(scenario)} sum to {total:.6g}; they must sum to 1.")
    random, popularity, expert = (float(scenario.get(name, 0.0)) / total for name in POLICIES)
    return random, popularity, expert


class LoggedChoices(NamedTuple):
    """What the logging agent showed to a batch of users, all of shape (B,).

    Attributes:
        items: int64, the item shown.
        policies: int8, which component chose it: an index into :data:`POLICIES`.
        propensities: float64, Σ_m w_m π_m(item | x): its exact probability under the mixture.
        oracle_items: int64, the item that would have been best.
    """

    items: Tensor
    policies: Tensor
    propensities: Tensor
    oracle_items: Tensor


class LoggingAgent(RandomPolicy):
    """A mixture of a random, a popularity-biased and an expert policy (Appendix H.2).

    Args:
        world: where it recommends.
        scenario: see :func:`mixture_weights`.
        config: see :class:`LoggingConfig`.
        seed: integer in [0, 2**63), for :meth:`act`.
        tastes: how :meth:`act` reads tastes, float32 (B, K), from observations; ``None``: by
            :meth:`World.tastes`, the observations being contexts.
    """

    def __init__(
        self,
        world: World,
        scenario: str | Mapping[str, float],
        config: LoggingConfig | None = None,
        seed: int = 0,
        tastes: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.world = world
        self._tastes = world.tastes if tastes is None else tastes
        self.config = LoggingConfig() if config is None else config
        if not isinstance(self.config, LoggingConfig):
            raise ValueError(f"The logging agent's config is a LoggingConfig, not {config!r}.")
        self.weights = mixture_weights(scenario)
        self._seed = check_seed(seed)
        popularity = torch.from_numpy(world.catalogue.popularity).to(world.device)
        organic = popularity**self.config.random_exponent
        self._random = organic / organic.sum()
        self._random_cdf = self._random.cumsum(0)
        self._log_bias = self.config.popularity_bias * popularity.log()

    def choose(self, tastes: Tensor, seed: int, rounds: Tensor) -> LoggedChoices:
        """Recommend to users with the given tastes; a pure function of its arguments.

        Args:
            tastes: float32 (B, K), of :meth:`World.tastes`.
            seed: integer in [0, 2**63).
            rounds: int64 (B,), ≥ 0, the counter of each recommendation.
        """
        keys = torch.tensor(seed, dtype=torch.int64, device=self.world.device)
        words = rng.philox_4x32(keys, Stream.LOGGING_POLICY, rounds.to(self.world.device), 3)
        which = rng.uniforms(words[:, 0])
        where = rng.uniform_52bit(words[:, 1], words[:, 2])
        rows = self.world.rows_at_a_time
        parts = [
            self._choose(tastes[s : s + rows], which[s : s + rows], where[s : s + rows])
            for s in range(0, max(1, len(tastes)), rows)
        ]
        return LoggedChoices(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def act(self, observations: Tensor, rounds: Tensor | None = None) -> Tensor:
        """Embeddings of the items that it shows, a pure function of the arguments.

        Args:
            observations: float32 (B, o), or an array that becomes it.
            rounds: int64 (B,), ≥ 0, as for :meth:`choose`; ``None``: 0 to B - 1. Whoever asks more
                than once numbers on, or lets :class:`recsim_drpo.core.policy.PolicyStream` do so.

        Returns:
            float32 (B, d), rows of the catalogue.
        """
        states = torch.as_tensor(observations, dtype=torch.float32, device=self.world.device)
        rounds = torch.arange(len(states)) if rounds is None else rounds
        choices = self.choose(self._tastes(states), self._seed, rounds)
        return self.world.embeddings[choices.items]

    def probabilities(self, tastes: Tensor) -> Tensor:
        """Σ_m w_m π_m(i | x) of every item: float64 (B, N), rows summing to 1.

        Args:
            tastes: float32 (B, K), of :meth:`World.tastes`; B × N numbers have to fit in memory.
        """
        w_random, w_popularity, w_expert = self.weights
        cosines = self.world.cosines(tastes).to(torch.float64)
        popular = torch.softmax(self._popularity_logits(cosines), dim=1)
        expert = torch.softmax(self._expert_logits(cosines), dim=1)
        return w_random * self._random + w_popularity * popular + w_expert * expert

    def expected_item_shares(self, tastes: Tensor) -> Tensor:
        """Mean over the given users of :meth:`probabilities`: float64 (N,), sums to 1."""
        pieces = torch.split(tastes, self.world.rows_at_a_time)
        total = torch.stack([self.probabilities(piece).sum(dim=0) for piece in pieces]).sum(dim=0)
        return total / len(tastes)

    def _choose(self, tastes: Tensor, which: Tensor, where: Tensor) -> LoggedChoices:
        w_random, w_popularity, w_expert = self.weights
        cosines = self.world.cosines(tastes)
        best, oracle_items = row_max(cosines)
        policies = (which >= w_random).to(torch.int8) + (which >= w_random + w_popularity).to(
            torch.int8
        )
        items = torch.searchsorted(self._random_cdf, where * self._random_cdf[-1], right=True)
        items.clamp_(max=self.world.num_items - 1)
        matches = cosines.sub_(best.unsqueeze(1))  # ≤ 0: exponentials cannot overflow
        propensities = torch.zeros(len(tastes), dtype=torch.float64, device=tastes.device)
        components: list[tuple[float, Tensor]] = []
        for code, weight, logits in (
            (1, w_popularity, self._popularity_logits),
            (2, w_expert, self._expert_logits),
        ):
            if weight == 0.0:
                continue
            affinities = logits(matches).exp_()
            mine = (policies == code).nonzero().squeeze(-1)
            items[mine] = _draw(affinities[mine], where[mine])
            components.append((weight, affinities))
        for weight, affinities in components:
            shown = affinities.gather(1, items.unsqueeze(1)).squeeze(1).to(torch.float64)
            propensities += weight * shown / affinities.sum(dim=1).to(torch.float64)
        propensities += w_random * self._random[items]
        return LoggedChoices(items, policies, propensities, oracle_items)

    def _expert_logits(self, matches: Tensor) -> Tensor:
        return matches / max(self.config.expert_temperature, _COLDEST)

    def _popularity_logits(self, matches: Tensor) -> Tensor:
        logits = matches / max(self.config.popularity_temperature, _COLDEST)
        logits += self._log_bias.to(logits.dtype)
        # The largest becomes 0: no row of exponentials can vanish, however strong the bias.
        return logits.sub_(logits.amax(dim=1, keepdim=True))


def _draw(weights: Tensor, quantiles: Tensor) -> Tensor:
    """One column for each row of ``weights`` (B, N) by inverse CDF at ``quantiles`` (B,) in (0, 1).

    In two levels, sums of 64 columns and then the 64, since a running sum of all N costs more than
    the scores themselves.
    """
    num_rows, num_items = weights.shape
    padded = torch.nn.functional.pad(weights, (0, -num_items % _BLOCK))
    blocks = padded.view(num_rows, padded.shape[1] // _BLOCK, _BLOCK)
    upper = blocks.sum(dim=2, dtype=torch.float64).cumsum(dim=1)
    target = quantiles.unsqueeze(1) * upper[:, -1:]
    block = torch.searchsorted(upper, target, right=True).clamp_(max=upper.shape[1] - 1)
    before = torch.where(block > 0, upper.gather(1, (block - 1).clamp_min(0)), 0.0)
    chosen = block.unsqueeze(2).expand(num_rows, 1, _BLOCK)
    inner = blocks.gather(1, chosen).squeeze(1).to(torch.float64).cumsum(dim=1)
    # Below the block's sum, so that rounding cannot lead past its last column of positive weight.
    rest = torch.minimum((target - before).clamp_min(0.0), inner[:, -1:] * (1.0 - 1e-12))
    column = torch.searchsorted(inner, rest, right=True)
    return (block * _BLOCK + column).squeeze(1)
