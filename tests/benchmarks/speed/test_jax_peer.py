from __future__ import annotations

import pytest
import torch

from recsim_drpo.agents import make_agent
from recsim_drpo.benchmarks.speed import jax_peer
from recsim_drpo.benchmarks.speed.measuring import random_transitions

CPU = torch.device("cpu")
pytestmark = [pytest.mark.peer, pytest.mark.usefixtures("jax")]


@pytest.fixture
def jax(import_peer):
    return import_peer("jax")


@pytest.mark.parametrize("agent", jax_peer.AGENTS)
def test_jax_has_the_same_loss_and_gradients(agent):
    assert jax_peer.disagreement(agent) < 1e-5


@pytest.mark.parametrize("agent", jax_peer.AGENTS)
def test_jax_makes_the_same_updates(agent):
    batch = random_transitions(64, CPU).as_batch()
    ours = make_agent(agent, observation_dim=10, action_dim=128, seed=3)
    theirs = jax_peer.make_learner(agent, 3, 10, 128)
    before = ours.state_dict()
    for _ in range(10):
        ours.update(batch)
        theirs = jax_peer.update(agent, theirs, jax_peer.to_jax_batch(batch))
    state = ours.state_dict()
    moved = [(f"parameters.{name}", array) for name, array in theirs.parameters.items()]
    own = "state." if agent == "drpo" else "state.target."
    moved += [(f"{own}{name}", array) for name, array in theirs.targets.items()]
    assert len(moved) == sum(name.startswith(("parameters", "state")) for name in state)
    for name, array in moved:
        found = torch.tensor(array.tolist(), dtype=state[name].dtype)
        expected = state[name].T if state[name].ndim == 2 else state[name]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert not torch.equal(state[name], before[name])


def test_a_fleet_of_jax_moves_every_learner_by_its_own_batches():
    fleet = jax_peer.JaxFleet("iql", 2, random_transitions(100, CPU).as_batch(), 16, steps=3)
    fleet.run()
    fleet.run()
    assert fleet.learner.step.tolist() == [6.0, 6.0]
    weights = fleet.learner.parameters["policy.weight_0"]
    assert abs(weights[0] - weights[1]).max() > 1e-3
