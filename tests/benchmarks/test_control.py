"""Continuous control at a tiny size: scores by hand, logs as described, and the command."""

import json
import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from recsim_drpo.benchmarks.control import QUICK, Sizes, Study, main, task_of
from recsim_drpo.benchmarks.control_agents import CONTENDERS, PAIRS, Scaling, episode_returns
from recsim_drpo.benchmarks.control_logs import (
    TASKS,
    Episode,
    episodes_of_steps,
    middle_act,
    mixed,
    play,
    random_act,
    steps_of,
    write_log,
)
from recsim_drpo.benchmarks.control_tables import differences, normalised, scores, tables
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.datasets.load import load_transitions

ROOT = Path(__file__).resolve().parents[2]
PENDULUM = "Pendulum-v1"


def episode(length, reward=1.0, terminated=False):
    observations = np.arange(length + 1, dtype=np.float32)[:, None]
    return Episode(
        observations, observations[:-1], np.full(length, reward, dtype=np.float64), terminated
    )


def log_of(rewards, terminations, rows, observations, actions):
    return Transitions(
        torch.tensor(observations),
        torch.tensor(rows),
        torch.tensor(actions),
        torch.tensor(rewards),
        torch.tensor(terminations),
        {},
    )


@pytest.fixture
def log():
    """Two episodes, of two steps (cut off) and of one (terminated)."""
    return log_of(
        [1.0, 3.0, -4.0],
        [False, False, True],
        [0, 1, 3],
        [[0.0, 7.0], [2.0, 7.0], [9.0, 7.0], [4.0, 7.0], [5.0, 7.0]],
        [[-2.0], [0.0], [2.0]],
    )


def test_scores_are_d4rls():
    assert normalised(-1200.0, -1200.0, -200.0) == 0.0
    assert normalised(-200.0, -1200.0, -200.0) == 100.0
    assert normalised(-600.0, -1200.0, -200.0) == pytest.approx(60.0)
    assert normalised(-1700.0, -1200.0, -200.0) == pytest.approx(-50.0)


def test_a_step_can_have_its_episodes_return(log):
    assert episode_returns(log).tolist() == [4.0, 4.0, -4.0]


def test_agents_see_a_log_in_units_of_its_own(log):
    scaling = Scaling(log, torch.tensor([-2.0]), torch.tensor([2.0]))
    shown = scaling.shown(log, of_episode=False).as_batch()
    # Observations 0, 2, 4: mean 2, deviation √(8/3); the constant column is only centred.
    assert torch.allclose(shown.observations[:, 0], torch.tensor([-2.0, 0.0, 2.0]) / (8 / 3) ** 0.5)
    assert shown.observations[:, 1].tolist() == [0.0, 0.0, 0.0]
    # What follows a step is its own next observation, across ends of episodes too.
    assert torch.allclose(
        shown.next_observations[:, 0], torch.tensor([0.0, 7.0, 3.0]) / (8 / 3) ** 0.5
    )
    assert shown.actions.tolist() == [[-1.0], [0.0], [1.0]]
    # Rewards 1, 3, −4: their sign stays, since they are not shifted.
    assert torch.allclose(shown.rewards, torch.tensor([1.0, 3.0, -4.0]) / (26 / 3) ** 0.5)
    assert shown.terminations.tolist() == [False, False, True]
    of_episode = scaling.shown(log, of_episode=True).as_batch().rewards
    assert torch.allclose(of_episode, torch.tensor([4.0, 4.0, -4.0]) / (128 / 9) ** 0.5)


class Doubling:
    """A policy that answers with twice the first number that it sees."""

    def act(self, observations):
        return 2.0 * observations[:, :1]


def test_a_policy_acts_in_the_units_of_the_environment(log):
    scaling = Scaling(log, torch.tensor([0.0]), torch.tensor([4.0]))
    seen = np.asarray([[2.0 + 0.25 * (8 / 3) ** 0.5, 7.0], [2.0 - 9.0, 7.0]], dtype=np.float32)
    assert scaling.act(Doubling(), corner=False)(seen)[:, 0].tolist() == pytest.approx([3.0, 0.0])
    assert scaling.act(Doubling(), corner=True)(seen)[:, 0].tolist() == [4.0, 0.0]


def test_logs_have_the_shares_that_they_are_said_to_have():
    assert steps_of(0.95, 20_000) == (1_000, 19_000)
    good, random = [episode(4, 2.0, terminated=True)] * 3, [episode(5, -1.0)] * 3
    episodes = mixed([good, random], 0.5, 12)
    assert [len(one.rewards) for one in episodes] == [4, 2, 5, 1]
    # What is cut off did not end of itself.
    assert [one.terminated for one in episodes] == [True, False, False, False]
    assert [len(one.observations) for one in episodes] == [5, 3, 6, 2]
    with pytest.raises(ValueError, match="has 4 steps too few for share"):
        mixed([good, random], 0.5, 32)


