"""Agents on real logs: ``python -m recsim_drpo.benchmarks.open_bandit --data FOLDER``.

Each agent learns from one log of the Open Bandit Dataset's small "Men" campaign (uniformly random,
or Bernoulli Thompson sampling; 10,000 rounds each) and is measured on the other, which it has not
seen, by self-normalised inverse propensities. A policy counts as better or worse than the policy
that logged only where both 95 % intervals, of seed and of log, lie apart; else the logs cannot
decide, and that is the result.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from scipy import stats
from torch import Tensor

from recsim_drpo.core.policy import Policy
from recsim_drpo.core.provenance import versions
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.datasets.import_log import import_log
from recsim_drpo.datasets.imported import imported_items
from recsim_drpo.datasets.importing.open_bandit import open_bandit
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.ope.held_out import HeldOut, LogEvaluator
from recsim_drpo.reporting.statistics import Estimate, monotone_root
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.sweep import train_many

DEFAULT_OUT = Path("benchmarks/results/open_bandit.json")
AGENTS = ("bc", "awr", "iql", "drpo")
LOGS = {"random": "uniformly random", "bts": "Thompson sampling"}
_INFOS = ("item_id", "propensity")


@dataclass(frozen=True)
class Row:
    """One policy on one log that it has not seen.

    Attributes:
        policy: agent, or reference.
        seed: of its training; ``None`` for a reference.
        learnt_from, measured_on: logs.
        matches: rounds in which the log shows its item.
        clicks: clicks in those.
        effective: effective number of them.
        rate: its click rate.
        log_rate: that of the policy that logged.
        verdict: better, worse or undecidable.
        decidable_from: click rate from which as many rounds would show that it is better.
    """

    policy: str
    seed: int | None
    learnt_from: str
    measured_on: str
    matches: int
    clicks: int
    effective: float
    rate: Estimate
    log_rate: Estimate
    verdict: str
    decidable_from: float


def click_rate(clicks: float, rounds: float) -> Estimate:
    """A click rate with its 95 % Clopper–Pearson interval.

    Weighted rounds go in with their effective numbers; the interval is exact for equal weights.
    """
    if rounds == 0.0:
        return Estimate(float("nan"), 0.0, 1.0)
    low = stats.beta.ppf(0.025, clicks, rounds - clicks + 1.0) if clicks > 0 else 0.0
    high = stats.beta.ppf(0.975, clicks + 1.0, rounds - clicks) if clicks < rounds else 1.0
    return Estimate(clicks / rounds, float(low), float(high))


def judged(found: HeldOut, log_rate: Estimate) -> tuple[Estimate, str, float]:
    """Click rate, verdict beside the log's own, and the rate from which it would be better."""
    rounds = 0.0 if found.matches == 0 else found.effective
    clicks = 0.0 if found.matches == 0 else found.value.value * rounds
    rate = click_rate(clicks, rounds)
    verdict = "undecidable"
    if rate.low > log_rate.high:
        verdict = "better"
    elif rate.high < log_rate.low:
        verdict = "worse"
    return rate, verdict, _decidable_from(rounds, log_rate)


def _decidable_from(rounds: float, log_rate: Estimate) -> float:
    """The smallest click rate of which so many rounds would show that it is better; 1 if none."""
    return monotone_root(
        lambda rate: click_rate(rate * rounds, rounds).low - log_rate.high, log_rate.high, 1.0
    )


class _Always:
    """The policy that shows one item to everyone."""

    def __init__(self, action: Tensor) -> None:
        self._action = action

    def act(self, observations: Tensor) -> Tensor:
        """The item's vector for everyone."""
        return self._action.expand(len(observations), -1)


def study(data: Path, seeds: Sequence[int], steps: int) -> list[Row]:
    """Import both logs, learn from each, measure on the other."""
    logs, embeddings = _imported(data)
    evaluators = {name: LogEvaluator(log.as_batch(), embeddings) for name, log in logs.items()}
    rows = []
    for learnt_from, measured_on in (("random", "bts"), ("bts", "random")):
        log, unseen = logs[learnt_from], logs[measured_on].rewards
        log_rate = click_rate(float(unseen.sum()), len(unseen))
        clicked = log.infos["item_id"][log.rewards > 0].bincount(minlength=len(embeddings))
        best = _Always(embeddings[clicked.argmax()])
        policies: list[tuple[str, int | None, Policy]] = [("most clicked item", None, best)]
        trained = train_many(
            {name: [{}] for name in AGENTS},
            logs[learnt_from],
            TrainingConfig(steps=steps, log_every=steps),
            seeds=seeds,
        )
        policies += [(one.run.agent, one.run.seed, one.agent) for one in trained]
        for policy, seed, agent in policies:
            found = evaluators[measured_on](agent)
            rate, verdict, decidable = judged(found, log_rate)
            rows.append(
                Row(
                    policy,
                    seed,
                    learnt_from,
                    measured_on,
                    found.matches,
                    round(found.reward),
                    found.effective,
                    rate,
                    log_rate,
                    verdict,
                    decidable,
                )
            )
    return rows


def _imported(data: Path) -> tuple[dict[str, Transitions], Tensor]:
    logs = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MINARI_DATASETS_PATH"] = folder
        for name in LOGS:
            log = data / f"men_{name}.csv"
            columns, items, notes = open_bandit(log)
            dataset = import_log(f"obd/{name}-v0", log, items, columns, notes=notes)
            logs[name] = load_transitions(dataset, infos=_INFOS)
            vectors, _ = imported_items(dataset)
    return logs, torch.from_numpy(vectors)


def as_markdown(rows: Sequence[Row]) -> str:
    """A table, a line for each agent and log, seeds beside each other."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.learnt_from, row.policy), []).append(row)
    lines = []
    for (learnt_from, policy), some in groups.items():
        verdicts = {row.verdict for row in some}
        count = {verdict: sum(row.verdict == verdict for row in some) for verdict in verdicts}
        lines.append(
            [
                policy,
                LOGS[learnt_from],
                ", ".join(f"{row.clicks}/{row.matches}" for row in some),
                ", ".join(f"{row.effective:.0f}" for row in some),
                _interval([row.rate for row in some]),
                _interval([some[0].log_rate]),
                f"{max(row.decidable_from for row in some):.1%}",
                next(iter(verdicts))
                if len(verdicts) == 1
                else ", ".join(f"{n} {verdict}" for verdict, n in count.items()),
            ]
        )
    header = (
        "policy",
        "learnt from",
        "clicks/matches by seed",
        "effective",
        "click rate, all seeds",
        "the log's own",
        "decidable from",
        "verdict",
    )
    return markdown_table(header, lines)


def _interval(rates: Sequence[Estimate]) -> str:
    return f"{min(rate.low for rate in rates):.2%} to {max(rate.high for rate in rates):.2%}"


def main() -> None:
    """Run the study, print the table and write every row to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with men_random.csv")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"default {DEFAULT_OUT}")
    options = parser.parse_args()
    rows = study(options.data, range(options.seeds), options.steps)
    table = as_markdown(rows)
    print(table)
    report = {
        "seeds": options.seeds,
        "steps": options.steps,
        "versions": versions(),
        "rows": [
            asdict(row) | {"rate": row.rate._asdict(), "log_rate": row.log_rate._asdict()}
            for row in rows
        ],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    options.out.with_suffix(".md").write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
