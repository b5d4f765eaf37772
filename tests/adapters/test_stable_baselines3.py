from __future__ import annotations

import random

import gymnasium as gym
import numpy as np
import pytest
import torch

import recsim_drpo
from recsim_drpo import make_agent
from recsim_drpo.runs.folder import load_agent, save_run
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.online import learns_online, train_online

TRAINING = {"steps": 1, "batch_size": 2, "seed": 0}
FEW_ROUNDS = TrainingConfig(steps=3_840, batch_size=128, log_every=1_920, evaluate_every=1_920)


@pytest.mark.parametrize("env_id", ["RecSimZipf-v0", "RecSimZipfSession-v0"])
def test_stable_baselines3_finds_nothing_wrong_with_the_environments(sb3, env_id, small_kwargs):
    from stable_baselines3.common.env_checker import check_env

    check_env(gym.make(env_id, **small_kwargs).unwrapped)  # its warnings are errors here


def vector_envs(env_id, num_envs, **kwargs):
    return gym.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point", **kwargs)


def test_the_vec_env_is_the_native_one(sb3, small_kwargs):
    from recsim_drpo.adapters.stable_baselines3 import to_sb3

    kwargs = {**small_kwargs, "max_steps": 2}
    native = vector_envs("RecSimZipfSession-v0", 8, **kwargs)
    vec = to_sb3(vector_envs("RecSimZipfSession-v0", 8, **kwargs))
    vec.seed(7)
    expected, _ = native.reset(seed=7)
    assert np.array_equal(vec.reset(), expected)
    kinds = set()
    for step in range(4):
        actions = np.random.default_rng(step).normal(size=(8, 16)).astype(np.float32)
        observations, rewards, terminated, truncated, columns = native.step(actions)
        found, paid, done, infos = vec.step(actions)
        assert np.array_equal(found, observations)
        assert np.array_equal(paid, rewards.astype(np.float32))
        assert np.array_equal(done, terminated | truncated)
        for i in range(8):
            assert infos[i]["item_id"] == columns["item_id"][i]
            assert ("terminal_observation" in infos[i]) == done[i]
            if done[i]:
                assert np.array_equal(infos[i]["terminal_observation"], columns["final_obs"][i])
                assert infos[i]["TimeLimit.truncated"] == truncated[i]
                kinds.add(bool(truncated[i]))
    assert kinds == {True, False}
    with pytest.raises(TypeError, match="no native vector environment of ours"):
        to_sb3(gym.make("RecSimZipf-v0", **small_kwargs))


def test_ppo_learns_online_and_is_kept(sb3, small_kwargs, small_world, tmp_path):
    spec = gym.make("RecSimZipf-v0", **small_kwargs).spec
    networks = {"net_arch": [32], "log_std_init": -1.0}
    given = {"n_steps": 40, "learning_rate": 2e-3, "policy_kwargs": networks}
    state = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    evaluator = recsim_drpo.Evaluator(small_world, 500, split="validation")
    (trained,) = train_online(
        "sb3:PPO", given, spec, FEW_ROUNDS, evaluator=evaluator, progress=False
    )
    assert random.getstate() == state[0]
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), state[2])
    history = trained.history
    assert [row["step"] for row in history] == [0.0, 1_920.0, 3_840.0]
    assert history[-1]["normalized"] > history[0]["normalized"] + 0.2  # items at random are 0
    assert {"reward", "policy_gradient_loss", "value_loss"} <= set(history[-1])
    save_run(tmp_path / "run", trained.agent, history, TRAINING, {"online": True})
    kept = load_agent(tmp_path / "run")
    contexts = torch.rand(5, 10)
    assert torch.equal(kept.act(contexts), trained.agent.act(contexts))
    assert kept.model.num_timesteps == 3_840


@pytest.mark.parametrize("name", ["DDPG", "PPO", "SAC", "TD3"])
def test_algorithms_of_stable_baselines3_repeat_by_seed_and_round_trip(
    sb3, name, small_kwargs, make_batch, assert_same_state
):
    few = {"n_steps": 8, "n_epochs": 1} if name == "PPO" else {"learning_starts": 8}
    networks = {"policy_kwargs": {"net_arch": [16]}}

    def learnt(seed):
        agent = make_agent(
            f"sb3:{name}", observation_dim=10, action_dim=16, seed=seed, num_envs=4,
            batch_size=8, **few, **networks,
        )  # fmt: skip
        agent.learn(vector_envs("RecSimZipf-v0", 4, **small_kwargs), 32, lambda *_: None)
        return agent

    one, two, other = learnt(1), learnt(1), learnt(2)
    assert learns_online(one)
    assert_same_state(one, two)
    contexts = torch.rand(5, 10)
    assert not torch.equal(one.act(contexts), other.act(contexts))
    other.load_state_dict(one.state_dict())
    assert_same_state(one, other)
    with pytest.raises(TypeError, match=f"sb3:{name} learns online, not from batches"):
        one.update(make_batch())


