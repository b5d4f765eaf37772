"""How right off-policy evaluation is: ``python -m recsim_drpo.benchmarks.ope_accuracy``.

Many synthetic policies, each evaluated from a log of the simulator and held against its true value:
bias, root mean squared error, and how often the 95 % interval covers the truth. Logs differ in
world, logger and users; policies lie between the user's interest and a random direction, half of
them stochastic. Worlds and policies were chosen before any estimator was run on them.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recsim_drpo.core.torch_settings import threads
from recsim_drpo.datasets.generate import simulate_transitions
from recsim_drpo.ope import estimators as ope
from recsim_drpo.ope.estimators import Terms
from recsim_drpo.ope.evaluator import OffPolicyEvaluator
from recsim_drpo.ope.logs import ItemLog
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.simulator.config import LoggingConfig
from recsim_drpo.simulator.world import World, make_world

DEFAULT_OUT = Path("benchmarks/results/ope-accuracy.csv")
LOGGERS: tuple[tuple[dict[str, float], float], ...] = (
    ({"random": 1.0}, 0.0),
    ({"random": 0.9, "popularity": 0.05, "expert": 0.05}, 1.0),
    ({"random": 0.3, "popularity": 0.6, "expert": 0.1}, 1.0),
    ({"random": 0.5, "expert": 0.5}, 0.0),
)
"""Weights of the logging agent, and the exponent of popularity in its random traffic."""

SAMPLES = 8
"""Draws in each context of a stochastic policy."""

_WORLD = {"num_items": 100, "embedding_dim": 16, "num_topics": 5}
_RESAMPLES = 200
_TRUE_USERS = 50_000
_SPREAD = 0.15

Row = dict[str, Any]


class SyntheticPolicy:
    """A policy whose actions lie between a user's interest and a random function of the context.

    Args:
        world: where it recommends.
        insight: from 0, it knows nothing of the user, to 1, it is the oracle's direction.
        sigma: standard deviation of what :meth:`sample` adds to every component.
        seed: of the linear function.
    """

    def __init__(self, world: World, insight: float, sigma: float, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._map = torch.randn(world.context_dim, world.dim, generator=generator)
        self._world, self._insight, self.sigma = world, insight, sigma

    def act(self, observations: Tensor) -> Tensor:
        """Actions, float32 (B, d), for contexts (B, o)."""
        interest = self._world.interests(self._world.tastes(observations))
        elsewhere = torch.nn.functional.normalize(observations @ self._map, dim=1)
        return self._insight * interest + (1.0 - self._insight) * elsewhere

    def sample(self, observations: Tensor, generator: torch.Generator) -> Tensor:
        """Actions of :meth:`act` with Gaussian noise, float32 (B, d)."""
        actions = self.act(observations)
        return actions + self.sigma * torch.randn(actions.shape, generator=generator)


def true_value(policy: SyntheticPolicy, world: World, seed: int) -> float:
    """Mean observed reward over test users, Eq. 49's noise integrated out."""
    users = world.users("test", seed, torch.arange(_TRUE_USERS))
    generator = torch.Generator().manual_seed(seed)
    actions = (
        policy.sample(users.contexts, generator) if policy.sigma else policy.act(users.contexts)
    )
    latent = world.reward_of_items(world.decode(actions), users.interests).to(torch.float64)
    return float(clipped_mean(latent, world.config.reward_noise).mean())


def clipped_mean(latent: Tensor, sigma: float) -> Tensor:
    """E[clip(R + σ ε, 0, 1)] of latent rewards R in [0, 1], σ > 0."""

    def above(threshold: float) -> Tensor:  # E[(R + σ ε - threshold)₊]
        z = (latent - threshold) / sigma
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
        excess: Tensor = sigma * (density + z * torch.special.ndtr(z))
        return excess

    return above(0.0) - above(1.0)


def measure(num_logs: int, policies_per_log: int, num_rounds: int) -> Iterator[Row]:
    """A row for every log, policy and estimator."""
    for number in tqdm(range(num_logs), "logs", unit="log", disable=None):
        weights, exponent = LOGGERS[number % len(LOGGERS)]
        kwargs = {**_WORLD, "catalogue_seed": number}
        world = make_world(**kwargs)
        log = simulate_log(world, weights, exponent, kwargs, num_rounds, number)
        evaluator = OffPolicyEvaluator(log, seed=number)
        generator = np.random.default_rng(number)
        for which in range(policies_per_log):
            insight = float(generator.uniform())
            sigma = _SPREAD * (which % 2)
            policy = SyntheticPolicy(world, insight, sigma, 1_000 * number + which)
            terms = evaluator.terms(policy, samples=SAMPLES if sigma else 0)
            common = {
                "log": number,
                "logger": number % len(LOGGERS),
                "insight": round(insight, 3),
                "sigma": sigma,
                "truth": round(true_value(policy, world, number), 5),
            }
            resampled = _bootstrap(log, terms, number)
            forced = evaluator.estimates(terms, refuse=False)
            for raw, checked in zip(forced, evaluator.estimates(terms), strict=True):
                assert raw.value is not None
                estimate = raw.value._asdict() | {"ess": raw.ess}
                ends = resampled.get(raw.estimator, (math.nan, math.nan))
                boot = dict(zip(("boot_low", "boot_high"), ends, strict=True))
                yield (
                    common
                    | {"estimator": raw.estimator, "answers": int(checked.refusal is None)}
                    | {name: float(f"{value:.5g}") for name, value in (estimate | boot).items()}
                )


