from __future__ import annotations

import numpy as np
import torch

from recsim_drpo import (
    LoggingConfig,
    load_transitions,
    make_world,
)

COLUMNS = {
    "item_id": np.int64,
    "policy": np.int8,
    "propensity": np.float64,
    "latent_reward": np.float32,
    "oracle_reward": np.float32,
}


def test_packing(generate, small_kwargs):
    dataset = generate("recsim/packed-v0", small_kwargs, num_rounds=25_000)
    assert dataset.total_steps == 25_000
    assert [len(episode) for episode in dataset.iterate_episodes()] == [10_000, 10_000, 5_000]
    for episode in dataset.iterate_episodes():
        size = len(episode)
        assert episode.observations.shape == (size + 1, 10)
        assert episode.actions.shape == (size, 16)
        assert episode.terminations.all()
        assert not episode.truncations.any()
        for name, dtype in COLUMNS.items():
            assert episode.infos[name].shape == (size + 1,)
            assert episode.infos[name].dtype == dtype
        for name in ("item_id", "policy"):
            assert episode.infos[name][0] == -1
        for name in ("propensity", "latent_reward", "oracle_reward"):
            assert np.isnan(episode.infos[name][0])
    first, second, _ = dataset.iterate_episodes()
    # The observation after an episode's last round is the next user's context.
    np.testing.assert_array_equal(first.observations[-1], second.observations[0])


def test_every_logged_round_is_what_the_world_says(generate, small_kwargs):
    kwargs = {**small_kwargs, "delta": 0.3, "reward_noise": 0.1}
    dataset = generate("check-v0", kwargs, scenario="medium", num_rounds=800, seed=3)
    world = make_world(**kwargs)
    transitions = load_transitions(dataset, infos=list(COLUMNS))
    batch = transitions.as_batch()
    users = world.users("train", 3, torch.arange(800))
    torch.testing.assert_close(batch.observations, users.contexts, atol=0, rtol=0)
    items = batch.infos["item_id"]
    torch.testing.assert_close(batch.actions, world.embeddings[items], atol=0, rtol=0)
    cosines = (users.interests @ world.embeddings.T).to(torch.float64)
    latent = torch.exp(-(1 - cosines) / (2 * 0.3**2))
    mine = latent.gather(1, items[:, None])[:, 0]
    np.testing.assert_allclose(batch.infos["latent_reward"], mine, atol=1e-5)
    np.testing.assert_allclose(batch.infos["oracle_reward"], latent.max(1).values, atol=1e-5)
    observed = (batch.infos["latent_reward"] + 0.1 * users.reward_noise).clamp(0, 1)
    torch.testing.assert_close(batch.rewards, observed, atol=1e-7, rtol=0)
    config = LoggingConfig()
    popularity = torch.from_numpy(world.catalogue.popularity)
    expert = torch.softmax(cosines / config.expert_temperature, dim=1)
    popular = torch.softmax(cosines / config.popularity_temperature + popularity.log(), dim=1)
    mixture = 0.1 * expert + 0.6 * popular + 0.3 * popularity
    expected = mixture.gather(1, items[:, None])[:, 0]
    np.testing.assert_allclose(batch.infos["propensity"], expected, rtol=5e-5)
    shares = np.bincount(batch.infos["policy"], minlength=3) / 800
    np.testing.assert_allclose(shares, [0.3, 0.6, 0.1], atol=0.06)
    assert bool(batch.terminations.all())
