from __future__ import annotations

import json
import math
import re
import warnings

import gymnasium as gym
import minari
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings, strategies as st

from recsim_drpo import (
    LoggingAgent,
    SessionConfig,
    SessionEvaluator,
    Sessions,
    World,
    WorldConfig,
    evaluate,
    generate_dataset,
    load_transitions,
    make_agent,
    make_sessions,
    session_reference_policy,
)
from recsim_drpo.cli import main
from recsim_drpo.datasets.generation import sessions as session_log
from recsim_drpo.evaluation.bandit import Evaluator
from recsim_drpo.evaluation.evaluate import evaluator_for
from recsim_drpo.simulator.catalogue import SimulatedCatalogue
from recsim_drpo.simulator.reference_policies import SESSION_REFERENCES, session_logging_agent
from recsim_drpo.simulator.sessions import Luck, round_numbers

ENV = "RecSimZipfSession-v0"
SMALL = {"num_items": 300, "embedding_dim": 16, "num_topics": 5}
INFOS = ["item_id", "topic", "policy", "propensity", "latent_reward", "oracle_reward"]


@pytest.fixture(scope="module")
def sessions() -> Sessions:
    return make_sessions(**SMALL)


def make_vec(num_envs, mode, **kwargs):
    vector_kwargs = {"autoreset_mode": AutoresetMode.SAME_STEP} if mode == "sync" else {}
    return gym.make_vec(
        ENV,
        num_envs=num_envs,
        vectorization_mode=mode,
        vector_kwargs=vector_kwargs,
        **SMALL,
        **kwargs,
    )


