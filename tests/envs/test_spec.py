"""One reading of which world a spec is about."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers

import recsim_drpo  # noqa: F401 - registers the environments
from recsim_drpo.envs.spec import WorldSpec, translating_wrappers
from recsim_drpo.simulator.sessions import Sessions
from recsim_drpo.simulator.world import World

KWARGS = {"num_items": 30, "embedding_dim": 4, "num_topics": 3}


@pytest.mark.parametrize(("env_id", "kind"), [("Bandit", World), ("Session", Sessions)])
def test_a_world_by_its_environment(env_id, kind):
    name = "RecSimZipf-v0" if env_id == "Bandit" else "RecSimZipfSession-v0"
    env = gym.make(name, split="test", device="cpu", **KWARGS)
    for given in (env.spec, env.spec.to_json()):
        spec = WorldSpec.of(given)
        assert (spec.env_id, dict(spec.kwargs)) == (name, KWARGS)
        assert spec.has_sessions == (kind is Sessions)
        world = spec.world()
        assert isinstance(world, kind)
        assert spec.catalogue().checksum == env.unwrapped.world.catalogue.checksum
        envs = spec.make_vec(3)
        assert envs.num_envs == 3
        assert envs.split == "train"


def test_items_of_sessions_need_no_fields_of_sessions():
    env = gym.make("RecSimZipfSession-v0", max_steps=5, **KWARGS)
    assert WorldSpec.of(env.spec).catalogue().num_items == 30


@pytest.mark.parametrize("spec", [None, gym.spec("CartPole-v1"), gym.spec("CartPole-v1").to_json()])
def test_other_environments_have_no_world(spec):
    assert WorldSpec.of(spec) is None


@pytest.mark.parametrize(
    ("wrap", "translating"),
    [
        (lambda env: wrappers.RecordEpisodeStatistics(wrappers.TimeLimit(env, 3)), []),
        (wrappers.NormalizeReward, []),
        (wrappers.ClipAction, ["ClipAction"]),
        (wrappers.NormalizeObservation, ["NormalizeObservation"]),
        (lambda env: wrappers.RescaleAction(env, np.float32(0), np.float32(1)), ["RescaleAction"]),
    ],
)
def test_behind_some_wrappers_is_no_world_to_measure_policies_in(wrap, translating):
    env = wrap(gym.make("RecSimZipf-v0", **KWARGS))
    assert translating_wrappers(env) == translating_wrappers(env.spec) == translating
    assert (WorldSpec.of(env.spec) is None) == bool(translating)
