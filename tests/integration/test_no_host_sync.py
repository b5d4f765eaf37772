"""What runs on a GPU neither waits for the host nor meets a tensor of another device.

Three places stand in for one, each for what it can prove:

- the CPU, where every operation that would have to wait for a GPU is refused as it is called;
- the device ``meta``, whose tensors have no numbers: reading one is an error, and so is an
  operation on one of these and one of the CPU;
- fake tensors of ``cuda:0``, on a build of torch for CUDA, with or without a GPU.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.agents.engine.algorithm import Algorithm
from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.agents.registry import make_agent, needs_of
from recsim_drpo.core.policy import actions_of
from recsim_drpo.core.torch_settings import _onednn_is_exact
from recsim_drpo.core.transitions import ItemActions, Transitions
from recsim_drpo.simulator.config import WorldConfig
from recsim_drpo.simulator.decoder import ExactDecoder, decode
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.world import World
from recsim_drpo.training.order import draw_indices
from tests.agents.conftest import every_number_varied

OBSERVATION, ACTION, ROUNDS, BATCH = 4, 6, 50, 8

WAITS = {
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
    "aten::equal",
    "aten::nonzero",
    "aten::nonzero_numpy",
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::bincount",
    "aten::repeat_interleave.Tensor",
}
"""Operations whose result, or its size, the host has to wait for."""


class NoWaiting(TorchDispatchMode):
    """Refuses what would wait for a GPU, were the tensors on one."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name()
        if name in WAITS or name.rpartition(".")[0] in WAITS:
            raise AssertionError(f"{name} waits for the device")
        if name.startswith(("aten::index.", "aten::index_put")):
            for index in args[1]:
                if index is not None and index.dtype in (torch.bool, torch.uint8):
                    raise AssertionError(f"{name} by a mask waits for the device")
        return func(*args, **(kwargs or {}))


class Place:
    """A device that stands in for a GPU: where tensors are moved to, and code is watched."""

    def __init__(self, name):
        self.device = torch.device("cuda:0" if name == "fake cuda" else name)

    def moved(self, tensor):
        if self.device.type == "cuda":  # fake: of the shape alone
            return torch.empty(tensor.shape, dtype=tensor.dtype, device=self.device)
        return tensor.to(self.device)

    @contextmanager
    def watched(self):
        """Refuse to wait, where the device itself does not."""
        _onednn_is_exact()  # asked once of the processor, and kept
        with NoWaiting() if self.device.type == "cpu" else ExitStack():
            yield


def zero_gradients(output, inputs, **options):
    """In place of autograd's engine, which wants a context of CUDA."""
    return [torch.zeros_like(each) for each in inputs]


@pytest.fixture(params=["cpu", "meta", "fake cuda"])
def place(request, monkeypatch):
    if request.param != "cpu":  # read once of a log, before anything is learnt
        monkeypatch.setattr(Algorithm, "check_rewards", lambda algorithm, rewards: None)
    if request.param != "fake cuda":
        yield Place(request.param)
        return
    if torch.version.cuda is None:
        pytest.skip("torch is built without CUDA: indexing of its fake tensors raises")
    monkeypatch.setattr(torch.autograd, "grad", zero_gradients)
    with FakeTensorMode():
        yield Place(request.param)


def log_on(place, *, compact):
    held = torch.randn(ROUNDS, ACTION)
    actions = place.moved(held)
    if compact:
        ids = torch.arange(ROUNDS, dtype=torch.int32)
        actions = ItemActions(actions, place.moved(ids))
    return Transitions(
        place.moved(torch.randn(ROUNDS + 1, OBSERVATION)),
        place.moved(torch.arange(ROUNDS)),
        actions,
        place.moved(torch.rand(ROUNDS)),
        place.moved(torch.ones(ROUNDS, dtype=torch.bool)),
        {"propensity": place.moved(torch.full((ROUNDS,), 0.5, dtype=torch.float64))},
    )


def move(engine, place):
    """Have an engine, made on the CPU, be on another device."""
    engine.learner = pytree.tree_map(place.moved, engine.learner)
    engine._varied = pytree.tree_map(place.moved, engine._varied)
    engine.device = place.device


def devices_of(tree):
    return {leaf.device for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)}


def test_what_waits_is_refused():
    """The watch itself: it tells what would wait, in each of its forms, from what would not."""
    numbers, mask = torch.arange(3.0), torch.tensor([True, False, True])
    with NoWaiting():
        numbers[torch.tensor([0, 2])] = torch.where(mask, numbers, 0.0)[:2]
        for waits in (
            lambda: numbers[0].item(),
            lambda: bool(mask.any()),
            lambda: float(numbers.sum()),
            lambda: numbers[mask],
            lambda: mask.nonzero(),
            lambda: torch.unique(numbers),
            lambda: torch.equal(numbers, numbers),
            lambda: mask.repeat_interleave(torch.arange(3)),
        ):
            with pytest.raises(AssertionError, match="waits for the device"):
                waits()


