from __future__ import annotations

import statistics

import pytest
import torch

from recsim_drpo.agents import make_agent
from recsim_drpo.benchmarks import training_speed
from recsim_drpo.benchmarks.speed import d3rlpy_peer, jax_peer
from recsim_drpo.benchmarks.speed.measuring import Goal, Line, random_transitions
from recsim_drpo.benchmarks.speed.roofline import (
    Roofline,
    counted_flops,
    pass_bytes,
    update_products,
)
from recsim_drpo.benchmarks.training_speed import Contender, search, take_turns

CPU = torch.device("cpu")
needs_jax = pytest.mark.skipif(not jax_peer.available(), reason="jax is not installed")
needs_d3rlpy = pytest.mark.skipif(not d3rlpy_peer.available(), reason="d3rlpy is not installed")


def test_a_line_of_speed_says_how_many_times_as_fast():
    line = Line("ours", "ms", [1.0, 2.0, 4.0], "theirs", (5.0, 12.0, 40.0), Goal(low=5), speed=True)
    assert line.ratios == [5.0, 6.0, 10.0]
    assert line.reached
    assert line.cells()[3:] == ["6 × as fast (5–10)", "≥ 5", "yes"]


def test_a_line_of_times_is_a_multiple_of_its_peer():
    line = Line("ours", "ms", [1.0, 3.0, 4.0], "theirs", (2.0, 2.0, 2.0), Goal(high=1.25))
    assert statistics.median(line.ratios) == 1.5
    assert line.reached is False


def test_a_peer_that_is_absent_decides_nothing():
    line = Line("ours", "ms", [1.0], "d3rlpy: not installed, skipped", (), Goal(low=5), speed=True)
    assert line.reached is None
    assert line.cells()[2:] == ["d3rlpy: not installed, skipped", "–", "≥ 5", "–"]


def test_products_and_passes_of_an_update_by_hand():
    # Layers 2 → 3 → 1 on 4 rows. The first has 2·4·2·3 = 48 flops forward and 48 for its weights'
    # gradient; the second 24 forward, 24 and 24 for its inputs' gradient.
    products = update_products(4, (2, 3, 1))
    assert sorted(product.flops for product in products) == [24, 24, 24, 48, 48]
    assert products[0].num_bytes == 4 * (4 * 2 + 2 * 3 + 4 * 3)
    # Of a row: 2 + 1 + 1 numbers read and written, 5 a hidden unit, 3 an action. Parameters:
    # 2·3 + 3, 3·1 + 1, and one log σ.
    assert pass_bytes(4, (2, 3, 1)) == 4 * (4 * (2 * 4 + 5 * 3 + 3) + 7 * (9 + 4 + 1))


def test_flops_of_bc_are_those_of_its_products():
    by_hand = 2 * 320 * (2 * 10 * 128 + 3 * 128 * 128 + 3 * 128 * 128)
    assert sum(product.flops for product in update_products(320, (10, 128, 128, 128))) == by_hand
    log = random_transitions(400, CPU)
    assert counted_flops("bc", log, 320) == by_hand
    assert counted_flops("drpo", log, 320) == by_hand


def test_flops_of_iql_by_hand():
    # Of a network with layers 128 × 128 and 128 × 1 after the first: once forward, or thrice (the
    # first layer twice) with gradients.
    def forward(inputs):
        return 2 * 320 * (inputs * 128 + 128 * 128 + 128)

    def trained(inputs):
        return 2 * 320 * (2 * inputs * 128 + 3 * 128 * 128 + 3 * 128)

    policy = 2 * 320 * (2 * 10 * 128 + 6 * 128 * 128)
    critics = trained(10) + forward(10) + 2 * trained(138) + 2 * forward(138)
    assert counted_flops("iql", random_transitions(400, CPU), 320) == policy + critics


def test_the_larger_bound_binds():
    assert Roofline(2.0, 1.0).binding == "arithmetic"
    assert Roofline(1.0, 3.0).binding == "memory"
    assert Roofline(1.0, 3.0).seconds == 3.0


def test_search_returns_the_quickest_two_and_all_times(monkeypatch):
    monkeypatch.setattr(Contender, "milliseconds", lambda self: float(self.updates))
    made = {name: Contender(lambda: None, n, CPU) for name, n in {"a": 3, "b": 1, "c": 2}.items()}
    best, times = search({name: lambda one=one: one for name, one in made.items()}, turns=2)
    assert best == ["b", "c"]
    assert times == {"a": [3.0, 3.0], "b": [1.0, 1.0], "c": [2.0, 2.0]}


def test_sides_take_turns():
    order: list[str] = []
    sides = {name: lambda name=name: float(len(order.append(name) or order)) for name in "ab"}
    assert take_turns(sides, 3) == {"a": [1.0, 3.0, 5.0], "b": [2.0, 4.0, 6.0]}
    assert order == list("ababab")


def test_a_call_of_our_contenders_is_as_many_updates_as_it_says():
    setting = training_speed.Setting(training_speed.QUICK, CPU)
    assert training_speed.own_fleet(setting, "bc", 4, "eager", 10).updates == 8
    assert training_speed.own_fleet(setting, "bc", 4, "eager", 2).updates == 4
    contender = training_speed.own_learner(setting, "bc", "eager", 3)
    assert contender.updates == 3
    assert contender.milliseconds() > 0.0


@needs_jax
@pytest.mark.parametrize("agent", jax_peer.AGENTS)
def test_jax_has_the_same_loss_and_gradients(agent):
    assert jax_peer.disagreement(agent) < 1e-5


@needs_jax
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
    moved += [(f"state.target.{name}", array) for name, array in theirs.targets.items()]
    assert len(moved) == sum(name.startswith(("parameters", "state")) for name in state)
    for name, array in moved:
        found = torch.tensor(array.tolist())
        expected = state[name].T if state[name].ndim == 2 else state[name]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert not torch.equal(state[name], before[name])


@needs_jax
def test_a_fleet_of_jax_moves_every_learner_by_its_own_batches():
    fleet = jax_peer.JaxFleet("iql", 2, random_transitions(100, CPU).as_batch(), 16, steps=3)
    fleet.run()
    fleet.run()
    assert fleet.learner.step.tolist() == [6.0, 6.0]
    weights = fleet.learner.parameters["policy.weight_0"]
    assert abs(weights[0] - weights[1]).max() > 1e-3


@needs_d3rlpy
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("agent", jax_peer.AGENTS)
def test_d3rlpy_trains_networks_of_our_size_in_fit(agent):
    peer = d3rlpy_peer.D3rlpyTraining(agent, random_transitions(400, CPU).as_batch(), 320, steps=2)
    peer.run()
    modules = peer._agent.impl.modules
    policy = modules.imitator if agent == "bc" else modules.policy
    before = [parameter.detach().clone() for parameter in policy.parameters()]
    assert [tuple(p.shape) for p in before if p.ndim == 2 and p.shape[0] > 1][:3] in (
        [(128, 10), (128, 128), (128, 128)],
    )
    peer.run()
    peer.run_without_drawing()
    changed = [not torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True)]
    assert any(changed)
    assert peer._batch.observations.shape == (320, 10)
    assert peer._batch.terminals.min() == 1.0
