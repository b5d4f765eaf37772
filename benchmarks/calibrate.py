"""Choose the free parameters of ``RecSimZipf-v0``: ``python -m recsim_drpo.benchmarks.calibrate``.

Only facts about the environment and the ``medium`` logging agent count: no agent is trained here,
none is looked at. docs/calibration.md says which facts, and what came out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from recsim_drpo.reporting import paper
from recsim_drpo.reporting.statistics import counts_by_rank, monotone_root, zipf_exponent
from recsim_drpo.simulator.config import (
    ECPM_PER_REWARD,
    POLICIES,
    SCENARIOS,
    LoggingConfig,
    WorldConfig,
)
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.world import Users, World

EXPERT_SHARE = 0.9
"""The expert's mean reward as a share of the optimum: not in the paper, fixed before the search."""

GRID: dict[str, list[Any]] = {
    "num_topics": [8, 10, 12, 16, 20, 24, 32],
    "topic_spread": [0.85, 1.0, 1.15],
    "topic_size_exponent": [0.0, 0.5],
    "interest_sharpness": [2.0, 3.0, 4.0, 6.0],
}


def solve_for(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    """The x in [low, high] at which a rising ``function`` is ``target``, else the nearer end."""
    # On a logarithmic scale, as the ends lie powers of ten apart; float32 gives no more digits.
    root = monotone_root(
        lambda log: function(math.exp(log)) - target, math.log(low), math.log(high), 1e-8
    )
    return math.exp(root)


def random_network_reward(world: World, contexts: torch.Tensor, interests: torch.Tensor) -> float:
    """Mean reward of untrained policy networks (2 × 128 hidden units, ReLU), over 20 of them."""
    rewards = []
    for seed in range(20):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = torch.nn.Sequential(
                torch.nn.Linear(world.context_dim, 128),
                torch.nn.ReLU(),
                torch.nn.Linear(128, 128),
                torch.nn.ReLU(),
                torch.nn.Linear(128, world.dim),
            )
        with torch.no_grad():
            items = world.decode(network(contexts))
        rewards.append(float(world.reward_of_items(items, interests).mean()))
    return float(np.mean(rewards))


def log_misfit(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    """Root mean square of log(ours / theirs), both relative to their first entry."""
    floor = 1e-6
    a = np.log(np.maximum(ours / ours[0], floor))
    b = np.log(np.maximum(theirs / theirs[0], floor))
    return float(np.sqrt(np.mean(np.square(a - b))))


def solve(config: WorldConfig, num_users: int) -> tuple[WorldConfig, LoggingConfig]:
    """Choose δ for the optimum, τ_e for the expert and τ_p for the mean of ``medium``."""
    world = World(config)
    users = world.users("train", 0, torch.arange(num_users))
    cosines = world.cosines(users.tastes)
    best = cosines.amax(dim=1)

    def optimum(delta: float) -> float:
        return float(torch.exp((best - 1.0) / (2.0 * delta**2)).mean())

    target = paper.OPTIMUM_ECPM / ECPM_PER_REWARD
    config = replace(config, delta=round(solve_for(optimum, target, 0.02, 3.0), 3))
    values = World(config, catalogue=world.catalogue).latent_reward(cosines)
    bias = world.popularity.log()

    def soft_mean(temperature: float, bias: torch.Tensor) -> float:
        return float((torch.softmax(cosines / temperature + bias, dim=1) * values).sum(1).mean())

    none = torch.zeros_like(bias)
    expert_temperature = 1.0 / solve_for(
        lambda inverse: soft_mean(1.0 / inverse, none), EXPERT_SHARE * target, 1.0, 1000.0
    )
    weights = SCENARIOS["medium"]
    rest = weights["expert"] * soft_mean(expert_temperature, none) + weights["random"] * float(
        (values @ world.popularity).mean()
    )
    popularity_target = (paper.TEACHER_ECPM / ECPM_PER_REWARD - rest) / weights["popularity"]
    popularity_temperature = 1.0 / solve_for(
        lambda inverse: soft_mean(1.0 / inverse, bias), popularity_target, 0.5, 1000.0
    )
    return config, LoggingConfig(
        expert_temperature=round(expert_temperature, 4),
        popularity_temperature=round(popularity_temperature, 4),
    )


def measure(config: WorldConfig, logging: LoggingConfig, num_users: int) -> dict[str, Any]:
    """All that is reported of a world and its logging agent, as they are."""
    world = World(config)
    users = world.users("train", 0, torch.arange(num_users))
    values = world.latent_reward(world.cosines(users.tastes))
    curve = values.sort(dim=1, descending=True).values.mean(dim=0).numpy()
    ranks = np.minimum(paper.FIGURE_6B_RANKS, world.num_items) - 1
    result: dict[str, Any] = {
        "config": {name: getattr(config, name) for name in (*GRID, "catalogue_seed", "delta")},
        "logging": {
            "expert_temperature": logging.expert_temperature,
            "popularity_temperature": logging.popularity_temperature,
        },
        "optimum_ecpm": ECPM_PER_REWARD * float(values.amax(dim=1).mean()),
        "random_item_ecpm": ECPM_PER_REWARD * float(values.mean()),
        "random_network_ecpm": ECPM_PER_REWARD
        * random_network_reward(world, users.contexts, users.interests),
        "figure_6b": [round(float(v), 3) for v in curve[ranks] / curve[0]],
        "figure_6b_misfit": log_misfit(curve[ranks], paper.FIGURE_6B),
    }
    for name in POLICIES:
        result[f"{name}_ecpm"] = _expected_ecpm(LoggingAgent(world, {name: 1.0}, logging), users)
    for scenario in SCENARIOS:
        agent = LoggingAgent(world, scenario, logging)
        choices = agent.choose(users.tastes, 0, torch.arange(num_users))
        rewards = world.reward_of_items(choices.items, users.interests).numpy()
        shares = agent.expected_item_shares(users.tastes)
        by_rank = counts_by_rank(shares.numpy(), world.catalogue.popularity)
        exponent = zipf_exponent(by_rank)
        fitted = np.arange(1.0, world.num_items + 1) ** -exponent
        gap = np.abs(np.cumsum(by_rank) - np.cumsum(fitted / fitted.sum())).max()
        deciles = np.quantile(rewards, 1.0 - paper.FIGURE_1_SHARES)
        result |= {
            f"{scenario}_ecpm": sum(
                weight * result[f"{name}_ecpm"]
                for weight, name in zip(agent.weights, POLICIES, strict=True)
            ),
            f"{scenario}_zipf": exponent,
            f"{scenario}_zipf_gap": float(gap),
            f"{scenario}_deciles": [round(float(v), 3) for v in deciles / deciles[0]],
            f"{scenario}_figure_1_misfit": log_misfit(deciles, paper.FIGURE_1),
        }
    return result


def _expected_ecpm(agent: LoggingAgent, users: Users) -> float:
    """Mean eCPM of a component of the logging agent, without the noise of drawing items."""
    world = agent.world
    total = 0.0
    for tastes in torch.split(users.tastes, world.rows_at_a_time):
        values = world.latent_reward(world.cosines(tastes)).to(torch.float64)
        total += float((agent.probabilities(tastes) * values).sum())
    return ECPM_PER_REWARD * total / len(users.tastes)


def admissible(result: dict[str, Any]) -> bool:
    """Whether the facts that are intervals hold; δ, τ_e and τ_p were solved for the others."""
    low, high = paper.RANDOM_NETWORK_ECPM
    return bool(
        low <= result["random_network_ecpm"] <= high
        and abs(result["medium_ecpm"] - paper.TEACHER_ECPM) <= 0.01
        and result["medium_zipf_gap"] <= 0.05
        and result["extreme_zipf_gap"] <= 0.05
    )


def score(result: dict[str, Any]) -> float:
    """Misfit of the two published shapes, in log units; smaller is better."""
    return float(result["figure_6b_misfit"] + result["medium_figure_1_misfit"])


def main() -> None:
    """Search the grid, print the best and write everything to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-users", type=int, help="default: 800, or 20,000 with --check")
    parser.add_argument("--catalogue-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/calibration.json"))
    parser.add_argument(
        "--check", action="store_true", help="measure the registered values; search nothing"
    )
    arguments = parser.parse_args()
    if arguments.check:
        num_users = arguments.num_users or 20_000
        for seed in arguments.catalogue_seeds:
            found = measure(WorldConfig(catalogue_seed=seed), LoggingConfig(), num_users)
            print(json.dumps(found, indent=1))
        return
    num_users = arguments.num_users or 800
    rows: list[dict[str, Any]] = []
    points = list(itertools.product(*GRID.values()))
    for values in tqdm(points, desc="calibrate", unit="world"):
        config = WorldConfig(**dict(zip(GRID, values, strict=True)))
        per_seed = [
            measure(*solve(replace(config, catalogue_seed=seed), num_users), num_users)
            for seed in arguments.catalogue_seeds
        ]
        rows.append(
            {
                "point": dict(zip(GRID, values, strict=True)),
                "admissible": all(map(admissible, per_seed)),
                "score": float(np.mean([score(result) for result in per_seed])),
                "per_seed": per_seed,
            }
        )
    rows.sort(key=lambda row: (not row["admissible"], row["score"]))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "num_users": num_users,
        "catalogue_seeds": arguments.catalogue_seeds,
        "grid": GRID,
        "num_points": len(rows),
        "num_admissible": sum(row["admissible"] for row in rows),
        "best": rows[:5],
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    for row in rows[:5]:
        print(json.dumps({key: row[key] for key in ("point", "admissible", "score")}))
    print(json.dumps(rows[0]["per_seed"][0], indent=1))


if __name__ == "__main__":
    main()