def some_states(sessions, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    contexts = 2 * torch.rand(count, sessions.world.context_dim, generator=generator) - 1
    exposure = torch.rand(count, sessions.world.num_topics, generator=generator)
    return torch.cat((contexts, exposure), dim=1)


def luck_of(leaving, noise=0.0):
    return Luck(torch.tensor([noise]), torch.tensor([leaving], dtype=torch.float64))


def tiny_sessions(**changes) -> Sessions:
    """Two topics at right angles, an item at each centre and one between, contexts that count 0."""
    unit = np.eye(2, dtype=np.float32)
    between = np.float32([[math.sqrt(0.5), math.sqrt(0.5)]])
    catalogue = SimulatedCatalogue(
        embeddings=np.concatenate([unit, between]),
        item_ids=np.arange(3),
        topics=np.array([0, 1, 1]),
        topic_centres=unit,
        popularity=np.full(3, 1 / 3),
        popularity_exponent=0.0,
    )
    config = WorldConfig(num_topics=2, context_dim=1, interest_sharpness=0.0, delta=0.5)
    values = {
        "exposure_rate": 0.25,
        "exposure_pull": 4.0,
        "satiation": 0.5,
        "leave_base": 0.1,
        "leave_boredom": 0.4,
        "leave_disappointment": 0.2,
        **changes,
    }
    return Sessions(World(config, catalogue=catalogue), SessionConfig(**values))


def test_two_steps_by_hand():
    sessions = tiny_sessions()
    first = torch.tensor([[0.3, 0.0, 0.0]])
    # Nothing shown yet: both topics alike, u* between them; item 0 is at 45°.
    step = sessions.step(first, torch.tensor([0]), luck_of(leaving=0.99, noise=0.5))
    relevance = math.exp(-(1 - math.sqrt(0.5)) / 0.5)
    assert step.latent.item() == pytest.approx(relevance, abs=1e-6)
    assert step.observed.item() == pytest.approx(min(1.0, relevance + 0.2 * 0.5), abs=1e-6)
    assert step.topics.tolist() == [0]
    np.testing.assert_allclose(step.observations, [[0.3, 0.25, 0.0]], atol=1e-7)
    # Exposure 0.25 to topic 0 adds 4 · 0.25 = 1 to its logit, and takes 0.5 · 0.25 of its reward.
    share = math.e / (math.e + 1)
    cosine = share / math.hypot(share, 1 - share)
    reward = math.exp(-(1 - cosine) / 0.5) * (1 - 0.5 * 0.25)
    leaving = 0.1 + 0.4 * 0.25 + 0.2 * (1 - reward)
    for luck, left in ((leaving - 1e-4, True), (leaving + 1e-4, False)):
        again = sessions.step(step.observations, torch.tensor([0]), luck_of(luck))
        assert again.latent.item() == pytest.approx(reward, abs=1e-6)
        assert again.left.tolist() == [left]
        np.testing.assert_allclose(again.observations, [[0.3, 0.4375, 0.0]], atol=1e-7)
    # The other topic is not satiated: its best item now is the one between.
    rewards, items = sessions.best_of_topics(step.observations)
    between = math.exp(
        -(1 - (share + 1 - share) * math.sqrt(0.5) / math.hypot(share, 1 - share)) * 2
    )
    np.testing.assert_allclose(rewards, [[reward, between]], atol=1e-6)
    assert items.tolist() == [[0, 2]]
    assert sessions.best_items(step.observations).tolist() == [0 if reward > between else 2]


def test_nothing_shown_earns_nothing_and_lets_exposure_decay():
    sessions = tiny_sessions()
    state = torch.tensor([[0.3, 0.4, 1.0]])
    step = sessions.step(state, torch.tensor([-1]), luck_of(leaving=0.3 - 1e-4, noise=9.0))
    assert (step.latent.item(), step.observed.item(), step.topics.item()) == (0.0, 0.0, -1)
    assert step.left.item()  # 0.1 + 0.4 · 0 + 0.2 · (1 - 0)
    assert not sessions.step(state, torch.tensor([-1]), luck_of(0.3 + 1e-4)).left.item()
    np.testing.assert_allclose(step.observations, [[0.3, 0.3, 0.75]], atol=1e-7)


def test_probabilities_of_leaving_are_clipped():
    certain = tiny_sessions(leave_base=1.0, leave_boredom=1.0)
    state = torch.tensor([[0.0, 1.0, 1.0]])
    assert certain.leaving(torch.tensor([0.0]), torch.tensor([1.0])).item() == 1.0
    assert certain.step(state, torch.tensor([0]), luck_of(1 - 2**-33)).left.item()
    never = tiny_sessions(leave_base=0.0, leave_boredom=0.0, leave_disappointment=0.0)
    assert not never.step(state, torch.tensor([0]), luck_of(2**-33)).left.item()


def test_without_exposure_pull_and_satiation_rewards_are_the_bandits(sessions):
    plain = Sessions(sessions.world, SessionConfig(exposure_pull=0.0, satiation=0.0))
    states = some_states(plain, 50)
    items = torch.arange(50)
    interests = plain.world.interests(plain.world.tastes(states[:, :10]))
    expected = plain.world.reward_of_items(items, interests)
    torch.testing.assert_close(plain.latent_reward(items, states), expected, atol=0, rtol=0)


@settings(max_examples=30, deadline=None)
@given(
    rate=st.floats(0, 1, width=32),
    pull=st.floats(0, 100),
    satiation=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_everything_stays_in_its_range(sessions, rate, pull, satiation, seed):
    config = SessionConfig(exposure_rate=rate, exposure_pull=pull, satiation=satiation)
    mine = Sessions(sessions.world, config)
    states = some_states(mine, 16, seed)
    states[:4, 10:] = 1.0
    states[4:8, 10:] = 0.0
    numbers = torch.arange(16)
    for step in range(6):
        items = torch.randint(-1, 300, (16,), generator=torch.Generator().manual_seed(seed + step))
        found = mine.step(states, items, mine.luck("train", seed, numbers, step))
        states = found.observations
        for values in (found.latent, found.observed, states[:, 10:]):
            assert bool(((values >= 0) & (values <= 1)).all())


def test_sessions_do_not_depend_on_the_batch(sessions):
    numbers = torch.arange(40)
    states = some_states(sessions, 40)
    items = torch.randint(-1, 300, (40,), generator=torch.Generator().manual_seed(0))
    steps = torch.arange(40) % 7
    luck = sessions.luck("test", 9, numbers, steps)
    together = sessions.step(states, items, luck)
    for i in range(40):
        one = slice(i, i + 1)
        alone_luck = sessions.luck("test", 9, numbers[one], int(steps[i]))
        assert torch.equal(alone_luck.noise, luck.noise[one])
        assert torch.equal(alone_luck.leaving, luck.leaving[one])
        alone = sessions.step(states[one], items[one], alone_luck)
        for mine, theirs in zip(alone, together, strict=True):
            torch.testing.assert_close(mine, theirs[one], atol=1e-6, rtol=0)


def test_splits_seeds_sessions_and_steps_have_luck_of_their_own(sessions):
    numbers = torch.arange(50)
    seen = [
        sessions.luck(split, seed, numbers, step).leaving
        for split in ("train", "validation", "test")
        for seed in (0, 1)
        for step in (0, 1, 49)
    ]
    assert len(torch.cat(seen).unique()) == 50 * len(seen)
    assert round_numbers(torch.tensor([3]), 2).item() == 3 * 65_536 + 2
    leaving = sessions.luck("train", 0, torch.arange(20_000), 0).leaving
    assert leaving.mean().item() == pytest.approx(0.5, abs=0.01)
    firsts = [sessions.begin(split, 0, numbers) for split in ("train", "validation", "test")]
    assert len(torch.cat(firsts).unique(dim=0)) == 150


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"exposure_rate": 1.5}, "exposure_rate=1.5 is not a number in"),
        ({"satiation": -0.1}, "satiation"),
        ({"leave_base": math.nan}, "leave_base"),
        ({"leave_boredom": 2}, "leave_boredom"),
        ({"leave_disappointment": "x"}, "leave_disappointment"),
        ({"exposure_pull": -1}, "exposure_pull"),
        ({"max_steps": 0}, "max_steps"),
        ({"max_steps": 65_537}, "max_steps"),
        ({"saciation": 0.5}, "Did you mean 'satiation'"),
        ({"num_item": 5}, "Did you mean 'num_items'"),
    ],
)
def test_bad_parameters_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        gym.make(ENV, **kwargs)


