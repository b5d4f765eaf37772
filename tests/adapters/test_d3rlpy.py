from __future__ import annotations

import numpy as np
import pytest
import torch

import recsim_drpo
from recsim_drpo import load_transitions, make_agent
from recsim_drpo.agents import AgentSpec
from recsim_drpo.runs.checkpoints import flatten
from recsim_drpo.runs.folder import load_agent, load_config, save_run

DIMS = {"observation_dim": 3, "action_dim": 2}
TRAINING = {"steps": 1, "batch_size": 2, "seed": 0}
SMALL_ENCODER = {"type": "vector", "params": {"hidden_units": [16]}}


@pytest.mark.parametrize("kind", ["rounds", "sessions"])
def test_every_transition_reaches_d3rlpy_with_its_own_successor(d3rlpy, datasets, kind):
    from recsim_drpo.adapters.d3rlpy import to_d3rlpy

    buffer, batch = to_d3rlpy(datasets[kind]), load_transitions(datasets[kind]).as_batch()
    found = [
        buffer.transition_picker(episode, index)
        for episode in buffer.episodes
        for index in range(episode.transition_count)
    ]
    assert len(found) == buffer.transition_count == len(batch.rewards)
    for name, column in (("observation", batch.observations), ("action", batch.actions)):
        assert np.array_equal(np.stack([getattr(one, name) for one in found]), column)
    assert np.array_equal(np.stack([one.reward[0] for one in found]), batch.rewards)
    ends = np.array([bool(one.terminal) for one in found])
    assert np.array_equal(ends, batch.terminations)
    following = np.stack([one.next_observation for one in found])
    assert np.array_equal(following[~ends], batch.next_observations[~ends])
    assert buffer.dataset_info.action_size == 16


def test_d3rlpys_own_loader_shifts_actions_after_the_first_episode(d3rlpy, datasets, monkeypatch):
    from recsim_drpo.adapters.d3rlpy import to_d3rlpy

    # With Gymnasium 1.1 and later it stops at environments without a limit of steps, as ours are.
    with pytest.raises(TypeError, match="max_episode_steps"):
        d3rlpy.datasets.get_minari("adapters/sessions-v0")
    monkeypatch.setattr(d3rlpy.datasets, "GymnasiumTimeLimit", lambda env, **_: env)
    theirs, _ = d3rlpy.datasets.get_minari("adapters/sessions-v0")
    ours = to_d3rlpy("adapters/sessions-v0")
    logged = list(datasets["sessions"].iterate_episodes())
    for number, episode in enumerate(logged[:10]):
        n, observations = len(episode.actions), episode.observations[:-1]
        assert np.array_equal(ours.episodes[number].observations[:n], observations)
        assert np.array_equal(ours.episodes[number].actions[:n], episode.actions)
        assert np.array_equal(theirs.episodes[number].actions, episode.actions)
        aligned = np.array_equal(theirs.episodes[number].observations, observations)
        assert aligned == (number == 0)


def test_d3rlpy_updates_as_it_does_itself(d3rlpy, make_batch, assert_same_state):
    from recsim_drpo.adapters.d3rlpy import from_d3rlpy

    # IQL, whose updates draw nothing, with both scalers, on a batch in the middle of sessions.
    scalers = {
        "observation_scaler": {"type": "standard", "params": {"mean": [0.1] * 3, "std": [2.0] * 3}},
        "reward_scaler": {"type": "multiply", "params": {"multiplier": 3.0}},
    }
    agent = make_agent("d3rlpy:IQL", **DIMS, seed=3, **scalers)
    own = make_agent("d3rlpy:IQL", **DIMS, seed=3, **scalers).algorithm
    batch = make_batch(terminations=False)
    terminations = torch.tensor([True, False] * 3)
    batch = batch._replace(terminations=terminations)
    mini = d3rlpy.dataset.TransitionMiniBatch(
        batch.observations.numpy(), batch.actions.numpy(), batch.rewards.numpy()[:, None],
        batch.next_observations.numpy(), batch.actions.numpy(),
        terminations.float().numpy()[:, None], np.ones((6, 1), np.float32), [],
    )  # fmt: skip
    for _ in range(3):
        metrics = agent.update(batch)
        assert {k: float(v) for k, v in metrics.items()} == pytest.approx(own.update(mini))
    assert_same_state(agent, from_d3rlpy(own))
    observations = torch.randn(4, 3)
    np.testing.assert_allclose(agent.act(observations), own.predict(observations.numpy()))
    assert agent.algorithm.grad_step == 3


