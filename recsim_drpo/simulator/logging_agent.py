"""The mixed-strategy logging agent (Appendix H.2 and H.4), with exact propensities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from recsim_drpo.core import rng
from recsim_drpo.core.messages import shown
from recsim_drpo.core.random_policies import RandomPolicy
from recsim_drpo.core.rng import Stream
from recsim_drpo.core.validation import check_number, check_seed, unknown_name
from recsim_drpo.simulator import tiles
from recsim_drpo.simulator.config import POLICIES, SCENARIOS, LoggingConfig
from recsim_drpo.simulator.decoder import row_max
from recsim_drpo.simulator.world import World


def mixture_weights(scenario: str | Mapping[str, float]) -> tuple[float, float, float]:
    """Weights of the random, popularity-biased and expert component, which sum to 1.

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
        raise ValueError(f"scenario={shown(scenario)} is neither a name nor weights by component.")
    for name, weight in scenario.items():
        if name not in POLICIES:
            raise unknown_name("component of the logging agent", name, POLICIES)
        check_number(f"weight of {shown(name)}", weight, 0.0, 1.0)
    total = sum(scenario.values())
    if abs(total - 1.0) > 1e-6:
        raise ValueError(f"The weights {dict(scenario)} sum to {total:.6g}; they must sum to 1.")
    random, popularity, expert = (float(scenario.get(name, 0.0)) / total for name in POLICIES)
    return random, popularity, expert


class LoggedChoices(NamedTuple):
    """Items that the logging agent shows to a batch of users, all of shape (B,).

    Attributes:
        items: int64, rows of the catalogue.
        policies: int8, the component that chose each: an index into :data:`POLICIES`.
        propensities: float64 in (0, 1], the item's exact probability Σ_m w_m π_m(item | x) under
            the mixture.
        oracle_items: int64, each user's item of largest latent reward.
    """

    items: Tensor
    policies: Tensor
    propensities: Tensor
    oracle_items: Tensor


