from __future__ import annotations

import pytest
import torch

from recsim_drpo.core.transitions import Transitions


def two_episodes() -> Transitions:
    """Two and three transitions of one observation number each."""
    return Transitions(
        torch.arange(7.0).unsqueeze(1),
        torch.tensor([0, 1, 3, 4, 5]),
        torch.arange(10.0).reshape(5, 2),
        torch.arange(5.0),
        torch.tensor([False, True, False, False, True]),
        {"item_id": torch.arange(5)},
    )


def test_columns_are_those_of_the_log_and_not_copies():
    log = two_episodes()
    assert log.actions is log.actions
    assert log.rewards.tolist() == [0, 1, 2, 3, 4]
    assert log.actions[3].tolist() == [6, 7]
    assert log.terminations.tolist() == [False, True, False, False, True]
    assert log.infos["item_id"].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(TypeError):
        log.infos["more"] = torch.zeros(5)


def test_a_copy_of_everything_is_what_all_indices_take():
    log = two_episodes()
    copied, taken = log.as_batch(), log.take(torch.arange(5))
    for ours, theirs in zip(copied[:-1], taken[:-1], strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(copied.infos["item_id"], taken.infos["item_id"])
    assert torch.equal(log.observations(), copied.observations)
    assert copied.observations.flatten().tolist() == [0, 1, 3, 4, 5]
    assert copied.next_observations.flatten().tolist() == [1, 2, 4, 5, 6]
    assert copied.rewards.data_ptr() != log.rewards.data_ptr()
