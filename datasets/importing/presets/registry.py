"""The presets by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from recsim_drpo.core.validation import unknown_name
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.open_bandit import open_bandit
from recsim_drpo.datasets.importing.presets.base import Preset, one_file
from recsim_drpo.datasets.importing.presets.criteo import criteo
from recsim_drpo.datasets.importing.presets.kuairand import kuairand
from recsim_drpo.datasets.importing.presets.mind import mind
from recsim_drpo.datasets.importing.presets.movielens import movielens
from recsim_drpo.datasets.importing.presets.vowpal_wabbit import dsjson, vowpal_wabbit

PRESETS: dict[str, Callable[[Sequence[str | Path], Columns | None], Preset]] = {
    "criteo": criteo,
    "dsjson": dsjson,
    "kuairand": kuairand,
    "mind": mind,
    "movielens": movielens,
    "vw": vowpal_wabbit,
}
"""All but that of the Open Bandit Dataset, whose items are a file of its own."""


def read_preset(
    name: str,
    logs: Sequence[str | Path],
    items: str | Path | None = None,
    columns: Columns | None = None,
) -> Preset:
    """A log of a known format.

    Args:
        name: ``"open-bandit"``, or one of :data:`PRESETS`.
        logs: its files.
        items: file of item vectors in place of those that the format has; of ``"open-bandit"`` the
            items' context.
        columns: of another log of that format, to code this one alike.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the name is unknown, or a file is damaged.
    """
    if name == "open-bandit":
        path = one_file(logs, name)
        usual, vectors, notes = open_bandit(path, items)
        return Preset(path, columns or usual, vectors, notes)
    if name not in PRESETS:
        raise unknown_name("preset", name, ["open-bandit", *PRESETS])
    preset = PRESETS[name](logs, columns)
    return preset if items is None else preset._replace(items=items)