def simulate_log(
    world: World,
    weights: dict[str, float],
    exponent: float,
    kwargs: dict[str, int],
    num_rounds: int,
    seed: int,
) -> ItemLog:
    """Rounds of a world, logged by a mixture whose random traffic has that exponent."""
    rounds = simulate_transitions(
        scenario=weights,
        num_rounds=num_rounds,
        seed=seed,
        env_kwargs=kwargs,
        logging_config=LoggingConfig(random_exponent=exponent),
        infos=("item_id", "propensity"),
    )
    items, propensities = rounds.infos["item_id"], rounds.infos["propensity"]
    ids = np.arange(world.num_items)
    return ItemLog(
        rounds.observations(), items, rounds.rewards, propensities, world.embeddings, ids
    )


def _bootstrap(log: ItemLog, terms: Terms, seed: int) -> dict[str, tuple[float, float]]:
    """Percentile intervals of IPS and SNIPS over resampled rounds."""
    assert terms.weights is not None
    rounds = np.flatnonzero(terms.weights)
    weights, rewards = terms.weights[rounds], log.rewards.numpy().astype(np.float64)[rounds]
    # A round's number of copies is Poisson in the limit; those without weight are not drawn.
    copies = np.random.default_rng(seed).poisson(1.0, (_RESAMPLES, len(rounds)))
    paid, total = copies @ (weights * rewards), copies @ weights
    values = {"ips": paid / len(log), "snips": paid / np.maximum(total, 1e-12)}
    return {name: tuple(np.percentile(value, (2.5, 97.5))) for name, value in values.items()}


def table(rows: Sequence[Row], answers: bool) -> str:
    """Bias, RMSE and coverage by estimator, over answers or over what was refused."""
    cells = []
    for name in ope.ESTIMATORS:
        of_it = [row for row in rows if row["estimator"] == name]
        some = [row for row in of_it if bool(row["answers"]) == answers]
        cells.append([f"`{name}`", f"{len(some)} of {len(of_it)}", *_summary(some)])
    what = "answers" if answers else "refused"
    header = ["estimator", what, "bias", "RMSE", "half-width", "covers", "bootstrap covers"]
    return markdown_table(header, cells)


def by_ess(rows: Sequence[Row]) -> str:
    """Coverage of SNIPS and IPS by effective sample size: where the floor was put."""
    cells = []
    edges = (0.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, math.inf)
    for low, high in itertools.pairwise(edges):
        line = [f"{low:g} to {high:g}" if high < math.inf else f"from {low:g}"]
        for name in ("ips", "snips", "dr"):
            some = [r for r in rows if r["estimator"] == name and low <= r["ess"] < high]
            summary = _summary(some)
            line += [str(len(some)), summary[1], summary[3]]
        cells.append(line)
    names = [f"{n}: {what}" for n in ("ips", "snips", "dr") for what in ("pairs", "RMSE", "covers")]
    return markdown_table(["effective sample size", *names], cells)


def _summary(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["", "", "", "", ""]
    error = np.array([row["value"] - row["truth"] for row in rows])
    half = np.median([(row["high"] - row["low"]) / 2 for row in rows])
    boot = [_covers(row["boot_low"], row["truth"], row["boot_high"]) for row in rows]
    known = not math.isnan(rows[0]["boot_low"])
    return [
        f"{error.mean():+.4f}",
        f"{np.sqrt(np.square(error).mean()):.4f}",
        f"{half:.4f}",
        f"{np.mean([_covers(r['low'], r['truth'], r['high']) for r in rows]):.0%}",
        f"{np.mean(boot):.0%}" if known else "",
    ]


def _covers(low: float, truth: float, high: float) -> bool:
    return bool(low <= truth <= high)


def main() -> None:
    """Measure, write a CSV file with every row, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=40)
    parser.add_argument("--policies", type=int, default=6, help="evaluated on each log")
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"default {DEFAULT_OUT}")
    arguments = parser.parse_args()
    with threads(1):
        rows = list(measure(arguments.logs, arguments.policies, arguments.rounds))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    text = (
        f"{table(rows, answers=True)}\n\nHad those answered that are refused:\n\n"
        f"{table(rows, answers=False)}\n\nAnswered or not, by effective sample size:\n\n"
        f"{by_ess(rows)}\n"
    )
    arguments.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