def test_numbers_that_are_not_there_cannot_be_read():
    """Which proves by ``meta`` what no operation tells on the CPU."""
    numbers = torch.arange(3.0, device="meta")
    for waits in (numbers.tolist, numbers.cpu, numbers.numpy, lambda: numbers + torch.arange(3.0)):
        with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
            waits()


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("agent", BUILT_IN)
def test_a_fleet_learns_without_waiting(place, agent, compact):
    if needs_of(agent).items and not compact and place.device.type != "cpu":
        pytest.skip("the items of a log without a catalogue are found once, before anything learns")
    options = {"observation_dim": OBSERVATION, "action_dim": ACTION}
    fleet = Fleet(agent, seeds=[0, 1], overrides=every_number_varied(agent), **options)
    for group in fleet._groups:
        move(group, place)
    fleet.device = place.device
    log, seeds = log_on(place, compact=compact), place.moved(torch.arange(4))
    sizes = place.moved(torch.full((4,), ROUNDS))
    step = fleet.make_train_step(log, BATCH)
    with place.watched():
        for number in range(2):
            metrics = step(draw_indices(seeds, sizes, number, 1, BATCH)[0])
        actions = fleet.act(place.moved(torch.zeros(3, OBSERVATION)))
        drawn = fleet.sample(place.moved(torch.zeros(3, OBSERVATION)))
    assert actions.shape == drawn.shape == (4, 3, ACTION)
    assert devices_of([metrics, actions, drawn, fleet.diverged_at]) == {place.device}
    assert devices_of([group.learner for group in fleet._groups]) == {place.device}


@pytest.mark.parametrize("agent", BUILT_IN)
def test_a_learner_learns_without_waiting(place, agent):
    learner = make_agent(agent, observation_dim=OBSERVATION, action_dim=ACTION)
    move(learner._engine, place)
    learner.device = place.device
    log = log_on(place, compact=False)
    batch = log.take(place.moved(torch.arange(BATCH)))
    items = {"negatives": torch.randn(5, ACTION), "negative_weights": torch.ones(BATCH, 5)}
    infos = batch.infos | {name: place.moved(tensor) for name, tensor in items.items()}
    with place.watched():
        metrics = learner.update(batch._replace(infos=infos))
    assert devices_of([metrics, learner._engine.learner]) == {place.device}


def test_a_log_is_filled_anew_on_its_device(place):
    """As streaming does: what is read on the CPU goes into the same tensors of the device."""
    other = log_on(Place("cpu"), compact=True)
    held = other.with_room(ROUNDS + 5, place.device)
    assert held.device == place.device
    with place.watched():
        assert held.refill(other)
        batch = held.take(place.moved(torch.arange(BATCH)))
    assert devices_of(batch) == {place.device}


@pytest.fixture(params=[300, 40_000], ids=["small", "in tiles"])
def world(request, place, monkeypatch):
    """A world on the stand-in, whose catalogue is met whole or in tiles."""
    monkeypatch.setattr("recsim_drpo.simulator.world.resolve_device", torch.device)
    config = WorldConfig(num_items=request.param, embedding_dim=8, num_topics=4)
    return World(config, device=place.device)


def test_items_are_found_without_waiting(place, world):
    actions = place.moved(torch.randn(BATCH, 8))
    decoder = ExactDecoder(world.embeddings)
    with place.watched():
        items = decode(decoder, actions)
        _, several = decoder.search(actions, 5)
        rewards = world.reward_of_items(items, actions)
    assert several.shape == (BATCH, 5)
    assert devices_of([items, several, rewards]) == {place.device}


def test_rounds_are_logged_without_waiting(place, world):
    """But for the CPU itself, on which it is quicker to look at those users alone who need it."""
    logger = LoggingAgent(world, "extreme")
    with ExitStack() if place.device.type == "cpu" else place.watched():
        users = world.users("train", 0, torch.arange(BATCH))
        choices = logger.choose(users.tastes, 0, torch.arange(BATCH))
    assert devices_of([users, choices]) == {place.device}


def test_users_are_shown_items_without_waiting(place, world):
    """What an evaluation asks of a device for each policy, up to the numbers for its host.

    But for the best items of a large catalogue on the CPU itself, where it is quicker to look at
    those blocks of items alone that may have them.
    """
    by_bounds = place.device.type == "cpu" and world.num_items > 300
    users = world.users("test", 0, torch.arange(BATCH))
    with ExitStack() if by_bounds else place.watched():
        best = world.best_items(users.tastes)
    with place.watched():
        oracle = world.reward_of_items(best, users.interests)
        uniform = world.mean_rewards(users.tastes)
        policy = make_agent("bc", observation_dim=world.context_dim, action_dim=8)
        move(policy._engine, place)
        policy.device = place.device
        actions = actions_of(policy, users.contexts, 8)
        shown = world.decode(actions)
    found = [oracle, uniform, shown, world.reward_of_items(shown, users.interests)]
    assert devices_of(found) == {place.device}
