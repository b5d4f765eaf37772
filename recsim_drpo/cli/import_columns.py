"""What the options of ``recsim-drpo import`` say that the columns of a log mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recsim_drpo.cli.arguments import is_count
from recsim_drpo.core.messages import shown

_BESIDE_PRESET = ("time", "request")
_OPTIONS = {"hashes": "hash", "transforms": "transform", "outside": "clip-rewards"}


def check_append(values: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` where ``--append`` is given what a dataset has already."""
    given = [name for name, value in values.items() if value]
    if given:
        options = (_OPTIONS.get(name, name) for name in given)
        shown = ", ".join("--" + option.replace("_", "-") for option in options)
        raise ValueError(
            f"--append takes items, columns and coding from the dataset; leave out {shown}."
        )


def pairs(
    option: str, words: list[str] | None, read: Callable[[str], Any]
) -> dict[str, Any] | None:
    """Values by column of words such as ``age=log``; ``None`` where there is none."""
    values = {}
    for word in words or []:
        column, equals, value = word.rpartition("=")
        if not (column and equals and value):
            raise ValueError(f"{option} {shown(word)} is not COLUMN=VALUE.")
        values[column] = read(value)
    return values or None


def size(text: str) -> int:
    """The number of dimensions that a word is."""
    if not is_count(text):
        raise ValueError(f"--hash: {shown(text)} is no number of dimensions, from 1 to 16,384.")
    return int(text)


def meaning_of(
    logs: Sequence[str], items: Path | None, preset: str | None, file: Path | None, given: Any
) -> Any:
    """The log, what its columns mean, its item vectors, and notes for its card.

    Args:
        logs: as named on the command line.
        items: likewise.
        preset: name of a known log, which says it all.
        file: JSON file of columns; of a preset, those of another such log.
        given: columns by option, which go before those of the file.
    """
    from dataclasses import replace

    from recsim_drpo.datasets.importing.columns import CONTEXT_FIELDS, Columns, read_columns
    from recsim_drpo.datasets.importing.presets.base import Preset
    from recsim_drpo.datasets.importing.presets.registry import read_preset

    if preset is not None:
        others = [name for name in given if name not in _BESIDE_PRESET]
        if others:
            raise ValueError(
                f"--preset {preset} says what the columns mean; leave out "
                f"{', '.join(f'--{_OPTIONS.get(name, name)}' for name in others)}."
            )
        known = None if file is None else Columns(**read_columns(file))
        found = read_preset(preset, logs, items, known)
        return found._replace(columns=replace(found.columns, **given))
    if items is None:
        raise ValueError("--items is needed: a file of item vectors with their ids.")
    from_file = {} if file is None else read_columns(file)
    if not given.keys().isdisjoint(CONTEXT_FIELDS):  # another coding than the file's
        dropped = {"coding", "transforms"} if "numbers" in given else {"coding"}
        from_file = {name: value for name, value in from_file.items() if name not in dropped}
    return Preset(logs, Columns(**(from_file | given)), items, ())
