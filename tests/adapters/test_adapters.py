"""Agents from other libraries. Each part is skipped where its library is absent."""

from __future__ import annotations

import random
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import recsim_drpo
from recsim_drpo import Batch, generate_dataset, load_transitions, make_agent
from recsim_drpo.adapters import import_library
from recsim_drpo.agents import AgentSpec
from recsim_drpo.cli import main
from recsim_drpo.runs.checkpoints import flatten
from recsim_drpo.runs.folder import load_agent, load_config, save_run
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train
from recsim_drpo.training.online import learns_online, train_online

DIMS = {"observation_dim": 3, "action_dim": 2}
TRAINING = {"steps": 1, "batch_size": 2, "seed": 0}
WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]
SMALL_ENCODER = {"type": "vector", "params": {"hidden_units": [16]}}
FEW_ROUNDS = TrainingConfig(steps=3_840, batch_size=128, log_every=1_920, evaluate_every=1_920)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory, small_kwargs):
    """A log of rounds, packed, and one of sessions, some of which are cut off after 4 steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(tmp_path_factory.mktemp("minari")))
        sessions = {**small_kwargs, "max_steps": 4}
        how = {"num_rounds": 200, "card": False, "progress": False}
        yield {
            "rounds": generate_dataset("adapters/rounds-v0", env_kwargs=small_kwargs, **how),
            "sessions": generate_dataset(
                "adapters/sessions-v0", env="RecSimZipfSession-v0", env_kwargs=sessions, **how
            ),
        }


@pytest.fixture
def d3rlpy():
    return pytest.importorskip("d3rlpy")


@pytest.fixture
def sb3():
    return pytest.importorskip("stable_baselines3")


@pytest.fixture
def torchrl():
    return pytest.importorskip("torchrl")


def make_batch(size=6, seed=0, terminations=True):
    generator = torch.Generator().manual_seed(seed)
    observations, following = torch.randn(2, size, 3, generator=generator)
    actions = 2.0 * torch.rand(size, 2, generator=generator) - 1.0
    rewards = torch.rand(size, generator=generator)
    return Batch(observations, actions, rewards, following, torch.full((size,), terminations))


def assert_same_state(one, two):
    tensors, described = flatten(one.state_dict())
    others, others_described = flatten(two.state_dict())
    assert described == others_described
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)


# What all of them share.


def test_ends_of_episodes(datasets):
    rounds, sessions = (load_transitions(datasets[name]) for name in ("rounds", "sessions"))
    assert rounds.episode_ends.all()
    lengths = [len(episode.rewards) for episode in datasets["sessions"].iterate_episodes()]
    expected = np.zeros(200, dtype=bool)
    expected[np.cumsum(lengths) - 1] = True
    assert sessions.episode_ends.tolist() == expected.tolist()
    cut_off = sessions.episode_ends & ~sessions.terminations
    assert 0 < cut_off.sum() < sessions.episode_ends.sum()


def test_the_core_imports_no_library():
    script = (
        "import sys, recsim_drpo\n"
        "for name in recsim_drpo.__all__: getattr(recsim_drpo, name)\n"
        "from recsim_drpo.adapters import d3rlpy, stable_baselines3, torchrl\n"
        "found = {'d3rlpy', 'stable_baselines3', 'torchrl', 'tensordict', 'gym'} & {*sys.modules}\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("agent", "library", "extra"),
    [("d3rlpy:IQL", "d3rlpy", "d3rlpy"), ("sb3:SAC", "stable_baselines3", "sb3")],
)
def test_a_library_that_is_absent_is_named_with_its_extra(monkeypatch, agent, library, extra):
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    if extra == "d3rlpy":
        from recsim_drpo.adapters import d3rlpy as adapter

        adapter._algorithms.cache_clear()
    with pytest.raises(ImportError, match=rf"{library} cannot .*pip install .*\[{extra}\]"):
        make_agent(agent, **DIMS)
    with pytest.raises(ImportError, match=r"\[torchrl\]"):
        import_library("no_such_library", "torchrl")


def test_one_table_of_ours_of_d3rlpy_and_of_the_online_reference(
    d3rlpy, sb3, minari_root, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "adapters/cli-v0", "--rounds", "300", "--no-card", *WORLD]) == 0
    common = ["train", "--dataset", "adapters/cli-v0", "--batch-size", "32"]
    encoder = '={"type": "vector", "params": {"hidden_units": [16]}}'
    iql = ["--agent", "d3rlpy:IQL", "--set", f"actor_encoder_factory{encoder}", "expectile=0.9"]
    ppo = ["--agent", "sb3:PPO", "--set", "num_envs=4", "n_steps=8", "n_epochs=1"]
    assert main([*common, *iql, "--steps", "3", "--seeds", "0", "1", "--out", "iql"]) == 0
    assert main([*common, *ppo, "--steps", "60", "--evaluate-every", "30", "--out", "ppo"]) == 0
    assert main([*common, "--agent", "bc", "--steps", "2", "--out", "bc"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "iql", "ppo", "bc", "--num-users", "50"]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    rows = [line.split("|")[1].strip() for line in table[2:]]
    expected = ["iql/seed-0", "iql/seed-1", "ppo/seed-0 (online)", "bc/seed-0", "oracle"]
    assert rows[3:8] == expected
    kept = load_config("iql/seed-1")
    assert kept["agent"] == "d3rlpy:IQL"
    assert kept["hyperparameters"]["expectile"] == 0.9
    assert load_agent("iql/seed-1").algorithm.config.actor_encoder_factory.hidden_units == [16]
    # PPO ends with its rollout of 4 x 8 steps; rows are where 30 steps were crossed.
    history = (tmp_path / "ppo/seed-0/history.csv").read_text().splitlines()
    steps = [line.split(",")[0] for line in history]
    assert steps == ["step", "0.0", "32.0", "64.0"]
    assert "learnt online" in (tmp_path / "ppo/seed-0/README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent", "d3rlpy:IQQL"], "continuous algorithm of d3rlpy 'IQQL'. Did you mean 'IQL'"),
        (["--agent", "d3rlpy:DQN"], "Unknown continuous algorithm"),
        (["--agent", "d3rlpy:IQL", "--set", "expectil=1"], "Did you mean 'expectile'"),
        (["--agent", "d3rlpy:IQL", "--set", "gamma=x"], "gamma='x' is not a number"),
        (["--agent", "d3rlpy:IQL", "--set", "n_critics=1.5"], "n_critics=1.5 is not an integer"),
        (["--agent", "d3rlpy:BC", "--set", "policy_type=3"], "policy_type=3 is not text"),
        (["--agent", "d3rlpy:BC", "--set", "encoder_factory=3"], "is not in d3rlpy's form"),
        (
            ["--agent", "d3rlpy:BC", "--set", 'reward_scaler={"type":"standard","params":{}}'],
            "has no numbers",
        ),
        (["--agent", "d3rlpy:PRDC"], "needs its neighbours in the whole log"),
        (["--agent", "sb3:SACC"], "Did you mean 'SAC'"),
        (["--agent", "sb3:SAC", "--set", "gama=1"], "Did you mean 'gamma'"),
        (["--agent", "sb3:SAC", "--set", "num_envs=0"], "num_envs=0 is not an integer"),
        (["--agent", "sb3:SAC", "--set", "ent_coef=x"], "makes no SAC of {'ent_coef': 'x'}: "),
        (["--agent", "sb3:PPO", "--set", "n_steps=0"], "makes no PPO of {'n_steps': 0}: "),
        (["--agent", "sb3:PPO", "--infos", "propensity"], "learns online and reads no column"),
    ],
)
def test_mistakes_on_the_command_line(d3rlpy, sb3, datasets, tmp_path, capsys, arguments, message):
    out = tmp_path / "run"
    command = ["train", "--dataset", "adapters/rounds-v0", "--out", str(out), "--steps", "1"]
    assert main([*command, *arguments]) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "error:" in one]
    assert message in line
    assert not out.exists()


# d3rlpy.


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


def test_d3rlpy_updates_as_it_does_itself(d3rlpy):
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


def test_every_continuous_algorithm_of_d3rlpy_is_an_agent(d3rlpy):
    from recsim_drpo.adapters.d3rlpy import _algorithms

    assert {"BC", "TD3PlusBC", "IQL", "CQL", "AWAC", "CRR", "BCQ", "BEAR"} <= set(_algorithms())
    for name in sorted(_algorithms()):
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


def test_d3rlpy_goes_on_to_the_bit_and_leaves_other_draws_alone(d3rlpy, tmp_path):
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


# Stable-Baselines3.


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
def test_algorithms_of_stable_baselines3_repeat_by_seed_and_round_trip(sb3, name, small_kwargs):
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


# TorchRL.


@pytest.mark.parametrize("kind", ["rounds", "sessions"])
def test_every_transition_reaches_torchrl_with_its_own_successor(torchrl, datasets, kind):
    from recsim_drpo.adapters.torchrl import to_torchrl

    log = load_transitions(datasets[kind], infos=["propensity"])
    rows, batch = to_torchrl(log)[:], log.as_batch()
    assert torch.equal(rows["observation"], batch.observations)
    assert torch.equal(rows["action"], batch.actions)
    assert torch.equal(rows["propensity"], batch.infos["propensity"])
    following = rows["next"]
    assert torch.equal(following["observation"], batch.next_observations)
    assert torch.equal(following["reward"].squeeze(1), batch.rewards)
    assert torch.equal(following["terminated"].squeeze(1), batch.terminations)
    assert torch.equal(following["done"].squeeze(1), log.episode_ends)
    cut_off = log.episode_ends & ~batch.terminations
    assert torch.equal(following["truncated"].squeeze(1), cut_off)
    assert bool(cut_off.any()) == (kind == "sessions")


def test_a_torchrl_replay_buffer_draws_whole_transitions(torchrl, datasets):
    from recsim_drpo.adapters.torchrl import to_torchrl

    log = load_transitions(datasets["sessions"])
    drawn = to_torchrl(log, batch_size=64).sample()
    expected = log.take(drawn["index"].reshape(64))
    assert torch.equal(drawn["next", "observation"], expected.next_observations)
    assert torch.equal(drawn["action"], expected.actions)
    with pytest.raises(ValueError, match="batch_size=0"):
        to_torchrl(log, batch_size=0)


def test_a_torchrl_policy_learns_by_its_loss(torchrl):
    from tensordict.nn import TensorDictModule

    from recsim_drpo.adapters.torchrl import from_torchrl

    class Imitation(nn.Module):
        def __init__(self, policy):
            super().__init__()
            self.policy = policy

        def forward(self, rows):
            wrong = self.policy(rows.select("observation"))["action"] - rows["action"]
            return {"loss_bc": wrong.square().mean(), "rows": torch.tensor(float(len(rows)))}

    layer = nn.Linear(3, 2)
    policy = TensorDictModule(layer, in_keys=["observation"], out_keys=["action"])
    loss = Imitation(policy)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1, momentum=0.5)
    agent = from_torchrl(policy, loss=loss, optimizer=optimizer)
    batch = make_batch()
    weight = layer.weight.detach().clone()
    wrong = batch.observations @ weight.T + layer.bias.detach() - batch.actions
    metrics = agent.update(batch)
    assert float(metrics["loss"]) == pytest.approx(float(wrong.square().mean()))
    assert float(metrics["rows"]) == 6.0
    # The gradient of the mean over 6 x 2 numbers.
    torch.testing.assert_close(layer.weight, weight - 0.1 * 2 / 12 * wrong.T @ batch.observations)
    torch.testing.assert_close(agent.act(batch.observations), layer(batch.observations).detach())
    state = agent.state_dict()
    flatten(state)
    after = agent.update(batch), layer.weight.detach().clone()
    agent.load_state_dict(state)
    assert agent.update(batch) == after[0]
    assert torch.equal(layer.weight, after[1])


def test_a_stochastic_torchrl_policy_acts_without_chance(torchrl):
    from tensordict.nn import NormalParamExtractor, TensorDictModule
    from torchrl.modules import ProbabilisticActor, TanhNormal

    from recsim_drpo.adapters.torchrl import from_torchrl

    layer = nn.Linear(3, 4)
    network = TensorDictModule(
        nn.Sequential(layer, NormalParamExtractor()), ["observation"], ["loc", "scale"]
    )
    policy = ProbabilisticActor(
        network, in_keys=["loc", "scale"], distribution_class=TanhNormal,
    )  # fmt: skip
    agent = from_torchrl(policy)
    observations = torch.randn(5, 3)
    expected = layer(observations)[:, :2].tanh().detach()
    torch.testing.assert_close(agent.act(observations), expected)
    assert torch.equal(agent.act(observations), agent.act(observations))
    with pytest.raises(TypeError, match="no loss to learn with"):
        agent.update(make_batch())
    with pytest.raises(TypeError, match="give both of them"):
        from_torchrl(policy, optimizer=torch.optim.SGD(policy.parameters()))
    with pytest.raises(TypeError, match="no loss"):
        train(agent, load_like(observations), TrainingConfig(steps=1, batch_size=2))


def load_like(observations):
    """A log of rounds in which these were the contexts."""
    from recsim_drpo.core.transitions import Transitions

    n = len(observations) - 1
    return Transitions(
        observations, torch.arange(n), torch.zeros(n, 2), torch.zeros(n),
        torch.ones(n, dtype=torch.bool), {},
    )  # fmt: skip
