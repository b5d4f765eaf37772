"""What ``stacked`` loses to the best agent of each log: ``python -m …benchmarks.all_logs``.

The 72 logs of the phase map and the 16 of ``worlds``, in an order drawn once, so that whatever is
finished when it is stopped is spread over both; called again it goes on. The other agents' values
are those published of the same logs and seeds. Beside the agent stand its parts: the three policies
alone, their mean with equal weights, and their weighted mean that the policy has learnt.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recsim_drpo.agents.algorithms.stacked import MEMBERS, outputs_of, unit_actions
from recsim_drpo.agents.algorithms.stacking import shares
from recsim_drpo.agents.engine.networks import Parameters
from recsim_drpo.agents.protocol import Agent
from recsim_drpo.benchmarks.reproduce.advice.leads import AXES, PHASE_MAP, WORLDS
from recsim_drpo.benchmarks.reproduce.experiments.phase_map import condition_at
from recsim_drpo.benchmarks.reproduce.framework.agent_suite import SCENARIOS
from recsim_drpo.benchmarks.reproduce.framework.compact import expanded
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition, other_worlds
from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats, rounded, signed
from recsim_drpo.benchmarks.reproduce.framework.measures import UserEvaluator, of_rounds
from recsim_drpo.benchmarks.reproduce.framework.study import Record, Study
from recsim_drpo.benchmarks.reproduce.publish import as_text
from recsim_drpo.core.files import write_atomically
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.evaluation.bandit import Evaluator
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.statistics import seed_interval
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.simulator.world import World
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.sweep import Trained

NAME = "all-logs"
AGENT = "stacked"
PUBLISHED = Path("benchmarks/results/reproduce")
PARTS = (*MEMBERS, "equal weights", "weighted mean")
NEAR = 0.03
"""Loss of eCPM that the agent is to stay below on every log."""
SHOWN = (AGENT, "two-tower", "drpo", "drpo-boltzmann", "asymre", "awr", "iql", "bc")
"""Policies that are drawn."""
_DIGITS = 4


def conditions() -> list[Condition]:
    """The 88 logs, in an order drawn by seed 0."""
    points = (dict(zip(AXES, place, strict=True)) for place in itertools.product(*AXES.values()))
    logs = [condition_at(point) for point in points]
    logs += [world.condition(name) for world in other_worlds() for name in SCENARIOS]
    return [logs[k] for k in np.random.default_rng(0).permutation(len(logs))]


class _Part(NamedTuple):
    """A part of a stacked agent as a policy: the mean of the three by some weights (3,)."""

    parameters: Parameters
    weights: Tensor
    action_dim: int

    def act(self, observations: Tensor) -> Tensor:
        """Actions (B, a) for observations (B, o)."""
        with torch.no_grad():
            actions = unit_actions(outputs_of(self.parameters, observations), self.action_dim)
        return torch.einsum("k,kba->ba", self.weights, actions)


def parts_of(agent: Agent, action_dim: int) -> Iterator[tuple[str, _Part]]:
    """The parts of a trained stacked agent by name, :data:`PARTS`."""
    state = agent.state_dict()
    prefix = "parameters."
    parameters = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    size = len(MEMBERS)
    learnt = shares(state["state.weights"]).to(torch.float32)
    for name, weights in zip(
        PARTS, (*torch.eye(size), torch.full((size,), 1.0 / size), learnt), strict=True
    ):
        yield name, _Part(parameters, weights, action_dim)


@dataclass(frozen=True)
class PartsStudy(Study):
    """A study whose records hold test eCPM of the parts, and the shares of the three."""

    worlds: dict[int, World] = field(default_factory=dict, compare=False)

    def train(
        self,
        agent: str,
        logs: Mapping[int, Transitions],
        seeds: Sequence[int],
        validation: UserEvaluator,
    ) -> list[Trained]:
        """An agent's runs; the world of their logs is remembered."""
        self.worlds.update((id(log), of_rounds(validation).world) for log in logs.values())
        return super().train(agent, logs, seeds, validation)

    def details(self, trained: Trained, log: Transitions) -> dict[str, Any]:
        """eCPM of each part, and shares of the three in the weighted mean."""
        test = Evaluator(self.worlds[id(log)], self.num_test_users, split="test")
        parts = dict(parts_of(trained.agent, log.action_dim))
        return {
            "parts": {name: test(part).ecpm.value for name, part in parts.items()},
            "shares": dict(zip(MEMBERS, parts["weighted mean"].weights.tolist(), strict=True)),
        }