def test_gymnasium_checker_passes_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(ENV, render_mode="rgb_array", **SMALL).unwrapped)


def test_default_spaces_and_spec():
    env = gym.make(ENV)
    low = np.concatenate([np.full(10, -1), np.zeros(20)]).astype(np.float32)
    assert env.observation_space == gym.spaces.Box(low, np.ones(30, np.float32), dtype=np.float32)
    assert env.action_space == gym.spaces.Box(-1, 1, (128,), np.float32)
    assert env.spec.entry_point == "recsim_drpo.session_envs:RecSimZipfSessionEnv"
    assert env.spec.vector_entry_point == "recsim_drpo.session_envs:RecSimZipfSessionVectorEnv"


def test_a_session_ends_by_leaving_or_is_cut_off():
    env = gym.make(ENV, max_steps=4, **SMALL).unwrapped
    action = np.ones(16, np.float32)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(action)
    endings = set()
    for seed in range(60):
        first, info = env.reset(seed=seed)
        assert info == {}
        assert not first[10:].any()
        rewards = []
        for _ in range(4):
            observation, reward, terminated, truncated, info = env.step(action)
            assert isinstance(reward, float)
            rewards.append(reward)
            assert 0.0 <= info["latent_reward"] <= info["oracle_reward"] + 1e-6
            assert info["topic"] == env.world.catalogue.topics[info["item_id"]]
            assert observation[10:].argmax() == info["topic"]
            if terminated or truncated:
                break
        endings.add((len(rewards), terminated, truncated))
        assert terminated != truncated
        with pytest.raises(gym.error.ResetNeeded):
            env.step(action)
    # Some leave in each step, also in the last that they may have; the others are cut off there.
    assert endings == {(1, True, False), (2, True, False), (3, True, False), (4, True, False)} | {
        (4, False, True)
    }


