"""Agents that read info columns and draw items of the log's catalogue, through all of training."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from recsim_drpo.agents import Fleet, make_agent, needs_of, register_agent
from recsim_drpo.agents.engine.algorithm import LossOutput
from recsim_drpo.agents.registry import ALGORITHMS, restored_registry
from recsim_drpo.core.transitions import ItemActions, Transitions
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train, train_fleet
from recsim_drpo.training.streaming import Chunk
from recsim_drpo.training.sweep import train_many

CONFIG = TrainingConfig(steps=6, batch_size=8, log_every=1)


def loss(parameters, state, batch, noise, config):
    """Cloning, with sums of all that was given as metrics, and negatives that matter."""
    output = ALGORITHMS["bc"].loss(parameters, state, batch, noise, config)
    negatives, weights = batch.infos["negatives"], batch.infos["negative_weights"]
    pushed = (weights @ negatives.to(weights.dtype)).mean() * parameters["policy.bias_0"].sum()
    told = {
        "drawn": (negatives * torch.arange(1.0, 1.0 + len(negatives)).unsqueeze(1)).sum(),
        "propensity": batch.infos["propensity"].mean(),
    }
    return LossOutput(output.loss + 0.1 * pushed, state, told)


DRAWING = dataclasses.replace(
    ALGORITHMS["bc"],
    name="drawing",
    loss=loss,
    infos=lambda config: ("propensity",),
    negatives=lambda config: config.hidden_dim,
)


@pytest.fixture(autouse=True)
def drawing():
    with restored_registry():
        register_agent(DRAWING)
        yield


def log_of(seed, num_items=6, size=40, *, compact=True, infos=("propensity",)):
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(num_items, 2, generator=generator)
    ids = torch.randint(num_items, (size,), generator=generator)
    columns = {"propensity": torch.rand(size, generator=generator, dtype=torch.float64)}
    return Transitions(
        torch.randn(2 * size, 3, generator=generator),
        torch.arange(size) * 2,
        ItemActions(table, ids) if compact else table[ids],
        torch.rand(size, generator=generator),
        torch.ones(size, dtype=torch.bool),
        {name: columns[name] for name in infos},
    )


def same(histories, others):
    for one, other in zip(histories, others, strict=True):
        assert [row.keys() for row in one] == [row.keys() for row in other]
        for row, theirs in zip(one, other, strict=True):
            assert list(row.values()) == pytest.approx(list(theirs.values()), rel=1e-5, abs=1e-6)


def alone(log, seed, **hyperparameters):
    agent = make_agent("drawing", observation_dim=3, action_dim=2, seed=seed, **hyperparameters)
    return train(agent, log, CONFIG, seed=seed, progress=False)


def test_needs_are_told_by_name():
    assert needs_of("drawing") == (("propensity",), True)
    assert needs_of("bc") == ((), False)
    with pytest.raises(ValueError, match="Did you mean 'hidden_dim'"):
        needs_of("drawing", hiden_dim=3)
    assert make_agent("drawing", observation_dim=3, action_dim=2).infos == ("propensity",)


@pytest.mark.parametrize("compact", [True, False])
def test_members_with_different_logs_and_structures_learn_as_they_do_alone(compact):
    logs = [log_of(seed, 4 + seed, 30 + seed, compact=compact) for seed in (1, 2)]
    variants = [{"hidden_dim": 4}, {"hidden_dim": 7}]
    fleet = Fleet("drawing", observation_dim=3, action_dim=2, seeds=(5, 6), overrides=variants)
    assert fleet.num_groups == 2
    assert (fleet.infos, fleet.draws_items) == (("propensity",), True)
    together = train_fleet(fleet, [*logs, *logs], CONFIG, progress=False)
    same(together, [alone(logs[k], 5 + k, **values) for values in variants for k in (0, 1)])
    drawn = [[row["drawn"] for row in history] for history in together]
    assert len({value for values in drawn for value in values}) == 4 * CONFIG.steps


@pytest.mark.parametrize("name", ["drawing", "softmax-pg", "drpo-softmax"])
def test_what_is_gone_on_with_draws_on(name):
    def made():
        return make_agent(name, observation_dim=3, action_dim=2, seed=4)

    log, half = log_of(3), dataclasses.replace(CONFIG, steps=3)
    through, stopped, resumed = made(), made(), made()
    whole = train(through, log, CONFIG, seed=4, progress=False)
    train(stopped, log, half, seed=4, progress=False)
    resumed.load_state_dict(stopped.state_dict())
    rest = train(resumed, log, CONFIG, seed=4, first_step=3, progress=False)
    assert rest == whole[3:]
    for key, value in through.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


class TwoChunks:
    """A log of two halves, as one that is streamed gives them."""

    observation_dim, action_dim, device = 3, 2, torch.device("cpu")
    infos = ("propensity",)

    def __init__(self, log):
        halves = torch.arange(20), torch.arange(20, 40)
        self._halves = [log.part(half, self.infos) for half in halves]

    def __len__(self):
        return 40

    def chunks(self, batch_size, first_step):
        step = first_step // 3 * 3
        while True:
            yield Chunk(self._halves[step // 3 % 2], step + 3, 20)
            step += 3

    def parts(self):
        return iter(self._halves)


def test_a_log_in_parts_is_learnt_from_alone_and_together():
    stream = TwoChunks(log_of(1))
    fleet = Fleet(
        "drawing",
        observation_dim=3,
        action_dim=2,
        seeds=(5, 6),
        overrides=[{"hidden_dim": 4}],
    )
    together = train_fleet(fleet, stream, CONFIG, progress=False)
    same(together, [alone(stream, seed, hidden_dim=4) for seed in (5, 6)])
    in_memory = alone(log_of(1), 5, hidden_dim=4)  # draws the same items
    assert [row["drawn"] for row in in_memory] == [row["drawn"] for row in together[0]]
    with pytest.raises(ValueError, match="catalogue of its items is not at hand"):
        alone(TwoChunks(log_of(1, compact=False)), 5)


def test_a_log_without_the_column_is_refused_before_anything_is_trained():
    lacking, done = log_of(1, infos=()), []
    agents = {"bc": [{}], "drawing": [{}]}
    with pytest.raises(
        ValueError, match=r"'drawing' reads .* 'propensity', which the log of seed 1"
    ):
        train_many(
            agents,
            {0: log_of(0), 1: lacking},
            CONFIG,
            seeds=(0, 1),
            on_done=done.append,
            progress=False,
        )
    assert done == []
    for refused in (lacking, TwoChunks(log_of(1))):
        if isinstance(refused, TwoChunks):
            refused.infos = ()
        with pytest.raises(ValueError, match="'propensity'"):
            train_many(agents, refused, CONFIG, on_done=done.append, progress=False)
        assert done == []
    with pytest.raises(
        ValueError, match=r"'propensity', which the log does not have \(it has none"
    ):
        alone(lacking, 0)
    agent = make_agent("drawing", observation_dim=3, action_dim=2)
    with pytest.raises(ValueError, match="'propensity', which the batch does not have"):
        agent.update(lacking.as_batch())
    with pytest.raises(ValueError, match="'negatives', which the batch does not have"):
        agent.update(log_of(1).as_batch())
    trained = train_many(agents, log_of(1), CONFIG, on_done=done.append, progress=False)
    assert len(trained) == len(done) == 2
