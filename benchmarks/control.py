"""Filtering in continuous control: ``python -m recsim_drpo.benchmarks.control``.

Agents learn offline from logs that mix an expert's episodes with random ones, and are measured in
the environment: the mean undiscounted return of the same episodes for all, normalised as D4RL does
(Fu et al., *D4RL: Datasets for Deep Data-Driven Reinforcement Learning*, 2020), 0 for uniformly
random actions and 100 for the expert as it logs. Every seed has its own log; differences are
paired by seed. Needs the extras ``sb3`` and ``d3rlpy``, and for two of the tasks the wheels of
``gymnasium[mujoco]``. docs/control.md tells what came of it.

What is measured is kept after each agent: called again with the same sizes, it goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from recsim_drpo.benchmarks.control_agents import CONTENDERS, Contender, Scaling
from recsim_drpo.benchmarks.control_logs import (
    TASKS,
    Act,
    Task,
    box_of,
    expert,
    expert_act,
    make_logs,
    middle_act,
    play,
    random_act,
)
from recsim_drpo.benchmarks.control_tables import draw, tables
from recsim_drpo.core.files import write_atomically
from recsim_drpo.core.provenance import versions
from recsim_drpo.core.torch_settings import threads
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.reporting import plots
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.sweep import Trained, train_many

DEFAULT_TASKS = ("pendulum", "reacher", "mountain-car")
DEFAULT_OUT = Path("benchmarks/results/control.json")
_EVALUATION_SEED = 900_000_000


@dataclass(frozen=True)
class Sizes:
    """How much is logged, trained and measured.

    Attributes:
        shares: of random steps in a log.
        seeds: of logs and of training, from 0 on.
        log_steps: of each log.
        updates: of each agent.
        batch_size: of each update.
        episodes: that measure each agent, the same for all.
    """

    shares: tuple[float, ...] = (0.5, 0.8, 0.95)
    seeds: int = 5
    log_steps: int = 20_000
    updates: int = 2_000
    batch_size: int = 128
    episodes: int = 10


QUICK = Sizes((0.5, 0.95), 2, 600, 60, 32, 2)
"""Sizes that show that everything runs, and nothing else."""


def mean_return(env_id: str, act: Act, episodes: int) -> float:
    """The mean undiscounted return of a policy over the episodes that measure everyone."""
    seeds = range(_EVALUATION_SEED, _EVALUATION_SEED + episodes)
    return float(np.mean([episode.rewards.sum() for episode in play(env_id, act, seeds)]))


class Study:
    """A study that goes on from what its file has.

    Args:
        sizes: of everything.
        out: JSON file; one of other sizes is refused.
        cache: folder of experts and logs.

    Raises:
        ValueError: the file has a study of other sizes.
    """

    def __init__(self, sizes: Sizes, out: Path, cache: Path) -> None:
        self.sizes, self._out, self._cache = sizes, out, cache
        own = json.loads(json.dumps(asdict(sizes)))
        self.report: dict[str, Any] = {"sizes": own, "tasks": {}}
        if out.exists():
            self.report = json.loads(out.read_text(encoding="utf-8"))
            if self.report["sizes"] != own:
                raise ValueError(
                    f"{str(out)!r} has a study of other sizes ({self.report['sizes']}, asked for "
                    f"{own}); name another file by --out."
                )
        self.report["versions"] = versions()

    def measure(self, name: str, task: Task, contenders: Sequence[str]) -> None:
        """Log, train and measure what is missing of a task."""
        section = self.report["tasks"].setdefault(name, {"task": asdict(task), "agents": {}})
        missing = [one for one in contenders if one not in section["agents"]]
        if not missing:
            return
        if "middle" not in section.get("references", ()):
            section["references"] = self._references(task)
        places = [(share, seed) for seed in range(self.sizes.seeds) for share in self.sizes.shares]
        by_seed = [
            make_logs(name, task, self.sizes.shares, self.sizes.log_steps, seed, self._cache)
            for seed in tqdm(range(self.sizes.seeds), f"logs of {name}", unit="seed", disable=None)
        ]
        logs = [load_transitions(by_seed[seed][share]) for share, seed in places]
        scalings = [
            Scaling(log, *(torch.as_tensor(end) for end in box_of(task.env_id))) for log in logs
        ]
        for one in missing:
            contender = CONTENDERS[one]
            trained = self._trained(contender, logs, scalings)
            returns: dict[str, list[float]] = {str(share): [] for share in self.sizes.shares}
            for (share, _), result, scaling in zip(places, trained, scalings, strict=True):
                act = scaling.act(result.agent, contender.corner)
                returns[str(share)].append(mean_return(task.env_id, act, self.sizes.episodes))
            section["agents"][one] = {
                "returns": returns,
                "diverged": sum(result.diverged_at is not None for result in trained),
            }
            write_atomically(self._out, json.dumps(self.report, indent=1) + "\n")

    def _references(self, task: Task) -> dict[str, float]:
        acts = {
            "random": random_act(task.env_id, 0),
            "expert": expert_act(expert(task, self._cache), _EVALUATION_SEED),
            "middle": middle_act(task.env_id),
        }
        return {
            name: mean_return(task.env_id, act, self.sizes.episodes) for name, act in acts.items()
        }

    def _trained(
        self, contender: Contender, logs: Sequence[Transitions], scalings: Sequence[Scaling]
    ) -> list[Trained]:
        shown = {
            number: scaling.shown(log, contender.of_episode)
            for number, (log, scaling) in enumerate(zip(logs, scalings, strict=True))
        }
        config = TrainingConfig(
            steps=self.sizes.updates,
            batch_size=self.sizes.batch_size,
            log_every=min(500, self.sizes.updates),
        )
        variants = {contender.agent: [dict(contender.overrides)]}
        # Networks this small gain from more learners in one computation, up to all there are.
        return train_many(variants, shown, config, seeds=list(shown), fleet_size=len(shown))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, write JSON, tables and the picture, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(DEFAULT_TASKS))
    parser.add_argument("--agents", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    for name, value in asdict(Sizes()).items():
        if name != "shares":
            parser.add_argument(
                f"--{name.replace('_', '-')}", type=int, help=f"default {value}", default=value
            )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, which are no evidence")
    parser.add_argument(
        "--cache", type=Path, help="folder of experts and logs; default a passing one"
    )
    parser.add_argument("--out", type=Path, help=f"default {DEFAULT_OUT}; of --quick, none kept")
    options = parser.parse_args(arguments)
    asked = {name: getattr(options, name) for name in asdict(Sizes()) if name != "shares"}
    sizes = QUICK if options.quick else Sizes(**asked)
    with tempfile.TemporaryDirectory() as folder, threads(1):
        out = options.out or (Path(folder) / "control.json" if options.quick else DEFAULT_OUT)
        study = Study(sizes, out, options.cache or Path(folder))
        for name in options.tasks:
            study.measure(name, task_of(name, options.quick), options.agents)
        text = tables(study.report, options.quick)
        print(text)
        write_atomically(out.with_suffix(".md"), text)
        try:
            draw(study.report, out.with_suffix(".png"))
        except plots.PlotsMissingError as missing:
            print(missing)


def task_of(name: str, quick: bool = False) -> Task:
    """A task by name; a quick one's expert is trained for next to nothing."""
    task = TASKS[name]
    if not quick:
        return task
    return Task(task.env_id, task.algorithm, 150, {**task.settings, "batch_size": 32})


if __name__ == "__main__":
    main()