def test_actions_that_are_not_finite_show_nothing():
    env = gym.make(ENV, **SMALL).unwrapped
    env.reset(seed=0)
    bad = np.full(16, np.nan, np.float32)
    _, reward, _, _, info = env.step(bad)
    assert (reward, info["item_id"], info["topic"], info["latent_reward"]) == (0.0, -1, -1, 0.0)
    with pytest.raises(ValueError, match="expected numbers of shape"):
        env.step(np.ones(15, np.float32))


def test_rendering_follows_the_session():
    env = gym.make(ENV, render_mode="rgb_array", leave_boredom=0.0, leave_base=0.0, **SMALL)
    env = env.unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        env.render()
    env.reset(seed=0)
    waiting = env.render()
    env.step(np.ones(16, np.float32))
    shown = env.render()
    assert waiting.shape == shown.shape == (512, 512, 3)
    assert not np.array_equal(waiting, shown)
    envs = make_vec(2, "vector_entry_point", render_mode="rgb_array")
    envs.reset(seed=0)
    envs.step(np.ones((2, 16), np.float32))
    np.testing.assert_array_equal(envs.render()[0], shown)


@pytest.mark.parametrize("seed", [0, 2**40])
def test_scalar_and_vector_agree(seed):
    num_envs = 5
    sync, native = make_vec(num_envs, "sync"), make_vec(num_envs, "vector_entry_point")
    assert native.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert native.observation_space == sync.observation_space
    np.testing.assert_array_equal(native.reset(seed=seed)[0], sync.reset(seed=seed)[0])
    generator = np.random.default_rng(0)
    ends = 0
    for _ in range(60):
        actions = generator.normal(size=(num_envs, 16)).astype(np.float32)
        actions[:, 0] += 2.0  # else few sessions meet satiation
        expected, found = sync.step(actions), native.step(actions)
        np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-5)
        np.testing.assert_array_equal(found[2], expected[2])
        np.testing.assert_array_equal(found[3], expected[3])
        ended = found[2] | found[3]
        ends += int(ended.sum())
        assert ("final_obs" in found[4]) == ("final_obs" in expected[4]) == bool(ended.any())
        for i in range(num_envs):
            theirs = expected[4]["final_info"] if ended[i] else expected[4]
            for key in ("item_id", "topic", "latent_reward", "oracle_reward"):
                assert found[4][key][i] == pytest.approx(theirs[key][i], abs=1e-5)
                if ended[i]:
                    assert found[4]["final_info"][key][i] == found[4][key][i]
            if ended.any():
                assert found[4]["_final_obs"][i] == expected[4]["_final_obs"][i] == ended[i]
                if ended[i]:
                    last = expected[4]["final_obs"][i]
                    np.testing.assert_allclose(found[4]["final_obs"][i], last, atol=1e-6)
                else:
                    assert found[4]["final_obs"][i] is None
    assert ends > 20


def generate(dataset_id, **options):
    defaults = {"card": False, "progress": False, "num_rounds": 600, "env_kwargs": SMALL}
    return generate_dataset(dataset_id, env=ENV, **{**defaults, **options})


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(session_log, "SESSIONS_PER_BLOCK", 60)
    monkeypatch.setattr(session_log, "_REFERENCE_USERS", 20)


