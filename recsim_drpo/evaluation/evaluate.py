"""The value of a policy on simulated users, measured without reward noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, overload

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.core.policy import Policies, Policy, check_acts, checked_actions
from recsim_drpo.core.rng import check_seed
from recsim_drpo.core.validation import check_integer
from recsim_drpo.envs.bandit import ENV_ID, SESSION_ENV_ID
from recsim_drpo.reporting.statistics import Estimate, gini, mean_interval, ratio_interval
from recsim_drpo.simulator.sessions import Sessions, make_sessions
from recsim_drpo.simulator.world import ECPM_PER_REWARD, World, make_world, stream_of

Floats = NDArray[np.float64]
_ROWS = 8_192


class _Measured:
    """What both kinds of evaluation can do."""

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers by name, for JSON; estimates as ``{"value", "low", "high"}``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {
            name: value._asdict() if isinstance(value, Estimate) else value
            for name, value in values.items()
        }


@dataclass(frozen=True)
class Evaluation(_Measured):
    """What a policy is worth to the users it was evaluated on.

    Intervals are over those users, at 95 %: they describe this one policy and say nothing of what
    another seed would have learnt.

    Attributes:
        reward: mean latent reward, in [0, 1].
        ecpm: 5 × reward.
        regret: mean shortfall in latent reward from each user's best item.
        normalized: (reward − random) / (oracle − random), where random shows items uniformly; 0 and
            1 are those two.
        distance: mean ‖μ − u*‖ between the raw action and the user's interest (the paper's Dist.).
        coverage: share of the catalogue that was shown to anyone.
        gini: Gini coefficient of how often each item of the catalogue was shown.
        nonfinite_share: share of actions with a NaN or infinite component: they show no item, earn
            0, and are left out of ``distance``.
        num_users: users evaluated on.
    """

    reward: Estimate
    ecpm: Estimate
    regret: Estimate
    normalized: Estimate
    distance: Estimate
    coverage: float
    gini: float
    nonfinite_share: float
    num_users: int

    def headline(self) -> dict[str, float]:
        """What a learning curve shows: ``ecpm``, ``normalized`` and ``nonfinite_share``."""
        return {
            "ecpm": self.ecpm.value,
            "normalized": self.normalized.value,
            "nonfinite_share": self.nonfinite_share,
        }


@dataclass(frozen=True)
class SessionEvaluation(_Measured):
    """What a policy is worth to the users whose sessions it was evaluated on.

    Intervals are over those users, at 95 %, as in :class:`Evaluation`.

    Attributes:
        session_return: mean over sessions of the sum of their latent rewards, undiscounted.
        session_length: mean number of steps.
        reward: mean latent reward of a step, in [0, 1]: total return by total length.
        truncated: share of sessions that were cut off, the user being still there.
        coverage: share of the catalogue that was shown to anyone.
        gini: Gini coefficient of how often each item of the catalogue was shown.
        nonfinite_share: share of actions with a NaN or infinite component: they show no item.
        num_users: users, hence sessions, evaluated on.
    """

    session_return: Estimate
    session_length: Estimate
    reward: Estimate
    truncated: Estimate
    coverage: float
    gini: float
    nonfinite_share: float
    num_users: int

    def headline(self) -> dict[str, float]:
        """What a learning curve shows: ``return``, ``session_length``, ``nonfinite_share``."""
        return {
            "return": self.session_return.value,
            "session_length": self.session_length.value,
            "nonfinite_share": self.nonfinite_share,
        }


class Evaluator:
    """A set of users to evaluate any number of policies on: each meets the same users.

    Args:
        world: where they live.
        num_users: ≥ 1.
        seed: integer in [0, 2**63) of the users.
        split: ``"test"`` (default), ``"validation"`` or ``"train"``.
    """

    def __init__(
        self, world: World, num_users: int = 10_000, seed: int = 0, split: str = "test"
    ) -> None:
        check_integer("num_users", num_users, 1)
        check_seed(seed)
        stream_of(split)
        self.world = world
        self.num_users = num_users
        users = world.users(split, seed, torch.arange(num_users))
        self._contexts, self._interests = users.contexts, users.interests
        self._oracle = world.reward_of_items(world.best_items(users.tastes), users.interests)
        self._uniform = world.mean_rewards(users.tastes)

    def __call__(self, policy: Policy) -> Evaluation:
        """Evaluate a policy.

        Raises:
            TypeError: it has no ``act``.
            ValueError: it returns actions of another shape than (B, d).
        """
        return self._evaluations(policy, ())[0]

    def many(self, policies: Policies) -> list[Evaluation]:
        """Evaluate every learner of a fleet: all act, and all their actions are decoded, at once.

        Args:
            policies: a fleet, or anything of L policies with ``act(observations)`` of shape
                (L, B, d) and ``len``.

        Raises:
            TypeError, ValueError: as for one policy.
        """
        return self._evaluations(policies, (len(policies),))

    def _evaluations(self, policy: Policy | Policies, axes: tuple[int, ...]) -> list[Evaluation]:
        check_acts(policy)
        rows = max(1, _ROWS // math.prod(axes))
        users = zip(
            torch.split(self._contexts, rows), torch.split(self._interests, rows), strict=True
        )
        parts = [self._shown(policy, axes, *some) for some in users]
        columns = [_host(torch.cat(column, dim=-1)) for column in zip(*parts, strict=True)]
        by_policy = [column.reshape(-1, self.num_users) for column in columns]
        return [self._summary(*each) for each in zip(*by_policy, strict=True)]

    def _shown(
        self,
        policy: Policy | Policies,
        axes: tuple[int, ...],
        contexts: Tensor,
        interests: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Items, their latent rewards and ‖μ − u*‖ (NaN for no item), each (*axes, B)."""
        world = self.world
        expected = (*axes, len(contexts), world.dim)
        actions = checked_actions(policy.act(contexts.clone()), expected).to(world.device)
        items = world.decode(actions.flatten(0, -2))
        repeated = interests.expand(*axes, *interests.shape)
        rewards = world.reward_of_items(items, repeated.reshape(-1, world.dim))
        # In float64: the squares of a diverged policy's actions overflow float32.
        distances = torch.linalg.vector_norm(actions.to(torch.float64) - interests, dim=-1)
        finite = torch.isfinite(actions).all(dim=-1)
        distances = distances.masked_fill(~finite, torch.nan)
        return items.reshape(expected[:-1]), rewards.reshape(expected[:-1]), distances

    def _summary(self, items: Floats, rewards: Floats, distances: Floats) -> Evaluation:
        oracle, uniform = _host(self._oracle), _host(self._uniform)
        shown = items >= 0
        counts = np.bincount(items[shown].astype(np.int64), minlength=self.world.num_items)
        finite = distances[shown]
        reward = mean_interval(rewards)
        return Evaluation(
            reward=reward,
            ecpm=reward.scaled(ECPM_PER_REWARD),
            regret=mean_interval(oracle - rewards),
            normalized=ratio_interval(rewards - uniform, oracle - uniform),
            distance=mean_interval(finite) if len(finite) else Estimate(*[np.nan] * 3),
            coverage=float((counts > 0).mean()),
            gini=gini(counts),
            nonfinite_share=float(1.0 - shown.mean()),
            num_users=self.num_users,
        )


