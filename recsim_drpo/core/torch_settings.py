"""Torch's number of threads, the arithmetic of its matrix products, and its devices."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from recsim_drpo.core.messages import VALUE_WIDTH, one_line, shown


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute with ``count`` threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def matrix_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Let float32 matrices be multiplied in the named arithmetic within the block.

    * ``"float32"``: every product and sum in float32. On the CPU torch's default kernels may be
      half as fast as the processor allows; where a check shows that oneDNN's multiply as exactly,
      these are used.
    * ``"tf32"``: CUDA's 10-bit mantissas, sums in float32.
    * ``"bf16"``: automatic mixed precision with bfloat16.

    Args:
        precision: ``float32``, ``tf32`` (CUDA devices alone) or ``bf16``.
        device: the matrices' device.
    """
    if precision == "bf16":
        with torch.autocast(device.type, torch.bfloat16):
            yield
    elif device.type == "cuda":
        with _setting(torch.backends.cuda.matmul, "allow_tf32", precision == "tf32"):
            yield
    elif _onednn_is_exact():
        with _setting(_onednn(), "fp32_precision", "bf16"):
            yield
    else:
        yield


@contextmanager
def _setting(holder: Any, name: str, value: Any) -> Iterator[None]:
    """Let an attribute have this value within the block."""
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)


def _onednn() -> Any:
    """Torch's settings of oneDNN's matrix products; ``None`` in versions that have none."""
    return getattr(torch.backends.mkldnn, "matmul", None)


@functools.cache
def _onednn_is_exact() -> bool:
    """Whether oneDNN, allowed to round float32 to bfloat16, does not do so on this processor.

    That permission is what makes torch call it. Processors with matrix units (AMX) make use of it,
    others do not, and lose nothing.
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(  # type: ignore[no-untyped-call]
        _onednn(), "fp32_precision"
    ):
        return False
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(256, 256, generator=generator) for _ in range(2))
    exact = left.double() @ right.double()
    plain_error = (left @ right - exact).abs().max()
    with _setting(_onednn(), "fp32_precision", "bf16"):
        error = (left @ right - exact).abs().max()
    return bool(error <= 4.0 * plain_error)


def resolve_device(device: str | torch.device) -> torch.device:
    """A torch device, checked to be usable on this machine.

    Args:
        device: a device or its name, such as ``"cpu"`` or ``"cuda:0"``.

    Raises:
        ValueError: the name is malformed, or this machine or this build of torch lacks the device.
    """
    try:
        resolved = torch.device(device)
        # In float64, which random numbers and propensities need, and back, which meta cannot.
        torch.zeros(1, dtype=torch.float64, device=resolved).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        names = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        reason = one_line(str(error).strip().partition("\n")[0], VALUE_WIDTH)
        raise ValueError(
            f"device={shown(str(device))} cannot be used here ({reason}); available: "
            f"{', '.join(names)}."
        ) from error
    return resolved
