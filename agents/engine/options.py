"""How learners compute: the options, and the names that they choose from. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recsim_drpo.core.messages import shown
from recsim_drpo.core.validation import unknown_name

if TYPE_CHECKING:
    import torch

EXECUTIONS = ("auto", "eager", "compile", "graph")
"""How a training step is run: see :class:`EngineOptions`."""

COMPILED_FROM = 20_000
"""Updates in a training from which ``"auto"`` compiles them on a CPU."""

PRECISIONS = ("float32", "tf32", "bf16")
"""How matrices are multiplied: see :func:`recsim_drpo.core.torch_settings.matrix_precision`."""


def _float32() -> torch.dtype:
    import torch

    return torch.float32


@dataclass(frozen=True)
class EngineOptions:
    """Where and how learners compute; none of it is a hyper-parameter.

    Attributes:
        device: where they learn and act. Initial parameters are the same on every device.
        dtype: float32 or float64.
        precision: see :func:`recsim_drpo.core.torch_settings.matrix_precision`.
        execution: ``"eager"``; ``"compile"``, by torch's compiler; ``"graph"``, what
            ``make_train_step`` returns is captured as a CUDA graph (``update``, whose batches lie
            anywhere, is not); ``"auto"``: ``"graph"`` on CUDA; on a CPU ``"compile"`` in a training
            of :data:`COMPILED_FROM` updates or more, where there is a C++ compiler, else
            ``"eager"``. On CUDA a compiled step is captured as well.
    """

    device: str | torch.device = "cpu"
    dtype: torch.dtype = field(default_factory=_float32)
    precision: str = "float32"
    execution: str = "auto"

    def checked_device(self) -> torch.device:
        """The device, once it is there and has the other options.

        Raises:
            ValueError: an option is unknown, or the device is not there or does not have it.
        """
        import torch

        from recsim_drpo.core.torch_settings import resolve_device

        device = resolve_device(self.device)
        is_cuda = device.type == "cuda"
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        if self.precision == "tf32" and not is_cuda:
            raise ValueError(
                f"precision='tf32' is arithmetic of CUDA devices, not of {str(device)!r}; use "
                "float32."
            )
        if self.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"dtype={shown(self.dtype)} is neither torch.float32 nor torch.float64."
            )
        if self.execution not in EXECUTIONS:
            raise unknown_name("execution", self.execution, EXECUTIONS)
        if self.execution == "graph" and not is_cuda:
            raise ValueError(f"execution='graph' needs a CUDA device, not {str(device)!r}.")
        return device
