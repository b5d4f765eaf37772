"""Cards of the logs that experiments learn from: tables for the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.framework.documents import Table
from recsim_drpo.datasets.generation.statistics import LogStatistics
from recsim_drpo.simulator.config import ECPM_PER_REWARD, POLICIES
from recsim_drpo.simulator.world import make_world

MEASURED = ("medium", "extreme")
"""Conditions whose logs are measured; of the others their definition is shown."""
NUM_ROUNDS = 20_000
_INFOS = ("item_id", "policy", "latent_reward", "oracle_reward")


def cards(results: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    """The card of each measured log that one of the results learnt from."""
    plans = (plan for result in results for plan in result["plans"])
    conditions = {
        condition["label"]: condition for plan in plans for condition in plan.get("conditions", [])
    }
    for label in MEASURED:
        if label in conditions:
            yield card(Condition(**conditions[label]))


def card(condition: Condition) -> Table:
    """A table of who logged what and what it was worth, in the first 20,000 rounds of seed 0."""
    log = condition.log(0, num_rounds=NUM_ROUNDS, infos=_INFOS)
    infos = {name: column.cpu().numpy() for name, column in log.infos.items()}
    statistics = LogStatistics(make_world("cpu", **condition.world).num_items)
    statistics.add(log.rewards.cpu().numpy(), infos)
    rows = [
        [
            name,
            f"{policy['rounds'] / NUM_ROUNDS:.1%}",
            f"{policy['latent']:.3f}",
            f"{ECPM_PER_REWARD * policy['latent']:.2f}",
            f"{policy['observed']:.3f}",
        ]
        for name, policy in statistics.by_policy().items()
    ]
    deciles = ", ".join(f"{x:.2f}" for x in statistics.deciles())
    shown = (statistics.counts.sum(axis=0) > 0).mean()
    return Table(
        f"The {condition.label} log",
        ["logged by", "rounds", "latent reward", "eCPM", "observed reward"],
        rows,
        f"The first {NUM_ROUNDS:,} of {condition.num_rounds:,} rounds of seed 0. Mean latent "
        f"reward {statistics.mean_latent_reward:.3f}, of the best items "
        f"{statistics.mean_oracle_reward:.3f}; latent reward at 10, 20, …, 90 % of the rounds, "
        f"best first: {deciles}; {shown:.1%} of the catalogue is shown.",
    )


def definitions(plan: Mapping[str, Any]) -> Table:
    """A table of a plan's conditions: rounds, logging mixture, and what is not as registered."""
    rows = [
        [
            condition["label"],
            f"{condition['num_rounds']:,}",
            *(f"{condition['weights'].get(name, 0.0):.1%}" for name in POLICIES),
            _changes(condition["world"]),
            _changes(condition["logging"]),
        ]
        for condition in plan["conditions"]
    ]
    header = ["log", "rounds", *POLICIES, "world", "logging policies"]
    seeds = len(plan["seeds"])
    note = (
        f"{seeds} logs of each, one a seed. World and logging policies: what is not as registered."
    )
    return Table(f"Logs of {plan['name']}", header, rows, note)


def _changes(fields: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in fields.items()
    )
