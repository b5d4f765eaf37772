"""Settings of torch hold within their block and are as before after it."""

from __future__ import annotations

import pytest
import torch

from recsim_drpo.core.torch_settings import matrix_precision, resolve_device, threads

CPU = torch.device("cpu")


def test_threads_are_as_before_after_an_error():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before

    def fail():
        with threads(before + 1):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert torch.get_num_threads() == before


def test_float32_products_are_as_exact_as_without_the_setting():
    left, right = (
        torch.randn(300, 300, generator=torch.Generator().manual_seed(s)) for s in (0, 1)
    )
    exact = left.double() @ right.double()
    plain_error = (left @ right - exact).abs().max()
    with matrix_precision("float32", CPU):
        assert (left @ right - exact).abs().max() <= 4 * plain_error
    assert (left @ right - exact).abs().max() == plain_error


def test_bf16_products_round_to_eight_bits():
    matrix = torch.full((2, 2), 1.0 + 2.0**-9)
    with matrix_precision("bf16", CPU):
        product = matrix @ torch.eye(2)
        assert product.dtype == torch.bfloat16
        assert product.tolist() == [[1.0, 1.0]] * 2
    assert (matrix @ torch.eye(2)).dtype == torch.float32


def test_devices():
    assert resolve_device("cpu") == resolve_device(CPU) == CPU
    for name in ("nonsense", "cuda:99", "cpu:x", "meta"):
        message = rf"device='{name}' cannot be used here \(.+\); available: cpu"
        with pytest.raises(ValueError, match=message):
            resolve_device(name)
    with pytest.raises(ValueError, match="cannot be used here") as refused:
        resolve_device("x" * 5_000)
    assert len(str(refused.value)) < 400