def test_a_dataset_holds_whole_sessions_as_the_world_says(minari_root, small_blocks):
    kwargs = {**SMALL, "max_steps": 5}
    generate("sessions/check-v0", env_kwargs=kwargs, seed=3, scenario="medium")
    dataset = minari.load_dataset("sessions/check-v0")
    env = gym.make(ENV, **kwargs).unwrapped
    sessions = env.sessions
    total = 0
    endings = set()
    for number, episode in enumerate(dataset.iterate_episodes()):
        size = len(episode.rewards)
        assert total < 600, "a session more than was needed"
        total += size
        first = sessions.begin("train", 3, torch.tensor([number]))
        np.testing.assert_array_equal(episode.observations[:1], first)
        assert episode.observations.shape == (size + 1, 15)
        assert not (episode.terminations[:-1] | episode.truncations[:-1]).any()
        assert episode.terminations[-1] != episode.truncations[-1]
        assert not episode.truncations[-1] or size == 5
        endings.add((size, bool(episode.terminations[-1])))
        assert sorted(episode.infos) == sorted(INFOS)
        for name in INFOS:
            column = episode.infos[name]
            assert column.shape == (size + 1,)
            assert column[0] == -1 if column.dtype.kind == "i" else np.isnan(column[0])
        # The environment, given the logged actions in the same session, tells the same story.
        env._running.begin(torch.tensor([3]), torch.tensor([number]))
        env._over = False
        for t in range(size):
            found = env.step(episode.actions[t])
            np.testing.assert_allclose(found[0], episode.observations[t + 1], atol=1e-6)
            assert found[1] == pytest.approx(episode.rewards[t], abs=1e-5)
            assert found[2:4] == (episode.terminations[t], episode.truncations[t])
            for name, value in found[4].items():
                assert episode.infos[name][t + 1] == pytest.approx(value, abs=1e-5), name
    assert total == dataset.total_steps >= 600
    assert {(5, False), (5, True), (1, True)} <= endings


def test_transitions_bootstrap_from_truncated_sessions(minari_root, small_blocks):
    dataset = generate("bootstrap-v0", env_kwargs={**SMALL, "max_steps": 3})
    batch = load_transitions(dataset, infos=INFOS).as_batch()
    done = 0
    truncated = 0
    for episode in dataset.iterate_episodes():
        rows = slice(done, done + len(episode.rewards))
        np.testing.assert_array_equal(batch.observations[rows], episode.observations[:-1])
        np.testing.assert_array_equal(batch.next_observations[rows], episode.observations[1:])
        np.testing.assert_array_equal(batch.terminations[rows], episode.terminations)
        truncated += bool(episode.truncations[-1])
        done = rows.stop
    assert truncated > 20
    last = batch.observations[:, 10:].sum(1) > 0.25 + 1e-6  # third steps: two were before
    assert 0 < int(batch.terminations[last].sum()) < int(last.sum())


def test_propensities_are_the_mixtures_at_the_interest_of_the_moment(minari_root, small_blocks):
    weights = {"expert": 0.2, "popularity": 0.5, "random": 0.3}
    dataset = generate("propensity-v0", scenario=weights, num_rounds=900)
    batch = load_transitions(dataset, infos=INFOS).as_batch()
    sessions = make_sessions(**SMALL)
    agent = session_logging_agent(sessions, weights)
    probabilities = agent.probabilities(sessions.tastes(batch.observations))
    np.testing.assert_allclose(probabilities.sum(1), 1.0, atol=1e-9)
    items = batch.infos["item_id"]
    expected = probabilities.gather(1, items[:, None])[:, 0]
    np.testing.assert_allclose(batch.infos["propensity"], expected, rtol=5e-5)
    # Not those of the interest that the session began with.
    frozen = agent.probabilities(sessions.world.tastes(batch.observations[:, :10]))
    assert (frozen.gather(1, items[:, None])[:, 0] / expected - 1).abs().max() > 0.1
    # E[1 / propensity] = N under the log, for items that are drawn from it.
    inverse = 1.0 / batch.infos["propensity"]
    error = float(inverse.std()) / math.sqrt(len(inverse))
    assert float(inverse.mean()) == pytest.approx(300, abs=4 * error)
    shares = np.bincount(batch.infos["policy"], minlength=3) / len(items)
    np.testing.assert_allclose(shares, [0.3, 0.5, 0.2], atol=0.06)


