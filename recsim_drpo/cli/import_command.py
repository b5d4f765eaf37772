"""The command ``recsim-drpo import``: its options, and what they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import minari

from recsim_drpo.core.validation import unknown_name
from recsim_drpo.datasets.import_log import import_log, import_summary
from recsim_drpo.datasets.importing.columns import Columns, read_columns
from recsim_drpo.datasets.importing.open_bandit import open_bandit

PRESETS = ("open-bandit",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the command's options."""
    parser.add_argument("dataset_id", help="Minari id, for example shop/clicks-v0")
    parser.add_argument(
        "log", type=Path, help="logged interactions: .csv, .tsv, .txt, .parquet, .arrow or .feather"
    )
    parser.add_argument("--items", type=Path, help="file of item vectors with their ids")
    parser.add_argument("--normalize", action="store_true", help="scale them to unit length")
    parser.add_argument(
        "--item-ids", type=Path, help="their ids in order, .npy or one on a line, if in no file yet"
    )
    parser.add_argument("--id-column", help="their ids' column, where the file is a table")
    parser.add_argument("--vector-columns", help="their vectors' column, or a pattern: 'emb_*'")
    parser.add_argument("--preset", help=f"{', '.join(PRESETS)}: columns and items of a known log")
    parser.add_argument(
        "--columns", type=Path, help="JSON file of what follows; what is given here goes before it"
    )
    for name, default, what in (
        ("item", "item_id", "item shown, by its id"),
        ("reward", "reward", "what came of it"),
        ("propensity", "propensity", "probability with which it was shown"),
    ):
        parser.add_argument(f"--{name}", metavar="COLUMN", help=f"{what} (default {default})")
    parser.add_argument(
        "--no-propensity", action="store_true", help="propensities are not known: do without"
    )
    for name, what in (
        ("numbers", "context: columns that are numbers; patterns as 'user_*' stand for several"),
        ("categories", "context: columns to be one-hot coded"),
        ("keep", "columns of numbers to keep beside the rounds"),
    ):
        parser.add_argument(f"--{name}", nargs="+", action="extend", metavar="COLUMN", help=what)
    parser.add_argument(
        "--reward-range", nargs=2, type=float, metavar=("LOW", "HIGH"), help="default 0 1"
    )
    parser.add_argument(
        "--clip-rewards",
        action="store_true",
        help="bring rewards outside the range to its nearer end; else their rows are refused",
    )


def run(options: argparse.Namespace) -> None:
    """Import as the options say, and print what became of the rows."""
    given = _given(options)
    items: Any = options.items
    notes: tuple[str, ...] = ()
    if options.preset is not None:
        if options.preset not in PRESETS:
            raise unknown_name("preset", options.preset, PRESETS)
        if given or options.columns is not None:
            raise ValueError(
                f"--preset {options.preset} says what the columns mean; leave out "
                f"{', '.join(f'--{name}' for name in given) or '--columns'}."
            )
        columns, items, notes = open_bandit(options.log, items)
    else:
        if items is None:
            raise ValueError("--items is needed: a file of item vectors with their ids.")
        from_file = {} if options.columns is None else read_columns(options.columns)
        columns = Columns(**(from_file | given))
    dataset = import_log(
        options.dataset_id,
        options.log,
        items,
        columns,
        normalize=options.normalize,
        item_ids=options.item_ids,
        id_column=options.id_column,
        vector_columns=options.vector_columns,
        notes=notes,
    )
    print(import_summary(dataset))
    print(f"\n{dataset.total_steps:,} rounds in {_folder(dataset)}: README.md, refused.csv.")


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of :class:`Columns` that are given by option."""
    names = ("item", "reward", "propensity", "numbers", "categories", "keep", "reward_range")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.no_propensity:
        if "propensity" in given:
            raise ValueError("--propensity and --no-propensity exclude each other.")
        given["propensity"] = None
    if options.clip_rewards:
        given["outside"] = "clip"
    return given


def _folder(dataset: minari.MinariDataset) -> Path:
    return Path(dataset.spec.data_path).parent