class LoggingAgent(RandomPolicy):
    """A mixture of a random, a popularity-biased and an expert policy (Appendix H.2).

    Args:
        world: items and users.
        scenario: see :func:`mixture_weights`.
        config: how its components choose; ``None``: the calibrated :class:`LoggingConfig`.
        seed: integer in [0, 2**63), for :meth:`act`.
        tastes: reads tastes, float32 (B, K), from the observations of :meth:`act`; ``None``:
            :meth:`World.tastes`, the observations being contexts.

    Raises:
        ValueError: an unknown scenario, weights that do not sum to 1, a config of another type or
            a seed out of its range.

    Attributes:
        world: as the argument.
        config: as the argument.
        weights: of the components, in the order of :data:`POLICIES`.
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
            raise ValueError(f"The logging agent's config is a LoggingConfig, not {shown(config)}.")
        self.weights = mixture_weights(scenario)
        self._seed = check_seed(seed)
        popularity = torch.from_numpy(world.catalogue.popularity)
        organic = popularity**self.config.random_exponent
        if not organic.sum() > 0.0:  # so steep that all vanish, which their ratios do not
            organic = (popularity / popularity.max()) ** self.config.random_exponent
        random = organic / organic.sum()
        self._random = random.to(world.device)
        self._random_cdf = random.cumsum(0).to(world.device)
        log_bias = self.config.popularity_bias * popularity.log()
        self._log_bias = log_bias.to(world.device)
        self._popularity = tiles.Softmax.biased(
            self.config.popularity_temperature, log_bias, world.device
        )

    def choose(self, tastes: Tensor, seed: int, rounds: Tensor) -> LoggedChoices:
        """Items for users of these tastes; a pure function of the arguments.

        Args:
            tastes: float32 (B, K), of :meth:`World.tastes`.
            seed: integer in [0, 2**63).
            rounds: int64 (B,), ≥ 0, the counter of each recommendation's random numbers.
        """
        keys = torch.tensor(seed, dtype=torch.int64, device=self.world.device)
        words = rng.philox_4x32(keys, Stream.LOGGING_POLICY, rounds.to(self.world.device), 3)
        uniforms = rng.uniforms(words[:, 0]), rng.uniform_52bit(words[:, 1], words[:, 2])
        large = self.world.num_items > tiles.LARGE
        users = tiles.users_at_a_time(tastes.device) if large else self.world.rows_at_a_time
        choose = self._choose_in_tiles if large else self._choose
        blocks = zip(*(torch.split(column, users) for column in (tastes, *uniforms)), strict=True)
        parts = [choose(*block) for block in blocks]
        return LoggedChoices(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def act(self, observations: Tensor, rounds: Tensor | None = None) -> Tensor:
        """Embeddings of the items shown; a pure function of the arguments.

        Args:
            observations: float32 (B, o), or an array that becomes it.
            rounds: int64 (B,), ≥ 0, as for :meth:`choose`; ``None``: 0 to B - 1. For further
                draws pass other rounds, or let :class:`.random_policies.PolicyStream` count them.

        Returns:
            float32 (B, d), rows of the catalogue.
        """
        states = torch.as_tensor(observations, dtype=torch.float32, device=self.world.device)
        rounds = torch.arange(len(states)) if rounds is None else rounds
        choices = self.choose(self._tastes(states), self._seed, rounds)
        return self.world.embeddings[choices.items]

    def probabilities(self, tastes: Tensor) -> Tensor:
        """Probabilities Σ_m w_m π_m(i | x) of all items, float64 (B, N), rows summing to 1.

        Args:
            tastes: float32 (B, K), of :meth:`World.tastes`; B × N numbers have to fit in memory.
        """
        w_random, w_popularity, w_expert = self.weights
        cosines = self.world.cosines(tastes).to(torch.float64)
        popular = torch.softmax(self._popularity_logits(cosines), dim=1)
        expert = torch.softmax(self._expert_logits(cosines), dim=1)
        return w_random * self._random + w_popularity * popular + w_expert * expert

    def expected_item_shares(self, tastes: Tensor) -> Tensor:
        """Mean of :meth:`probabilities` over users of tastes (B, K): float64 (N,), summing to 1."""
        if self.world.num_items > tiles.LARGE:
            return self._expected_item_shares_in_tiles(tastes)
        pieces = torch.split(tastes, self.world.rows_at_a_time)
        total = torch.stack([self.probabilities(piece).sum(dim=0) for piece in pieces]).sum(dim=0)
        return total / len(tastes)

    def _choose(
        self, tastes: Tensor, component_uniforms: Tensor, item_uniforms: Tensor
    ) -> LoggedChoices:
        """Items drawn with uniform numbers, float64 (B,), for the component and for its item."""
        w_random, w_popularity, w_expert = self.weights
        cosines = self.world.cosines(tastes)
        best, oracle_items = row_max(cosines)
        policies, items = self._components(component_uniforms, item_uniforms)
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
            items = _drawn_where(policies == code, affinities, item_uniforms, items)
            components.append((weight, affinities))
        for weight, affinities in components:
            shown = affinities.gather(1, items.unsqueeze(1)).squeeze(1).to(torch.float64)
            propensities += weight * shown / affinities.sum(dim=1).to(torch.float64)
        propensities += w_random * self._random[items]
        return LoggedChoices(items, policies, propensities, oracle_items)

    def _choose_in_tiles(
        self, tastes: Tensor, component_uniforms: Tensor, item_uniforms: Tensor
    ) -> LoggedChoices:
        """As :meth:`_choose`, for a catalogue that is too large for whole rows of scores."""
        components = self._softmaxes()
        policies, items = self._components(component_uniforms, item_uniforms)
        scan = self.world.scan(tastes, tuple(softmax for *_, softmax in components))
        tile, rest = items // tiles.items_at_a_time(tastes.device), item_uniforms
        for (code, *_), shares in zip(components, scan.shares, strict=True):
            drawn, left = tiles.draw_tile(shares, item_uniforms)
            tile = torch.where(policies == code, drawn, tile)
            rest = torch.where(policies == code, left, rest)
        near = self.world.tile_of_each(tastes, tile)
        weights = [near.weights(softmax) for *_, softmax in components]
        columns = items - near.starts
        for (code, *_), in_tile in zip(components, weights, strict=True):
            columns = _drawn_where(policies == code, in_tile, rest, columns)
        items = near.starts + columns
        propensities = self.weights[0] * self._random[items]
        column = columns.unsqueeze(1)
        for (_, weight, _), shares, in_tile in zip(components, scan.shares, weights, strict=True):
            of_tile = shares.gather(1, tile.unsqueeze(1))
            # Summed in float32: to float64 the many weights below its range would come slowly.
            total = in_tile.sum(dim=1, keepdim=True).to(torch.float64)
            within = in_tile.gather(1, column).to(torch.float64) / total
            propensities += weight * (of_tile * within).squeeze(1)
        return LoggedChoices(items, policies, propensities, scan.best_items)

    def _expected_item_shares_in_tiles(self, tastes: Tensor) -> Tensor:
        """As :meth:`expected_item_shares`: the softmaxes' sums first, then each item's part."""
        total = self.weights[0] * len(tastes) * self._random
        softmaxes = self._softmaxes()
        for part in torch.split(tastes, tiles.users_at_a_time(tastes.device)):
            scan = self.world.scan(part, tuple(softmax for *_, softmax in softmaxes))
            for columns, cosines in self.world.cosine_tiles(part):
                matches = cosines.sub_(scan.best)
                for (_, weight, softmax), log_total in zip(softmaxes, scan.log_totals, strict=True):
                    logs = softmax.logs(matches, columns) - log_total
                    total[columns] += weight * torch.exp2(logs).sum(dim=0)
        return total / len(tastes)

    def _softmaxes(self) -> list[tuple[int, float, tiles.Softmax]]:
        """Code in :data:`POLICIES`, weight and softmax of the components that have a weight."""
        _, w_popularity, w_expert = self.weights
        expert = tiles.Softmax(self.config.expert_temperature)
        components = ((1, w_popularity, self._popularity), (2, w_expert, expert))
        return [component for component in components if component[1] > 0.0]

    def _components(
        self, component_uniforms: Tensor, item_uniforms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The component of each user, int8 (B,), and the random component's item, int64 (B,)."""
        w_random, w_popularity, _ = self.weights
        past_random = component_uniforms >= w_random
        past_popularity = component_uniforms >= w_random + w_popularity
        policies = past_random.to(torch.int8) + past_popularity.to(torch.int8)
        quantiles = item_uniforms * self._random_cdf[-1]
        items = torch.searchsorted(self._random_cdf, quantiles, right=True)
        return policies, items.clamp_(max=self.world.num_items - 1)

    def _expert_logits(self, matches: Tensor) -> Tensor:
        """Logits of π_expert, of cosines (B, N) less a constant for each user."""
        return matches / max(self.config.expert_temperature, tiles.COLDEST)

    def _popularity_logits(self, matches: Tensor) -> Tensor:
        """Logits of π_popularity, of cosines (B, N) less a constant for each user."""
        logits = matches / max(self.config.popularity_temperature, tiles.COLDEST)
        logits += self._log_bias.to(logits.dtype)
        # The largest becomes 0: no row of exponentials can vanish, however strong the bias.
        return logits.sub_(logits.amax(dim=1, keepdim=True))


def _drawn_where(chosen: Tensor, affinities: Tensor, uniforms: Tensor, items: Tensor) -> Tensor:
    """The items, int64 (B,), drawn anew for the users that are chosen, bool (B,).

    A CPU looks at their affinities (B, N) alone; others would have to wait for who they are.
    """
    if chosen.device.type != "cpu":
        return torch.where(chosen, rng.categorical(affinities, uniforms), items)
    users = chosen.nonzero().squeeze(-1)
    items[users] = rng.categorical(affinities[users], uniforms[users])
    return items
