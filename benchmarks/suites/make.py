"""Makes the file of a suite from published results.

``python -m recsim_drpo.benchmarks.suites.make NAME``, for who adds a suite. Those that are out are
never made anew: their files are what they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recsim_drpo.benchmarks.reproduce.framework.compact import compacted
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.framework.records import best_variant, distinct, select
from recsim_drpo.benchmarks.reproduce.results import read_result
from recsim_drpo.benchmarks.suites.suite import DATA, first_facts
from recsim_drpo.core.files import check_new_folder, read_text, write_atomically
from recsim_drpo.envs.registration import SESSION_ENV_ID
from recsim_drpo.simulator.config import SCENARIOS
from recsim_drpo.training.config import TrainingConfig

PUBLISHED = Path("benchmarks/results/reproduce")

SESSIONS = "zipf-sessions-1"
_SESSIONS_COMMAND = (
    "python -m recsim_drpo.benchmarks.sessions agents --seeds 0 1 2 3 4 5 --execution compile"
)
_SESSIONS_REVISION = "83f8039"

_OFFLINE = (
    "Agents learn from the log of the condition and seed alone: no user is met, and no world is "
    "asked, before the test."
)
_DEFAULTS = (
    "Hyper-parameters are the same in all conditions. What they were chosen by is stated: nothing, "
    "logs alone, or true reward of validation users of other seeds."
)

MAP_LOGS = (
    "noise_share 0, reward_noise 0.05, popularity_bias 0.5, rounds 5000",
    "noise_share 0, reward_noise 0.05, popularity_bias 2, rounds 40000",
    "noise_share 0, reward_noise 0.2, popularity_bias 0.5, rounds 5000",
    "noise_share 0.4, reward_noise 0.8, popularity_bias 2, rounds 40000",
    "noise_share 0.4, reward_noise 0.2, popularity_bias 2, rounds 5000",
    "noise_share 0.4, reward_noise 0.8, popularity_bias 0.5, rounds 40000",
    "noise_share 0.8, reward_noise 0.05, popularity_bias 2, rounds 5000",
    "noise_share 0.8, reward_noise 0.2, popularity_bias 0.5, rounds 40000",
    "noise_share 0.8, reward_noise 0.8, popularity_bias 0.5, rounds 40000",
    "noise_share 0.95, reward_noise 0.05, popularity_bias 0.5, rounds 5000",
    "noise_share 0.95, reward_noise 0.2, popularity_bias 2, rounds 40000",
    "noise_share 0.95, reward_noise 0.8, popularity_bias 2, rounds 5000",
)
"""Twelve of the 72 logs: three of each share of random rounds, four of each reward noise, six of
each popularity bias and six of each length up to 40,000 rounds. Chosen by that balance, and by no
result."""


def recipe(name: str) -> tuple[str, str, Callable[[str], bool], str]:
    """Title, experiment, which conditions, and how the references were tuned, of a suite."""
    tuned = (
        "the variant of largest eCPM on validation users in each condition, of Appendix I's grids"
    )
    untuned = "the defaults of every agent"
    return {
        "zipf-1": (
            "The registered world, both scenarios of Table 4.",
            "table1",
            lambda label: True,
            tuned,
        ),
        "zipf-robust-1": (
            "Eight other worlds that meet the same facts, both scenarios.",
            "worlds",
            lambda label: True,
            untuned,
        ),
        "zipf-map-1": (
            "Twelve logs of the phase map that span it.",
            "phase-map",
            lambda label: label in MAP_LOGS,
            untuned,
        ),
    }[name]


def make(name: str, published: Path, out: Path) -> None:
    """Write the file of a suite.

    Args:
        name: of :func:`recipe`.
        published: folder of results.
        out: the file, which must not be there.

    Raises:
        FileExistsError: it is there.
        ValueError: the result is damaged, or of several plans.
    """
    check_new_folder(out, "file")
    suite = _of_sessions(published) if name == SESSIONS else _of_experiment(name, published)
    suite = {"name": name, **suite}
    suite["logs"] = {
        fields["label"]: {
            str(seed): first_facts(Condition(**fields), seed).model_dump()
            for seed in suite["seeds"]
        }
        for fields in tqdm(suite["conditions"], name, unit="log", disable=None)
    }
    suite["references"] = compacted(suite.pop("references"))
    write_atomically(out, json.dumps(suite, indent=1) + "\n")


def _of_experiment(name: str, published: Path) -> dict[str, Any]:
    """The fields of a suite of rounds but for its logs: a published experiment's."""
    title, experiment, wanted, how = recipe(name)
    result = read_result(published / f"{experiment}.json")
    (plan,) = result["plans"]
    conditions = [fields for fields in plan["conditions"] if wanted(fields["label"])]
    labels = [fields["label"] for fields in conditions]
    records = [r for r in result["records"] if r["condition"] in labels]
    return {
        "title": title,
        "seeds": plan["seeds"],
        "training": {key: plan["training"][key] for key in ("steps", "batch_size")},
        "num_test_users": plan["num_test_users"],
        "num_validation_users": plan["num_validation_users"],
        "rules": {
            "offline": _OFFLINE,
            "tuning": _DEFAULTS,
            "references": f"{how}; of {experiment}, revision {result['revision']}.",
        },
        "conditions": conditions,
        "references": _one_variant_each(records),
    }


