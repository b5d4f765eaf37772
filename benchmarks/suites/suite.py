"""What a suite is: logs, budget, rules and references, read from one file that never changes.

The file is JSON in ``benchmarks/suites/data``. A change of anything in it is another suite of a
higher number, so that results of one name can be compared for good.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, MinLen
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from recsim_drpo.benchmarks.reproduce.framework import compact
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.results import check_compact
from recsim_drpo.core.files import read_text
from recsim_drpo.core.messages import one_line, shown_path
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.core.validation import unknown_name
from recsim_drpo.training.config import TrainingConfig

DATA = Path(__file__).parent / "data"
CHECKED_ROUNDS = 2_000
"""The first rounds of each log, by which it is known: later ones are drawn in the same way."""

MOST_REWARD_APART = 1e-4
MOST_ITEMS_APART = 0.005
"""How far the first rounds of a log of other processors may be: mean reward, share of items."""

Record = dict[str, Any]

Tuned = Literal["nothing", "logs", "true-reward"]
"""What hyper-parameters were chosen by: no result at all, logs alone, or true reward."""

_REFERENCES = {"zipf-1": "true-reward"}
"""What chose the references' hyper-parameters where a file does not say, as those of before."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class LogFacts(_Strict):
    """What the first rounds of a log are known by.

    Attributes:
        sha256: of items shown (int64), rewards (float32) and contexts (float32), little-endian.
        mean_reward: of them.
        items: the items shown in the first 50 rounds.
    """

    sha256: str
    mean_reward: float
    items: list[int]


class _Training(_Strict):
    steps: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(2)]


class _Rules(_Strict):
    offline: str
    tuning: str
    references: str
    references_tuned_by: Tuned | None = None
    references_command: str = ""


class Metric(_Strict):
    """What policies are compared by on a suite, and the scale on which logs are taken together.

    Attributes:
        name: of a record's test metric.
        label: what tables call it.
        floor: what is 0 on the scale; of eCPM each record has its place, ``normalized``.
        ceiling: what is 1.
        scale: what these are, in words.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    name: Literal["ecpm", "return"]
    label: str
    floor: float = 0.0
    ceiling: float = 1.0
    scale: str

    def of(self, record: Record) -> float:
        """What a run earned; 0 where its actions show nothing."""
        return float(record["test"][self.name] or 0.0)

    def normalized(self, record: Record) -> float:
        """The same on the scale."""
        if self.name == "ecpm":
            return float(record["test"]["normalized"] or 0.0)
        return (self.of(record) - self.floor) / (self.ceiling - self.floor)


ECPM = Metric(name="ecpm", label="eCPM", scale="0 is random items, 1 the oracle")


class _File(_Strict):
    name: str
    title: str
    seeds: Annotated[list[int], MinLen(1)]
    training: _Training
    num_test_users: Annotated[int, Ge(1)]
    num_validation_users: Annotated[int, Ge(1)]
    rules: _Rules
    conditions: Annotated[list[dict[str, Any]], MinLen(1)]
    logs: dict[str, dict[str, LogFacts]]
    references: dict[str, Any]
    metric: Metric = ECPM

    @model_validator(mode="after")
    def _is_of_its_metric(self) -> _File:
        sessions = {Condition(**fields).has_sessions for fields in self.conditions}
        if sessions != {self.metric.name == "return"}:
            raise ValueError(f"metric {self.metric.name!r} is not what its environments pay")
        if not self.metric.floor < self.metric.ceiling:
            raise ValueError("metric.floor is not below metric.ceiling")
        return self


@dataclass(frozen=True)
class Suite:
    """A suite.

    Attributes:
        name: with its number, such as ``zipf-1``.
        title: what its logs are, one line.
        sha256: of its file.
        seeds: paired: a seed draws each condition's log, and is the agent's own seed.
        training: the budget: updates and transitions in each.
        num_test_users: whom results are measured on.
        num_validation_users: others, that may choose hyper-parameters where the rules allow it.
        rules: sentences: ``offline``, ``tuning`` and ``references``.
        conditions: its worlds and logs.
        logs: facts of the first rounds by condition and seed.
        references: records of the reference agents, one variant of each in each condition.
        metric: what agents are compared by.
    """

    name: str
    title: str
    sha256: str
    seeds: tuple[int, ...]
    training: TrainingConfig
    num_test_users: int
    num_validation_users: int
    rules: Mapping[str, str]
    conditions: tuple[Condition, ...]
    logs: Mapping[str, Mapping[int, LogFacts]]
    references: Sequence[Record]
    metric: Metric = ECPM

    @property
    def references_tuned_by(self) -> str:
        """What chose the references' hyper-parameters."""
        return self.rules.get("references_tuned_by") or _REFERENCES.get(self.name, "nothing")

    @property
    def references_command(self) -> str:
        """The command that made the references, and the revision that did, as far as is known."""
        found = re.search(
            r"; of (?P<experiment>\S+), revision ([\w, ]+)\.$", self.rules["references"]
        )
        command = self.rules["references_command"]
        if found and not command:
            command = f"recsim-drpo reproduce {found['experiment']}"
        return command + (f", {found[2]}" if found else "")

    @property
    def labels(self) -> list[str]:
        """Labels of the conditions."""
        return [condition.label for condition in self.conditions]

    def check_log(self, label: str, seed: int) -> bool:
        """Whether a condition's log is here to the byte what it was when the suite was made.

        Raises:
            ValueError: it is another log: statistics are farther apart than rounding makes them.
        """
        condition = next(c for c in self.conditions if c.label == label)
        return self.check_facts(label, seed, first_facts(condition, seed))

    def check_facts(self, label: str, seed: int, found: LogFacts) -> bool:
        """Whether facts that were found of a log are exactly those that the suite has of it.

        Raises:
            ValueError: as of :meth:`check_log`.
        """
        kept = self.logs[label][seed]
        if kept.sha256 == found.sha256:
            return True
        apart = np.mean(np.array(kept.items) != np.array(found.items))
        if (
            abs(kept.mean_reward - found.mean_reward) > MOST_REWARD_APART
            or apart > MOST_ITEMS_APART
        ):
            raise ValueError(
                f"The log {label!r} of seed {seed} is not that of {self.name}: its first rounds "
                f"have mean reward {found.mean_reward:.5f}, not {kept.mean_reward:.5f}, and "
                f"{apart:.1%} other items. The simulator has changed; results would be of another "
                "benchmark."
            )
        return False


