"""Off-policy evaluation on real logs: ``python -m recsim_drpo.benchmarks.ope_open_bandit FOLDER``.

The Open Bandit Dataset (Saito et al., 2021; Apache-2.0) has logs of two policies on one site in
one week: uniform random and Bernoulli Thompson sampling. Each is evaluated from the other's log and
held against the mean of its own. FOLDER has ``men_random.csv``, ``men_bts.csv`` and
``men_item_context.csv``.

Thompson sampling's probabilities change as it learns, and a log has only that of the item shown. On
a round of the random log they are taken from the round of the other log that is nearest in time
among those with the item and the position, and scaled to sum to 1.
"""

from __future__ import annotations

import argparse
import csv
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsim_drpo.ope.estimators import ESTIMATORS_BY_NAME, OffPolicyEstimate, Terms
from recsim_drpo.ope.formulas import Floats, mean_reward
from recsim_drpo.ope.models import CrossFitted, RewardModel
from recsim_drpo.reporting.statistics import Estimate
from recsim_drpo.reporting.tables import markdown_table

_POSITIONS = 3
_CLICKS = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Campaign:
    """Rounds of one policy.

    Attributes:
        contexts: float32 (n, o), user features and position, one-hot.
        items: int64 (n,).
        positions: int64 (n,), from 0.
        clicks: float64 (n,), 0 or 1.
        propensities: float64 (n,).
        seconds: float64 (n,), when.
    """

    contexts: NDArray[np.float32]
    items: NDArray[np.int64]
    positions: NDArray[np.int64]
    clicks: Floats
    propensities: Floats
    seconds: Floats


def read(folder: Path) -> tuple[Campaign, Campaign, NDArray[np.float32]]:
    """The random log, the Thompson-sampling log, and item vectors (N, d).

    Raises:
        OSError: a file is missing.
    """
    tables = [_rows(folder / f"men_{name}.csv") for name in ("random", "bts")]
    columns = [f"user_feature_{k}" for k in range(4)]
    known = sorted({(c, row[c]) for rows in tables for row in rows for c in columns})
    code = {feature: k for k, feature in enumerate(known)}
    logs = [_campaign(rows, columns, code) for rows in tables]
    items = _rows(folder / "men_item_context.csv")
    kinds = [f"item_feature_{k}" for k in (1, 2, 3)]
    values = sorted({(c, row[c]) for row in items for c in kinds})
    vectors = np.zeros((len(items), 1 + len(values)), dtype=np.float32)
    for number, row in enumerate(items):
        vectors[number, 0] = float(row["item_feature_0"])
        vectors[number, [1 + values.index((c, row[c])) for c in kinds]] = 1.0
    return logs[0], logs[1], vectors


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _campaign(
    rows: list[dict[str, str]], columns: list[str], code: dict[tuple[str, str], int]
) -> Campaign:
    def column(name: str, dtype: type) -> NDArray[Any]:
        return np.array([dtype(row[name]) for row in rows])

    positions = column("position", int) - 1
    contexts = np.zeros((len(rows), len(code) + _POSITIONS), dtype=np.float32)
    for name in columns:
        contexts[np.arange(len(rows)), [code[name, row[name]] for row in rows]] = 1.0
    contexts[np.arange(len(rows)), len(code) + positions] = 1.0
    return Campaign(
        contexts,
        column("item_id", int),
        positions,
        column("click", float),
        column("propensity_score", float),
        np.array([datetime.fromisoformat(row["timestamp"]).timestamp() for row in rows]),
    )


def uniform(log: Campaign, num_items: int) -> Floats:
    """The random policy's probabilities (n, N) on the rounds of a log."""
    return np.full((len(log.items), num_items), 1.0 / num_items)


