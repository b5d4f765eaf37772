"""Results that look like an experiment's, for tests of what is published of them."""

from __future__ import annotations

from typing import Any

from recsim_drpo.benchmarks.reproduce.framework.verdicts import VERDICTS

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>&\"'"


CONDITIONS = ("medium", 'extreme, "noisy"')


def record(condition: str, agent: str, variant: int, seed: int) -> dict[str, Any]:
    value = len(condition) / 10 + len(agent) / 100 + variant / 7 + seed / 3
    test = {"reward": value / 5, "ecpm": value, "distance": None if agent == "apg" else 0.5}
    return {
        "condition": condition,
        "agent": agent,
        "variant": variant,
        "overrides": {"beta": variant, "note": "a\nb"} if agent == "awr" else {},
        "seed": seed,
        "diverged_at": 250 if agent == "apg" else None,
        "test": test,
        "validation": value,
        "offline": None,
        "curve": [[0.0, 0.25], [500.0, value]],
    }


def verdict(kind: str, text: str = "") -> dict[str, str]:
    return {
        "claim": f"claim of {kind}{text}",
        "statement": f"it {kind}",
        "paper": "1.46 < 1.50",
        "ours": f"{len(kind)} [1, 20]",
        "verdict": kind,
        "because": f"so it {kind}",
        "command": "recsim-drpo reproduce table1",
    }


def result(name: str, *, quick: bool = False, hostile: str = "") -> dict[str, Any]:
    runs = [("bc", 0), ("apg", 0), ("awr", 0), ("awr", 1), (f"own{hostile}", 0)]
    return {
        "experiment": name,
        "quick": quick,
        "plans": [{"name": name, "seeds": [0, 1, 2], "note": hostile}],
        "revision": "abc1234",
        "versions": {"torch": f"2{hostile}"},
        "device": "1 thread",
        "wall_time_s": 100.0,
        "verdicts": [verdict(kind, hostile) for kind in VERDICTS],
        "tables": [
            {
                "title": f"{name}, medium{hostile}",
                "header": ["agent", "eCPM"],
                "rows": [["bc", "1.50 [1.40, 1.60]"], [f"own{hostile}", "2"]],
                "note": f"Seeds.{hostile}",
            }
        ],
        "data": {},
        "records": [record(c, a, v, s) for c in CONDITIONS for a, v in runs for s in range(3)],
    }


def without_records(name: str) -> dict[str, Any]:
    return result(name) | {"records": [], "tables": [], "plans": [], "data": {"x": [1, 2]}}


def mapped() -> dict[str, Any]:
    """Four conditions on two axes with leads of two seeds, and a picture of one line."""
    points = [
        {
            "noise_share": noise,
            "rounds": rounds,
            "leads": {"soft": [lead, lead + 0.02], "bc": [1.0, 1.0]},
        }
        for noise, rounds, lead in ((0, 5, 0.3), (0, 20, -0.5), (0.9, 5, 0.1), (0.9, 20, -0.01))
    ]
    axis = {"label": "steps", "log": False, "range": [0, 1]}
    line = {"dash": "dash", "drawn": True, "markers": False, "x": [0, 1], "y": [2, 3]}
    corners = [[0, 1], [1, 2], [1, 4], [0, 3]]
    lines = [
        {**line, "name": f"drpo{HOSTILE}", "colour": "#0072b2", "band": corners},
        {**line, "name": "bc", "colour": "#888888", "band": None},
    ]
    pictures = [{"title": title, "x": axis, "y": axis, "lines": lines} for title in ("one", "two")]
    return without_records("phase-map") | {"data": {"points": points}, "panels": pictures}
