"""How much of the campaign is tried; in the default run, so that no share of it is empty."""

from __future__ import annotations

import pytest

from tests.faults.conftest import scaled


@pytest.mark.parametrize(
    ("share", "tried"), [(None, 500), ("1", 500), ("0.1", 50), ("0.001", 1), ("1e-9", 1)]
)
def test_a_share_of_the_campaign(monkeypatch, share, tried):
    if share is None:
        monkeypatch.delenv("RECSIM_DRPO_FAULTS", raising=False)
    else:
        monkeypatch.setenv("RECSIM_DRPO_FAULTS", share)
    assert scaled(500) == tried


@pytest.mark.parametrize("share", ["0", "-1", "2", "nan"])
def test_no_other_share(monkeypatch, share):
    monkeypatch.setenv("RECSIM_DRPO_FAULTS", share)
    with pytest.raises(ValueError, match="must lie in"):
        scaled(500)