class Played(NamedTuple):
    """Sessions that a policy has played, as float64 arrays (B,), one entry a session.

    Attributes:
        returns: sums of latent rewards.
        paid: sums of observed rewards.
        lengths: numbers of steps.
        nothing_shown: numbers of steps that showed no item.
        truncated: 1 where the session was cut off, else 0.
        counts: int64 (N,), how often each item of the catalogue was shown.
    """

    returns: Floats
    paid: Floats
    lengths: Floats
    nothing_shown: Floats
    truncated: Floats
    counts: NDArray[np.int64]


class SessionEvaluator:
    """A set of users to evaluate any number of policies on, a session each.

    Each policy meets the same users, and in the same step of a session the same chance of noise and
    of leaving.

    Args:
        sessions: where they live.
        num_users: ≥ 1.
        seed: integer in [0, 2**63) of the users.
        split: ``"test"`` (default), ``"validation"`` or ``"train"``.
    """

    def __init__(
        self, sessions: Sessions, num_users: int = 10_000, seed: int = 0, split: str = "test"
    ) -> None:
        check_integer("num_users", num_users, 1)
        self._seed = check_seed(seed)
        stream_of(split)
        self.sessions = sessions
        self.num_users = num_users
        self._split = split

    def __call__(self, policy: Policy) -> SessionEvaluation:
        """Evaluate a policy; raises as :meth:`Evaluator.__call__` does."""
        return self.summary(self.play(policy))

    def many(self, policies: Policies) -> list[SessionEvaluation]:
        """Evaluate several policies at once, for example the learners of a fleet.

        Args:
            policies: L policies with ``act(observations)`` from (L, B, o) to (L, B, d), and
                ``len``.

        Raises:
            TypeError, ValueError: as for one policy.
        """
        played = self._play(policies, lambda states: policies.act(states), len(policies))
        return [self.summary(one) for one in played]

    def play(self, policy: Policy) -> Played:
        """Play every user's session, all in lockstep; raises as :meth:`__call__` does."""

        def act(observations: Tensor) -> Tensor:
            return torch.as_tensor(policy.act(observations[0])).unsqueeze(0)

        return self._play(policy, act, 1)[0]

    def _play(
        self, policy: object, act: Callable[[Tensor], Any], num_policies: int
    ) -> list[Played]:
        check_acts(policy)
        sessions, world = self.sessions, self.sessions.world
        users = torch.arange(self.num_users, device=world.device)
        first = sessions.begin(self._split, self._seed, users)
        observations = first.repeat(num_policies, 1, 1)
        present = torch.ones(observations.shape[:2], dtype=torch.bool, device=world.device)
        sums = torch.zeros(4, *present.shape, dtype=torch.float64, device=world.device)
        counts = torch.zeros(num_policies, world.num_items, dtype=torch.int64, device=world.device)
        policies = torch.arange(num_policies, device=world.device).unsqueeze(1)
        for step in range(sessions.config.max_steps):
            # Those who are there first, then as many others as make the rows equally long.
            width = int(present.sum(dim=1).max())
            if width == 0:
                break
            rows = (~present).to(torch.int8).argsort(dim=1, stable=True)[:, :width]
            there = present[policies, rows]
            states = observations[policies, rows]
            items = self._items(act, states)
            outcome = sessions.step(
                states.flatten(0, 1),
                items.flatten(),
                sessions.luck(self._split, self._seed, rows.flatten(), step),
            )
            paid = torch.stack((outcome.latent, outcome.observed)).view(2, *rows.shape)
            steps = torch.stack((torch.ones_like(items), items < 0))
            sums[:, policies, rows] += torch.cat((paid, steps)).to(torch.float64) * there
            shown = there & (items >= 0)
            counts.scatter_add_(1, items.clamp_min(0), shown.to(torch.int64))
            observations[policies, rows] = outcome.observations.view(states.shape)
            present[policies, rows] = there & ~outcome.left.view(rows.shape)
        returns, paid_out, lengths, nothing = (_host(total) for total in sums)
        cut, shares = _host(present), counts.cpu().numpy()
        return [
            Played(returns[k], paid_out[k], lengths[k], nothing[k], cut[k], shares[k])
            for k in range(num_policies)
        ]

    def _items(self, act: Callable[[Tensor], Any], states: Tensor) -> Tensor:
        """Items, int64 (L, B), that L policies show in states (L, B, o)."""
        world = self.sessions.world
        parts = []
        for given in torch.split(states, max(1, _ROWS // len(states)), dim=1):
            actions = torch.as_tensor(act(given.clone())).detach()
            expected = (*given.shape[:2], world.dim)
            if actions.shape != expected:
                raise ValueError(
                    f"The policy returned actions of shape {tuple(actions.shape[1:])} for "
                    f"{given.shape[1]} users; this catalogue takes {expected[1:]}."
                )
            items = world.decode(actions.to(world.device).flatten(0, 1))
            parts.append(items.view(expected[:2]))
        return torch.cat(parts, dim=1)

    def summary(self, played: Played) -> SessionEvaluation:
        """What sessions that were played come to."""
        return SessionEvaluation(
            session_return=mean_interval(played.returns),
            session_length=mean_interval(played.lengths),
            reward=ratio_interval(played.returns, played.lengths),
            truncated=mean_interval(played.truncated),
            coverage=float((played.counts > 0).mean()),
            gini=gini(played.counts),
            nonfinite_share=float(played.nothing_shown.sum() / played.lengths.sum()),
            num_users=self.num_users,
        )


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
        ValueError: the environment is not of this package, or the actions do not fit it.
    """
    measured = world_of(env, env_kwargs)
    if isinstance(measured, Sessions):
        return SessionEvaluator(measured, num_users, seed, split)(agent)
    return Evaluator(measured, num_users, seed, split)(agent)


def evaluator_for(
    spec: EnvSpec | None,
    num_users: int = 10_000,
    seed: int = 0,
    split: str = "test",
    device: str | torch.device = "cpu",
) -> Evaluator | SessionEvaluator | None:
    """What evaluates policies in the environment that a spec describes.

    Args:
        spec: for example of a dataset, ``dataset.spec.env_spec``.
        num_users: ≥ 1.
        seed: integer in [0, 2**63) of the users.
        split: which users.
        device: where it computes.

    Returns:
        ``None`` where the spec is missing or not of an environment of this package.
    """
    if spec is None or spec.id not in (ENV_ID, SESSION_ENV_ID):
        return None
    if spec.id == SESSION_ENV_ID:
        sessions = make_sessions(device, **_world_kwargs(spec))
        return SessionEvaluator(sessions, num_users, seed, split)
    return Evaluator(world_of_spec(spec, device), num_users, seed, split)


def world_of_spec(spec: EnvSpec, device: str | torch.device = "cpu") -> World:
    """The world of a spec of ``RecSimZipf-v0``."""
    return make_world(device, **_world_kwargs(spec))


def _world_kwargs(spec: EnvSpec) -> dict[str, Any]:
    return {k: v for k, v in spec.kwargs.items() if k not in ("render_mode", "split", "device")}


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
            f"{env} has no simulated world to read latent rewards from; use {ENV_ID} or "
            f"{SESSION_ENV_ID}."
        )
    return behind


def _host(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().numpy().astype(np.float64)