def test_a_longer_log_begins_with_the_shorter_one_whatever_the_threads(
    minari_root, small_blocks, monkeypatch
):
    kwargs = {**SMALL, "max_steps": 10}
    short = load_transitions(generate("short-v0", num_rounds=700, env_kwargs=kwargs)).as_batch()
    with monkeypatch.context() as patched:
        patched.setattr(torch, "get_num_threads", lambda: 2)  # workers; a block has one thread
        long = load_transitions(generate("long-v0", num_rounds=1500, env_kwargs=kwargs)).as_batch()
    torch.set_num_threads(1)
    size = len(short.rewards)
    assert 700 <= size < 760
    for name in ("observations", "actions", "rewards", "next_observations", "terminations"):
        assert torch.equal(getattr(long, name)[:size], getattr(short, name)), name


def test_environment_card_and_metadata(minari_root, small_blocks):
    kwargs = {**SMALL, "max_steps": 7, "satiation": 0.9}
    dataset = generate("card-v0", env_kwargs=kwargs, card=True)
    env, evaluation_env = (dataset.recover_environment(eval_env=e) for e in (False, True))
    assert env.unwrapped.sessions.config == SessionConfig(max_steps=7, satiation=0.9)
    assert (env.unwrapped.split, evaluation_env.unwrapped.split) == ("train", "test")
    first = dataset[0].observations[0]
    np.testing.assert_array_equal(env.reset(seed=0)[0], first)
    metadata = dataset.storage.metadata
    assert metadata["ref_min_score"] < metadata["ref_max_score"]
    assert "Bootstrap from the next" in metadata["packing"]["rule"]
    card = (minari_root / "card-v0" / "README.md").read_text()
    lengths = np.array([len(episode.rewards) for episode in dataset.iterate_episodes()])
    assert f"{len(lengths):,} sessions of {lengths.mean():.2f} rounds on average" in card
    for share in (0.1, 0.5, 0.9, 1.0):
        length = np.quantile(lengths, share, method="inverted_cdf")
        assert re.search(rf"\| {share:.0%} +\| +{length} \|", card), share
    assert "mean observed return of a session" in card
    with pytest.raises(ValueError, match="Unknown environment 'RecSimZip-v0'"):
        generate_dataset("no-v0", env="RecSimZip-v0")


class Fixed:
    """Shows everyone the item of the topic that they saw least of, by a rule of its own."""

    def __init__(self, sessions):
        self.sessions = sessions
        self.items = torch.stack([members[0] for members in sessions._members])

    def act(self, observations):
        topics = observations[:, 10:].argmin(dim=1)
        return 2.5 * self.sessions.world.embeddings[self.items[topics]]


