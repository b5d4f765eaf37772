from __future__ import annotations

import pytest
import torch

from recsim_drpo.benchmarks import ope_accuracy
from recsim_drpo.benchmarks.ope_accuracy import clipped_mean


def test_clipped_mean_is_the_mean_of_clipped_noise():
    latent = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    noise = torch.randn(400_000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = (latent + 0.2 * noise).clamp(0.0, 1.0).mean(dim=0)
    assert clipped_mean(latent, 0.2).tolist() == pytest.approx(drawn.tolist(), abs=1e-3)


def test_the_benchmark_tells_coverage_and_refusals():
    rows = [
        {"estimator": "ips", "answers": a, "value": v, "low": v - 0.1, "high": v + 0.1}
        | {"truth": 0.5, "ess": 50.0, "boot_low": 0.0, "boot_high": 1.0}
        for a, v in ((1, 0.45), (1, 0.65), (0, 0.9))
    ]
    text = ope_accuracy.table(rows, answers=True)
    assert "2 of 3 | +0.0500 | 0.1118 |     0.1000 |    50% |             100%" in text
    assert "1 of 3 | +0.4000 | 0.4000 |     0.1000 |     0% |" in ope_accuracy.table(rows, False)
    assert "| 30 to 100" in ope_accuracy.by_ess(rows)
