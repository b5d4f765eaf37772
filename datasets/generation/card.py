"""The dataset card: what was logged, as Markdown and pictures beside the data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsim_drpo.datasets.generation.source import Log, sampled_users
from recsim_drpo.datasets.generation.statistics import LogStatistics
from recsim_drpo.reporting import paper, paper_figures, plots
from recsim_drpo.reporting.statistics import counts_by_rank, zipf_exponent, zipf_interval
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.simulator.config import ECPM_PER_REWARD, POLICIES
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.world import World

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CURVE_USERS = 500
_MAP_ITEMS = 1_500
_MAP_ROUNDS = 300
_NO_PICTURES = (
    'No pictures: they need matplotlib and scikit-learn, `pip install "recsim-drpo[plots]"`.'
)


def value_curve(world: World) -> NDArray[np.float64]:
    """Mean latent reward of a user's item of rank 1, …, N (Figure 6b), over 500 training users.

    Over fewer above 100,000 items, see :func:`.source.sampled_users`.
    """
    num_users = sampled_users(_CURVE_USERS, world.num_items)
    users = world.users("train", 0, torch.arange(num_users))
    total = torch.zeros(world.num_items, dtype=torch.float64, device=world.device)
    for tastes in torch.split(users.tastes, world.rows_at_a_time):
        values = world.latent_reward(world.cosines(tastes))
        if world.device.type == "cpu":
            values.numpy().sort(axis=1)  # a tenth of the time of torch's, which orders items too
        else:
            values = values.sort(dim=1).values
        total += values.sum(dim=0)
    curve: NDArray[np.float64] = (total / num_users).flip(0).cpu().numpy()
    return curve


def write_card(folder: Path, dataset_id: str, metadata: Mapping[str, Any], log: Log) -> None:
    """Write ``README.md`` and its pictures into ``folder``.

    Without the extra ``plots`` the card has its tables only, and says so.

    Args:
        folder: of the dataset.
        dataset_id: its Minari id.
        metadata: the dataset's, complete.
        log: what was logged, with its statistics.
    """
    agent, world, statistics = log.agent, log.agent.world, log.statistics
    popularity = world.catalogue.popularity
    logged = counts_by_rank(statistics.counts.sum(axis=0), popularity)
    tastes = log.tastes()
    shares = agent.expected_item_shares(tastes).cpu().numpy()
    expected = counts_by_rank(shares, popularity)
    fitted = zipf_interval(logged)
    curve = value_curve(world)
    pictures = _pictures(folder, agent, statistics, logged, expected, fitted.value, curve)
    own_ids = []
    if world.config.embeddings is not None:
        np.save(folder / "item_ids.npy", world.catalogue.item_ids)
        own_ids = ["`item_ids.npy` has the file's own id of each row of the catalogue."]
    zipf_rows = [["all", str(fitted), f"{zipf_exponent(expected):.3f}"]]
    sections = [
        *_introduction(dataset_id, metadata, log),
        *own_ids,
        "## Who logged what",
        _policy_table(statistics, metadata["weights"]),
        *log.card_sections(),
        "## How popular are the items",
        "Exponent s of p(rank) ∝ rank^-s by maximum likelihood on the true popularity ranks, with "
        "a 95 % bootstrap interval. Organic popularity has "
        f"{world.catalogue.popularity_exponent:g}.",
        markdown_table(
            ["rounds of", "logged", "expected of the mixture"],
            zipf_rows + _zipf_rows_by_policy(statistics, popularity),
        ),
        *_said_of_samples(f"What is expected is the mean over {len(tastes):,} users", world),
        *pictures.get("frequencies", []),
        "## How rewards are spread (Figure 1)",
        _decile_table(statistics.deciles()),
        *pictures.get("deciles", []),
        "## What items are worth to a user (Figure 6b)",
        _value_table(curve),
        *_said_of_samples(
            f"The mean over {sampled_users(_CURVE_USERS, world.num_items):,} users", world
        ),
        *pictures.get("value", []),
        "## The catalogue (Figure 6a)",
        *pictures.get("map", [_NO_PICTURES]),
        "## How it was made",
        "```json\n" + json.dumps(_configuration(metadata), indent=2) + "\n```",
    ]
    (folder / "README.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _said_of_samples(what: str, world: World) -> list[str]:
    """A line that says of how few users a mean is, of a catalogue so large that they are fewer."""
    if sampled_users(_CURVE_USERS, world.num_items) == _CURVE_USERS:
        return []
    return [f"{what}, a sample: each meets all {world.num_items:,} items."]


def _introduction(dataset_id: str, metadata: Mapping[str, Any], log: Log) -> list[str]:
    """Sections that say what the dataset is and how it is opened."""
    world = log.agent.world
    return [
        f"# {dataset_id}",
        str(metadata["description"]),
        "```python\nimport minari\n\n"
        f'dataset = minari.load_dataset("{dataset_id}")\n'
        "env = dataset.recover_environment(eval_env=True)  # test users\n```",
        f"Catalogue: {world.num_items:,} items, {world.dim} dimensions. Best eCPM for these "
        f"users: {ECPM_PER_REWARD * log.statistics.mean_oracle_reward:.2f}. "
        f"Reference scores: {metadata['reference_scores']}.",
    ]


def _policy_table(statistics: LogStatistics, weights: Mapping[str, float]) -> str:
    """Rounds and mean rewards of each component of the logging agent, and of all."""
    rows = [
        [
            name,
            f"{weights[name]:.2f}",
            f"{values['rounds']:,}",
            f"{values['latent']:.3f}",
            f"{ECPM_PER_REWARD * values['latent']:.2f}",
            f"{values['observed']:.3f}",
        ]
        for name, values in statistics.by_policy().items()
    ]
    latent = statistics.mean_latent_reward
    rows.append(
        [
            "**all**",
            "1.00",
            f"{statistics.num_rounds:,}",
            f"{latent:.3f}",
            f"{ECPM_PER_REWARD * latent:.2f}",
            f"{statistics.mean_reward:.3f}",
        ]
    )
    header = ["component", "weight", "rounds", "latent reward", "eCPM", "observed reward"]
    return markdown_table(header, rows)


def _zipf_rows_by_policy(
    statistics: LogStatistics, popularity: NDArray[np.float64]
) -> list[list[str]]:
    """The exponent of each component that logged something."""
    return [
        [name, str(zipf_interval(counts_by_rank(statistics.counts[code], popularity))), ""]
        for code, name in enumerate(POLICIES)
        if statistics.counts[code].any()
    ]


def _decile_table(deciles: NDArray[np.float64]) -> str:
    """Rewards by share of rounds beside those of the paper, relative to the best tenth."""
    rows = [
        [
            f"{share:.0%}",
            f"{ECPM_PER_REWARD * ours:.3f}",
            f"{ours / deciles[0]:.3f}",
            f"{published:.3f}",
        ]
        for share, ours, published in zip(
            paper.FIGURE_1_SHARES, deciles, paper.FIGURE_1 / paper.FIGURE_1[0], strict=True
        )
    ]
    return markdown_table(["rounds, best first", "eCPM", "relative", "paper, relative"], rows)


def _value_table(curve: NDArray[np.float64]) -> str:
    """Latent reward by rank beside that of the paper, relative to rank 1."""
    rows = [
        [
            f"{rank:,}",
            f"{curve[rank - 1]:.3f}",
            f"{curve[rank - 1] / curve[0]:.3f}",
            f"{published:.3f}",
        ]
        for rank, published in zip(
            paper.FIGURE_6B_RANKS, paper.FIGURE_6B / paper.FIGURE_6B[0], strict=True
        )
        if rank <= len(curve)
    ]
    return markdown_table(["rank", "latent reward", "relative", "paper, relative"], rows)


def _configuration(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the metadata from which the dataset can be made again."""
    names = ("scenario", "weights", "seed", "logging_config", "catalogue_checksum", "created_with")
    configuration = {name: metadata[name] for name in names}
    return configuration | {
        name: json.loads(metadata[name]) for name in ("env_spec", "eval_env_spec")
    }