def test_evaluation_equals_the_environment_without_noise(sessions):
    policy, num_users = Fixed(sessions), 60
    found = SessionEvaluator(sessions, num_users, seed=4)(policy)
    env = gym.make(ENV, split="test", reward_noise=0.0, **SMALL).unwrapped
    env.reset(seed=4)
    returns, lengths, cut, items = [], [], [], []
    for _ in range(num_users):
        observation = env._observation()
        returns.append(0.0)
        lengths.append(0)
        while True:
            action = policy.act(torch.from_numpy(observation)[None])[0].numpy()
            observation, reward, terminated, truncated, info = env.step(action)
            returns[-1] += reward
            lengths[-1] += 1
            items.append(info["item_id"])
            if terminated or truncated:
                break
        cut.append(truncated)
        env.reset()
    assert found.session_return.value == pytest.approx(np.mean(returns), abs=1e-5)
    half = 1.959964 * np.std(returns, ddof=1) / math.sqrt(num_users)
    width = found.session_return.high - found.session_return.low
    assert width == pytest.approx(2 * half, rel=1e-4)
    assert found.session_length.value == pytest.approx(np.mean(lengths))
    assert found.reward.value == pytest.approx(sum(returns) / sum(lengths), abs=1e-6)
    assert found.truncated.value == pytest.approx(np.mean(cut))
    assert found.coverage == pytest.approx(len(set(items)) / 300)
    assert found.nonfinite_share == 0.0
    assert found.headline() == {
        "return": found.session_return.value,
        "session_length": found.session_length.value,
        "nonfinite_share": 0.0,
    }
    assert json.loads(json.dumps(found.as_dict()))["num_users"] == num_users
    paid = SessionEvaluator(sessions, num_users, seed=4).play(policy).paid.mean()
    assert paid > found.session_return.value  # noise is clipped at 0 more than at 1


def test_evaluate_takes_the_environment_however_it_is_given(sessions):
    agent = make_agent("bc", observation_dim=15, action_dim=16)
    by_id = evaluate(agent, ENV, num_users=40, env_kwargs=SMALL)
    env = gym.make(ENV, **SMALL)
    for given_env in (env, env.unwrapped.sessions, sessions):
        assert evaluate(agent, given_env, num_users=40) == by_id
    found = evaluator_for(env.spec, 40)
    assert isinstance(found, SessionEvaluator)
    assert found(agent) == by_id
    assert isinstance(evaluator_for(gym.spec("RecSimZipf-v0"), 5), Evaluator)
    assert evaluator_for(None) is evaluator_for(gym.spec("CartPole-v1")) is None
    with pytest.raises(ValueError, match="actions of shape"):
        evaluate(make_agent("bc", observation_dim=15, action_dim=8), sessions, num_users=4)
    with pytest.raises(TypeError, match="no method 'act'"):
        evaluate(object(), sessions, num_users=4)


def test_many_policies_are_evaluated_as_each_alone(sessions):
    class Two:
        policies = (Fixed(sessions), make_agent("bc", observation_dim=15, action_dim=16))

        def __len__(self):
            return 2

        def act(self, observations):
            pairs = zip(self.policies, observations, strict=True)
            return torch.stack([policy.act(given) for policy, given in pairs])

    evaluator = SessionEvaluator(sessions, 200)
    for many, policy in zip(evaluator.many(Two()), Two.policies, strict=True):
        alone = evaluator(policy)
        for name in ("session_return", "session_length", "reward", "truncated"):
            assert tuple(getattr(many, name)) == pytest.approx(
                tuple(getattr(alone, name)), abs=1e-5
            )
        assert (many.coverage, many.nonfinite_share) == (alone.coverage, alone.nonfinite_share)


def test_policies_that_show_nothing_are_counted(sessions):
    class Nothing:
        def act(self, observations):
            return torch.full((len(observations), 16), torch.nan)

    found = SessionEvaluator(sessions, 50)(Nothing())
    assert found.nonfinite_share == 1.0
    assert found.session_return.value == 0.0
    assert found.coverage == 0.0


def test_myopic_is_the_argmax_over_all_items(sessions):
    states = some_states(sessions, 30)
    every = torch.arange(300)
    rewards = torch.stack(
        [sessions.latent_reward(every, state.expand(300, -1)) for state in states]
    )
    best = rewards.max(dim=1)
    torch.testing.assert_close(
        sessions.latent_reward(sessions.best_items(states), states), best.values, atol=1e-6, rtol=0
    )
    topical, items = sessions.best_of_topics(states)
    for column, topic in enumerate(sessions.topics):
        mine = rewards[:, sessions.world.topics == topic].amax(dim=1)
        torch.testing.assert_close(topical[:, column], mine, atol=1e-6, rtol=0)
        assert bool((sessions.world.topics[items[:, column]] == topic).all())


