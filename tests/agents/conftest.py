from __future__ import annotations

import math
import sys

import pytest
import torch

from recsim_drpo import make_agent
from recsim_drpo.agents import Batch, Fleet
from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.agents.engine.engine import numeric_fields
from recsim_drpo.agents.registry import ALGORITHMS
from recsim_drpo.core.transitions import Transitions

NAMES = sorted(BUILT_IN)


# A third party's module: an agent that says how it was made, and whose state is nested.
MODULE = '''
import torch
from dataclasses import replace
from recsim_drpo.agents.bc import BC

ALGORITHM = replace(BC, name="cloning", summary="cloning under another name")
NUMBER = 3


class Mean:
    """The mean of logged actions.

    Whatever the context.
    """

    def __init__(self, *, observation_dim, action_dim, seed, device, rate=0.5, name_of_rate="x"):
        self.observation_dim, self.action_dim, self.seed = observation_dim, action_dim, seed
        self.hyperparameters = {"rate": rate, "name_of_rate": name_of_rate}
        self.device = device
        self.mean = torch.zeros(action_dim, device=device)
        self.steps = 0

    def update(self, batch):
        self.mean = self.mean.lerp(batch.actions.mean(0), self.hyperparameters["rate"])
        self.steps += 1
        return {"distance": (batch.actions - self.mean).square().mean()}

    def act(self, observations):
        return self.mean.expand(len(observations), -1)

    def state_dict(self):
        return {"mean": self.mean, "more": [{"steps": self.steps}]}

    def load_state_dict(self, state):
        self.mean, self.steps = state["mean"].to(self.device), state["more"][0]["steps"]


class Needy(Mean):
    summary = "needs a hyper-parameter"

    def __init__(self, *, temperature, **others):
        super().__init__(**others)


class Fixed(Mean):
    def __init__(self, observation_dim, action_dim, seed, device):
        super().__init__(
            observation_dim=observation_dim, action_dim=action_dim, seed=seed, device=device
        )


def homeless(observation_dim, action_dim, seed, rate=1.0):
    """Takes no device."""


def actor(observation_dim, action_dim, seed, device):
    """Returns what only acts."""
    class Actor:
        def act(self, observations):
            return observations
        load_state_dict = 3
    return Actor()


class Unkept(Mean):
    def state_dict(self):
        return {"mean": self.mean, "options": {"kind": torch.float32}}
'''


TRAINING = {"steps": 1, "batch_size": 2, "seed": 0}


DIMS = {"observation_dim": 3, "action_dim": 2}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the path that holds ``outside.py``, and into which packages can be put."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "outside.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "outside", raising=False)
    yield folder
    sys.modules.pop("outside", None)


def install(site, package, **entries):
    """What pip leaves of a package that offers agents: its metadata."""
    folder = site / f"{package}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (folder / "entry_points.txt").write_text("\n".join(["[recsim_drpo.agents]", *lines, ""]))


def assert_same(saved, loaded):
    """A state and what came back of it; an OrderedDict may have become a dictionary."""
    assert isinstance(loaded, dict) if isinstance(saved, dict) else type(loaded) is type(saved)
    if isinstance(saved, torch.Tensor):
        assert saved.dtype == loaded.dtype
        assert torch.equal(saved.detach(), loaded)
    elif isinstance(saved, dict):
        assert [(type(k), k) for k in saved] == [(type(k), k) for k in loaded]
        for key in saved:
            assert_same(saved[key], loaded[key])
    elif isinstance(saved, list | tuple):
        assert len(saved) == len(loaded)
        for left, right in zip(saved, loaded, strict=True):
            assert_same(left, right)
    elif isinstance(saved, float) and math.isnan(saved):
        assert math.isnan(loaded)
    else:
        assert saved == loaded


def with_infos(batch, generator):
    """The batch, of one learner or of many, with all that any agent of ours reads besides."""
    *axes, size, action_dim = batch.actions.shape
    dtype = batch.actions.dtype
    infos = {
        "propensity": 0.05 + 0.9 * torch.rand(*axes, size, generator=generator).to(torch.float64),
        "negatives": torch.randn(*axes, 5, action_dim, generator=generator).to(dtype),
        "negative_weights": torch.full((*axes, size, 5), 2.0, dtype=dtype),
    }
    return batch._replace(infos=infos)