def _pictures(
    folder: Path,
    agent: LoggingAgent,
    statistics: LogStatistics,
    logged: NDArray[np.float64],
    expected: NDArray[np.float64],
    exponent: float,
    curve: NDArray[np.float64],
) -> dict[str, list[str]]:
    """Draw the card's pictures; Markdown that shows them, or nothing where they cannot be drawn."""
    try:
        paper_figures.item_frequencies(folder / "item_frequencies.png", logged, expected, exponent)
        paper_figures.deciles(folder / "reward_deciles.png", {"this dataset": statistics.deciles()})
        paper_figures.value_by_rank(folder / "value_by_rank.png", curve)
        draw_map(folder / "item_map.png", agent)
    except plots.PlotsMissingError:
        return {}
    return {
        "frequencies": ["![Share of rounds by popularity rank](item_frequencies.png)"],
        "deciles": ["![Reward by share of rounds](reward_deciles.png)"],
        "value": ["![Value by rank](value_by_rank.png)"],
        "map": [
            "![Items, a user's interest and what is shown](item_map.png)",
            "One user (star) and what each component of the logging agent shows to that user; "
            f"t-SNE of at most {_MAP_ITEMS:,} items.",
        ],
    }


def draw_map(path: Path, agent: LoggingAgent) -> Figure:
    """Figure 6a: items, the interest of training user 0, and what each component shows to them."""
    world = agent.world
    user = world.users("train", 0, torch.arange(1))
    rounds = torch.arange(_MAP_ROUNDS)
    shown = {}
    for name in POLICIES:
        component = LoggingAgent(world, {name: 1.0}, agent.config)
        tastes = user.tastes.expand(_MAP_ROUNDS, -1)
        shown[name] = component.choose(tastes, 0, rounds).items.cpu().numpy()
    needed = np.unique(np.concatenate(list(shown.values())))
    others = np.setdiff1d(np.arange(world.num_items), needed)
    count = max(0, min(len(others), _MAP_ITEMS - len(needed)))
    filler: Any = (
        np.random.default_rng(0).choice(others, size=count, replace=False) if count else []
    )
    items = np.concatenate([needed, np.asarray(filler, dtype=np.int64)])[:_MAP_ITEMS]
    position = {int(item): row for row, item in enumerate(items)}
    return paper_figures.item_map(
        path,
        world.catalogue.embeddings[items],
        user.interests[0].cpu().numpy(),
        {
            name: [position[int(i)] for i in rows if int(i) in position]
            for name, rows in shown.items()
        },
    )
