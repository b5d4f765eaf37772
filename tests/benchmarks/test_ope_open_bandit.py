from __future__ import annotations

from pathlib import Path

import pytest

from recsim_drpo.benchmarks import ope_open_bandit
from recsim_drpo.reporting.statistics import Estimate

OBD = Path(__file__).resolve().parents[2] / ".." / "shared/data/obd"
needs_obd = pytest.mark.skipif(not OBD.is_dir(), reason=f"no Open Bandit Dataset at {OBD}")


@needs_obd
def test_the_other_policys_log_agrees_with_its_own_on_the_open_bandit_dataset():
    found = ope_open_bandit.classic_check(OBD)
    assert [own.value for own, _ in found.values()] == pytest.approx([0.0069, 0.0046])
    for own, estimates in found.values():
        for name in ("ips", "snips", "dr"):
            estimate = estimates[name]
            apart = ope_open_bandit.difference(estimate.value, own)
            assert apart.low < 0.0 < apart.high
            assert estimate.ess > 500
        # 46 and 69 clicks in 10,000 rounds tell a reward model nothing.
        assert "cannot tell items apart" in estimates["dm"].refusal


def test_a_difference_takes_the_ends_that_make_for_it():
    found = ope_open_bandit.difference(Estimate(5.0, 2.0, 9.0), Estimate(4.0, 1.0, 8.0))
    assert found == pytest.approx((1.0, 1.0 - 5.0, 1.0 + 5.0))  # √(3² + 4²), √(4² + 3²)
    normal = ope_open_bandit.difference(Estimate(5.0, 2.0, 8.0), Estimate(4.0, 0.0, 8.0))
    assert normal == pytest.approx((1.0, -4.0, 6.0))
