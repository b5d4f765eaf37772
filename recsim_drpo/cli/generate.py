"""``recsim-drpo generate``: a log of simulated users."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from recsim_drpo.cli.arguments import (
    Address,
    CatalogueVectors,
    Device,
    EngineName,
    GpusPerTask,
    Normalize,
    Storage,
    World,
    assignments,
    engine_of,
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
    storage: Storage = None,
    engine: EngineName = "local",
    address: Address = None,
    gpus_per_task: GpusPerTask = None,
) -> None:
    """Log rounds with simulated users into a Minari dataset."""
    if weights and scenario is not None:
        raise typer.TyperException("'--scenario' and '--weights' exclude each other.")
    from recsim_drpo.datasets.generate import generate_dataset
    from recsim_drpo.datasets.generate_shards import generate_shards
    from recsim_drpo.datasets.staging import check_id
    from recsim_drpo.datasets.storage import place_of

    where = engine_of(engine, None, address, gpus_per_task, device)
    if shards is None and (engine != "local" or storage is not None):
        raise ValueError("--engine and --storage are of --shards; say how many (1 is one dataset).")
    options: dict[str, Any] = {
        "env": env,
        "scenario": assignments(weights) if weights else scenario or "medium",
        "num_rounds": rounds,
        "seed": seed,
        "env_kwargs": world_parameters(world, embeddings, normalize),
        "device": device,
        "card": not no_card,
    }
    if shards is None:
        check_id(dataset_id)
        made = iter([(dataset_id, generate_dataset(dataset_id, **options).total_steps)])
    else:
        made = generate_shards(dataset_id, shards, engine=where, storage=storage, **options)
    for each, count in made:
        print(f"{count:,} rounds in {place_of(each, storage)}" + ("" if no_card else ", README.md"))
