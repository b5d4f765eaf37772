"""Runs of earlier results that a study takes over, so that only what is new is trained.

A run is taken over where everything that its numbers depend on is the same: the condition, the
agent and its hyper-parameters, the training, the users, the engine's execution and the kind of
device. What compact records leave out (learning curves, and of former ones the items shown) stays
left out. Runs of one fleet differ in last digits from those of a fleet of other members, as
everywhere.

The code itself may have changed since. One piece that could be taken over is therefore trained
all the same and compared (:func:`compare`); tests/integration/test_former_files.py holds agents to
what they were.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.estimates import rounded
from recsim_drpo.benchmarks.reproduce.framework.offline import RewardModelConfig
from recsim_drpo.benchmarks.reproduce.framework.store import differences

Record = dict[str, Any]
Key = tuple[str, str, str, int]
"""Condition's label, agent, hyper-parameters as JSON, seed."""

MARK = "taken_from"
"""Field of a record that was taken over: the experiment and the revision that it is of."""

MOST_CHANGED = 0.05
"""eCPM by which the mean of a variant may differ where a piece is trained again: what other
processors and their rounding make of the same training is less, a changed world is more."""

_SHARED = (
    "training",
    "num_test_users",
    "num_validation_users",
    "offline",
    "execution",
    "device",
    "reward_model",
)
"""Keys of a plan that numbers of all its runs depend on."""

_OBSERVING = ("log_every", "evaluate_every")
"""Of a training: how often it is looked at, on which curves alone depend."""

_FORMER_DIGITS = 4  # of plans in results that were published before they were kept exactly


@dataclass(frozen=True)
class TakenOver:
    """Records of earlier results that stand for runs of a study.

    Attributes:
        records: by what they are of.
    """

    records: Mapping[Key, Record] = field(default_factory=dict)

    def get(self, condition: str, agent: str, overrides: Mapping[str, Any], seed: int) -> Any:
        """The record of a run as it was, or ``None``."""
        return self.records.get(key_of(condition, agent, overrides, seed))

    def gaps(
        self, condition: str, agent: str, overrides: Mapping[str, Any], seeds: Sequence[int]
    ) -> tuple[int, ...]:
        """The seeds of which there is no record of a variant."""
        return tuple(s for s in seeds if self.get(condition, agent, overrides, s) is None)

    def standing_in(
        self,
        conditions: Iterable[str],
        agents: Mapping[str, Sequence[Mapping[str, Any]]],
        seeds: Sequence[int],
        trained: Sequence[Record],
    ) -> list[Record]:
        """The records of runs that were not trained, with the numbers of a study's variants."""
        names = ("condition", "agent", "variant", "seed")
        there = {tuple(record[name] for name in names) for record in trained}
        return [
            {**record, "variant": number}
            for label in conditions
            for agent, variants in agents.items()
            for number, variant in enumerate(variants)
            for seed in seeds
            if (label, agent, number, seed) not in there
            and (record := self.get(label, agent, variant, seed)) is not None
        ]


def key_of(condition: str, agent: str, overrides: Mapping[str, Any], seed: int) -> Key:
    """What a run is known by within one plan."""
    return condition, agent, json.dumps(dict(overrides), sort_keys=True), seed


def taken_over(
    plan: Mapping[str, Any],
    names: Sequence[str],
    results: Sequence[Mapping[str, Any]],
    completed: Callable[[Record, Mapping[str, Any]], Record | None],
) -> TakenOver:
    """The records of earlier results that a study of this plan would measure again.

    Args:
        plan: of the study, as of :meth:`.study.Study.configuration`.
        names: of the plans whose runs are trained as this study's are; those of others are ignored.
        results: as :func:`recsim_drpo.benchmarks.reproduce.results.read_result` returns them.
        completed: a record, of a result, with what the study needs of it besides, or ``None`` if
            that is lacking.

    Raises:
        ValueError: there are plans of these names, and not one run can be taken; it says why.
    """
    wanted = json.loads(json.dumps(plan))
    found: dict[Key, Record] = {}
    reasons: list[str] = []
    for result in results:
        plans = [kept for kept in result["plans"] if kept["name"] in names and "agents" in kept]
        told = [line for kept in plans for line in unlike(kept, wanted)]
        reasons += told
        if len(plans) != 1 or told:
            continue
        mark = f"{result['experiment']}, revision {result['revision']}"
        for record in _asked(result["records"], plans[0], wanted):
            if (whole := completed(record, result)) is None:
                reasons.append(
                    "records lack what this experiment needs: curves, or what it follows"
                )
            else:
                dropped = {} if wanted["offline"] else {"offline": None}
                found.setdefault(_key(record), {**whole, **dropped, MARK: mark})
    if reasons and not found:
        lines = "\n".join(f"  {line}" for line in dict.fromkeys(reasons))
        raise ValueError(
            f"No run of an earlier {wanted['name']} can be taken over (--from):\n{lines}\n"
            "Ask for the same, or leave --from out to train everything."
        )
    return TakenOver(found)


