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
