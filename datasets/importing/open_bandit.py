"""The Open Bandit Dataset (Saito et al., 2021, arXiv 2008.07146) as logs to import.

Impressions on a fashion site in three positions, under uniformly random choice and under Bernoulli
Thompson sampling, with clicks and true propensities, which are given the position. A context is
the user–item affinities, the position, and the four hashed user features, one-hot; an item's vector
is its numeric feature, standardised, beside its three hashed features, one-hot, at unit length.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from recsim_drpo.datasets.importing.cells import category_text, python_values
from recsim_drpo.datasets.importing.columns import Columns, expanded
from recsim_drpo.datasets.importing.table import host, numbers, open_log_table, texts
from recsim_drpo.simulator.embeddings import Embeddings

_ITEM_CONTEXT = "item_context.csv"
_COLUMNS = Columns(
    numbers=("user-item_affinity_*",),
    categories={"position": (), "user_feature_*": ()},
    item="item_id",
    reward="click",
    propensity="propensity_score",
    keep=("position",),
    coding={},  # numbers as they are: policies of one log act on the other's
)


def open_bandit(
    log: str | Path, item_context: str | Path | None = None
) -> tuple[Columns, Embeddings, tuple[str, ...]]:
    """Columns, items and notes for :func:`recsim_drpo.datasets.import_log.import_log`.

    Categories are those of all logs of the campaign that are found, so that a policy of one log
    acts on the contexts of the other.

    Args:
        log: ``CAMPAIGN_POLICY.csv`` (``men_random.csv``), or ``POLICY/CAMPAIGN/CAMPAIGN.csv`` as
            the full dataset has it.
        item_context: ``None``: ``CAMPAIGN_item_context.csv`` or ``item_context.csv`` beside it.

    Returns:
        the columns, with their categories; vectors float32 (N, d) of unit length and ids int64
        (N,), in the order of the ids; what the card should say.

    Raises:
        FileNotFoundError: there is no such log, or no item context beside it.
        ValueError: a file is damaged or is no file of this dataset.
    """
    log = Path(log)
    if not log.is_file():
        raise FileNotFoundError(f"There is no log at {str(log)!r}.")
    campaign = log.stem.rpartition("_")[0]
    beside = log.with_name(f"{campaign}_{_ITEM_CONTEXT}" if campaign else _ITEM_CONTEXT)
    context = beside if item_context is None else Path(item_context)
    if not context.is_file():
        raise FileNotFoundError(f"There is no item context at {str(context)!r}; give --items.")
    if campaign:
        logs = [path for path in sorted(log.parent.glob(f"{campaign}_*.csv")) if path != beside]
    else:
        folder = log.absolute().parent
        logs = sorted(folder.parent.parent.glob(f"*/{folder.name}/{log.name}")) or [log]
    categories: dict[str, set[str]] = {}
    for path in logs:
        table = open_log_table(path)
        names = list(expanded(_COLUMNS, table).categories)
        for block in table.blocks(names):
            for name in names:
                distinct = python_values(block.cells[name].unique())
                values = {category_text(cell) for cell in distinct} - {None}
                categories.setdefault(name, set()).update(map(str, values))
    in_order = {name: sorted(values) for name, values in categories.items()}
    columns = replace(_COLUMNS, categories=in_order)
    shown = ", ".join("/".join(path.parts[-1 if campaign else -3 :]) for path in logs)
    return columns, _items(context), (f"Categories are those of {shown}.",)


def _items(path: Path) -> Embeddings:
    table = open_log_table(path)
    features = [f"item_feature_{number}" for number in range(4)]
    blocks = list(table.blocks(["item_id", *features]))
    malformed = [f"row {row}: {what}" for block in blocks for row, what, _ in block.malformed]
    if not blocks or malformed:
        raise ValueError(f"{path.name!r} is damaged ({'; '.join(malformed) or 'it has no row'}).")
    ids = np.concatenate([numbers(block.cells["item_id"]) for block in blocks]).astype(np.int64)
    first = np.concatenate([numbers(block.cells[features[0]]) for block in blocks])
    hashed = [
        np.concatenate([host(texts(block.cells[name])) for block in blocks]).astype(str)
        for name in features[1:]
    ]
    parts = [((first - first.mean()) / first.std())[:, None]]
    parts += [(values[:, None] == np.unique(values)).astype(np.float64) for values in hashed]
    vectors = np.concatenate(parts, axis=1)
    order = np.argsort(ids)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths)[order].astype(np.float32), ids[order]
