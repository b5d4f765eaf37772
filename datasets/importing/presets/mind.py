"""MIND, Microsoft's news (Wu et al., 2020): ``behaviors.tsv``, with ``news.tsv`` beside it.

Each item of an impression is a round, clicked or not. There are no propensities, and the file does
not say positions: the items of an impression are shuffled.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recsim_drpo.core.messages import one_line
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.presets.base import (
    Preset,
    beside,
    numbered_lines,
    one_file,
    one_hot,
    stream,
    unit_vectors,
)

_TIME = "%m/%d/%Y %I:%M:%S %p"
_NOTE = (
    "Each item of an impression is a round; `request` is the impression's number. Propensities are "
    "not known, nor positions, since the file shuffles them. A context is the shares of the "
    "categories in the user's history, the logarithm of 1 + its length, and the hour."
)


def mind(logs: Sequence[str | Path], columns: Columns | None = None) -> Preset:
    """Impressions as rounds; an item's vector is its category and subcategory at unit length.

    ``columns`` are those of another such log, in place of the usual.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a line is damaged, or has no clicks, as those of the test set.
    """
    path = one_file(logs, "mind")
    news = beside(path, ["news.tsv"])
    lines = [line.split("\t") for _, line in numbered_lines(news)]
    if not lines or min(map(len, lines)) < 3:
        raise ValueError(f"{news.name!r} is not of news, a category and a subcategory a line.")
    vectors, _ = one_hot([[row[1], f"{row[1]}/{row[2]}"] for row in lines])
    category = {row[0]: row[1] for row in lines}
    names = sorted(set(category.values()))
    shares = [f"share_{name}" for name in names]
    meaning = columns or Columns(
        numbers=[*shares, "history"],
        categories={"hour": [str(hour) for hour in range(24)]},
        item="news",
        reward="click",
        propensity=None,
        keep=["request", "time"],
    )
    numbers = ["click", "request", "time", *shares, "history"]
    schema = [("news", "string"), ("hour", "string"), *((name, "float64") for name in numbers)]
    table = stream(path.name, schema, _rounds(path, category, names))
    ids = np.array([row[0] for row in lines])
    return Preset(table, meaning, (unit_vectors(vectors), ids), (_NOTE,))


def _rounds(
    path: Path, category: Mapping[str, str], names: Sequence[str]
) -> Iterator[Sequence[Any]]:
    places = {name: place for place, name in enumerate(names)}
    for number, line in numbered_lines(path):
        try:
            request, _, time, history, impressions = line.split("\t")
            when = datetime.datetime.strptime(time, _TIME).replace(tzinfo=datetime.UTC)
            shown = [one.rpartition("-") for one in impressions.split()]
            if any(click not in ("0", "1") or not news for news, _, click in shown):
                raise ValueError("an item without -0 or -1: the test set has no clicks")
            request_number = float(request)
        except ValueError as error:
            raise ValueError(
                f"{path.name!r}, line {number}: no impression ({one_line(error)})."
            ) from error
        read = [category[news] for news in history.split() if news in category]
        shares = np.bincount([places[name] for name in read], minlength=len(names))
        context = [*(shares / max(1, len(read))).tolist(), float(np.log1p(len(read)))]
        for news, _, click in shown:
            yield [news, str(when.hour), float(click), request_number, when.timestamp(), *context]
