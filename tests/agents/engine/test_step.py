from __future__ import annotations

import pytest
import torch

from recsim_drpo import make_agent
from recsim_drpo.agents import Batch
from recsim_drpo.agents.engine.step import draw_noise
from recsim_drpo.agents.registry import ALGORITHMS
from tests.agents.conftest import (
    NAMES,
    make_batch,
)


def test_noise_is_a_function_of_seed_and_step():
    shapes = {"a": (3, 5), "b": (7,)}

    def draw(seed, step):
        return draw_noise(shapes, torch.tensor(seed), torch.tensor(step))

    assert draw(1, 2)["a"].shape == (3, 5)
    assert torch.equal(draw(1, 2)["a"], draw(1, 2)["a"])
    values = torch.cat([draw(s, t)[k].flatten() for s in (1, 2) for t in (0, 1) for k in "ab"])
    assert len(values.unique()) == len(values)


@pytest.mark.parametrize("name", NAMES)
def test_first_update_is_adam_on_the_gradient_of_the_loss(name):
    batch = make_batch(10)
    *columns, ends, infos = batch
    batch = Batch(*(column.double() for column in columns), ends, infos)
    how = {"learning_rate": 1e-2, "dtype": torch.float64}  # a gradient near Adam's ε rounds away
    agent = make_agent(name, observation_dim=3, action_dim=2, seed=4, **how)
    before = agent.state_dict()
    agent.update(batch)
    after = agent.state_dict()
    parameters = {
        key.removeprefix("parameters."): value.clone().requires_grad_()
        for key, value in before.items()
        if key.startswith("parameters.")
    }
    algorithm = ALGORITHMS[name]
    state = {k.removeprefix("state."): v for k, v in before.items() if k.startswith("state.")}
    noise = draw_noise(algorithm.noise(10, 2, agent.config), torch.tensor(4), before["step"])
    noise = {key: numbers.double() for key, numbers in noise.items()}
    loss = algorithm.loss(parameters, state, batch, noise, agent.config).loss
    for key, gradient in zip(
        parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True
    ):
        step = -1e-2 * gradient / (gradient.abs() + 1e-8)  # Adam's first step, bias corrected
        torch.testing.assert_close(
            after[f"parameters.{key}"], parameters[key].detach() + step, atol=1e-6, rtol=1e-4
        )


@pytest.mark.parametrize("name", NAMES)
def test_losses_run_under_vmap_unchanged(name):
    """Static shapes and no branch on values: what lets one loss serve a thousand learners."""
    algorithm = ALGORITHMS[name]
    agents = [make_agent(name, observation_dim=3, action_dim=2, seed=seed) for seed in range(3)]
    batches = [make_batch(12, seed=seed) for seed in range(3)]
    states = [agent.state_dict() for agent in agents]

    def part(prefix, state):
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    def stacked(parts):
        return {key: torch.stack([tensors[key] for tensors in parts]) for key in parts[0]}

    config = agents[0].config
    shapes = algorithm.noise(12, 2, config)
    noises = [draw_noise(shapes, torch.tensor(seed), torch.tensor(0)) for seed in range(3)]

    def loss(parameters, state, noise, infos, o, a, r):
        batch = Batch(o, a, r, o, r > 0.5, infos)
        output = algorithm.loss(parameters, state, batch, noise, config)
        return output.loss, algorithm.update_targets(parameters, output.state, config)

    pieces = [
        (
            part("parameters.", states[k]),
            part("state.", states[k]),
            noises[k],
            batches[k].infos,
            *(getattr(batches[k], f) for f in ("observations", "actions", "rewards")),
        )
        for k in range(3)
    ]
    arguments = [
        stacked(column)
        if isinstance(column[0], dict) and column[0]
        else column[0]
        if isinstance(column[0], dict)
        else torch.stack(column)
        for column in map(list, zip(*pieces, strict=True))
    ]
    together, next_states = torch.func.vmap(loss)(*arguments)
    for k in range(3):
        alone, state = loss(*pieces[k])
        torch.testing.assert_close(together[k], alone)
        for key, value in state.items():
            torch.testing.assert_close(next_states[key][k], value)
