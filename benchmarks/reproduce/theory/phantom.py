r"""The phantom-gradient monitor of Section 5.2: train on positives, watch what negatives would do.

The log is split once, before training: with K = ⌊κN⌋ and ν the K-th largest logged reward,
*positive* samples are those with R ≥ ν and *negative* ones all others. The policy descends
L⁺ = −mean log π over batches of positives (behaviour cloning of what a fixed hard filter admits).
At logged steps, on a batch of either kind of the size that training uses, gradients are taken of L⁺
(*actual*) and of L⁻ = +mean log π over negatives, an advantage of −1 (*phantom*), which is never
applied. A *force* is minus a gradient: the direction in which a step would go.

The paper leaves open how the policy's σ is made and where it starts, which decides most of what is
seen: :data:`VARIANTS` has four ways.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from recsim_drpo.agents.engine.networks import (
    Parameters,
    gaussian_log_prob,
    policy_log_prob,
    policy_moments,
)
from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.world import World
from recsim_drpo.training.loop import draw_indices

BATCH_SIZE = 320
PROBES = (32, 320, 6_400)
"""Sizes of the batches that the last measurement is repeated on: noise in a norm depends on it."""
SIDES = ("actual", "phantom")
FORCES = ("total", "mu", "log_sigma", "away", "outward", "expanding", "distance", "z_squared")
STATES = ("sigma", "mean_norm")


class Variant(NamedTuple):
    """A policy's σ.

    Attributes:
        mode: see :class:`recsim_drpo.agents.engine.algorithm.PolicyConfig`.
        log_sigma: where a learnt vector log σ starts.
    """

    mode: str
    log_sigma: float = 0.0


VARIANTS = {
    "learned": Variant("learned"),
    "fixed": Variant("fixed"),
    "state": Variant("state"),
    # The spread of a unit vector's coordinates in 128 dimensions: z² is near 1 from the start.
    "learned, from 1/√128": Variant("learned", -0.5 * math.log(128.0)),
}

Series = dict[str, NDArray[np.float64]]


def logged_rounds(world: World, scenario: str, seed: int, num_rounds: int) -> Transitions:
    """The transitions of a dataset of that scenario and seed, made without writing one."""
    rounds = torch.arange(num_rounds + 1)  # one more: the observation after the last
    users = world.users("train", seed, rounds)
    choices = LoggingAgent(world, scenario).choose(users.tastes[:-1], seed, rounds[:-1])
    latent = world.reward_of_items(choices.items, users.interests[:-1])
    return Transitions(
        users.contexts,
        rounds[:-1],
        world.embeddings[choices.items],
        world.observed_reward(latent, users.reward_noise[:-1]),
        torch.ones(num_rounds, dtype=torch.bool),
        {},
    )


class Side:
    """One kind of samples in each learner's log, as indices into all logs joined.

    Args:
        indices: int64 (n_l,) for each learner l.
    """

    def __init__(self, indices: Sequence[Tensor]) -> None:
        self.sizes = torch.tensor([len(each) for each in indices])
        self._table = torch.nn.utils.rnn.pad_sequence(list(indices), batch_first=True)

    def at(self, places: Tensor) -> Tensor:
        """Indices (L, B) of the samples at places (L, B), each row below its learner's n."""
        return self._table.gather(1, places)

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """Indices (L, size) of a batch for each learner, uniform with replacement."""
        uniform = torch.rand((len(self.sizes), size), generator=generator)
        return self.at((uniform * self.sizes.unsqueeze(1)).long())


def split(rewards: Tensor, kappa: float) -> tuple[Tensor, Tensor]:
    """Indices of the positive and of the negative samples among rewards (N,); see the module."""
    threshold = rewards.sort(descending=True).values[int(kappa * len(rewards)) - 1]
    return (rewards >= threshold).nonzero()[:, 0], (rewards < threshold).nonzero()[:, 0]


