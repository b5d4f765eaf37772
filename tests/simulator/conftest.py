from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recsim_drpo.simulator.catalogue import SimulatedCatalogue
from recsim_drpo.simulator.config import SessionConfig, WorldConfig
from recsim_drpo.simulator.sessions import Luck, Sessions, make_sessions
from recsim_drpo.simulator.world import World


@pytest.fixture(scope="package")
def world() -> World:
    """Twenty items, all of which a warm logging agent shows now and then."""
    return World(WorldConfig(num_items=20, embedding_dim=8, num_topics=4))


@pytest.fixture(scope="package")
def larger_world() -> World:
    # Neither a multiple of 64 nor below it, since sampling goes by blocks of 64 items.
    return World(WorldConfig(num_items=300, embedding_dim=16, num_topics=6))


@pytest.fixture(scope="package")
def sessions() -> Sessions:
    return make_sessions(num_items=300, embedding_dim=16, num_topics=5)


@pytest.fixture(scope="package")
def some_states():
    """Makes states of sessions at random."""

    def make(sessions, count, seed=0):
        generator = torch.Generator().manual_seed(seed)
        contexts = 2 * torch.rand(count, sessions.world.context_dim, generator=generator) - 1
        exposure = torch.rand(count, sessions.world.num_topics, generator=generator)
        return torch.cat((contexts, exposure), dim=1)

    return make


@pytest.fixture(scope="package")
def luck_of():
    """Makes the random numbers of one user's step."""

    def make(leaving, noise=0.0):
        return Luck(torch.tensor([noise]), torch.tensor([leaving], dtype=torch.float64))

    return make


@pytest.fixture(scope="package")
def tiny_sessions():
    """Makes sessions of two topics at right angles and three items, whose contexts count 0.

    An item at each centre and one between, which belongs to the second topic.
    """
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

    def make(**changes) -> Sessions:
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

    return make
