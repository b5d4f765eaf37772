"""The value of a policy on simulated users, measured without reward noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

import gymnasium as gym
import torch
from gymnasium.envs.registration import EnvSpec

from recsim_drpo.core.policy import Policy
from recsim_drpo.envs.registration import ENVIRONMENTS
from recsim_drpo.envs.spec import WorldSpec, translating_wrappers
from recsim_drpo.evaluation.bandit import Evaluation, Evaluator
from recsim_drpo.evaluation.sessions import SessionEvaluation, SessionEvaluator
from recsim_drpo.simulator.retrieval import SAMPLE
from recsim_drpo.simulator.sessions import Sessions
from recsim_drpo.simulator.world import World


@overload
def evaluate(
    agent: Policy,
    env: Literal["RecSimZipf-v0"] | World = ...,
    *,
    num_users: int = ...,
    seed: int = ...,
    split: str = ...,
    env_kwargs: Mapping[str, Any] | None = ...,
) -> Evaluation: ...
@overload
def evaluate(
    agent: Policy,
    env: Literal["RecSimZipfSession-v0"] | Sessions,
    *,
    num_users: int = ...,
    seed: int = ...,
    split: str = ...,
    env_kwargs: Mapping[str, Any] | None = ...,
) -> SessionEvaluation: ...
@overload
def evaluate(
    agent: Policy,
    env: str | gym.Env[Any, Any],
    *,
    num_users: int = ...,
    seed: int = ...,
    split: str = ...,
    env_kwargs: Mapping[str, Any] | None = ...,
) -> Evaluation | SessionEvaluation: ...
def evaluate(
    agent: Policy,
    env: str | gym.Env[Any, Any] | World | Sessions = "RecSimZipf-v0",
    *,
    num_users: int = 10_000,
    seed: int = 0,
    split: str = "test",
    env_kwargs: Mapping[str, Any] | None = None,
) -> Evaluation | SessionEvaluation:
    """Measure a policy on users it was not trained on.

    Args:
        agent: anything with ``act(observations) -> actions``.
        env: an environment of this package by id or instance, or its world or sessions.
        num_users: ≥ 1; the interval narrows with their square root.
        seed: integer in [0, 2**63) of the users. The same seed is the same users.
        split: which users; test users are disjoint from those that datasets are made of.
        env_kwargs: keyword arguments for an environment given by id.

    Returns:
        an :class:`Evaluation`, or for ``RecSimZipfSession-v0`` a :class:`SessionEvaluation`.

    Raises:
        ValueError: the environment is not of this package, or is seen through wrappers that change
            observations or actions, or the actions do not fit it.
    """
    return _evaluator(world_of(env, env_kwargs), num_users, seed, split)(agent)


def evaluator_for(
    spec: EnvSpec | None,
    num_users: int = 10_000,
    seed: int = 0,
    split: str = "test",
    device: str | torch.device = "cpu",
    *,
    decoder: str | None = None,
    compared: int = SAMPLE,
) -> Evaluator | SessionEvaluator | None:
    """The evaluator of policies in the environment that a spec describes.

    Args:
        spec: for example of a dataset, ``dataset.spec.env_spec``.
        num_users: ≥ 1.
        seed: integer in [0, 2**63) of the users.
        split: which users.
        device: where it computes.
        decoder: the name of one in place of the world's.
        compared: see :class:`Evaluator`.

    Returns:
        ``None`` where the spec is missing or not of an environment of this package.
    """
    world_spec = WorldSpec.of(spec)
    if world_spec is None:
        return None
    world = world_spec.decoded_by(decoder).world(device)
    return _evaluator(world, num_users, seed, split, compared)


def _evaluator(
    world: World | Sessions, num_users: int, seed: int, split: str, compared: int = SAMPLE
) -> Evaluator | SessionEvaluator:
    if isinstance(world, Sessions):
        return SessionEvaluator(world, num_users, seed, split, compared=compared)
    return Evaluator(world, num_users, seed, split, compared=compared)


def world_of(
    env: str | gym.Env[Any, Any] | World | Sessions, env_kwargs: Mapping[str, Any] | None = None
) -> World | Sessions:
    """The world, or the sessions, behind an environment; ``ValueError`` where there is none."""
    if isinstance(env, (World, Sessions)):
        return env
    if isinstance(env, str):
        env = gym.make(env, **(env_kwargs or {}))
    elif env_kwargs:
        raise ValueError("env_kwargs are for an environment given by id; this one is made already.")
    behind = getattr(env.unwrapped, "sessions", getattr(env.unwrapped, "world", None))
    if not isinstance(behind, (World, Sessions)):
        raise ValueError(
            f"{env} has no simulated world to read latent rewards from; use "
            f"{' or '.join(ENVIRONMENTS)}."
        )
    if wrappers := translating_wrappers(env):
        raise ValueError(
            f"{', '.join(wrappers)} changes what a policy sees or does, and the value is measured "
            "in the world behind it: give env.unwrapped, and a policy that acts there."
        )
    return behind