def monitor(
    logs: Sequence[Transitions],
    seeds: Sequence[int],
    kappa: float,
    variant: Variant,
    steps: int,
    every: int,
    *,
    progress: bool,
    label: str,
) -> Series:
    """Train one policy a seed on its positives, and measure both sides as it goes.

    Args:
        logs: each seed's own.
        seeds: of the policies and of the order in which they meet samples.
        kappa: share of a log that is positive, in (0, 1).
        variant: how the policy's σ is made.
        steps: updates.
        every: steps between measurements; the first is before any update, the last after all.
        progress: show rate and time left on a terminal.
        label: shown beside the progress.

    Returns:
        (seeds, T) by name: ``{side}_{force}`` for :data:`SIDES` and :data:`FORCES`, and
        :data:`STATES`, see :func:`forces`; ``{side}_log_sigma_of_{size}`` (seeds, 1) for
        :data:`PROBES`, at the end.
    """
    starts = np.cumsum([0, *[len(log) for log in logs]])
    parts = [split(log.rewards, kappa) for log in logs]
    positive, negative = (
        Side([part[side] + int(start) for part, start in zip(parts, starts, strict=False)])
        for side in (0, 1)
    )
    everything = Transitions.concatenated(logs)
    fleet = _fresh_fleet(everything, seeds, variant)
    step = fleet.bind(everything, BATCH_SIZE)
    generator = torch.Generator().manual_seed(0)

    def probe(size: int) -> dict[str, Tensor]:
        batches = [everything.take(side.draw(size, generator)) for side in (positive, negative)]
        samples = [(batch.observations, batch.actions) for batch in batches]
        return measure(fleet, variant.mode, samples)

    rows = []
    bar = tqdm(range(steps + 1), label, unit="step", disable=None if progress else True)
    for number in bar:
        if number % every == 0:
            rows.append(probe(BATCH_SIZE))
        if number < steps:
            places = draw_indices(fleet.seeds, positive.sizes, number, 1, BATCH_SIZE)[0]
            step(positive.at(places))
    if bool((fleet.diverged_at >= 0).any()):
        raise ArithmeticError(f"A policy diverged on positive samples alone: {label}.")
    series = {name: torch.stack([row[name] for row in rows], dim=1).numpy() for name in rows[0]}
    for size in PROBES:
        measured = probe(size)
        for side in SIDES:
            series[f"{side}_log_sigma_of_{size}"] = measured[f"{side}_log_sigma"][:, None].numpy()
    return series


def _fresh_fleet(log: Transitions, seeds: Sequence[int], variant: Variant) -> Fleet:
    """A policy a seed, untrained, with σ made as the variant says."""
    fleet = Fleet(
        "bc",
        observation_dim=log.observation_dim,
        action_dim=log.action_dim,
        seeds=seeds,
        overrides=[{"sigma": variant.mode}],
    )
    if variant.mode == "learned":
        state = fleet.state_dict()
        state["parameters.log_std"].fill_(variant.log_sigma)
        fleet.load_state_dict(state)
    return fleet


def measure(
    fleet: Fleet, sigma: str, samples: Sequence[tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """Forces and states of every policy, as :func:`monitor` records them: float64 (L,) by name.

    Args:
        fleet: of L policies of one structure.
        sigma: their σ mode.
        samples: observations (L, B, o) and actions (L, B, a) of positives, then of negatives.
    """
    prefix = "parameters."
    state = fleet.state_dict()
    parameters = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    def of_one(own: Parameters, *batches: Any) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for side, (observations, actions) in zip(SIDES, batches, strict=True):
            measured = forces(own, observations, actions, sigma, repelled=side == "phantom")
            values |= {f"{side}_{name}": value for name, value in measured.items()}
        mean, log_std = policy_moments(own, batches[0][0], sigma)
        values["sigma"] = log_std.mean().exp()
        values["mean_norm"] = mean.norm(dim=-1).mean()
        return values

    by_policy: dict[str, Tensor] = torch.func.vmap(of_one)(parameters, *samples)
    return {name: value.to(torch.float64) for name, value in by_policy.items()}


def forces(
    parameters: Parameters, observations: Tensor, actions: Tensor, sigma: str, *, repelled: bool
) -> dict[str, Tensor]:
    """Gradients of one policy's loss over a batch: of −mean log π, or of its negative if repelled.

    Returns:
        scalars by name. Norms of the gradient: ``total``, over all parameters; ``mu``, with respect
        to the network's means (B, a); ``log_sigma``, to a shift (a,) of log σ common to the batch:
        what a learnt vector sees. Signed forces, means over the batch: ``away``,
        a sample's force on μ along (μ − a)/‖μ − a‖; ``outward``, the same along μ/‖μ‖;
        ``expanding``, the force on log σ, a coordinate. ``distance`` is ‖a − μ‖ and ``z_squared``
        is (a − μ)²/σ² a coordinate.
    """
    sign = -1.0 if repelled else 1.0
    size, dim = actions.shape

    def loss(own: Parameters) -> Tensor:
        return -sign * policy_log_prob(own, observations, actions, sigma).mean()

    def loss_of_moments(mean: Tensor, log_std: Tensor) -> Tensor:
        return -sign * gaussian_log_prob(mean, log_std, actions).mean()

    gradients = torch.func.grad(loss)(parameters)
    mean, log_std = policy_moments(parameters, observations, sigma)
    on_mean, on_log_std = torch.func.grad(loss_of_moments, argnums=(0, 1))(mean, log_std)
    apart = mean - actions
    force = -size * on_mean
    return {
        "total": torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt(),
        "mu": on_mean.norm(),
        "log_sigma": on_log_std.reshape(-1, dim).sum(dim=0).norm(),
        "away": (force * torch.nn.functional.normalize(apart, dim=-1)).sum(dim=-1).mean(),
        "outward": (force * torch.nn.functional.normalize(mean, dim=-1)).sum(dim=-1).mean(),
        "expanding": -on_log_std.sum() / dim,
        "distance": apart.norm(dim=-1).mean(),
        "z_squared": (apart * torch.exp(-log_std)).square().mean(),
    }
