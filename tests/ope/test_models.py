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
