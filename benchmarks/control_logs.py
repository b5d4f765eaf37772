"""Logs of continuous control: an expert's episodes and random ones, as Minari datasets.

Used by :mod:`recsim_drpo.benchmarks.control`. A log of N steps with a share p of random ones is
p N steps of actions drawn uniformly from the box and (1 − p) N steps of an agent that
Stable-Baselines3 trained (its own stochastic policy), whole episodes but for the last of each kind,
which is cut off where the number is reached.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import minari
import numpy as np
import torch
from minari import MinariDataset
from minari.data_collector import EpisodeBuffer
from numpy.typing import NDArray

from recsim_drpo.adapters import import_library
from recsim_drpo.core.files import replaced_file
from recsim_drpo.datasets.soundness import open_dataset
from recsim_drpo.datasets.staging import minari_root

Array = NDArray[np.float32]
Act = Callable[[Array], Any]
"""Actions (B, a) in the units of the environment, for observations (B, o)."""


@dataclass(frozen=True)
class Task:
    """An environment, and how its expert is trained.

    Attributes:
        env_id: a Gymnasium environment with Box spaces.
        algorithm: of Stable-Baselines3.
        steps: of its training in the environment.
        settings: arguments of it that are not its defaults.
    """

    env_id: str
    algorithm: str
    steps: int
    settings: Mapping[str, Any] = field(default_factory=dict)


_SMALL = {"net_arch": [64, 64]}
TASKS = {
    "pendulum": Task("Pendulum-v1", "SAC", 6_000, {"learning_rate": 1e-3, "policy_kwargs": _SMALL}),
    # After the RL Zoo's tuned settings: without states' own exploration the top is not found.
    "mountain-car": Task(
        "MountainCarContinuous-v0",
        "SAC",
        20_000,
        {
            "ent_coef": 0.1,
            "gamma": 0.9999,
            "tau": 0.01,
            "train_freq": 32,
            "gradient_steps": 32,
            "learning_starts": 0,
            "use_sde": True,
            "policy_kwargs": {**_SMALL, "log_std_init": -3.67},
        },
    ),
    "inverted-pendulum": Task(
        "InvertedPendulum-v5", "SAC", 6_000, {"learning_rate": 1e-3, "policy_kwargs": _SMALL}
    ),
    "reacher": Task("Reacher-v5", "SAC", 15_000, {"learning_rate": 1e-3, "policy_kwargs": _SMALL}),
}


class Episode(NamedTuple):
    """One episode of n steps.

    Attributes:
        observations: float32 (n + 1, o).
        actions: float32 (n, a), as they were taken.
        rewards: float64 (n,).
        terminated: whether it ended of itself, not by a limit of steps.
    """

    observations: Array
    actions: Array
    rewards: NDArray[np.float64]
    terminated: bool

    def cut(self, length: int) -> Episode:
        """Its first steps; all of it if it has no more."""
        if length >= len(self.rewards):
            return self
        first = self.observations[: length + 1], self.actions[:length], self.rewards[:length]
        return Episode(*first, terminated=False)


def play(env_id: str, act: Act, seeds: Sequence[int]) -> list[Episode]:
    """One episode for each seed, all in step: the policy sees those that still go on.

    Args:
        env_id: with Box spaces.
        act: of observations (B, o), rows in the order of the seeds; actions are clipped to the box.
        seeds: of the environments' own random numbers.
    """
    with contextlib.ExitStack() as stack:
        envs = [stack.enter_context(contextlib.closing(gym.make(env_id))) for _ in seeds]
        seen = [[env.reset(seed=seed)[0]] for env, seed in zip(envs, seeds, strict=True)]
        box = envs[0].action_space
        assert isinstance(box, gym.spaces.Box)
        done: list[list[Any]] = [[] for _ in seeds]
        going = list(range(len(seeds)))
        ended = dict.fromkeys(going, False)
        while going:
            wanted = np.asarray(act(np.asarray([seen[k][-1] for k in going], dtype=np.float32)))
            actions = np.clip(wanted, box.low, box.high).astype(np.float32)
            still = []
            for k, action in zip(going, actions, strict=True):
                observation, reward, terminated, truncated, _ = envs[k].step(action)
                seen[k].append(observation)
                done[k].append((action, float(reward)))
                ended[k] = bool(terminated)
                still += [] if terminated or truncated else [k]
            going = still
    return [
        Episode(
            np.asarray(seen[k], dtype=np.float32),
            np.asarray([action for action, _ in done[k]], dtype=np.float32),
            np.asarray([reward for _, reward in done[k]]),
            ended[k],
        )
        for k in range(len(seeds))
    ]


def box_of(env_id: str) -> tuple[Array, Array]:
    """The ends of the box of actions, float32 (a,) each."""
    with contextlib.closing(gym.make(env_id)) as env:
        box = env.action_space
    assert isinstance(box, gym.spaces.Box)
    return box.low, box.high


def random_act(env_id: str, seed: Any) -> Act:
    """A policy that draws actions uniformly from the box."""
    low, high = box_of(env_id)
    generator = np.random.default_rng(seed)
    return lambda observations: generator.uniform(low, high, (len(observations), *low.shape))


def middle_act(env_id: str) -> Act:
    """A policy that always takes the middle of the box: the mean of random actions."""
    low, high = box_of(env_id)
    return lambda observations: np.tile((low + high) / 2, (len(observations), 1))


def expert(task: Task, cache: Path) -> Any:
    """The agent of Stable-Baselines3 for a task, trained once for each cache, at seed 0.

    Raises:
        ImportError: Stable-Baselines3 cannot be imported.
    """
    library = import_library("stable_baselines3", "sb3")
    cls = getattr(library, task.algorithm)
    mark = hashlib.sha256(json.dumps(asdict(task), sort_keys=True).encode()).hexdigest()[:12]
    path = cache / "experts" / f"{task.env_id}-{mark}.zip"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng(devices=[]):
            model = cls("MlpPolicy", task.env_id, seed=0, device="cpu", **task.settings)
            model.learn(task.steps)
        with replaced_file(path) as aside, aside.open("wb") as file:
            model.save(file)
    return cls.load(path, device="cpu")


def expert_act(model: Any, seed: int) -> Act:
    """The expert's own, stochastic policy; its draws are a function of the seed."""
    calls = itertools.count()

    def act(observations: Array) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hash((seed, next(calls))))
            if getattr(model, "use_sde", False):
                model.actor.reset_noise()  # which else stays as it was when training ended
            return model.predict(observations, deterministic=False)[0]

    return act