def _of_sessions(published: Path) -> dict[str, Any]:
    """The same of the suite of sessions: ``sessions.json``, which has no records."""
    report = json.loads(read_text(published.parent / "sessions.json"))
    policies = {
        name: values["session_return"]["value"]
        for name, values in report["references"]["policies"].items()
    }
    by_label = {name: report[f"agents-{name}"] for name in SCENARIOS}
    first = by_label["medium"]
    sizes = [
        [one[key] for key in ("seeds", "steps", "num_users", "num_rounds")]
        for one in by_label.values()
    ]
    if any(size != sizes[0] for size in sizes) or any(one["diverged"] for one in by_label.values()):
        raise ValueError("sessions.json has runs that diverged, or scenarios of different sizes.")
    return {
        "title": "Sessions of the registered world, logged by both scenarios of Table 4.",
        "seeds": first["seeds"],
        "training": {"steps": first["steps"], "batch_size": TrainingConfig.batch_size},
        "num_test_users": first["num_users"],
        "num_validation_users": 2_000,
        "rules": {
            "offline": _OFFLINE,
            "tuning": _DEFAULTS,
            "references": "the defaults of every agent; of sessions, revision "
            f"{_SESSIONS_REVISION}.",
            "references_tuned_by": "nothing",
            "references_command": _SESSIONS_COMMAND,
        },
        "conditions": [
            Condition(
                name, SCENARIOS[name], num_rounds=one["num_rounds"], env=SESSION_ENV_ID
            ).as_dict()
            for name, one in by_label.items()
        ],
        "metric": {
            "name": "return",
            "label": "return",
            "floor": policies["random"],
            "ceiling": policies["far-sighted"],
            "scale": "0 is random items, 1 the far-sighted policy of docs/sessions.md, a lower "
            "bound on the optimum",
        },
        "references": list(_session_records(by_label)),
    }


def _session_records(by_label: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The runs that a report on sessions has, as records."""
    for label, one in by_label.items():
        for agent, values in one["returns"].items():
            for seed, value, length in zip(
                one["seeds"], values, one["lengths"][agent], strict=True
            ):
                yield {
                    "condition": label,
                    "agent": agent,
                    "variant": 0,
                    "overrides": {},
                    "seed": seed,
                    "diverged_at": None,
                    "test": {"return": value, "session_length": length},
                    "validation": None,
                    "offline": None,
                }


def _one_variant_each(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records of the variant of each agent that validation users choose in each condition."""
    kept = []
    for condition in distinct(records, "condition"):
        here = select(list(records), condition=condition)  # type: ignore[arg-type]
        for agent in distinct(here, "agent"):
            variant = best_variant(here, condition, agent)
            chosen = select(here, agent=agent, variant=variant)
            kept += [{**record, "variant": 0} for record in chosen]
    return kept


def main() -> None:
    """Read the command line, and make a suite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=["zipf-1", "zipf-robust-1", "zipf-map-1", SESSIONS])
    parser.add_argument("--published", type=Path, default=PUBLISHED)
    arguments = parser.parse_args()
    make(arguments.name, arguments.published, DATA / f"{arguments.name}.json")


if __name__ == "__main__":
    main()
