"""The types of what the metadata of a dataset say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from recsim_drpo.core.schemas import Bounds, Described, Finite, NonNegativeCount, Range

Counts = dict[str, NonNegativeCount]


class ImportCounts(Described):
    """``"import"`` of the metadata of an imported dataset."""

    file: str
    rows: NonNegativeCount
    imported: NonNegativeCount
    refused: Counts
    clipped: NonNegativeCount
    notes: list[str]
    items: NonNegativeCount
    items_shown: NonNegativeCount
    propensities: Bounds | None
    reward_range: Range | None = None
    rewards_found: Bounds | None = None
    rewards: Bounds | None = None
    request: str | None = None
    time: Bounds | None = None
    appended: Sequence[dict[str, Any]] = ()


class DatasetMetadata(Described):
    """The metadata of a Minari dataset, as far as they are read here."""

    dataset_id: str
    minari_version: str
    data_format: Literal["hdf5", "arrow"]
    total_episodes: NonNegativeCount
    total_steps: NonNegativeCount
    observation_space: str
    action_space: str
    env_spec: str | None = None
    eval_env_spec: str | None = None
    catalogue_checksum: str | None = None
    weights: dict[str, Finite] | None = None
    logging_config: dict[str, Finite] | None = None
    author: list[str] | str | None = None
    author_email: list[str] | str | None = None
    requirements: list[str] | None = None
    imported: Annotated[ImportCounts | None, Field(alias="import")] = None