def names() -> list[str]:
    """Names of the suites that there are."""
    return sorted(path.stem for path in DATA.glob("*.json"))


def load_suite(name: str) -> Suite:
    """A suite by its name, or by the path of a file of one's own.

    Raises:
        ValueError: there is none of that name, or the file is no suite.
    """
    path = Path(name) if name.endswith(".json") else DATA / f"{name}.json"
    if not path.is_file():
        raise unknown_name("suite", name, names())
    content = read_text(path)
    try:
        read = _File.model_validate(json.loads(content))
        conditions = tuple(Condition(**fields) for fields in read.conditions)
        check_compact(read.references)
        references = compact.expanded(read.references)
    except (ValidationError, ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"{shown_path(path)} is no suite: {one_line(error)}.") from error
    return Suite(
        read.name,
        read.title,
        hashlib.sha256(content.encode()).hexdigest(),
        tuple(read.seeds),
        TrainingConfig(read.training.steps, read.training.batch_size),
        read.num_test_users,
        read.num_validation_users,
        read.rules.model_dump(exclude_none=True),
        conditions,
        {label: {int(s): f for s, f in by.items()} for label, by in read.logs.items()},
        references,
        read.metric,
    )


def facts_of(log: Transitions) -> LogFacts:
    """What the first rounds of a log are known by, with ``item_id`` among its infos."""
    first = log.first(min(len(log), CHECKED_ROUNDS), ["item_id"]).as_batch()
    items = first.infos["item_id"].cpu().numpy().astype("<i8")
    rewards = first.rewards.cpu().numpy().astype("<f4")
    contexts = first.observations.cpu().numpy().astype("<f4")
    digest = hashlib.sha256(b"".join(a.tobytes() for a in (items, rewards, contexts)))
    mean = float(f"{rewards.mean(dtype=np.float64):.9g}")
    return LogFacts(sha256=digest.hexdigest(), mean_reward=mean, items=items[:50].tolist())


def first_facts(condition: Condition, seed: int) -> LogFacts:
    """Those of a condition's log, of which no more rounds are drawn than that."""
    return facts_of(condition.log(seed, num_rounds=_first(condition)))


def _first(condition: Condition) -> int:
    return min(condition.num_rounds, CHECKED_ROUNDS)
