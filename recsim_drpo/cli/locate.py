"""``recsim-drpo locate``: advice for a log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Datasets = Annotated[
    list[str],
    typer.Argument(
        metavar="DATASET",
        help="Ids of local Minari datasets of one world with item_id: one log, in order.",
    ),
]
Results = Annotated[
    Path | None,
    typer.Option(
        "--results",
        metavar="FOLDER",
        help="Another map than the published one.",
        show_default="the published map",
    ),
]


def locate(datasets: Datasets, results: Results = None) -> None:
    """Locate a log on the phase map: predict, filter, weigh or clone."""
    from recsim_drpo.benchmarks.reproduce import runner
    from recsim_drpo.benchmarks.reproduce.advice import locate as phase_map
    from recsim_drpo.benchmarks.reproduce.advice.log_features import features_of_datasets
    from recsim_drpo.datasets.staging import sweep_datasets

    sweep_datasets()
    experiments = runner.load_results(results or phase_map.PUBLISHED)
    points, elsewhere = phase_map.points_of(experiments)
    features = features_of_datasets(datasets)
    answer, tables = phase_map.locate(features, points, elsewhere)
    print("\n\n".join([answer, *(table.markdown() for table in tables)]))
