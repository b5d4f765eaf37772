from __future__ import annotations

from pathlib import Path

import pytest

from recsim_drpo.benchmarks import ope_open_bandit

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
