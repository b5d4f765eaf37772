from __future__ import annotations

import pytest
import torch

from recsim_drpo.ope.models import ClusterModel, CrossFitted, RewardModel


def test_cross_fitted_models_have_not_seen_what_they_predict():
    contexts, rewards = torch.rand(100, 2), torch.rand(100)
    fitted_on = []

    def fit(rounds):
        fitted_on.append(rounds)
        return RewardModel(contexts[rounds], torch.eye(2), rounds % 2, rewards[rounds], 0, 3)

    models = CrossFitted(fit, 100, folds=3)
    assert [int(rounds.min()) for rounds in fitted_on] == [1, 0, 0]
    assert all((rounds % 3 != fold).all() for fold, rounds in enumerate(fitted_on))
    rounds = torch.arange(100)
    vectors = torch.eye(2)[rounds % 2]
    predicted = models.predict(rounds, contexts, vectors)
    alone = models.models[1].predict(contexts[1::3], vectors[1::3])
    assert torch.allclose(predicted[1::3], alone)
    with pytest.raises(ValueError, match="folds=1"):
        CrossFitted(fit, 100, folds=1)


def test_a_cluster_model_learns_who_is_shown_what():
    generator = torch.Generator().manual_seed(0)
    contexts = torch.rand(4_000, 1, generator=generator)
    shown = (torch.rand(4_000, generator=generator) < contexts[:, 0]).long()
    model = ClusterModel(contexts, shown, 2, 0)
    points = torch.tensor([[0.2], [0.5], [0.8]])
    found = model.predict(points, torch.ones(3, dtype=torch.int64))
    assert found.tolist() == pytest.approx([0.2, 0.5, 0.8], abs=0.06)


def payments(scale=1.0, shift=0.0, low=0.0, width=1.0):
    """A log in which item 0 pays where x > 0 and item 1 elsewhere, x in a unit of its own."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(4_000, 1, generator=generator) - 0.5
    items = torch.randint(2, (4_000,), generator=generator)
    pays = torch.where((x[:, 0] > 0) == (items == 0), 0.8, 0.2)
    clicks = (torch.rand(4_000, generator=generator) < pays).float()
    return scale * x + shift, torch.eye(2), items, low + width * clicks


@pytest.mark.parametrize(
    ("unit", "rewards"),
    [
        ({}, {}),
        ({"scale": 1e7, "shift": 1.7e9}, {}),
        ({"scale": 1e-6, "shift": 0.0}, {}),
        ({}, {"low": -5_000.0, "width": 1e5}),
        ({"scale": 1e7, "shift": 1.7e9}, {"low": 0.0, "width": 1e-4}),
    ],
)
def test_a_reward_model_learns_in_any_unit(unit, rewards):
    contexts, vectors, items, paid = payments(**unit, **rewards)
    model = RewardModel(contexts, vectors, items, paid, 0)
    scale, shift = unit.get("scale", 1.0), unit.get("shift", 0.0)
    points = scale * torch.tensor([[-0.3], [0.3]]) + shift
    low, width = rewards.get("low", 0.0), rewards.get("width", 1.0)
    for item, expected in ((0, [0.2, 0.8]), (1, [0.8, 0.2])):
        found = (model.predict(points, vectors[[item, item]]) - low) / width
        assert found.tolist() == pytest.approx(expected, abs=0.08)


def test_a_reward_model_predicts_no_reward_that_cannot_be():
    contexts, vectors, items, paid = payments()
    far = torch.tensor([[-1e9], [1e9], [3e38]])
    for bounds in (None, (0.0, 1.0), (-2.0, 3.0)):
        model = RewardModel(contexts, vectors, items, paid, 0, reward_range=bounds)
        low, high = bounds or (0.0, 1.0)
        for item in (0, 1):
            found = model.predict(far, vectors[[item] * 3])
            assert ((found >= low) & (found <= high)).all()
    always = RewardModel(contexts, vectors, items, torch.full_like(paid, 3.0), 0, 5)
    assert always.predict(far, vectors[[0] * 3]).tolist() == [3.0] * 3


def test_a_cluster_model_reads_contexts_in_any_unit():
    generator = torch.Generator().manual_seed(0)
    contexts = torch.rand(4_000, 1, generator=generator)
    shown = (torch.rand(4_000, generator=generator) < contexts[:, 0]).long()
    model = ClusterModel(1e8 * contexts + 1.7e9, shown, 2, 0)
    points = 1e8 * torch.tensor([[0.2], [0.5], [0.8]]) + 1.7e9
    found = model.predict(points, torch.ones(3, dtype=torch.int64))
    assert found.tolist() == pytest.approx([0.2, 0.5, 0.8], abs=0.06)
