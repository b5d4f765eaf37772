from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from recsim_drpo.core.reward_unit import RewardUnit

FINITE = st.floats(-1e6, 1e6)


def test_the_default_changes_no_number():
    unit = RewardUnit()
    for value in (0.0, 0.1, 1.0, -3.7, 1e30):
        assert unit.to_learn(value) == value == unit.to_tell(value)


@given(FINITE, st.floats(1e-3, 1e6), st.floats(0.0, 1.0))
def test_the_ends_are_0_and_1_and_the_way_back_is_the_value(low, span, share):
    unit = RewardUnit(low, low + span)
    assert unit.to_learn(unit.low) == 0.0
    assert unit.to_learn(unit.high) == 1.0
    reward = low + share * span
    assert unit.to_tell(unit.to_learn(reward)) == pytest.approx(
        reward, abs=1e-9 * (abs(low) + span)
    )


def test_decimals_tell_four_places_of_the_range():
    spans = {1.0: 4, 5.0: 4, 1e-4: 8, 10.0: 3, 1e5: 0}
    assert {span: RewardUnit(-1.0, span - 1.0).decimals for span in (1.0, 5.0)} == {1.0: 4, 5.0: 4}
    assert {span: RewardUnit(0.0, span).decimals for span in spans} == spans
