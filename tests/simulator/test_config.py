"""Configurations of the simulator refuse values out of their range, by the field's name."""

import pytest

from recsim_drpo.simulator.config import ECPM_PER_REWARD, SCENARIOS, LoggingConfig, WorldConfig


def test_ecpm_is_five_times_the_reward():
    assert ECPM_PER_REWARD == 5.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("delta", 0.0),
        ("delta", -0.1),
        ("delta", float("nan")),
        ("delta", float("inf")),
        ("delta", "0.4"),
        ("reward_noise", -0.01),
        ("reward_noise", float("nan")),
        ("reward_noise", float("inf")),
        ("interest_sharpness", -1.0),
        ("interest_sharpness", float("nan")),
        ("interest_sharpness", float("inf")),
        ("context_dim", 0),
        ("context_dim", 2.0),
        ("catalogue_seed", -1),
        ("catalogue_seed", 2**63),
        ("catalogue_seed", 0.5),
    ],
)
def test_values_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"^{field}="):
        WorldConfig(**{field: value})


def test_scenarios_are_those_of_table_4():
    assert SCENARIOS == {
        "medium": {"expert": 0.10, "popularity": 0.60, "random": 0.30},
        "extreme": {"expert": 0.05, "popularity": 0.05, "random": 0.90},
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expert_temperature", 0.0),
        ("expert_temperature", -1.0),
        ("expert_temperature", float("nan")),
        ("popularity_temperature", 0.0),
        ("popularity_temperature", "warm"),
        ("popularity_bias", -0.1),
        ("popularity_bias", float("inf")),
        ("random_exponent", -0.1),
        ("random_exponent", float("nan")),
        ("random_exponent", float("inf")),
    ],
)
def test_configuration_out_of_range(field, value):
    with pytest.raises(ValueError, match=rf"^{field}="):
        LoggingConfig(**{field: value})
