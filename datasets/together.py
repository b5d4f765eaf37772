"""Several datasets as one log: which may be, and what is said of those that may not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from minari import MinariDataset

from recsim_drpo.core.messages import shown
from recsim_drpo.core.validation import repeated_values
from recsim_drpo.datasets.soundness import metadata_of, open_dataset
from recsim_drpo.envs.spec import WorldSpec

Datasets: TypeAlias = str | MinariDataset | Sequence[str | MinariDataset]


def opened(datasets: Datasets) -> list[MinariDataset]:
    """The datasets that are named or given, one or several, in order.

    Raises:
        FileNotFoundError: there is no local dataset of an id.
        ValueError: there is none; one is there twice; they cannot be one log.
    """
    named = [datasets] if isinstance(datasets, str | MinariDataset) else list(datasets)
    if not named:
        raise ValueError("No dataset is named; name one or more.")
    found = [open_dataset(each) if isinstance(each, str) else each for each in named]
    check_together(found)
    return found


def check_together(datasets: Sequence[MinariDataset]) -> None:
    """Raise ``ValueError`` unless datasets are of one world and different; names two that are not.

    Imported logs are refused: each has items, a coding of contexts and a unit of its own.
    """
    if len(datasets) == 1:
        return
    for twice in repeated_values([dataset.id for dataset in datasets]).tolist():
        raise ValueError(f"Dataset {shown(twice)} is named twice; name each once.")
    for dataset in datasets:
        if metadata_of(dataset).get("import") is not None:
            raise ValueError(
                f"Dataset {dataset.id!r} was imported: put logs together by recsim-drpo import, of "
                "several files or with --append, which gives them one coding of contexts."
            )
    first, *others = datasets
    for other in others:
        if difference := _difference(_world_of(first), _world_of(other)):
            raise ValueError(
                f"Datasets {first.id!r} and {other.id!r} are of different worlds: {difference}. "
                "Name datasets of one world."
            )


def _world_of(dataset: MinariDataset) -> dict[str, Any]:
    """What has to be the same in datasets that are one log, by name."""
    world: dict[str, Any] = {
        "observation space": dataset.observation_space.shape,
        "action space": dataset.action_space.shape,
    }
    spec = dataset.spec.env_spec
    ours = WorldSpec.of(spec)
    if ours is None:
        return world | {"environment": None if spec is None else spec.to_json()}
    return {"environment": ours.env_id, **ours.kwargs} | world


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The first thing that differs, in words, or nothing."""
    for name in dict.fromkeys([*one, *other]):
        values = [shown(each[name]) if name in each else "not given" for each in (one, other)]
        if one.get(name) != other.get(name) or (name in one) != (name in other):
            return f"{name} is {values[0]} in the first and {values[1]} in the second"
    return ""