def _asked(
    records: Sequence[Record], kept: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Iterator[Record]:
    """The records of a kept plan that are of a condition, agent and variant of the wanted one."""
    labels = {c["label"] for c in kept["conditions"] if _among(c, wanted["conditions"])}
    variants = {
        (agent, json.dumps(variant, sort_keys=True))
        for agent, variants in wanted["agents"].items()
        for variant in variants
    }
    for record in records:
        label, *variant, _ = _key(record)
        if label in labels and tuple(variant) in variants:
            yield record


def _key(record: Record) -> Key:
    return key_of(record["condition"], record["agent"], record["overrides"], record["seed"])


def unlike(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Lines that say in what, that all numbers depend on, a kept plan is another."""
    return [
        line
        for name in _SHARED
        # What was chosen by a held-out log besides can be left out.
        if not (kept["offline"] and not wanted["offline"] and name in ("offline", "reward_model"))
        for line in differences(_shared(kept, name), _shared(wanted, name), name)
    ]


def _shared(plan: Mapping[str, Any], name: str) -> Any:
    """A value of a plan, as far as the numbers at the end of a training depend on it."""
    if name == "training":
        return {key: v for key, v in plan[name].items() if key not in _OBSERVING}
    if name == "reward_model":
        offline = plan["offline"]
        return plan.get(name, asdict(RewardModelConfig())) if offline else None
    return plan.get(name)


def _among(kept: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a kept condition is one of those wanted, as far as it was kept."""
    return any(
        kept == one or (kept == rounded(kept, _FORMER_DIGITS) == rounded(one, _FORMER_DIGITS))
        for one in wanted
    )


def compare(trained: Sequence[Record], taken: TakenOver) -> float:
    """How far variants' mean eCPM are from those taken over, at most.

    Args:
        trained: records of a piece that has been trained again.
        taken: with the same runs, as they were.

    Raises:
        ValueError: they are farther apart than :data:`MOST_CHANGED`.
    """
    pairs: dict[str, list[float]] = {}
    for one in trained:
        key = _key(one)
        now, then = (_number(record["test"]["ecpm"]) for record in (one, taken.records[key]))
        pairs.setdefault(", ".join(key[:3]), []).append(now - then)
    apart = {name: abs(float(np.mean(gaps))) for name, gaps in pairs.items()}
    worst = max(apart, key=lambda name: apart[name])
    if apart[worst] > MOST_CHANGED:
        raise ValueError(
            f"Earlier runs are not taken over (--from): {worst}, trained again, differs by "
            f"{apart[worst]:.3g} eCPM, more than {MOST_CHANGED:g}. What numbers depend on has "
            "changed since; leave --from out to train everything."
        )
    return apart[worst]


def _number(value: float | None) -> float:
    return 0.0 if value is None else value


def marks(records: Sequence[Record], results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a result says of the records that it took over, source by source.

    Returns:
        for each ``from``, the experiment and revision; how many ``runs``; ``agents``, runs by name;
        ``seeds``; ``versions`` and ``device`` then; and what that result had itself ``taken``.
    """
    return list(_marks(records, results))


def _marks(
    records: Sequence[Record], results: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    by_mark = {f"{r['experiment']}, revision {r['revision']}": r for r in results}
    for mark, source in by_mark.items():
        runs = [record for record in records if record.get(MARK) == mark]
        if runs:
            yield {
                "from": mark,
                "runs": len(runs),
                "agents": dict(Counter(record["agent"] for record in runs)),
                "seeds": sorted({record["seed"] for record in runs}),
                "versions": source["versions"],
                "device": source["device"],
                "taken": source.get("taken", []),
            }