def test_far_sighted_finds_the_optimum_of_a_small_problem():
    """Two steps and no more worth having: brute force over all sequences of topics."""
    sessions = tiny_sessions(exposure_rate=0.8, leave_base=0.0, leave_boredom=1.0, satiation=0.9)
    policy = session_reference_policy("far-sighted", sessions)

    def best_return(state, depth):
        if depth == 0:
            return 0.0
        rewards, items = sessions.best_of_topics(state)
        values = []
        for column in range(2):
            step = sessions.step(state, items[:, column], luck_of(0.5))
            felt = state[0, 1 + int(sessions.topics[column])]
            stay = 1.0 - sessions.leaving(rewards[0, column], felt).item()
            rest = best_return(step.observations, depth - 1) if stay else 0.0
            values.append(rewards[0, column].item() + stay * rest)
        return max(values)

    def return_of(state, depth):
        if depth == 0:
            return 0.0
        item = sessions.world.decode(policy.act(state))
        step = sessions.step(state, item, luck_of(0.5))
        felt = state[0, 1 + int(step.topics[0])]
        stay = 1.0 - sessions.leaving(step.latent[0], felt).item()
        return step.latent.item() + stay * return_of(step.observations, depth - 1)

    start = torch.tensor([[0.3, 0.0, 0.0]])
    assert return_of(start, 9) == pytest.approx(best_return(start, 9), rel=0.02)


def test_foresight_pays_and_the_references_are_ordered(sessions):
    evaluator = SessionEvaluator(sessions, 1_500)
    played = {
        name: evaluator.play(session_reference_policy(name, sessions, "medium")).returns
        for name in SESSION_REFERENCES
    }
    mean = {name: returns.mean() for name, returns in played.items()}
    assert mean["random"] < mean["logger"] < mean["expert"] < mean["myopic"] < mean["far-sighted"]
    gain = played["far-sighted"] - 1.1 * played["myopic"]
    assert gain.mean() > 1.96 * gain.std() / math.sqrt(len(gain))
    with pytest.raises(ValueError, match="Did you mean 'far-sighted'"):
        session_reference_policy("farsighted", sessions)


def test_the_logging_agent_ignores_satiation(sessions):
    agent = session_logging_agent(sessions, {"expert": 1.0})
    assert isinstance(agent, LoggingAgent)
    sated = Sessions(sessions.world, SessionConfig(satiation=1.0))
    states = some_states(sessions, 20)
    other = session_logging_agent(sated, {"expert": 1.0})
    assert torch.equal(agent.act(states), other.act(states))


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_generate_train_evaluate_by_command(minari_root, small_blocks, tmp_path, capsys):
    world = [f"{name}={value}" for name, value in SMALL.items()]
    common = ["--rounds", 400, "--no-card", "--world", *world, "max_steps=8"]
    assert run("generate", "cli/sessions-v0", "--env", ENV, *common) == 0
    runs = tmp_path / "runs"
    training = ["--steps", 20, "--log-every", 10, "--evaluate-every", 10]
    assert (
        run("train", "--dataset", "cli/sessions-v0", "--agent", "iql", "--out", runs, *training)
        == 0
    )
    assert "return" in (runs / "seed-0" / "history.csv").read_text().splitlines()[0].split(",")
    capsys.readouterr()
    out = tmp_path / "evaluation"
    assert run("evaluate", runs, "--num-users", 100, "--out", out) == 0
    printed = capsys.readouterr().out
    results = json.loads((out / "evaluation.json").read_text())
    mine = (runs / "seed-0").as_posix()
    assert list(results) == ["random", "popularity", "logger", mine, "myopic", "far-sighted"]
    for one in results.values():
        assert f"{one['session_return']['value']:.3f}" in printed
        assert one["session_length"]["value"] <= 8
    assert (out / "evaluation.png").stat().st_size > 1000
