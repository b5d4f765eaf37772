"""What the results of evaluations have in common, and tensors as arrays on the host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.reporting.statistics import Estimate

Floats = NDArray[np.float64]


class Measured(ABC):
    """The result of evaluating a policy on simulated users: base of dataclasses of estimates.

    Attributes:
        value_name: what :attr:`value` is called in tables and pictures.
        coverage: share of the catalogue that was shown to anyone.
        gini: Gini coefficient of how often each item of the catalogue was shown.
    """

    value_name: ClassVar[str]
    coverage: float
    gini: float

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
        """Plain numbers by name, for JSON; estimates as ``{"value", "low", "high"}``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {
            name: value._asdict() if isinstance(value, Estimate) else value
            for name, value in values.items()
        }

    def _variety(self) -> dict[str, str]:
        """The cells about which items were shown: the last of every table."""
        return {"items shown": f"{self.coverage:.1%}", "Gini": f"{self.gini:.3f}"}


def host(tensor: Tensor) -> Floats:
    """A tensor as a float64 array of the same shape on the host."""
    return tensor.detach().cpu().numpy().astype(np.float64)
