from __future__ import annotations

import pytest
import torch

from recsim_drpo.core.transitions import ItemActions, Transitions, check_batch


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


def test_episodes_end_where_they_are_terminated_or_cut_off():
    log = two_episodes()
    assert (len(log), log.observation_dim, log.action_dim) == (5, 1, 2)
    assert log.episode_ends.tolist() == [False, True, False, False, True]
    cut_off = Transitions(
        torch.zeros(5, 1),
        torch.tensor([0, 2, 3]),
        torch.zeros(3, 1),
        torch.zeros(3),
        torch.zeros(3, dtype=torch.bool),
        {},
    )
    assert cut_off.episode_ends.tolist() == [True, False, True]


def test_indices_of_any_shape():
    batch = two_episodes().take(torch.tensor([[4, 0, 0], [1, 2, 3]]))
    assert batch.observations.shape == (2, 3, 1)
    assert batch.next_observations.squeeze(-1).tolist() == [[6, 1, 1], [2, 4, 5]]
    assert batch.infos["item_id"].tolist() == [[4, 0, 0], [1, 2, 3]]


def test_the_first_transitions():
    log = two_episodes().first(3, [])
    assert len(log) == 3
    assert dict(log.infos) == {}
    assert log.as_batch().next_observations.flatten().tolist() == [1, 2, 4]


def test_samples_are_drawn_uniformly_with_replacement():
    batch = two_episodes().sample(50_000, torch.Generator().manual_seed(0))
    counts = torch.bincount(batch.rewards.long(), minlength=5)
    assert ((counts - 10_000).abs() < 5 * (50_000 * 0.2 * 0.8) ** 0.5).all()
    with pytest.raises(ValueError, match="batch_size=0"):
        two_episodes().sample(0, torch.Generator())


def test_logs_are_joined_in_order_with_the_infos_of_all():
    log = two_episodes()
    assert Transitions.concatenated([log]) is log
    joined = Transitions.concatenated([log.first(2, []), log]).as_batch()
    assert joined.observations.flatten().tolist() == [0, 1, 0, 1, 3, 4, 5]
    assert joined.next_observations.flatten().tolist() == [1, 2, 1, 2, 4, 5, 6]
    assert joined.infos == {}
    wider = Transitions(
        torch.zeros(2, 3),
        torch.tensor([0]),
        torch.zeros(1, 2),
        torch.zeros(1),
        torch.ones(1, dtype=torch.bool),
        {},
    )
    with pytest.raises(ValueError, match="different observation_dim cannot be joined: 1, 3"):
        Transitions.concatenated([log, wider])


def test_batches_are_checked_for_their_shapes():
    batch = two_episodes().as_batch()
    check_batch(batch, 1, 2)
    check_batch(two_episodes().take(torch.zeros(3, 4, dtype=torch.int64)), 1, 2, (3,))
    with pytest.raises(ValueError, match=r"'actions' has shape \(5, 2\); .* expects \(5, 3\)"):
        check_batch(batch, 1, 3)
    with pytest.raises(ValueError, match=r"'observations' .* \(5, 1\); .* expects \(4, 1\)"):
        check_batch(batch._replace(rewards=batch.rewards[:4]), 1, 2)
    with pytest.raises(ValueError, match="at least one row"):
        check_batch(two_episodes().take(torch.zeros(0, dtype=torch.int64)), 1, 2)


def of_items(ids: list[int], table: list[list[float]]) -> Transitions:
    """Transitions, an episode each, whose actions are rows of a table."""
    count = len(ids)
    return Transitions(
        torch.arange(2.0 * count).unsqueeze(1),
        torch.arange(count) * 2,
        ItemActions(torch.tensor(table), torch.tensor(ids, dtype=torch.int32)),
        torch.arange(float(count)),
        torch.ones(count, dtype=torch.bool),
        {},
    )