def rivals(published: Path) -> dict[str, dict[str, dict[int, float]]]:
    """Published test eCPM by condition, agent and seed, agents at their first configuration."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for name in (PHASE_MAP, WORLDS):
        result = json.loads((published / f"{name}.json").read_text(encoding="utf-8"))
        for record in expanded(result["records"]):
            if record["variant"] == 0 and record["agent"] != AGENT:
                by_agent = found.setdefault(record["condition"], {})
                by_agent.setdefault(record["agent"], {})[record["seed"]] = record["test"]["ecpm"]
    return found


def losses(
    records: Sequence[Record], found: Mapping[str, Mapping[str, Mapping[int, float]]]
) -> list[dict[str, Any]]:
    """Rows by log: who is best of all others, and what the agent and each part lose to it.

    The best is the agent of largest mean over the seeds that both have, the three parts alone among
    them; the best of a few noisy means is somewhat too good, and losses somewhat too large.
    """
    rows = []
    for label, group in itertools.groupby(records, lambda record: str(record["condition"])):
        runs = {record["seed"]: record for record in group}
        seeds = sorted(runs.keys() & next(iter(found[label].values())).keys())
        if not seeds:
            continue
        others = {a: np.array([by[s] for s in seeds]) for a, by in found[label].items()}
        mine = {AGENT: np.array([runs[s]["test"]["ecpm"] for s in seeds])}
        mine |= {part: np.array([runs[s]["parts"][part] for s in seeds]) for part in PARTS}
        others |= {part: mine.pop(part) for part in MEMBERS}
        best = max(others, key=lambda agent: float(others[agent].mean()))
        lost = {name: others[best] - values for name, values in mine.items()}
        lost |= {agent: others[best] - values for agent, values in others.items()}
        rows.append(
            {"log": label, "best": best, "ecpm": float(others[best].mean())}
            | {"lost": {name: values.tolist() for name, values in lost.items()}}
        )
    return rows


def mean_losses(rows: Sequence[Mapping[str, Any]]) -> dict[str, Floats]:
    """Mean losses over seeds (num_logs,) of every policy that is there on all logs."""
    names = [name for name in rows[0]["lost"] if all(name in row["lost"] for row in rows)]
    return {name: np.array([np.mean(row["lost"][name]) for row in rows]) for name in names}


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: losses of the agent, its parts and all others over logs, then every log."""
    means = mean_losses(rows)
    table = [
        [
            name,
            f"{lost.mean():+.3f}",
            f"{seed_interval(lost).low:+.3f} to {seed_interval(lost).high:+.3f}",
            f"{lost.max():+.3f}",
            f"{(lost <= NEAR).sum()} of {len(rows)}",
        ]
        for name, lost in sorted(means.items(), key=lambda item: float(item[1].mean()))
    ]
    every = [
        [
            row["log"],
            f"{row['best']} {row['ecpm']:.2f}",
            signed(seed_interval(row["lost"][AGENT])),
            *(f"{np.mean(row['lost'][name]):+.3f}" for name in PARTS),
        ]
        for row in sorted(rows, key=lambda row: -float(np.mean(row["lost"][AGENT])))
    ]
    within = f"within {NEAR:g}"
    summary = markdown_table(["policy", "it loses", "95 % over logs", "at most", within], table)
    return f"{summary}\n\n{markdown_table(['log', 'best of the others', AGENT, *PARTS], every)}\n"


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A picture of the share of logs on which policies lose no more than so much."""
    levels, means = np.linspace(0.0, 0.5, 51), mean_losses(rows)
    curves = {
        name: np.array([(float((means[name] <= x).mean()), np.nan, np.nan) for x in levels])
        for name in SHOWN
        if name in means
    }
    plots.sweep(
        path,
        levels,
        curves,
        "eCPM lost to the best of all others",
        "share of logs that lose no more",
    )


def write(records: Sequence[Record], rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write ``all-logs.json`` and ``.md`` into a folder, and with matplotlib a picture."""
    runs = [
        {
            **{name: record[name] for name in ("condition", "seed", "parts", "shares")},
            "ecpm": record["test"]["ecpm"],
        }
        for record in records
    ]
    out.mkdir(parents=True, exist_ok=True)
    text = as_text(rounded({"losses": list(rows), "runs": runs}, _DIGITS))
    write_atomically(out / f"{NAME}.json", text)
    write_atomically(out / f"{NAME}.md", report(rows))
    try:
        draw(rows, out / NAME)
    except plots.PlotsMissingError as error:
        print(error)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, write the losses and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/all-logs"), help="where it resumes"
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--logs", type=int, help="only the first so many")
    parser.add_argument("--execution", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--published", type=Path, default=PUBLISHED)
    parser.add_argument(
        "--out", type=Path, help="where the losses are written; in the folder if not given"
    )
    options = parser.parse_args(arguments)
    steps = TrainingConfig.steps
    records: list[Record] = []
    for condition in conditions()[: options.logs]:
        # A folder for each log: more of them, or seeds, can be asked for later.
        study = PartsStudy(
            NAME,
            [condition],
            {AGENT: [{}]},
            tuple(range(options.seeds)),
            TrainingConfig(evaluate_every=steps),
            num_validation_users=500,
            execution=options.execution,
            device=options.device,
            seeds_at_once=2,
        )
        place = options.folder / condition.label.replace(", ", "-").replace(" ", "_")
        records += study.run(place, progress=False)
        study.worlds.clear()
        print(condition.label, f"{records[-1]['test']['ecpm']:.3f}", flush=True)
    rows = losses(records, rivals(options.published))
    write(records, rows, options.out or options.folder)
    print(report(rows))


if __name__ == "__main__":
    main()