def test_episodes_are_played_the_same_again_and_alone():
    act = random_act(PENDULUM, 3)
    first = list(episodes_of_steps(PENDULUM, act, 450, 50))
    again = list(episodes_of_steps(PENDULUM, random_act(PENDULUM, 3), 450, 50))
    assert [len(one.rewards) for one in first] == [200, 200, 50]
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.observations, other.observations)
        assert np.array_equal(one.rewards, other.rewards)
    assert not np.array_equal(first[0].observations[0], first[1].observations[0])

    def pull(observations):
        return 10.0 * observations[:, :1]  # beyond the box, which ends at 2

    together = play(PENDULUM, pull, [1, 2])
    alone = play(PENDULUM, pull, [2])
    assert np.array_equal(together[1].rewards, alone[0].rewards)
    assert np.abs(alone[0].actions).max() == 2.0
    assert not play(PENDULUM, middle_act(PENDULUM), [1])[0].actions.any()


def test_an_episode_is_what_gymnasium_plays():
    played = play("MountainCarContinuous-v0", lambda seen: np.sign(seen[:, 1:]), [5])[0]
    env = gym.make("MountainCarContinuous-v0")
    observation, _ = env.reset(seed=5)
    rewards, terminated = [], False
    while not terminated:
        observation, reward, terminated, truncated, _ = env.step(np.sign(observation[1:]))
        rewards.append(float(reward))
        assert not truncated
    env.close()
    assert played.terminated
    assert played.rewards.tolist() == rewards
    assert played.rewards.sum() > 85.0  # to push the way it goes reaches the goal


def test_a_written_log_is_read_as_it_was_played(minari_root):
    episodes = play(PENDULUM, random_act(PENDULUM, 0), [0, 1])
    cut = [episodes[0].cut(3), episodes[1]]
    write_log("control/test-v0", PENDULUM, cut)
    batch = load_transitions("control/test-v0").as_batch()
    assert len(batch.rewards) == 203
    assert np.array_equal(batch.observations[3:].numpy(), episodes[1].observations[:-1])
    assert np.array_equal(batch.next_observations[:3].numpy(), episodes[0].observations[1:4])
    assert np.array_equal(batch.actions.numpy(), np.concatenate([one.actions for one in cut]))
    assert np.allclose(batch.rewards, np.concatenate([one.rewards for one in cut]))
    assert not batch.terminations.any()


def test_differences_are_paired_by_seed():
    agents = {
        "drpo-q": {"returns": {"0.5": [3.0, 5.0]}},
        "iql": {"returns": {"0.5": [1.0, 3.0]}},
    }
    section = {"references": {"random": 0.0, "expert": 4.0, "middle": 1.0}, "agents": agents}
    report = {"sizes": {**vars(Sizes()), "shares": [0.5]}, "tasks": {"a": section}}
    assert scores(section, "drpo-q", "0.5") == [75.0, 125.0]
    # Each seed's difference is 50, however far apart the seeds are.
    assert differences(report) == {"a, 50%": {"drpo-q − iql": (50.0, 50.0, 50.0)}}
    assert "**50 [50, 50]**" in tables(report, quick=False)
    assert "| the middle of the box | 25" in re.sub(" +", " ", tables(report, quick=False))
    assert "NO EVIDENCE" in tables(report, quick=True)


def test_what_is_compared_is_there():
    assert {name for pair in PAIRS for name in pair} <= set(CONTENDERS)


@pytest.fixture
def extras():
    for name in ("stable_baselines3", "d3rlpy"):
        pytest.importorskip(name, exc_type=ImportError)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_the_command_measures_what_is_missing_and_gives_the_same_again(extras, tmp_path, capsys):
    def measured(name, *agents):
        out = tmp_path / f"{name}.json"
        options = ["--quick", "--tasks", "pendulum", "--cache", str(tmp_path / name)]
        main([*options, "--out", str(out), "--agents", *agents])
        return json.loads(out.read_text())["tasks"]["pendulum"], out

    section, out = measured("first", "drpo-q", "td3+bc")
    assert section["references"]["random"] < 0.0
    for agent in ("drpo-q", "td3+bc"):
        returns = section["agents"][agent]["returns"]
        assert {share: len(values) for share, values in returns.items()} == {"0.5": 2, "0.95": 2}
        # A return of a pendulum: 200 steps, of at most π² + 0.1 · 8² + 0.001 · 2² each.
        assert all(-3300.0 < value < 0.0 for values in returns.values() for value in values)
    assert "NO EVIDENCE" in capsys.readouterr().out
    assert "NO EVIDENCE" in out.with_suffix(".md").read_text()

    again, _ = measured("again", "drpo-q")
    assert again["references"] == section["references"]
    assert again["agents"]["drpo-q"] == section["agents"]["drpo-q"]

    more, _ = measured("first", "bc")  # goes on with the file and the logs of the first
    assert set(more["agents"]) == {"drpo-q", "td3+bc", "bc"}
    assert more["agents"]["drpo-q"] == section["agents"]["drpo-q"]
    with pytest.raises(ValueError, match="has a study of other sizes"):
        Study(Sizes(), out, tmp_path)


def test_a_quick_task_is_another_task():
    assert task_of("pendulum") == TASKS["pendulum"]
    assert task_of("pendulum", quick=True).steps < TASKS["pendulum"].steps
    assert QUICK.log_steps < Sizes().log_steps


@pytest.mark.parametrize("name", ["control.json", "control-longer.json"])
def test_the_page_says_what_was_measured(name):
    report = json.loads((ROOT / "benchmarks/results" / name).read_text(encoding="utf-8"))
    about, scored, _ = text = tables(report, quick=False).strip().split("\n\n")
    page = (ROOT / "docs/control.md").read_text(encoding="utf-8")
    for block in text if name == "control.json" else (about, scored):
        assert block in page
