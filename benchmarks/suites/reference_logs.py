"""The suites' logs as Minari datasets, by name: made here from the recipe, and checked.

A name is a dataset's id, ``SUITE/log-NUMBER-seed-SEED-v0``; logs are numbered from 1 in the order
of their suite.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from minari import MinariDataset

from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.suites.suite import (
    MOST_ITEMS_APART,
    MOST_REWARD_APART,
    Suite,
    facts_of,
    load_suite,
    names,
)
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.datasets.generate import generate_dataset
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.simulator.config import LoggingConfig

_NAME = re.compile(r"(?P<suite>.+)/log-(?P<number>\d+)-seed-(?P<seed>\d+)-v0")


@dataclass(frozen=True)
class ReferenceLog:
    """A log of a suite.

    Attributes:
        suite: that it is of.
        number: its place among the suite's conditions, from 1.
        seed: that draws it, one of the suite's.
    """

    suite: Suite
    number: int
    seed: int

    @property
    def name(self) -> str:
        """The id of its dataset."""
        return f"{self.suite.name}/log-{self.number}-seed-{self.seed}-v0"

    @property
    def condition(self) -> Condition:
        """Its recipe."""
        return self.suite.conditions[self.number - 1]

    def make(self, *, card: bool = True, progress: bool = True) -> MinariDataset:
        """Generate it as a local dataset.

        Args:
            card: of :func:`recsim_drpo.generate_dataset`, and so is the next one.
            progress: likewise.

        Raises:
            ValueError: the dataset is there; or its rewards are unclipped, which no dataset has.
            OSError: as of :func:`recsim_drpo.generate_dataset`.
        """
        condition = self.condition
        if condition.unclipped:
            raise ValueError(
                f"Rewards of {self.name!r} are not clipped to [0, 1], as datasets have them; only "
                "`recsim-drpo benchmark` draws this log."
            )
        return generate_dataset(
            self.name,
            env=condition.env,
            scenario=condition.weights,
            num_rounds=condition.num_rounds,
            seed=self.seed,
            env_kwargs=condition.world,
            logging_config=LoggingConfig(**condition.logging),
            card=card,
            progress=progress,
        )

    def verify(self) -> bool:
        """Whether the local dataset is to the byte the suite's log.

        Its first rounds are held against the checksum of the suite, and all of them against the
        recipe, which is followed again.

        Returns:
            ``False`` where bytes differ and statistics agree, as on another kind of processor.

        Raises:
            FileNotFoundError: there is no such dataset here.
            ValueError: it is another log.
        """
        found = load_transitions(self.name, infos=["item_id"], items=True)
        drawn = self.condition.log(self.seed)
        if len(found) != len(drawn):
            raise ValueError(
                f"{self.name!r} has {len(found):,} rounds; the suite's log {len(drawn):,}."
            )
        exact = self.suite.check_facts(self.condition.label, self.seed, facts_of(found))
        return _agree(self.name, found, drawn) and exact


def _agree(name: str, found: Transitions, drawn: Transitions) -> bool:
    """Whether logs of one length are the same; raises where statistics are far apart."""
    items = [log.infos["item_id"].numpy() for log in (found, drawn)]
    rewards = [log.rewards.numpy() for log in (found, drawn)]
    contexts = [log.observations().numpy() for log in (found, drawn)]
    ends = [log.terminations.numpy() for log in (found, drawn)]
    if all(np.array_equal(a, b) for a, b in (items, rewards, contexts, ends)):
        return True
    others = float(np.mean((items[0] != items[1]) | (ends[0] != ends[1])))
    apart = float(abs(np.mean(rewards[0] - rewards[1], dtype=np.float64)))
    if not (others <= MOST_ITEMS_APART and apart <= MOST_REWARD_APART):
        raise ValueError(
            f"{name!r} is not what its recipe draws: {others:.1%} of the items are others, and the "
            f"mean reward is {apart:.5f} apart. It is damaged, or was changed; delete it, and make "
            "it again."
        )
    return False


def reference_logs() -> Iterator[ReferenceLog]:
    """Yield every log of every suite, in order."""
    for suite in map(load_suite, names()):
        for number in range(1, len(suite.conditions) + 1):
            yield from (ReferenceLog(suite, number, seed) for seed in suite.seeds)


def reference_log(name: str) -> ReferenceLog:
    """Return the log of a name.

    Raises:
        ValueError: there is none of that name.
    """
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise ValueError(
            f"{name!r} is no name of a reference log; they are SUITE/log-NUMBER-seed-SEED-v0, and "
            "`recsim-drpo datasets list` has them."
        )
    suite = load_suite(parts["suite"])
    number, seed = int(parts["number"]), int(parts["seed"])
    if not (1 <= number <= len(suite.conditions) and seed in suite.seeds):
        raise ValueError(
            f"{suite.name} has logs 1 to {len(suite.conditions)} of seeds "
            f"{', '.join(map(str, suite.seeds))}; {name!r} is none of them."
        )
    return ReferenceLog(suite, number, seed)