def as_logged(other: Campaign, log: Campaign, num_items: int) -> Floats:
    """Probabilities (n, N) on the rounds of ``log`` of the policy that logged ``other``."""
    probabilities = np.zeros((len(log.items), num_items))
    for position in range(_POSITIONS):
        rounds = np.flatnonzero(log.positions == position)
        for item in range(num_items):
            theirs = np.flatnonzero((other.positions == position) & (other.items == item))
            if len(theirs):
                order = theirs[np.argsort(other.seconds[theirs])]
                middles = 0.5 * (other.seconds[order][1:] + other.seconds[order][:-1])
                nearest = order[np.searchsorted(middles, log.seconds[rounds])]
                probabilities[rounds, item] = other.propensities[nearest]
    scaled: Floats = probabilities / probabilities.sum(axis=1, keepdims=True)
    return scaled


def evaluate(
    log: Campaign, target: Floats, vectors: NDArray[np.float32], seed: int = 0
) -> dict[str, OffPolicyEstimate]:
    """Estimates by IPS, SNIPS, DM and DR of a policy with probabilities ``target`` (n, N)."""
    num_rounds, num_items = target.shape
    contexts, items = torch.from_numpy(log.contexts), torch.from_numpy(log.items)
    embeddings, clicks = torch.from_numpy(vectors), torch.from_numpy(log.clicks).float()

    def fit(rounds: torch.Tensor) -> RewardModel:
        return RewardModel(contexts[rounds], embeddings, items[rounds], clicks[rounds], seed)

    models = CrossFitted(fit, num_rounds)
    rounds = torch.arange(num_rounds)
    by_item = np.stack(
        [
            models.predict(rounds, contexts, embeddings[item].expand(num_rounds, -1)).numpy()
            for item in range(num_items)
        ],
        axis=1,
    ).astype(np.float64)
    expected = (target * by_item).sum(axis=1)
    predicted = by_item[np.arange(num_rounds), log.items]
    weights = target[np.arange(num_rounds), log.items] / log.propensities
    terms = Terms(log.clicks, predicted, expected, weights, reward_range=_CLICKS)
    return {name: ESTIMATORS_BY_NAME[name].estimate(terms) for name in ("ips", "snips", "dm", "dr")}


def classic_check(folder: Path) -> dict[str, tuple[Estimate, dict[str, OffPolicyEstimate]]]:
    """For each policy, the mean of its own log and the estimates from the other's.

    Raises:
        OSError: as :func:`read`.
    """
    random, thompson, vectors = read(folder)
    num_items = len(vectors)
    return {
        "Thompson sampling, from random logs": (
            mean_reward(thompson.clicks, reward_range=_CLICKS),
            evaluate(random, as_logged(thompson, random, num_items), vectors),
        ),
        "random, from Thompson-sampling logs": (
            mean_reward(random.clicks, reward_range=_CLICKS),
            evaluate(thompson, uniform(thompson, num_items), vectors),
        ),
    }


def difference(a: Estimate, b: Estimate) -> Estimate:
    """a - b of two logs that have nothing to do with each other, with its interval.

    Each end is as far off as the ends of both that make for it, squared and added: for intervals
    that are no normal ones. Source: Zou and Donner, *Construction of confidence limits about effect
    measures*, 2008.
    """
    value = a.value - b.value
    below = math.hypot(a.value - a.low, b.high - b.value)
    above = math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, value - below, value + above)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    header = ["policy", "by", "clicks per 1,000", "minus its own", "effective rounds", "weight ≤"]
    lines, refusals = [], []
    for policy, (own, estimates) in classic_check(parser.parse_args().folder).items():
        lines.append([policy, "its own log", _per_thousand(own), "", "", ""])
        for name, estimate in estimates.items():
            value = ["refused", ""]
            if estimate.value is not None:
                value = [
                    _per_thousand(estimate.value),
                    _per_thousand(difference(estimate.value, own)),
                ]
            largest = "" if estimate.largest_weight is None else f"{estimate.largest_weight:.3g}"
            lines.append([policy, f"`{name}`", *value, f"{estimate.ess:,.0f}", largest])
            if estimate.refusal:
                refusals.append(f"- {policy}, `{name}` is refused: {estimate.refusal}.")
    print(markdown_table(header, lines), *refusals, sep="\n")


def _per_thousand(value: Estimate) -> str:
    return f"{1e3 * value.value:.2f} [{1e3 * value.low:.2f}, {1e3 * value.high:.2f}]"


if __name__ == "__main__":
    main()