def test_actions_that_are_items_are_looked_up():
    log = of_items([2, 0, 2, 1], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert log.compact
    assert not two_episodes().compact
    assert (len(log), log.action_dim) == (4, 2)
    assert log.actions.tolist() == [[5, 6], [1, 2], [5, 6], [3, 4]]
    batch = log.take(torch.tensor([[3, 1], [0, 0]]))
    assert batch.actions.tolist() == [[[3, 4], [1, 2]], [[5, 6], [5, 6]]]
    assert batch.rewards.tolist() == [[3, 1], [0, 0]]
    for some in (log.first(2, []), log.part(torch.tensor([2, 1]), [])):
        assert some.compact
        assert some.as_batch().actions.tolist() == [[5, 6], [1, 2]]


def test_joined_logs_share_the_tables_that_are_the_same():
    table = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    log, same = of_items([2, 0], table), of_items([1], table)
    other, zero, minus = (of_items([0], [[x, 7.0], [9.0, 9.0]]) for x in (8.0, 0.0, -0.0))
    joined = Transitions.concatenated([log, other, same])
    assert joined.compact
    assert joined.actions.tolist() == [[5, 6], [1, 2], [8, 7], [3, 4]]
    assert held_rows(joined) == 5
    assert held_rows(Transitions.concatenated([log, same])) == 3
    signs = Transitions.concatenated([zero, minus])
    assert held_rows(signs) == 4
    assert signs.actions.signbit().tolist() == [[False, False], [True, False]]
    mixed = Transitions.concatenated([log, two_episodes()])
    assert not mixed.compact
    assert mixed.actions[1:4].tolist() == [[1, 2], [0, 1], [2, 3]]


def held_rows(log: Transitions) -> int:
    """Rows of the table that a compact log holds."""
    return len(log._actions.table)


@pytest.mark.parametrize("compact", [False, True])
def test_transitions_with_room_take_others_in_place(compact):
    table = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    logs = [of_items(ids, table) for ids in ([2], [0, 1, 2], [1, 1, 1, 1, 1, 1])]
    if not compact:
        logs = [
            Transitions(
                log.take(torch.arange(len(log))).observations.repeat_interleave(2, 0),
                torch.arange(len(log)) * 2,
                log.actions,
                log.rewards,
                log.terminations,
                {},
            )
            for log in logs
        ]
    held = logs[0].with_room(4, torch.device("cpu"))
    assert (len(held), held.compact) == (4, compact)
    assert held.take(torch.tensor([0])).actions.tolist() == [[5, 6]]
    kept = held.rewards
    assert held.refill(logs[1])
    found, expected = held.take(torch.tensor([2, 0])), logs[1].take(torch.tensor([2, 0]))
    for ours, theirs in zip(found[:-1], expected[:-1], strict=True):
        assert torch.equal(ours, theirs)
    assert held.rewards is kept
    assert not held.refill(logs[2])
    assert held.take(torch.tensor([0])).actions.tolist() == [[1, 2]]
    assert not held.refill(two_episodes() if compact else of_items([0], table))


def test_columns_that_nobody_reads_are_what_stands_in_for_them():
    log, stand_in = two_episodes(), torch.tensor([7.0])
    names = ["observations", "next_observations", "rewards", "infos.item_id"]
    taken = log.take(torch.tensor([3, 1]), dict.fromkeys(names, stand_in))
    assert taken.actions.tolist() == [[6, 7], [2, 3]]
    assert taken.terminations.tolist() == [False, True]
    others = taken.observations, taken.next_observations, taken.rewards, taken.infos["item_id"]
    assert all(other is stand_in for other in others)


def test_only_a_log_at_hand_is_known_to_terminate_always():
    log = two_episodes()
    ends = log.part(torch.tensor([1, 4]), ["item_id"])
    assert not log.always_terminates
    assert ends.always_terminates
    assert not ends.with_room(3, torch.device("cpu")).always_terminates
