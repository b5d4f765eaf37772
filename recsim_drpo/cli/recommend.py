"""``recsim-drpo recommend``: the items that a run's policy shows."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from recsim_drpo.cli.arguments import (
    Decoder,
    Device,
    Escape,
    ExcelSafe,
    Normalize,
    ReplacedVectors,
    RunFolder,
    assignments,
    integer,
    is_count,
    one_of,
    run_folder,
)
from recsim_drpo.core.messages import shown
from recsim_drpo.datasets.importing.sources import FORMATS as INPUT_FORMATS, STREAM
from recsim_drpo.serving.formats import FORMATS, SUFFIXES

Contexts = Annotated[
    list[str] | None,
    typer.Option(
        "--contexts",
        metavar="FILE...",
        help="Whatever import reads: CSV, JSON lines, Parquet or Arrow; files, folders, patterns, "
        "or - for standard input.",
        show_default="-",
    ),
]
Out = Annotated[
    str,
    typer.Option(
        "--out",
        metavar="FILE",
        help=f"{', '.join(SUFFIXES)}; must not be there. Or - for standard output.",
    ),
]
K = Annotated[int, typer.Option("-k", parser=integer, help="Items a context.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="NAME...",
        help="The context's columns, or patterns, in the policy's order.",
        show_default="context_0 …, or the list column context",
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option(
        "--id-column",
        metavar="NAME",
        help="Column that names the contexts.",
        show_default="numbers from 0, row",
    ),
]
InputFormat = Annotated[
    str | None,
    typer.Option(
        "--input-format",
        help=f"{', '.join(INPUT_FORMATS)}.",
        show_default="by the suffix",
        autocompletion=one_of(INPUT_FORMATS),
    ),
]
OutputFormat = Annotated[
    str | None,
    typer.Option(
        "--output-format",
        help=f"{', '.join(FORMATS)}.",
        show_default="by the suffix",
        autocompletion=one_of(FORMATS),
    ),
]
Explore = Annotated[
    list[str] | None,
    typer.Option(
        "--explore",
        metavar="NAME=VALUE...",
        help="Draw items, with the column propensity: epsilon=0.1, or temperature=0.05 top=20.",
        show_default="the best items",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        parser=integer,
        help="Of --explore; another one for every table.",
        show_default="0",
    ),
]
ExcludeSeen = Annotated[
    Path | None,
    typer.Option(
        "--exclude-seen",
        metavar="FILE",
        help="Table of the --id-column and item_id: these pairs are not shown.",
        show_default="none",
    ),
]
Allow = Annotated[
    Path | None,
    typer.Option(
        "--allow",
        metavar="FILE",
        help="Item ids, one on a line: no others are shown.",
        show_default="all",
    ),
]
Deny = Annotated[
    Path | None,
    typer.Option(
        "--deny", metavar="FILE", help="Item ids that are not shown.", show_default="none"
    ),
]
Candidates = Annotated[
    str | None,
    typer.Option(
        "--candidates",
        metavar="COLUMN",
        help="Column of the contexts: a list of the item ids that each may be shown.",
        show_default="all",
    ),
]
MaxPer = Annotated[
    str | None,
    typer.Option(
        "--max-per",
        metavar="FILE=K",
        help="At most K items of a category; the table has item_id and the category.",
        show_default="no limit",
    ),
]


def recommend(
    run: RunFolder,
    contexts: Contexts = None,
    out: Out = "-",
    k: K = 10,
    columns: Columns = None,
    id_column: IdColumn = None,
    input_format: InputFormat = None,
    output_format: OutputFormat = None,
    escape: Escape = None,
    embeddings: ReplacedVectors = None,
    normalize: Normalize = False,
    explore: Explore = None,
    seed: Seed = None,
    exclude_seen: ExcludeSeen = None,
    allow: Allow = None,
    deny: Deny = None,
    candidates: Candidates = None,
    max_per: MaxPer = None,
    decoder: Decoder = None,
    excel_safe: ExcelSafe = False,
    device: Device = "cpu",
) -> None:
    """Write the top items of contexts, by a trained run."""
    from recsim_drpo.serving.exploration import Exploration
    from recsim_drpo.serving.recommender import load_recommender
    from recsim_drpo.serving.rules import Rules

    if seed is not None and not explore:
        raise ValueError("--seed is about the draws of --explore.")
    exploration = Exploration.of(assignments(explore), seed or 0) if explore else None

    categories, limit = category_limit(max_per)
    rules = Rules(allow, deny, exclude_seen, candidates, categories, limit)
    recommender = load_recommender(
        run_folder(run), embeddings=embeddings, normalize=normalize, device=device, decoder=decoder
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default", UserWarning)
        recommender.recommend(
            contexts or [STREAM],
            out,
            k=k,
            columns=columns or None,
            id_column=id_column,
            input_format=input_format,
            output_format=output_format,
            exploration=exploration,
            rules=rules,
            escape=escape,
            excel_safe=excel_safe,
        )
    for warning in told:
        print(warning.message, file=sys.stderr)
    if recommender.recall is not None:
        print(recommender.recall, file=sys.stderr)


def category_limit(text: str | None) -> tuple[Path | None, int | None]:
    """The file and the number of ``FILE=K``."""
    if text is None:
        return None, None
    file, _, limit = text.rpartition("=")
    if not file or not is_count(limit):
        raise ValueError(f"--max-per {shown(text)} is not of the form FILE=K.")
    return Path(file), int(limit)
