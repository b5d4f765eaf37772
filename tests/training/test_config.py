from __future__ import annotations

import pytest

from recsim_drpo.training.config import TrainingConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", 0), ("batch_size", 1), ("log_every", 0), ("evaluate_every", 1.5)],
)
def test_training_config_is_checked(field, value):
    with pytest.raises(ValueError, match=f"{field}={value}"):
        TrainingConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "high"),
    [("steps", 10**15, 10**9), ("batch_size", 10**12, 2**24)],
)
def test_sizes_beyond_any_machine_are_refused_before_work(field, value, high):
    with pytest.raises(ValueError, match=rf"{field}={value} is not an integer from \d to {high}"):
        TrainingConfig(**{field: value})
    assert getattr(TrainingConfig(log_every=100, **{field: high}), field) == high


@pytest.mark.parametrize("field", ["log_every", "evaluate_every"])
def test_a_history_that_no_memory_holds_is_refused(field):
    every = {"log_every": 100, "evaluate_every": 100} | {field: 9}
    with pytest.raises(ValueError, match=rf"{field}=9 makes 11,111,111 rows .* take at least 10"):
        TrainingConfig(steps=10**8, **every)
    assert TrainingConfig(steps=10**8, **(every | {field: 10})).steps == 10**8
