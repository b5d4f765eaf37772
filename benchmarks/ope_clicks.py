"""What intervals of clicks cover: ``python -m recsim_drpo.benchmarks.ope_clicks``.

Small catalogues without contexts, whose true values are sums: items are logged and clicked with
drawn probabilities, policies show one item or draw from all of them. Intervals in the range of
rewards are held against normal ones, by how often a policy is clicked, how many clicks there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recsim_drpo.ope.formulas import (
    Floats,
    doubly_robust,
    effective_sample_size,
    ips,
    rewarded_matches,
    snips,
)
from recsim_drpo.ope.intervals import Range
from recsim_drpo.ope.refusals import MIN_ESS, MIN_REWARDED
from recsim_drpo.reporting.statistics import Estimate
from recsim_drpo.reporting.tables import markdown_table

RATES = (0.005, 0.01, 0.02, 0.05, 0.2, 0.6, 0.9)
ROUNDS = (500, 2_000, 8_000)
ITEMS = (4, 20)

_WORLDS, _LOGS = 10, 25
_ESTIMATORS = ("ips", "snips", "dr")
_SCALES: dict[str, Range | None] = {"normal": None, "in range": (0.0, 1.0)}


class Trial(NamedTuple):
    """A log and a policy: the truth, the clicks that speak of it, and intervals by name."""

    truth: float
    clicks: int
    intervals: dict[tuple[str, str], Estimate]


def trials(rate: float, generator: np.random.Generator) -> Iterator[Trial]:
    """Logs of policies of about that click rate, those of enough effective rounds."""
    for num_rounds in ROUNDS:
        for num_items in ITEMS:
            for number in range(2 * _WORLDS):
                logger = _shares(0.8, num_items, generator)
                policy = np.eye(num_items)[generator.integers(num_items)]
                if number % 2:
                    policy = _shares(0.6, num_items, generator)
                clicked = np.minimum(0.97, rate * np.exp(0.5 * generator.normal(size=num_items)))
                model = clicked * np.exp(0.3 * generator.normal(size=num_items))
                for _ in range(_LOGS):
                    items = generator.choice(num_items, size=num_rounds, p=logger)
                    clicks = (generator.random(num_rounds) < clicked[items]).astype(np.float64)
                    weights = (policy / logger)[items]
                    if effective_sample_size(weights) < MIN_ESS:
                        continue
                    expected = np.full(num_rounds, policy @ model)
                    intervals = _intervals(clicks, weights, model[items], expected)
                    count = rewarded_matches(clicks, weights)[0]
                    yield Trial(float(policy @ clicked), count, intervals)


def _shares(spread: float, num_items: int, generator: np.random.Generator) -> Floats:
    shares: Floats = np.exp(spread * generator.normal(size=num_items))
    scaled: Floats = shares / shares.sum()
    return scaled


def _intervals(
    clicks: Floats, weights: Floats, predicted: Floats, expected: Floats
) -> dict[tuple[str, str], Estimate]:
    found = {}
    for scale, bounds in _SCALES.items():
        found["ips", scale] = ips(clicks, weights, reward_range=bounds)
        found["snips", scale] = snips(clicks, weights, reward_range=bounds)
        found["dr", scale] = doubly_robust(
            clicks, weights, predicted, expected, reward_range=bounds
        )
    return found


def table(seed: int = 0) -> str:
    """Coverage by click rate: of answers, of those refused for want of clicks, of both scales."""
    generator = np.random.default_rng(seed)
    cells = []
    for rate in RATES:
        found = [trial for trial in trials(rate, generator) if trial.clicks]
        for what, enough in (("refused", False), ("answers", True)):
            some = [trial for trial in found if (trial.clicks >= MIN_REWARDED) == enough]
            if len(some) < 100:
                continue
            covers = [
                np.mean([_covers(trial, (name, scale)) for trial in some])
                for name in _ESTIMATORS
                for scale in _SCALES
            ]
            cells.append([f"{rate:g}", what, f"{len(some):,}", *(f"{x:.1%}" for x in covers)])
    names = [f"{name}: {scale}" for name in _ESTIMATORS for scale in _SCALES]
    return markdown_table(["click rate, about", "", "logs", *names], cells)


def _covers(trial: Trial, which: tuple[str, str]) -> bool:
    interval = trial.intervals[which]
    return bool(interval.low <= trial.truth <= interval.high)


if __name__ == "__main__":
    print(table())
