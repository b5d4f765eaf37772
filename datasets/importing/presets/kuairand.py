"""KuaiRand (Gao et al., 2022, arXiv 2208.08696): short videos, partly shown at random.

``log_random_…`` has videos drawn uniformly from a pool of 7,583; ``log_standard_…`` what the
platform's policy showed, whose propensities are not known.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recsim_drpo.core.messages import one_line
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.presets.base import (
    Preset,
    beside,
    cells_of,
    one_hot,
    stream,
    unit_vectors,
)
from recsim_drpo.datasets.importing.table import open_log_table

POOL = 7_583
"""Videos that the random log draws from."""

_USER = [
    "user_active_degree",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
    *(f"onehot_feat{number}" for number in (0, 1, 2, 4, 5, 6, *range(9, 18))),
]
_LOG = ["user_id", "video_id", "hourmin", "time_ms", "tab", "is_click"]
_MISSING = "missing"
_RANDOM = f"Propensities are 1/{POOL:,}: videos of this log were drawn uniformly from so many."
_STANDARD = "Propensities are not known: the platform's policy chose."
_NOTE = (
    "A context is the tab, the hour and the user's features of few values, one-hot; an item is its "
    "video's types and tags, one-hot."
)


def kuairand(logs: Sequence[str | Path], columns: Columns | None = None) -> Preset:
    """Clicks as rewards, with ``user_features_…`` and ``video_features_basic_…`` beside the log.

    ``columns`` are those of another such log, in place of the usual.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged.
    """
    paths = [Path(log) for log in logs]
    size = paths[0].stem.rpartition("_")[2]
    users = cells_of(beside(paths[0], [f"user_features_{size}.csv"]), ["user_id", *_USER])
    of_user = dict(zip(users.pop("user_id"), zip(*users.values(), strict=True), strict=True))
    videos: set[str] = set()
    for path in paths:
        for block in open_log_table(path, format="csv").blocks(["video_id"]):
            videos.update(block.lists()["video_id"])
    items = _items(beside(paths[0], [f"video_features_basic_{size}.csv"]), videos)
    random = all(path.name.startswith("log_random") for path in paths)
    meaning = columns or Columns(
        categories=dict.fromkeys(["tab", "hour", *_USER], ()),
        item="video_id",
        reward="is_click",
        propensity="propensity" if random else None,
        keep=["time"],
    )
    numbers = [(name, "float64") for name in ("is_click", "propensity", "time")]
    texts = [(name, "string") for name in ("tab", "hour", *_USER)]
    name = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"
    table = stream(name, [("video_id", "string"), *numbers, *texts], _rounds(paths, of_user))
    return Preset(table, meaning, items, (_RANDOM if random else _STANDARD, _NOTE))


def _rounds(paths: Sequence[Path], users: Mapping[str, Sequence[str]]) -> Iterator[Sequence[Any]]:
    unknown = [None] * len(_USER)
    for path in paths:
        for block in open_log_table(path, format="csv").blocks(_LOG):
            cells = block.lists()
            for row, user, video, hourmin, time, tab, click in zip(
                block.rows, *(cells[name] for name in _LOG), strict=True
            ):
                features = (
                    [value or _MISSING for value in users[user]] if user in users else unknown
                )
                try:
                    hour = None if hourmin is None else str(int(hourmin) // 100)
                    outcome = [_number(click), 1.0 / POOL, (_number(time) or 0.0) / 1000.0]
                except ValueError as error:
                    what = f"hourmin, is_click or time_ms is no number ({one_line(error)})"
                    raise ValueError(f"{path.name!r}, row {row}: {what}.") from error
                yield [video, *outcome, tab, hour, *features]


def _number(cell: str | None) -> float | None:
    return float(cell) if cell else None


def _items(path: Path, shown: Container[str]) -> tuple[Any, Any]:
    """Vectors and ids of the videos shown."""
    names = ["video_type", "upload_type", "music_type"]
    cells = cells_of(path, ["video_id", *names, "tag"], shown)
    words = [
        [f"{name}={cells[name][row]}" for name in names]
        + [f"tag={tag}" for tag in cells["tag"][row].split(",") if tag]
        for row in range(len(cells["video_id"]))
    ]
    vectors, _ = one_hot(words)
    return unit_vectors(vectors), np.array(cells["video_id"])
