"""What the results of evaluations have in common, and tensors as arrays on the host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.evaluation.retrieval import Retrieval
from recsim_drpo.reporting.statistics import Estimate

Floats = NDArray[np.float64]


class Measured(ABC):
    """The result of evaluating a policy on simulated users: base of dataclasses of estimates.

    Attributes:
        value_name: what :attr:`value` is called in tables and pictures.
        lost_name: what an approximate decoder loses of it is called.
        coverage: share of the catalogue that was shown to anyone.
        gini: Gini coefficient of how often each item of the catalogue was shown.
        retrieval: what the decoder misses, where it is approximate; ``None``: it is exact.
    """

    value_name: ClassVar[str]
    lost_name: ClassVar[str]
    coverage: float
    gini: float
    retrieval: Retrieval | None

    @property
    @abstractmethod
    def value(self) -> Estimate:
        """The one number that policies are compared by, with its 95 % interval over users."""

    @abstractmethod
    def headline(self) -> dict[str, float]:
        """The numbers that a learning curve shows, by name."""

    @abstractmethod
    def cells(self) -> dict[str, str]:
        """The row of a table about this policy: text by the column's title."""

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers by name, for JSON; estimates as ``{"value", "low", "high"}``.

        ``retrieval`` is there where the decoder is approximate.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        del values["retrieval"]
        plain = {
            name: value._asdict() if isinstance(value, Estimate) else value
            for name, value in values.items()
        }
        return plain if self.retrieval is None else plain | {"retrieval": self.retrieval.as_dict()}

    def retrieval_line(self) -> str | None:
        """A sentence on the cells about the decoder, ``None`` where it is exact."""
        return None if self.retrieval is None else self.retrieval.line(self.lost_name)

    def _variety(self) -> dict[str, str]:
        """The cells about which items were shown, and were missed: the last of every table."""
        shown = {"items shown": f"{self.coverage:.1%}", "Gini": f"{self.gini:.3f}"}
        return shown if self.retrieval is None else shown | self.retrieval.cells(self.lost_name)


def host(tensor: Tensor) -> Floats:
    """A tensor as a float64 array of the same shape on the host."""
    return tensor.detach().cpu().numpy().astype(np.float64)
