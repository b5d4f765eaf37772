"""Figure 6 and Appendix H: the item space, what items are worth, and how often they are shown.

(a) Items by t-SNE with one user's interest and what each component of the logging agent shows that
user, in the registered world and, as the paper's picture, with d = 3. (b) The mean value of a
user's item of rank r. H.2: item frequencies and Zipf's law, for both readings of how π_rand draws.
:mod:`.figure6_claims` says what is asked of them.

A replicate is a seed, which draws users; the catalogue is the registered one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from recsim_drpo.benchmarks.reproduce.experiments.figure6_claims import (
    RANDOM,
    TYPES,
    laws,
    published,
    verdicts,
)
from recsim_drpo.benchmarks.reproduce.framework.conditions import OtherWorld, other_worlds
from recsim_drpo.benchmarks.reproduce.framework.documents import Findings, Table, report_of
from recsim_drpo.benchmarks.reproduce.framework.estimates import mean_of
from recsim_drpo.benchmarks.reproduce.framework.experiment import Experiment
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.shapes import Measured, over_seeds
from recsim_drpo.benchmarks.reproduce.framework.store import Store
from recsim_drpo.core.torch_settings import threads
from recsim_drpo.datasets.generation.card import draw_map
from recsim_drpo.reporting import paper, paper_figures
from recsim_drpo.reporting.statistics import counts_by_rank, zipf_exponent
from recsim_drpo.simulator.config import ECPM_PER_REWARD, POLICIES, SCENARIOS, LoggingConfig
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.world import World, make_world

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "figure6"
WORLDS: Mapping[str, Mapping[str, Any]] = {"d = 128": {}, "d = 3": {"embedding_dim": 3}}
_EVEN = np.linspace(0.0, 1.0, 101)
_USERS = 2_000
_QUICK_USERS = 500


def purity(world: World) -> float:
    """The share of items whose nearest other item is of their own topic."""
    embeddings, topics = world.embeddings, torch.from_numpy(world.catalogue.topics)
    nearest = []
    for start in range(0, world.num_items, world.rows_at_a_time):
        rows = torch.arange(start, min(start + world.rows_at_a_time, world.num_items))
        cosines = embeddings[rows] @ embeddings.T
        cosines[torch.arange(len(rows)), rows] = -2.0
        nearest.append(cosines.argmax(dim=1).cpu())
    return float((topics[torch.cat(nearest)] == topics).double().mean())


def measure(world: World, seed: int, num_users: int) -> dict[str, Any]:
    """Measurements of items, as one seed's training users value them, as JSON can hold them.

    Returns:
        ``curve``: eCPM of a user's items at the published ranks, as shares of the catalogue, and
        ``drawn`` at a hundred even ones; ``high`` and ``low``: the shares of items worth at least
        what the paper's last Expert item is and less than its last Transition item, relative to
        rank 1; ``components``: of a round of each component of the logging agent, the mean ``ecpm``
        and ``cosine`` to the interest and the shares of rounds by :data:`TYPES`; ``zipf``:
        ``exponent`` and ``gap`` by scenario and by :data:`RANDOM`.
    """
    users = world.users("train", seed, torch.arange(num_users, device=world.device))
    ranked = torch.zeros(world.num_items, dtype=torch.float64, device=world.device)
    for tastes in torch.split(users.tastes, world.rows_at_a_time):
        values = world.latent_reward(world.cosines(tastes))
        ranked += values.sort(dim=1, descending=True).values.sum(dim=0)
    curve = (ranked / num_users).cpu().numpy()
    high, low = (published(share) for share in list(TYPES.values())[:2])
    return {
        "curve": (ECPM_PER_REWARD * curve[_places(world.num_items)]).tolist(),
        "drawn": (ECPM_PER_REWARD * curve[_drawn(world.num_items)]).tolist(),
        "high": float((curve >= high * curve[0]).mean()),
        "low": float((curve < low * curve[0]).mean()),
        "components": {name: _component(world, name, users, seed) for name in POLICIES},
        "zipf": {
            scenario: {
                reading: _zipf(world, scenario, exponent, users.tastes)
                for reading, exponent in RANDOM.items()
            }
            for scenario in SCENARIOS
        },
    }


def _places(num_items: int) -> Any:
    """Positions, from 0, of the published ranks in a ranking of ``num_items``."""
    shares = (paper.FIGURE_6B_RANKS - 1) / (paper.FIGURE_6B_RANKS[-1] - 1)
    return np.rint(shares * (num_items - 1)).astype(np.int64)


def _drawn(num_items: int) -> Any:
    return np.rint(_EVEN * (num_items - 1)).astype(np.int64)


def _component(world: World, name: str, users: Any, seed: int) -> dict[str, Any]:
    agent = LoggingAgent(world, {name: 1.0})
    items = agent.choose(users.tastes, seed, torch.arange(len(users.tastes))).items
    above = []
    for tastes, shown in zip(
        torch.split(users.tastes, world.rows_at_a_time),
        torch.split(items, world.rows_at_a_time),
        strict=True,
    ):
        cosines = world.cosines(tastes)
        above.append((cosines > cosines.gather(1, shown.unsqueeze(1))).sum(dim=1))
    ranks = torch.cat(above).cpu().numpy() / world.num_items
    edges = [0.0, *TYPES.values()]
    return {
        "ecpm": ECPM_PER_REWARD * float(world.reward_of_items(items, users.interests).mean()),
        "cosine": float((world.embeddings[items] * users.interests).sum(dim=1).mean()),
        "types": {
            kind: float(((ranks >= edges[k]) & (ranks < edges[k + 1])).mean())
            for k, kind in enumerate(TYPES)
        },
    }


def _zipf(world: World, scenario: str, exponent: float, tastes: torch.Tensor) -> dict[str, float]:
    agent = LoggingAgent(world, scenario, LoggingConfig(random_exponent=exponent))
    shares = agent.expected_item_shares(tastes).cpu().numpy()
    by_rank = counts_by_rank(shares, world.catalogue.popularity)
    fitted = zipf_exponent(by_rank)
    law = np.arange(1.0, world.num_items + 1) ** -fitted
    gap = np.abs(np.cumsum(by_rank) - np.cumsum(law / law.sum())).max()
    return {"exponent": fitted, "gap": float(gap)}


def run(settings: Settings, elsewhere: Sequence[OtherWorld] = ()) -> dict[str, Any]:
    """The result of Figure 6, from 10 seeds of 2,000 users, or 2 of 500 where it is quick.

    Args:
        settings: how.
        elsewhere: other worlds to show; none are those of the robustness set.
    """
    started = time.monotonic()
    num_users = _QUICK_USERS if settings.quick else _USERS
    seeds = settings.seeds(full=10, quick=2)
    changes = {name: {**settings.size.world, **own} for name, own in WORLDS.items()}
    plan = {
        "name": NAME,
        "worlds": changes,
        "seeds": list(seeds),
        "num_users": num_users,
        "device": settings.device,
    }
    store = Store(settings.folder / NAME, plan)
    with threads(1):
        worlds = {name: make_world(settings.device, **own) for name, own in changes.items()}
        registered = next(iter(worlds.values()))
        measured = [
            store.kept(f"seed-{seed}", partial(measure, registered, seed, num_users))
            for seed in tqdm(seeds, NAME, unit="seed", disable=None if settings.progress else True)
        ]
        pure = {name: purity(world) for name, world in worlds.items()}
    others = elsewhere or other_worlds(1 if settings.quick else 8)
    judged = findings(measured, pure, others)
    return report_of(NAME, settings, [plan], judged, time.monotonic() - started)


def findings(
    seeds: Sequence[Measured], pure: Mapping[str, float], worlds: Sequence[OtherWorld]
) -> Findings:
    """Tables of values, laws, components and frequencies of items, and the verdicts.

    Args:
        seeds: what :func:`measure` returned for each.
        pure: by world, :func:`purity`.
        worlds: others to show.
    """
    return Findings(
        [
            _curve(seeds),
            _fits(seeds),
            _components(seeds),
            _frequencies(seeds),
            _elsewhere(worlds),
        ],
        verdicts(seeds, pure),
        {"seeds": seeds, "purity": pure},
    )


def _curve(seeds: Sequence[Measured]) -> Table:
    curves = over_seeds(seeds, "curve")
    relative = curves / curves[:, :1]
    theirs = paper.FIGURE_6B / paper.FIGURE_6B[0]
    rows = [
        [f"{rank:,}", *(mean_of(values[:, k]) for values in (curves, relative)), f"{theirs[k]:.2f}"]
        for k, rank in enumerate(paper.FIGURE_6B_RANKS)
    ]
    header = ["rank of 5,000", "eCPM", "relative", "paper, relative"]
    note = f"Means over users; 95 % intervals over {len(seeds)} seeds, each with its own users."
    return Table("Figure 6b, value by rank", header, rows, note)


def _fits(seeds: Sequence[Measured]) -> Table:
    ours = np.array([laws(curve) for curve in over_seeds(seeds, "curve")])
    theirs = laws(paper.FIGURE_6B)
    names = ("power law, R²", "power law on log-log axes, R²", "exponential, R²")
    rows = [[name, mean_of(ours[:, k]), f"{theirs[k]:.2f}"] for k, name in enumerate(names)]
    return Table("Laws of value by rank", ["law", "ours", "the paper's points"], rows)


def _components(seeds: Sequence[Measured]) -> Table:
    rows = [
        [
            name,
            *(f"{SCENARIOS[scenario][name]:.0%}" for scenario in SCENARIOS),
            *(mean_of(over_seeds(seeds, "components", name, key)) for key in ("ecpm", "cosine")),
            *(
                f"{over_seeds(seeds, 'components', name, 'types', kind).mean():.1%}"
                for kind in TYPES
            ),
        ]
        for name in POLICIES
    ]
    header = ["component", *(f"of {name}" for name in SCENARIOS), "eCPM", "cosine", *TYPES]
    note = (
        "Share of each scenario's rounds; of what it shows, the mean eCPM, the mean cosine to the "
        "user's interest, and the shares that are Expert, Transition and Noise items for the user."
    )
    return Table("Who shows what", header, rows, note)


def _frequencies(seeds: Sequence[Measured]) -> Table:
    rows = [
        [
            scenario,
            reading,
            *(
                mean_of(over_seeds(seeds, "zipf", scenario, reading, k))
                for k in ("exponent", "gap")
            ),
        ]
        for scenario in SCENARIOS
        for reading in RANDOM
    ]
    header = ["logs", "π_rand draws", "exponent", "largest gap"]
    return Table("Item frequencies and Zipf's law", header, rows)


def _elsewhere(worlds: Sequence[OtherWorld]) -> Table:
    rows = [
        [
            f"world {world.number}",
            *(f"{world.facts['figure_6b'][place]:.2f}" for place in (1, 3, 6)),
            f"{world.facts['figure_6b_misfit']:.2f}",
            *(f"{world.facts[f'{scenario}_zipf']:.2f}" for scenario in SCENARIOS),
        ]
        for world in worlds
    ]
    header = [
        "world",
        *(f"rank {paper.FIGURE_6B_RANKS[place]:,}" for place in (1, 3, 6)),
        "misfit (log units)",
        *(f"Zipf exponent, {scenario}" for scenario in SCENARIOS),
    ]
    return Table("Figure 6 in other worlds", header, rows, "Values relative to rank 1.")


def draw(result: Mapping[str, Any], folder: Path) -> dict[str, Figure]:
    """Pictures of value by rank, and of the item space in 128 dimensions and in 3."""
    curve = over_seeds(result["data"]["seeds"], "drawn").mean(axis=0)
    value = f"{NAME}-value"
    figures = {value: paper_figures.value_by_rank(folder / value, curve, _EVEN, TYPES)}
    for label, changes in result["plans"][0]["worlds"].items():
        name = f"{NAME}-map-{label.replace(' = ', '-')}"
        figures[name] = draw_map(folder / name, LoggingAgent(make_world(**changes), "medium"))
    return figures


EXPERIMENT = Experiment(NAME, "items, what they are worth, who is shown them", run, draw)
