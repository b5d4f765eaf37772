"""``recsim-drpo generate``: a log of simulated users."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsim_drpo.cli.arguments import (
    CatalogueVectors,
    Device,
    Normalize,
    World,
    assignments,
    integer,
    one_of,
    world_parameters,
)
from recsim_drpo.envs.registration import ENV_ID, ENVIRONMENTS
from recsim_drpo.simulator.config import SCENARIOS

DatasetId = Annotated[
    str, typer.Argument(metavar="DATASET_ID", help="Minari id, for example recsim/extreme-v0.")
]
Env = Annotated[
    str,
    typer.Option(
        "--env",
        help=f"Environment: {', '.join(ENVIRONMENTS)}.",
        autocompletion=one_of(ENVIRONMENTS),
    ),
]
Scenario = Annotated[
    str | None,
    typer.Option(
        "--scenario",
        help=f"Mixture of the logging agent: {', '.join(SCENARIOS)}.",
        show_default="medium",
        autocompletion=one_of(SCENARIOS),
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        metavar="NAME=W...",
        help="Mixture weights in place of a scenario.",
        show_default="the scenario's",
    ),
]
Rounds = Annotated[int, typer.Option("--rounds", parser=integer, help="Rounds to log.")]
Seed = Annotated[
    int, typer.Option("--seed", parser=integer, help="Of users, choices and reward noise.")
]
Shards = Annotated[
    int | None,
    typer.Option(
        "--shards",
        parser=integer,
        metavar="K",
        help="Log the rounds into K datasets, NAME-1-of-K-v0 to NAME-K-of-K-v0.",
        show_default="one dataset",
    ),
]
NoCard = Annotated[
    bool, typer.Option("--no-card", help="Write no dataset card.", show_default="off")
]


def generate(
    dataset_id: DatasetId,
    env: Env = ENV_ID,
    scenario: Scenario = None,
    weights: Weights = None,
    rounds: Rounds = 100_000,
    seed: Seed = 0,
    shards: Shards = None,
    no_card: NoCard = False,
    embeddings: CatalogueVectors = None,
    normalize: Normalize = False,
    world: World = None,
    device: Device = "cpu",
) -> None:
    """Log rounds with simulated users into a Minari dataset."""
    if weights and scenario is not None:
        raise typer.TyperException("'--scenario' and '--weights' exclude each other.")
    from recsim_drpo.datasets.generate import generate_dataset
    from recsim_drpo.datasets.shards import shard_ids
    from recsim_drpo.datasets.staging import check_id

    ids = [dataset_id] if shards is None else shard_ids(dataset_id, shards)
    for each in ids:
        check_id(each)
    kwargs = world_parameters(world, embeddings, normalize)
    for number, each in enumerate(ids, start=1):
        dataset = generate_dataset(
            each,
            env=env,
            scenario=assignments(weights) if weights else scenario or "medium",
            num_rounds=rounds,
            seed=seed,
            env_kwargs=kwargs,
            device=device,
            card=not no_card,
            shard=None if shards is None else (number, len(ids)),
        )
        folder = Path(dataset.spec.data_path).parent
        print(f"{dataset.total_steps:,} rounds in {folder}" + ("" if no_card else ", README.md"))
