"""What every evaluation can do, and numbers on the host."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.reporting.statistics import Estimate

Floats = NDArray[np.float64]


class Measured:
    """Numbers by name, for a dataclass of estimates."""

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers by name, for JSON; estimates as ``{"value", "low", "high"}``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {
            name: value._asdict() if isinstance(value, Estimate) else value
            for name, value in values.items()
        }


def host(tensor: Tensor) -> Floats:
    """A tensor as float64 on the host."""
    return tensor.detach().cpu().numpy().astype(np.float64)
