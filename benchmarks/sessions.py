"""What foresight is worth in sessions: ``python -m recsim_drpo.benchmarks.sessions``.

``references`` measures policies that know the world, ``agents`` what is learnt from logs. No agent
had a part in the choice of the environment's parameters; docs/sessions.md tells how they were made.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from recsim_drpo.benchmarks.speed.measuring import write_report
from recsim_drpo.core.provenance import versions
from recsim_drpo.core.torch_settings import threads
from recsim_drpo.datasets.generate import simulate_transitions
from recsim_drpo.envs.registration import SESSION_ENV_ID
from recsim_drpo.evaluation.sessions import SessionEvaluation, SessionEvaluator
from recsim_drpo.reporting.statistics import Estimate, mean_interval, ratio_interval, seed_interval
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.simulator.reference_policies import SESSION_REFERENCES, session_reference_policy
from recsim_drpo.simulator.sessions import make_sessions
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.sweep import train_many

AGENTS = ("drpo-q", "iql", "drpo", "bc")
"""Agents that are trained, those with a value function first; each is compared with the last."""

DEFAULT_OUT = Path("benchmarks/results/sessions.json")
_SCENARIOS = ("medium", "extreme")


def references(num_users: int, device: str) -> tuple[dict[str, Any], str]:
    """Reference policies on test users: a report, and the table in Markdown."""
    sessions = make_sessions(device)
    evaluator = SessionEvaluator(sessions, num_users)
    returns: dict[str, NDArray[np.float64]] = {}
    evaluations: dict[str, SessionEvaluation] = {}
    for name in SESSION_REFERENCES:
        for scenario in _SCENARIOS if name == "logger" else ("medium",):
            label = f"{name}, {scenario}" if name == "logger" else name
            played = evaluator.play(session_reference_policy(name, sessions, scenario))
            returns[label], evaluations[label] = played.returns, evaluator.summary(played)
    best, myopic = returns["far-sighted"], returns["myopic"]
    shares = {name: ratio_interval(values, best) for name, values in returns.items()}
    kept = shares["myopic"]
    loss = Estimate(1 - kept.value, 1 - kept.high, 1 - kept.low)
    gain = mean_interval(best - myopic)
    rows = [
        [
            name,
            str(evaluation.session_return),
            f"{shares[name].value:.1%}",
            f"{evaluation.session_length.value:.2f}",
            f"{evaluation.reward.value:.3f}",
            f"{evaluation.truncated.value:.1%}",
        ]
        for name, evaluation in evaluations.items()
    ]
    header = ["policy", "return", "of far-sighted", "steps", "reward a step", "cut off"]
    report = {
        "num_users": num_users,
        "policies": {name: evaluation.as_dict() for name, evaluation in evaluations.items()},
        "share_of_far_sighted": {name: share._asdict() for name, share in shares.items()},
        "loss_of_myopic": loss._asdict(),
        "far_sighted_minus_myopic": gain._asdict(),
    }
    text = (
        f"{markdown_table(header, rows)}\n\n{num_users:,} test users; intervals over them at 95 %. "
        f"The myopic policy loses {loss.value:.1%} [{loss.low:.1%}, {loss.high:.1%}] of the "
        f"far-sighted return; paired by user the difference is {gain}."
    )
    return report, text


def agents(
    names: Sequence[str],
    seeds: Sequence[int],
    scenario: str,
    num_rounds: int,
    steps: int,
    num_users: int,
    device: str,
    execution: str = "auto",
) -> tuple[dict[str, Any], str]:
    """Agents trained on logs of sessions, a log of its own for each seed: a report, and a table."""
    logs = {
        seed: simulate_transitions(
            env=SESSION_ENV_ID, scenario=scenario, num_rounds=num_rounds, seed=seed, device=device
        )
        for seed in tqdm(seeds, "logs", unit="log", disable=None)
    }
    config = TrainingConfig(steps=steps)
    with threads(1):  # networks this small gain nothing from more, and wait for them
        trained = train_many(
            {name: [{}] for name in names}, logs, config, seeds=seeds, execution=execution
        )
    evaluator = SessionEvaluator(make_sessions(device), num_users)
    values: dict[str, list[float]] = {name: [] for name in names}
    lengths: dict[str, list[float]] = {name: [] for name in names}
    for training in trained:  # the seeds of an agent in order, so that differences are paired
        evaluation = evaluator(training.agent)
        values[training.run.agent].append(evaluation.session_return.value)
        lengths[training.run.agent].append(evaluation.session_length.value)
    base = names[-1]
    differences = {
        name: seed_interval(np.subtract(values[name], values[base])) for name in names[:-1]
    }
    rows = [
        [
            name,
            str(seed_interval(values[name])),
            str(differences[name]) if name in differences else "",
            f"{np.mean(lengths[name]):.2f}",
        ]
        for name in names
    ]
    report = {
        "scenario": scenario,
        "num_rounds": num_rounds,
        "steps": steps,
        "seeds": list(seeds),
        "num_users": num_users,
        "diverged": [
            training.run._asdict() for training in trained if training.diverged_at is not None
        ],
        "returns": values,
        "lengths": lengths,
        f"minus_{base}": {name: difference._asdict() for name, difference in differences.items()},
    }
    table = markdown_table(["agent", "return", f"minus {base}", "steps"], rows)
    text = (
        f"{table}\n\n{scenario}, {num_rounds:,} rounds, {steps:,} updates, {len(seeds)} seeds; "
        "intervals over seeds at 95 %, differences paired by seed."
    )
    return report, text


def main() -> None:
    """Measure, write a JSON file and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", default=["references"], metavar="SECTION")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--num-users", type=int, default=10_000)
    parser.add_argument("--agents", nargs="+", default=list(AGENTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--scenario", default="medium")
    parser.add_argument("--rounds", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--execution", default="auto", help="of the fleets, for example compile")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"default {DEFAULT_OUT}")
    arguments = parser.parse_args()
    for section in arguments.sections:
        if section == "references":
            report, text = references(arguments.num_users, arguments.device)
        elif section == "agents":
            report, text = agents(
                arguments.agents,
                arguments.seeds,
                arguments.scenario,
                arguments.rounds,
                arguments.steps,
                arguments.num_users,
                arguments.device,
                arguments.execution,
            )
        else:
            parser.error(f"{section!r} is neither 'references' nor 'agents'.")
        # Logs of one scenario are no successors of another's.
        name = section if section == "references" else f"{section}-{arguments.scenario}"
        write_report(arguments.out, {name: report | {"versions": versions()}})
        arguments.out.with_name(f"{arguments.out.stem}-{name}.md").write_text(
            text + "\n", encoding="utf-8"
        )
        print(text)


if __name__ == "__main__":
    main()