def episodes_of_steps(env_id: str, act: Act, steps: int, first_seed: int) -> Iterator[Episode]:
    """Episodes that have so many steps together, of seeds from the first on; the last is cut."""
    left = steps
    while left > 0:
        for episode in play(env_id, act, range(first_seed, first_seed + 10)):
            if left > 0:
                yield episode.cut(left)
                left -= len(episode.rewards)
        first_seed += 10


def steps_of(share: float, steps: int) -> tuple[int, int]:
    """How many steps of a log are the expert's, and how many random."""
    random = round(share * steps)
    return steps - random, random


def mixed(pools: Sequence[Sequence[Episode]], share: float, steps: int) -> list[Episode]:
    """The expert's and the random episodes of a log, from pools of both that have enough."""
    episodes = []
    for pool, left in zip(pools, steps_of(share, steps), strict=True):
        for episode in pool:
            if left <= 0:
                break
            episodes.append(episode.cut(left))
            left -= len(episode.rewards)
        if left > 0:
            raise ValueError(f"The pool of episodes has {left} steps too few for share={share}.")
    return episodes


def make_logs(
    name: str, task: Task, shares: Sequence[float], steps: int, seed: int, cache: Path
) -> dict[float, MinariDataset]:
    """Minari datasets by their share of random steps, made once for each cache.

    Logs of one seed share episodes: one of more random steps has the same first ones of the expert.
    """
    mark = hashlib.sha256(json.dumps(asdict(task), sort_keys=True).encode()).hexdigest()[:6]
    ids = {
        share: f"control/{name}-{mark}-{steps}-random{round(100 * share)}-seed{seed}-v0"
        for share in shares
    }
    with minari_root(cache / "datasets"):
        local = minari.list_local_datasets()
        if missing := [share for share in shares if ids[share] not in local]:
            wanted = [steps_of(share, steps) for share in missing]
            acts = expert_act(expert(task, cache), seed), random_act(task.env_id, [seed, 1])
            pools = [
                list(episodes_of_steps(task.env_id, act, max(each), (2 * seed + kind) * 1_000_000))
                for kind, (act, each) in enumerate(
                    zip(acts, zip(*wanted, strict=True), strict=True)
                )
            ]
            for share in missing:
                write_log(ids[share], task.env_id, mixed(pools, share, steps))
        return {share: open_dataset(ids[share]) for share in shares}


def write_log(dataset_id: str, env_id: str, episodes: Sequence[Episode]) -> None:
    """Write episodes as a Minari dataset, with spaces and spec of their environment."""
    buffers = []
    for number, episode in enumerate(episodes):
        ends = np.zeros(len(episode.rewards), dtype=np.bool_)
        ends[-1] = True
        never = np.zeros_like(ends)
        buffers.append(
            EpisodeBuffer(
                id=number,
                observations=episode.observations,
                actions=episode.actions,
                rewards=episode.rewards,
                terminations=ends if episode.terminated else never,
                truncations=never if episode.terminated else ends,
            )
        )
    with contextlib.closing(gym.make(env_id)) as env, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of authors and links that it has none of
        minari.create_dataset_from_buffers(dataset_id, buffers, env=env)
