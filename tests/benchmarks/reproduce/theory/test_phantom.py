from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo.agents.engine.networks import policy_log_prob
from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.benchmarks.reproduce.theory import phantom
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.datasets.generate import generate_dataset
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train_fleet


def test_the_monitors_log_is_a_datasets(minari_root, small_world, small_kwargs):
    dataset = generate_dataset(
        "tests/phantom-v0", scenario="extreme", num_rounds=50, seed=3, env_kwargs=small_kwargs,
        card=False,
    )  # fmt: skip
    expected = load_transitions(dataset).as_batch()
    batch = phantom.logged_rounds(small_world, "extreme", 3, 50).as_batch()
    for name in ("observations", "actions", "rewards", "terminations"):
        torch.testing.assert_close(getattr(batch, name), getattr(expected, name))


def test_split_is_a_partition_at_the_threshold():
    rewards = torch.tensor([0.1, 0.9, 0.4, 0.4, 0.0, 0.7])
    positive, negative = phantom.split(rewards, 0.5)  # K = 3, ν = 0.4, with its ties
    assert positive.tolist() == [1, 2, 3, 5]
    assert negative.tolist() == [0, 4]


def test_batches_come_from_their_own_side():
    side = phantom.Side([torch.tensor([3, 5]), torch.tensor([10, 11, 12])])
    drawn = side.draw(50, torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 50)
    assert set(drawn[0].tolist()) == {3, 5}
    assert set(drawn[1].tolist()) == {10, 11, 12}


def transitions(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Transitions(
        torch.randn(size + 1, 3, generator=generator),
        torch.arange(size),
        torch.nn.functional.normalize(torch.randn(size, 4, generator=generator), dim=-1),
        torch.rand(size, generator=generator),
        torch.ones(size, dtype=torch.bool),
        {},
    )


@pytest.mark.parametrize("sigma", ["learned", "fixed", "state"])
def test_forces_against_autograd_and_the_formulas(sigma):
    fleet = Fleet("bc", observation_dim=3, action_dim=4, seeds=[0, 1],
                  overrides=[{"sigma": sigma}], dtype=torch.float64)  # fmt: skip
    batches = [transitions(20, seed).as_batch() for seed in (1, 2)]
    samples = [
        (b.observations.double().expand(2, -1, -1), b.actions.double().expand(2, -1, -1))
        for b in batches
    ]
    found = phantom.measure(fleet, sigma, samples)
    state = fleet.state_dict()
    for row in range(2):
        own = {
            k.removeprefix("parameters."): v[row].clone().requires_grad_()
            for k, v in state.items()
            if k.startswith("parameters.")
        }
        for side, (observations, actions) in zip(phantom.SIDES, samples, strict=True):
            loss = policy_log_prob(own, observations[row], actions[row], sigma).mean()
            gradients = torch.autograd.grad(loss, list(own.values()))
            total = torch.cat([g.flatten() for g in gradients]).norm()
            assert float(found[f"{side}_total"][row]) == pytest.approx(float(total))
            if sigma == "learned":
                by_name = dict(zip(own, gradients, strict=True))
                vector = by_name["log_std"]
                assert float(found[f"{side}_log_sigma"][row]) == pytest.approx(float(vector.norm()))
            # Positives pull, negatives push, and z² − 1 is what moves log σ.
            sign = 1.0 if side == "actual" else -1.0
            expected = sign * (found[f"{side}_z_squared"][row] - 1.0)
            assert float(found[f"{side}_expanding"][row]) == pytest.approx(float(expected))
            assert float(found[f"{side}_away"][row]) * sign < 0
            if sigma != "state":  # σ = 1: the force on μ is the distance itself
                distance = float(found[f"{side}_distance"][row])
                assert float(found[f"{side}_away"][row]) == pytest.approx(-sign * distance)


@pytest.mark.parametrize("name", ["learned", "learned, from 1/√128"])
def test_phantom_gradients_are_never_applied(name):
    """The policies are those that see nothing but positives, in the order of their seeds."""
    logs, seeds, variant = [transitions(60, 1), transitions(60, 2)], [4, 7], phantom.VARIANTS[name]
    series = phantom.monitor(logs, seeds, 0.3, variant, 6, 2, progress=False, label="test")
    assert series["sigma"].shape == (2, 4)
    assert series["phantom_log_sigma_of_6400"].shape == (2, 1)
    assert series["sigma"][:, 0] == pytest.approx(np.exp(variant.log_sigma))
    fleet = Fleet("bc", observation_dim=3, action_dim=4, seeds=seeds)
    state = fleet.state_dict()
    state["parameters.log_std"].fill_(variant.log_sigma)
    fleet.load_state_dict(state)
    positives = []
    for log in logs:
        rows, _ = phantom.split(log.rewards, 0.3)
        kept = log.take(rows)
        observations = torch.cat([kept.observations, torch.zeros(1, 3)])
        ends = torch.ones(len(rows), dtype=torch.bool)
        positives.append(
            Transitions(observations, torch.arange(len(rows)), kept.actions, kept.rewards, ends, {})
        )
    config = TrainingConfig(steps=6, batch_size=phantom.BATCH_SIZE)
    train_fleet(fleet, positives, config, progress=False)
    expected = fleet.state_dict()["parameters.log_std"].mean(dim=1).exp()
    np.testing.assert_allclose(series["sigma"][:, -1], expected, rtol=1e-6)