def test_every_continuous_algorithm_of_d3rlpy_is_an_agent(d3rlpy, make_batch):
    from recsim_drpo.adapters.d3rlpy import algorithms

    assert {"BC", "TD3PlusBC", "IQL", "CQL", "AWAC", "CRR", "BCQ", "BEAR"} <= set(algorithms())
    for name in sorted(algorithms()):
        agent = make_agent(f"d3rlpy:{name}", **DIMS)
        ends = name in ("CalQL", "ReBRAC")
        if name == "PRDC":
            with pytest.raises(ValueError, match="d3rlpy:PRDC needs its neighbours"):
                agent.update(make_batch())
            continue
        if ends:
            with pytest.raises(ValueError, match=f"d3rlpy:{name} needs the .*fit on to_d3rlpy"):
                agent.update(make_batch(terminations=False))
        metrics = agent.update(make_batch(terminations=ends))
        assert all(torch.isfinite(value) for value in metrics.values())
        actions = agent.act(torch.randn(5, 3))
        assert actions.shape == (5, 2)
        assert not actions.requires_grad
        flatten(agent.state_dict())


def test_d3rlpy_goes_on_to_the_bit_and_leaves_other_draws_alone(
    d3rlpy, tmp_path, make_batch, assert_same_state
):
    # BCQ draws in every update.
    spec = AgentSpec("d3rlpy:BCQ", 3, 2, 5, {"actor_encoder_factory": SMALL_ENCODER})
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    agent = spec.make()
    agent.update(make_batch())
    assert torch.equal(torch.rand(2), expected)
    save_run(tmp_path / "run", agent, [], TRAINING, {})
    resumed = load_agent(tmp_path / "run")
    assert_same_state(agent, resumed)
    for seed in (1, 2):
        one, two = (each.update(make_batch(seed=seed)) for each in (agent, resumed))
        assert one == two
    assert_same_state(agent, resumed)
    other = AgentSpec("d3rlpy:BCQ", 3, 2, 6, spec.hyperparameters).make()
    assert not torch.equal(other.act(torch.ones(1, 3)), spec.make().act(torch.ones(1, 3)))


def test_what_d3rlpy_trained_is_evaluated_and_kept(d3rlpy, datasets, small_world, tmp_path):
    from recsim_drpo.adapters.d3rlpy import from_d3rlpy, to_d3rlpy

    config = d3rlpy.algos.TD3PlusBCConfig(
        batch_size=16, observation_scaler=d3rlpy.preprocessing.StandardObservationScaler()
    )
    algorithm = config.create(device="cpu")
    with pytest.raises(ValueError, match="has no networks yet"):
        from_d3rlpy(algorithm)
    with pytest.raises(ValueError, match="Unknown continuous algorithm of d3rlpy 'DQN'"):
        from_d3rlpy(d3rlpy.algos.DQNConfig().create(device="cpu"))
    algorithm.fit(
        to_d3rlpy(datasets["rounds"]), n_steps=2, n_steps_per_epoch=2, show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )  # fmt: skip
    agent = from_d3rlpy(algorithm)
    save_run(tmp_path / "run", agent, [], TRAINING, {})
    kept = load_agent(tmp_path / "run")
    contexts = torch.rand(7, 10)
    np.testing.assert_array_equal(kept.act(contexts), algorithm.predict(contexts.numpy()))
    values = [recsim_drpo.evaluate(one, small_world, num_users=50) for one in (agent, kept)]
    assert values[0] == values[1]
    assert load_config(tmp_path / "run")["agent"] == "d3rlpy:TD3PlusBC"


@pytest.mark.parametrize("kind", ["rounds", "sessions"])
def test_what_d3rlpy_saves_comes_back(d3rlpy, datasets, tmp_path, kind):
    from recsim_drpo.adapters.d3rlpy import from_d3rlpy, to_d3rlpy

    buffer, log = to_d3rlpy(datasets[kind]), load_transitions(datasets[kind])
    with (tmp_path / "buffer.h5").open("w+b") as file:
        buffer.dump(file)
        file.seek(0)
        again = d3rlpy.dataset.ReplayBuffer.load(file, d3rlpy.dataset.InfiniteBuffer())
    assert again.transition_count == len(log)
    for one, other in zip(buffer.episodes, again.episodes, strict=True):
        for name in ("observations", "actions", "rewards", "terminated"):
            assert np.array_equal(getattr(one, name), getattr(other, name))

    encoder = d3rlpy.models.VectorEncoderFactory([8])
    config = d3rlpy.algos.TD3PlusBCConfig(
        batch_size=16, actor_encoder_factory=encoder, critic_encoder_factory=encoder
    )
    trained = config.create(device="cpu")
    quiet = {"logger_adapter": d3rlpy.logging.NoopAdapterFactory(), "show_progress": False}
    trained.fit(again, n_steps=2, n_steps_per_epoch=2, **quiet)
    observations = log.as_batch().observations[:5]
    expected = from_d3rlpy(trained).act(observations)
    assert np.array_equal(expected, trained.predict(observations.numpy()))
    trained.save(tmp_path / "whole.d3")
    trained.save_model(tmp_path / "parameters.pt")
    whole = d3rlpy.load_learnable(str(tmp_path / "whole.d3"), device="cpu")
    built = config.create(device="cpu")
    built.build_with_dataset(buffer)
    built.load_model(tmp_path / "parameters.pt")
    for loaded in (whole, built):
        assert torch.equal(from_d3rlpy(loaded).act(observations), expected)
