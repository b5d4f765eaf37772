from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from recsim_drpo import load_transitions
from recsim_drpo.runs.checkpoints import flatten
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train


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


def test_a_torchrl_policy_learns_by_its_loss(torchrl, make_batch):
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


def test_a_stochastic_torchrl_policy_acts_without_chance(torchrl, make_batch):
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


@pytest.mark.parametrize("env_id", ["RecSimZipf-v0", "RecSimZipfSession-v0"])
def test_torchrl_steps_the_native_environments(torchrl, env_id, small_kwargs):
    from torchrl.envs import GymWrapper

    def make():
        return gym.make_vec(env_id, 4, "vector_entry_point", **small_kwargs)

    played, again = GymWrapper(make()), make()
    played.set_seed(0)
    rows = played.rollout(8, break_when_any_done=False)
    again.reset(seed=0)
    observations, _ = again.reset()  # the rollout begins with a reset too
    for step in range(8):
        row = rows[:, step]
        if env_id == "RecSimZipf-v0" and step:  # all ended: it resets all of them once more
            observations, _ = again.reset()
        np.testing.assert_array_equal(row["observation"], observations)
        observations, rewards, terminated, truncated, infos = again.step(row["action"].numpy())
        np.testing.assert_allclose(row["next", "reward"].squeeze(1), rewards, rtol=1e-6)
        np.testing.assert_array_equal(row["next", "done"].squeeze(1), terminated | truncated)
        for i in np.flatnonzero(terminated | truncated):
            last = row["next", "observation"][i]
            np.testing.assert_array_equal(last, infos["final_obs"][i])


# It says this of storages that were made whole; all of the rows come back.
@pytest.mark.filterwarnings("ignore:last_cursor is None:UserWarning")
def test_torchrl_keeps_a_replay_buffer_on_the_disk(torchrl, datasets, tmp_path):
    from recsim_drpo.adapters.torchrl import to_torchrl

    log = load_transitions(datasets["sessions"], infos=["propensity"])
    buffer, other = to_torchrl(log), to_torchrl(log)
    expected = buffer[:].clone()
    buffer.dumps(tmp_path / "buffer")
    other[:]["observation"].zero_()
    other.loads(tmp_path / "buffer")
    assert len(other) == len(log)
    assert bool((other[:] == expected).all())
    assert torch.equal(expected["propensity"], log.as_batch().infos["propensity"])