def make_batch(size=6, observation_dim=3, action_dim=2, seed=0, rewards=None):
    """A batch of one-step episodes, of rewards in [0, 1) unless given."""
    generator = torch.Generator().manual_seed(seed)
    batch = Batch(
        torch.randn(size, observation_dim, generator=generator),
        torch.randn(size, action_dim, generator=generator),
        torch.rand(size, generator=generator) if rewards is None else torch.as_tensor(rewards),
        torch.randn(size, observation_dim, generator=generator),
        torch.ones(size, dtype=torch.bool),
    )
    return with_infos(batch, torch.Generator().manual_seed(seed))


SEEDS = (3, 11)


def random_batches(num_learners, size=16, seed=0, dtype=torch.float32, episodes=False):
    """Batches (L, B, ·) without end, other ones for each learner."""
    generator, other = (torch.Generator().manual_seed(seed) for _ in range(2))

    def normal(*shape):
        return torch.randn(num_learners, size, *shape, generator=generator).to(dtype)

    while True:
        rewards = torch.rand(num_learners, size, generator=generator).to(dtype)
        ends = rewards > (0.5 if episodes else -1.0)
        yield with_infos(Batch(normal(3), normal(2), rewards, normal(3), ends), other)


def transitions_of(batch):
    """A log of one-step episodes, with their propensities if there are any."""
    size = len(batch.rewards)
    infos = {name: batch.infos[name] for name in batch.infos if name == "propensity"}
    both = torch.stack([batch.observations, batch.next_observations], dim=1).flatten(0, 1)
    rows = torch.arange(size, device=both.device) * 2
    return Transitions(both, rows, batch.actions, batch.rewards, batch.terminations, infos)


def of_learner(batch, number):
    infos = {name: column[number] for name, column in batch.infos.items()}
    return Batch(*(column[number] for column in batch[:5]), infos)


def fleet_of(name, seeds=SEEDS, overrides=({},), **options):
    return Fleet(name, observation_dim=3, action_dim=2, seeds=seeds, overrides=overrides, **options)


def alone(member, name, **options):
    return make_agent(
        name, observation_dim=3, action_dim=2, seed=member.seed, **member.overrides, **options
    )


def eager_and(execution, name, **options):
    """Two fleets that differ by how they are executed alone, the first eagerly, in float64."""
    overrides = every_number_varied(name)
    return [
        fleet_of(name, overrides=overrides, execution=how, dtype=torch.float64, **options)
        for how in ("eager", execution)
    ]


def assert_close(one, other, rtol=0.0):
    """Metrics, or a state, under the same names."""
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], rtol=rtol, atol=1e-9)


def assert_same_updates(one, other, batches, rtol=0.0):
    """Two agents, or fleets, say the same of each batch and end in the same state."""
    for batch in batches:
        assert_close(one.update(batch), other.update(batch), rtol)
    assert_close(one.state_dict(), other.state_dict())


# Short enough that as many updates meet every phase.
SCHEDULES = {
    20: {"bppo": {"bc_steps": 8, "replace_every": 4}, "crr": {"target_every": 6}},
    200: {"bppo": {"bc_steps": 80, "replace_every": 20}, "crr": {"target_every": 30}},
}


def every_number_varied(name, steps=20):
    """Two variants that differ in every real-valued hyper-parameter that the algorithm has."""
    config = ALGORITHMS[name].config
    structural = {"hidden_dim": 8, **SCHEDULES[steps].get(name, {})}
    defaults = config(**structural)
    moved = {
        field: 1.0 + 0.7 * (getattr(defaults, field) - 1.0)
        if field in ("relax_rate", "tighten_rate", "discount", "epsilon_decay")
        else 0.7 * getattr(defaults, field)
        for field in numeric_fields(config)
    }
    return [structural, {**structural, **moved}]
