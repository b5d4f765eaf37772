"""A full result that is small, for tests of what is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recsim_drpo.benchmarks.reproduce.framework.compact import METRICS
from recsim_drpo.benchmarks.reproduce.framework.verdicts import VERDICTS
from recsim_drpo.benchmarks.reproduce.publishing.claims import (
    BEGIN,
    END,
)

ROOT = Path(__file__).resolve().parents[3]
README = f"# A project\n\n{BEGIN}\nold\n{END}\n\nThe rest.\n"


def record(condition: str, seed: int) -> dict[str, Any]:
    metrics = dict.fromkeys([*METRICS, "gini"], 1.0 / 3.0) | {"reward": 1.0 / 15.0}
    return {
        "condition": condition,
        "agent": "bc",
        "variant": 0,
        "overrides": {},
        "seed": seed,
        "diverged_at": None,
        "test": metrics | {"distance": None},
        "validation": 2.0 / 3.0,
        "offline": None,
        "curve": [[0.0, 0.1], [500.0, 0.2]],
    }


def table(scenario: str) -> dict[str, Any]:
    return {
        "title": f"Table 1, {scenario}",
        "header": ["agent", "reward", "eCPM, tuned online", "paper's eCPM"],
        "rows": [["bc", "0.3", f"1.5 [1.4, 1.6] {scenario}", "1.69"], ["apg", "0.0", "0.1", ""]],
        "note": "",
    }


def result(name: str, *, quick: bool = False) -> dict[str, Any]:
    definition = {"label": "medium", "weights": {"random": 1.0}, "world": {}, "logging": {}}
    conditions = [definition | {"num_rounds": n} for n in (200_000, 50_000)]
    return {
        "experiment": name,
        "quick": quick,
        "plans": [
            {
                "name": name,
                "conditions": conditions,
                "seeds": [0, 1],
                "full_seeds": 20,
                "training": {"steps": 5000},
            }
        ],
        "revision": "abc1234",
        "versions": {"torch": "2"},
        "device": "1 thread",
        "wall_time_s": 100.0,
        "verdicts": [
            {
                "claim": f"{name}, claim {number}",
                "statement": "P(a|b)\n<p is large.",
                "paper": "1.5",
                "ours": "1.5 [1.4, 1.6]",
                "verdict": kind,
                "because": "it is",
                "command": f"recsim-drpo reproduce {name}",
            }
            for number, kind in enumerate(VERDICTS)
        ],
        "tables": [table("medium"), table("extreme")],
        "data": {"share": 0.123456789},
        "records": [record(condition, seed) for condition in ("a", "b") for seed in (0, 1)],
    }
