"""Tables and pictures of the demo: what the reference policies and the agents are worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from recsim_drpo.core.provenance import versions
from recsim_drpo.evaluation.bandit import Evaluation
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.statistics import Estimate, seed_interval
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.training.loop import Row

_COLUMNS = (
    "policy",
    "eCPM",
    "95 % interval",
    "of optimum",
    "Dist.",
    "items shown",
    "interval over",
)

NO_EVIDENCE = "A QUICK RUN, NO EVIDENCE: that it works, not what an agent is worth."
"""Above the results of a quick demo."""


@dataclass(frozen=True)
class Setting:
    """How a demo was run.

    Attributes:
        scenario: of the logging agent.
        num_rounds: logged for each seed.
        steps: updates of each agent.
        seeds: of the replicates.
        quick: whether it is a short run, which is no evidence.
    """

    scenario: str
    num_rounds: int
    steps: int
    seeds: Sequence[int]
    quick: bool = False


def write_results(
    folder: Path,
    setting: Setting,
    agents: Mapping[str, Sequence[Evaluation]],
    references: Mapping[str, Evaluation],
) -> None:
    """Write results.md, results.json and, where it can be drawn, results.png.

    Args:
        folder: for the files.
        setting: how the demo was run.
        agents: evaluations of ``drpo`` and its rivals by name, one a seed.
        references: evaluations of the reference policies; the oracle's row comes last.
    """
    ecpm = {name: one.ecpm for name, one in references.items() if name != "oracle"}
    ecpm |= {
        name: seed_interval([one.ecpm.value for one in of_seeds])
        for name, of_seeds in agents.items()
    }
    ecpm["oracle"] = references["oracle"].ecpm
    rows = [
        _row(name, estimate, agents.get(name) or [references[name]], name in agents)
        for name, estimate in ecpm.items()
    ]
    text = _text(setting, markdown_table(_COLUMNS, rows), agents)
    (folder / "results.md").write_text(text, encoding="utf-8")
    results = {
        **asdict(setting),
        "versions": versions(),
        "agents": {name: [one.as_dict() for one in each] for name, each in agents.items()},
        "references": {name: one.as_dict() for name, one in references.items()},
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    try:
        label = _marked("eCPM on test users, 95 % interval", setting.quick)
        plots.estimates(folder / "results.png", ecpm, label)
    except plots.PlotsMissingError as error:
        print(error)


def _row(
    name: str, ecpm: Estimate, evaluations: Sequence[Evaluation], over_seeds: bool
) -> list[str]:
    """A policy's cells in the table: its eCPM, and means over its evaluations."""
    share = np.mean([one.normalized.value for one in evaluations])
    distance = np.mean([one.distance.value for one in evaluations])
    coverage = np.mean([one.coverage for one in evaluations])
    plural = "s" if len(evaluations) > 1 else ""
    return [
        name,
        f"{ecpm.value:.2f}",
        f"{ecpm.low:.2f} to {ecpm.high:.2f}" if np.isfinite(ecpm.low) else "one seed",
        f"{share:.1%}",
        f"{distance:.2f}",
        f"{coverage:.1%}",
        f"{len(evaluations)} seed{plural}" if over_seeds else "users",
    ]


def _text(setting: Setting, table: str, agents: Mapping[str, Sequence[Evaluation]]) -> str:
    """The page results.md: the table, and DRPO beside each rival."""
    several = len(setting.seeds) > 1
    return (
        f"# {setting.scenario}: {setting.num_rounds:,} logged rounds, {setting.steps:,} steps, "
        f"seeds {', '.join(map(str, setting.seeds))}\n\n"
        + (f"{NO_EVIDENCE}\n\n" if setting.quick else "")
        + f"{table}\n\n"
        f"{_differences(agents)}\n\n"
        + ("An interval that covers 0 leaves open which of the two is better. " if several else "")
        + "eCPM is 5 × the latent reward (without noise) of test users. "
        '"of optimum" is 0 for items drawn at random and 100 % for the oracle. A seed draws its '
        "own log, initialisation and batches. All agents have their defaults.\n"
    )


def _differences(agents: Mapping[str, Sequence[Evaluation]]) -> str:
    """A table of DRPO's eCPM minus each rival's, paired by seed."""
    rows = []
    for name in agents:
        if name == "drpo":
            continue
        pairs = zip(agents["drpo"], agents[name], strict=True)
        difference = seed_interval([drpo.ecpm.value - rival.ecpm.value for drpo, rival in pairs])
        interval = f"{difference.low:+.2f} to {difference.high:+.2f}"
        rows.append(
            [
                name,
                f"{difference.value:+.2f}",
                interval if np.isfinite(difference.low) else "one seed",
            ]
        )
    return markdown_table(("drpo minus", "eCPM, paired by seed", "95 % interval"), rows)


def draw_curves(
    path: Path,
    curves: Mapping[str, Sequence[Sequence[Row]]],
    levels: Mapping[str, float],
    quick: bool = False,
) -> None:
    """Draw learning curves, where matplotlib is there.

    Args:
        path: of the picture.
        curves: histories of training by agent, one a seed.
        levels: eCPM of reference policies by name, drawn as lines.
        quick: whether the picture is marked as no evidence.
    """
    drawn = {}
    for name, histories in curves.items():
        evaluated = [[row for row in history if "ecpm" in row] for history in histories]
        steps = np.array([row["step"] for row in evaluated[0]])
        drawn[name] = (steps, np.array([[row["ecpm"] for row in rows] for rows in evaluated]))
    with suppress(plots.PlotsMissingError):
        label = _marked("eCPM on validation users", quick)
        plots.learning_curves(path, drawn, levels, label)


def _marked(label: str, quick: bool) -> str:
    """An axis's label, which says of a quick run that it is one."""
    return f"{label} (a quick run, no evidence)" if quick else label
