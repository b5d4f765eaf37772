"""``recsim-drpo import``: a log of your own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from recsim_drpo.cli.arguments import (
    Address,
    EngineName,
    Escape,
    ExcelSafe,
    Normalize,
    Storage,
    engine_of,
    number,
    one_of,
)
from recsim_drpo.cli.import_columns import check_append, meaning_of, pairs, size
from recsim_drpo.datasets.importing.limits import MAX_REFUSED, MISSING_POLICIES
from recsim_drpo.datasets.importing.sources import FORMATS
from recsim_drpo.datasets.importing.transforms import TRANSFORMS

PRESETS = ("open-bandit", "movielens", "kuairand", "mind", "vw", "dsjson", "criteo")

DatasetId = Annotated[
    str, typer.Argument(metavar="DATASET_ID", help="Minari id, for example shop/clicks-v0.")
]
Log = Annotated[
    list[str],
    typer.Argument(
        metavar="LOG",
        help="Logged interactions: .csv, .tsv, .txt, .jsonl (also as .gz or .zst), .parquet, "
        ".arrow or .feather; several, folders of them, patterns, or - for standard input.",
    ),
]
InputFormat = Annotated[
    str | None,
    typer.Option(
        "--input-format",
        help=f"Of the log: {', '.join(FORMATS)}.",
        show_default="by the suffix; csv of standard input",
        autocompletion=one_of(FORMATS),
    ),
]
Items = Annotated[
    Path | None,
    typer.Option(
        "--items",
        help="File of item vectors with their ids.",
        show_default="the preset's, else needed",
    ),
]
ItemIds = Annotated[
    Path | None,
    typer.Option(
        "--item-ids",
        help="Their ids in order, .npy or one on a line, if in no file yet.",
        show_default="those in the file",
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option(
        "--id-column",
        help="Their ids' column, where the file is a table.",
        show_default="item_id, item or id, else rows are numbered",
    ),
]
VectorColumns = Annotated[
    str | None,
    typer.Option(
        "--vector-columns",
        help="Their vectors' column, or a pattern: 'emb_*'.",
        show_default="the one list column, else all but the ids",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help=f"Columns and items of a known log: {', '.join(PRESETS)}.",
        show_default="none",
        autocompletion=one_of(PRESETS),
    ),
]
ColumnsFile = Annotated[
    Path | None,
    typer.Option(
        "--columns",
        help="JSON file of what follows; what is given here goes before it.",
        show_default="none",
    ),
]
Item = Annotated[
    str | None,
    typer.Option("--item", metavar="COLUMN", help="Item shown, by its id.", show_default="item_id"),
]
Reward = Annotated[
    str | None,
    typer.Option("--reward", metavar="COLUMN", help="What came of it.", show_default="reward"),
]
Propensity = Annotated[
    str | None,
    typer.Option(
        "--propensity",
        metavar="COLUMN",
        help="Probability with which it was shown.",
        show_default="propensity",
    ),
]
NoPropensity = Annotated[
    bool,
    typer.Option(
        "--no-propensity",
        help="Propensities are not known: do without.",
        show_default="off",
    ),
]
Numbers = Annotated[
    list[str] | None,
    typer.Option(
        "--numbers",
        metavar="COLUMN...",
        help="Context: columns that are numbers; patterns as 'user_*' stand for several.",
        show_default="none",
    ),
]
Categories = Annotated[
    list[str] | None,
    typer.Option(
        "--categories",
        metavar="COLUMN...",
        help="Context: columns to be one-hot coded.",
        show_default="none",
    ),
]
Hash = Annotated[
    list[str] | None,
    typer.Option(
        "--hash",
        metavar="COLUMN=SIZE...",
        help="Context: columns of many different texts, hashed into so many dimensions.",
        show_default="none",
    ),
]
Transform = Annotated[
    list[str] | None,
    typer.Option(
        "--transform",
        metavar="COLUMN=KIND...",
        help=f"How numbers enter the context: {', '.join(TRANSFORMS)}; patterns as 'x_*=log'.",
        show_default=TRANSFORMS[0],
    ),
]
Missing = Annotated[
    str | None,
    typer.Option(
        "--missing",
        help="Rows with an empty cell in the context, or another category: "
        f"{', '.join(MISSING_POLICIES)}.",
        show_default=MISSING_POLICIES[0],
        autocompletion=one_of(MISSING_POLICIES),
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="COLUMN...",
        help="Columns to keep beside the rounds: numbers, or texts as codes.",
        show_default="none",
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="COLUMN",
        help="Seconds or timestamps: rounds are sorted by it, and the latest are held out.",
        show_default="the rows' order",
    ),
]
Request = Annotated[
    str | None,
    typer.Option(
        "--request",
        metavar="COLUMN",
        help="Rows of one page or call, which belong together: a cluster in intervals.",
        show_default="each row alone",
    ),
]
Position = Annotated[
    str | None,
    typer.Option(
        "--position",
        metavar="COLUMN",
        help="Place of the item on the page, kept beside the rounds.",
        show_default="none",
    ),
]
RewardRange = Annotated[
    tuple[float, float] | None,
    typer.Option(
        "--reward-range",
        metavar="LOW HIGH",
        help="Smallest and largest reward that there can be: 0 and 1 to learning.",
        show_default="0 1",
    ),
]
MaxRefused = Annotated[
    float,
    typer.Option(
        "--max-refused",
        parser=number,
        metavar="SHARE",
        help="Share of the rows that may be refused; with more there is an error, and no dataset.",
    ),
]
Append = Annotated[
    bool,
    typer.Option(
        "--append",
        help="Add the rounds to the imported dataset of that id: its items, columns and coding.",
        show_default="off",
    ),
]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="Take the place of the dataset of that id, in one step.",
        show_default="off",
    ),
]
ClipRewards = Annotated[
    bool,
    typer.Option(
        "--clip-rewards",
        help="Bring rewards outside the range to its nearer end; else their rows are refused.",
        show_default="off",
    ),
]


def import_(
    dataset_id: DatasetId,
    log: Log,
    items: Items = None,
    normalize: Normalize = False,
    item_ids: ItemIds = None,
    id_column: IdColumn = None,
    vector_columns: VectorColumns = None,
    preset: Preset = None,
    columns: ColumnsFile = None,
    item: Item = None,
    reward: Reward = None,
    propensity: Propensity = None,
    no_propensity: NoPropensity = False,
    numbers: Numbers = None,
    categories: Categories = None,
    hash: Hash = None,
    transform: Transform = None,
    missing: Missing = None,
    keep: Keep = None,
    time: Time = None,
    request: Request = None,
    position: Position = None,
    reward_range: RewardRange = None,
    clip_rewards: ClipRewards = False,
    input_format: InputFormat = None,
    escape: Escape = None,
    max_refused: MaxRefused = MAX_REFUSED,
    excel_safe: ExcelSafe = False,
    append: Append = False,
    replace: Replace = False,
    storage: Storage = None,
    engine: EngineName = "local",
    address: Address = None,
) -> None:
    """Import a log of your own into a Minari dataset.

    What became of its rows is printed; those refused are listed in refused.csv.
    """
    if no_propensity and propensity is not None:
        raise ValueError("--propensity and --no-propensity exclude each other.")
    given: dict[str, Any] = {"item": item, "reward": reward, "propensity": propensity}
    given |= {"numbers": numbers or None, "categories": categories or None, "keep": keep or None}
    given |= {"time": time, "request": request, "position": position, "missing": missing}
    given |= {"hashes": pairs("--hash", hash, size)}
    given |= {"transforms": pairs("--transform", transform, str)}
    given |= {"reward_range": reward_range and list(reward_range)}
    given = {name: value for name, value in given.items() if value is not None}
    given |= {"propensity": None} if no_propensity else {}
    given |= {"outside": "clip"} if clip_rewards else {}
    of_log: dict[str, Any] = {"input_format": input_format, "escape": escape}
    of_log |= {"max_refused": max_refused, "excel_safe": excel_safe}
    of_log |= {"engine": engine_of(engine, None, address, None, "cpu")}
    of_items: dict[str, Any] = {"normalize": normalize, "item_ids": item_ids}
    of_items |= {"id_column": id_column, "vector_columns": vector_columns}
    if append:
        others: dict[str, Any] = {"items": items, "preset": preset, "columns": columns}
        others |= {"replace": replace, "no_propensity": no_propensity, "storage": storage}
        _append(dataset_id, log, {**given, **others, **of_items}, of_log)
        return
    what = meaning_of(log, items, preset, columns, given)
    _import(dataset_id, what, {**of_log, **of_items, "replace": replace}, storage)


def _append(dataset_id: str, log: Any, given: Mapping[str, Any], of_log: Mapping[str, Any]) -> None:
    """Append a log to a dataset, unless something is given that the dataset has already."""
    from recsim_drpo.datasets.append_log import append_log

    check_append(given)
    _report(append_log(dataset_id, log, **of_log), None)


def _import(dataset_id: str, what: Any, options: Mapping[str, Any], storage: str | None) -> None:
    """Import a log, into a storage too if one is named."""
    from recsim_drpo.datasets.import_log import import_log
    from recsim_drpo.datasets.storage import put_after

    with put_after(dataset_id, storage, replace=options["replace"]):
        parts = what.log, what.items, what.columns
        _report(import_log(dataset_id, *parts, notes=what.notes, **options), storage)


def _report(dataset: Any, storage: str | None) -> None:
    """Say what became of the rows, where they are, and which file has the refused ones."""
    from recsim_drpo.datasets.import_log import import_summary
    from recsim_drpo.datasets.soundness import metadata_of
    from recsim_drpo.datasets.storage import place_of

    number = 1 + len(metadata_of(dataset)["import"].get("appended", ()))
    refused = "refused.csv" if number == 1 else f"refused-{number}.csv"
    rounds = f"{dataset.total_steps:,} rounds in {place_of(dataset.id, storage)}"
    print(f"{import_summary(dataset)}\n\n{rounds}: README.md, {refused}.")