def test_what_stable_baselines3_trained_is_evaluated_and_kept(
    sb3, small_kwargs, small_world, tmp_path
):
    from recsim_drpo.adapters.stable_baselines3 import from_sb3

    env = gym.make("RecSimZipf-v0", **small_kwargs)
    networks = {"net_arch": [16]}
    model = sb3.SAC("MlpPolicy", env, gamma=0.5, policy_kwargs=networks, learning_starts=4, seed=1)
    agent = from_sb3(model.learn(8))
    contexts = torch.rand(5, 10)
    expected, _ = model.predict(contexts.numpy(), deterministic=True)
    np.testing.assert_array_equal(agent.act(contexts), expected)
    save_run(tmp_path / "run", agent, [], TRAINING, {})
    kept = load_agent(tmp_path / "run")
    assert (kept.model.gamma, kept.num_envs) == (0.5, 1)
    values = [recsim_drpo.evaluate(one, small_world, num_users=50) for one in (agent, kept)]
    assert values[0] == values[1]
    with pytest.raises(ValueError, match="Unknown algorithm of Stable-Baselines3 'A2C'"):
        from_sb3(sb3.A2C("MlpPolicy", env))
    scaled = sb3.common.vec_env.VecNormalize(sb3.common.vec_env.DummyVecEnv([lambda: env]))
    with pytest.raises(ValueError, match="through a VecNormalize"):
        from_sb3(sb3.PPO("MlpPolicy", scaled, n_steps=8, batch_size=8))


def test_an_agent_that_learns_online_needs_an_environment_that_fits(sb3, small_kwargs):
    agent = make_agent("sb3:PPO", observation_dim=10, action_dim=16, num_envs=2, n_steps=4)
    for wrong in (
        vector_envs("RecSimZipf-v0", 3, **small_kwargs),
        vector_envs("RecSimZipfSession-v0", 2, **small_kwargs),
    ):
        with pytest.raises(ValueError, match=r"this agent was made for \(10,\), \(16,\) and 2"):
            agent.learn(wrong, 8, lambda *_: None)
    with pytest.raises(ValueError, match="the log is of CartPole-v1"):
        train_online("sb3:PPO", {}, gym.spec("CartPole-v1"), progress=False)
    with pytest.raises(ValueError, match="no environment that it names"):
        train_online("sb3:PPO", {}, None, progress=False)


def test_what_learns_online_in_sessions(sb3, small_kwargs, datasets):
    sessions = recsim_drpo.make_sessions(**small_kwargs, max_steps=4)
    evaluator = recsim_drpo.SessionEvaluator(sessions, 20)
    given = {"num_envs": 2, "n_steps": 4, "batch_size": 8}
    (trained,) = train_online(
        "sb3:PPO", given, datasets["sessions"].spec.env_spec, TrainingConfig(steps=12),
        evaluator=evaluator, progress=False,
    )  # fmt: skip
    assert trained.dims == (15, 16)
    assert [row["step"] for row in trained.history] == [0.0, 16.0]  # two rollouts of 8
    assert trained.history[-1]["return"] == evaluator(trained.agent).session_return.value
    assert trained.agent.model.batch_size == 8


@pytest.mark.slow
def test_sac_learns_online(sb3, small_kwargs, small_world):
    spec = gym.make("RecSimZipf-v0", **small_kwargs).spec
    given = {"ent_coef": 0.01, "learning_rate": 1e-3, "policy_kwargs": {"net_arch": [64, 64]}}
    config = TrainingConfig(steps=16_000, batch_size=64)
    (trained,) = train_online("sb3:SAC", given, spec, config, progress=False)
    assert recsim_drpo.evaluate(trained.agent, small_world, num_users=1_000).normalized.low > 0.3


def _small_ppo(env):
    from stable_baselines3 import PPO

    how = {"n_steps": 8, "batch_size": 16, "policy_kwargs": {"net_arch": [8]}, "seed": 0}
    return PPO("MlpPolicy", env, device="cpu", **how)


def test_what_stable_baselines3_saves_comes_back(sb3, small_kwargs, tmp_path):
    from recsim_drpo.adapters.stable_baselines3 import from_sb3, to_sb3

    def make():
        return to_sb3(vector_envs("RecSimZipfSession-v0", 4, **small_kwargs))

    observations = torch.rand(5, 15)
    model = _small_ppo(make()).learn(64)
    model.save(tmp_path / "ppo.zip")
    for env in (None, make()):
        loaded = sb3.PPO.load(tmp_path / "ppo.zip", env=env, device="cpu")
        assert torch.equal(from_sb3(loaded).act(observations), from_sb3(model).act(observations))
    loaded.learn(32, reset_num_timesteps=False)
    assert loaded.num_timesteps == 96

    sac = sb3.SAC("MlpPolicy", make(), buffer_size=64, learning_starts=8, device="cpu")
    sac.learn(32).save(tmp_path / "sac.zip")
    sac.save_replay_buffer(tmp_path / "replay.pkl")
    again = sb3.SAC.load(tmp_path / "sac.zip", env=make(), device="cpu")
    again.load_replay_buffer(tmp_path / "replay.pkl")
    assert again.replay_buffer.size() == sac.replay_buffer.size() == 8
    again.learn(16, reset_num_timesteps=False)
    assert torch.isfinite(from_sb3(again).act(observations)).all()


def test_rewards_may_be_normalised_but_observations_not(sb3, small_kwargs, tmp_path):
    from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

    from recsim_drpo.adapters.stable_baselines3 import from_sb3, to_sb3

    def make():
        return VecMonitor(to_sb3(vector_envs("RecSimZipfSession-v0", 4, **small_kwargs)))

    of_rewards, of_both = VecNormalize(make(), norm_obs=False), VecNormalize(make())
    agent = from_sb3(_small_ppo(of_rewards).learn(32))
    evaluation = recsim_drpo.evaluate(
        agent, "RecSimZipfSession-v0", num_users=20, env_kwargs=small_kwargs
    )
    assert evaluation.session_return.value >= 0.0
    with pytest.raises(ValueError, match="train it with norm_obs=False"):
        from_sb3(_small_ppo(of_both).learn(32))
    of_both.save(tmp_path / "normalise.pkl")
    loaded = VecNormalize.load(tmp_path / "normalise.pkl", make())
    np.testing.assert_array_equal(loaded.obs_rms.mean, of_both.obs_rms.mean)
