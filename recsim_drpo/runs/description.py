"""The types of what a run folder says of itself, in its ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from recsim_drpo.core.schemas import Described, Finite, NonNegativeCount, Range
from recsim_drpo.core.validation import SEED_LIMIT
from recsim_drpo.datasets.importing.descriptions import ContextDescription

_MOST_DIM = 2**31
_Dim = Annotated[int, Field(ge=1, lt=_MOST_DIM)]


class _Start(Described):
    """The run that another one started from."""

    run: str
    dataset: str | None = None


class RunSource(Described):
    """``"source"``: the log that a run learnt from, and how."""

    dataset: str | None = None
    datasets: list[str] | None = None
    env_spec: str | None = None
    catalogue_checksum: str | None = None
    weights: dict[str, Finite] | None = None
    logging_config: dict[str, Finite] | None = None
    context: ContextDescription | None = None
    num_rounds: NonNegativeCount | None = None
    reward_range: Range | None = None
    held_out: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    diverged_at: NonNegativeCount | None = None
    online: bool | None = None
    init: _Start | None = None


def datasets_of(source: Mapping[str, Any]) -> list[str]:
    """The ids of all datasets that a run learnt from; none where its log had no name."""
    first = source.get("dataset")
    return list(source.get("datasets") or ([] if first is None else [first]))


class _Training(Described):
    """``"training"``: how a run was trained, as far as it is read."""

    dtype: Literal["float32", "float64"] | None = None


class RunDescription(Described):
    """The configuration of a run."""

    agent: Annotated[str, Field(min_length=1)]
    observation_dim: _Dim
    action_dim: _Dim
    seed: Annotated[int, Field(ge=0, lt=SEED_LIMIT)]
    hyperparameters: dict[str, Any]
    source: RunSource
    training: _Training = Field(default_factory=_Training)
