"""Stable-Baselines3: our environments as its VecEnv, its algorithms as agents that learn online.

docs/libraries/stable-baselines3.md. Source: Raffin et al., *Stable-Baselines3: Reliable
Reinforcement Learning Implementations*, JMLR 2021.
"""

from __future__ import annotations

import copy
import functools
import inspect
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from recsim_drpo.adapters import import_library
from recsim_drpo.agents.plugins import Factory
from recsim_drpo.agents.registry import AgentSpec
from recsim_drpo.core.messages import shown
from recsim_drpo.core.policy import as_observations
from recsim_drpo.core.transitions import Batch
from recsim_drpo.core.validation import check_integer, unknown_name
from recsim_drpo.envs.base import WorldVectorEnv

EXTRA = "sb3"
ALGORITHMS = ("DDPG", "PPO", "SAC", "TD3")
"""The algorithms of continuous actions that learn by batches."""

# Parameters of their constructors that the agent sets itself, or that a run folder cannot keep.
_NOT_HYPERPARAMETERS = {
    *("self", "policy", "env", "seed", "device", "verbose", "tensorboard_log", "stats_window_size"),
    *("_init_setup_model", "replay_buffer_class", "rollout_buffer_class", "action_noise"),
}
_PLAIN = (bool, int, float, str)


def to_sb3(envs: WorldVectorEnv) -> Any:
    """Our native vector environment as a ``stable_baselines3.common.vec_env.VecEnv``.

    Args:
        envs: ``gym.make_vec("RecSimZipf-v0", num_envs, vectorization_mode="vector_entry_point")``,
            or that of ``RecSimZipfSession-v0``.

    Returns:
        the same environments. Where an episode ended ``infos[i]`` has ``terminal_observation`` and
        ``TimeLimit.truncated``; in every step it has what our ``info`` has.

    Raises:
        ImportError: Stable-Baselines3 cannot be imported.
        TypeError: these are other environments.
    """
    if not isinstance(envs, WorldVectorEnv):
        raise TypeError(
            f"{type(envs).__name__} is no native vector environment of ours: "
            'gym.make_vec(…, vectorization_mode="vector_entry_point") makes one; Stable-Baselines3 '
            "takes a scalar environment as it is."
        )
    return _vec_env_class()(envs)


@functools.cache
def _vec_env_class() -> type:  # noqa: C901 - a class, whose methods count together
    import_library("stable_baselines3.common.vec_env", EXTRA)  # or its one clear error
    from stable_baselines3.common.vec_env import VecEnv

    class RecSimVecEnv(VecEnv):  # type: ignore[misc]
        """A native vector environment, as Stable-Baselines3 expects one."""

        def __init__(self, envs: WorldVectorEnv) -> None:
            self.envs = envs
            super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

        def reset(self) -> Any:
            observations, _ = self.envs.reset(seed=list(self._seeds))
            self._reset_seeds()
            self._reset_options()
            return observations

        def step_async(self, actions: Any) -> None:
            self._actions = actions

        def step_wait(self) -> Any:
            observations, rewards, terminated, truncated, columns = self.envs.step(self._actions)
            names = [name for name in columns if f"_{name}" in columns and "final_" not in name]
            plain = {name: columns[name].tolist() for name in names}
            infos: list[dict[str, Any]] = [
                dict(zip(plain, values, strict=True))
                for values in zip(*plain.values(), strict=True)
            ]
            ended = terminated | truncated
            for i in ended.nonzero()[0]:
                infos[i]["terminal_observation"] = columns["final_obs"][i]
                infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
            return observations, rewards.astype(np.float32), ended, infos

        def close(self) -> None:
            self.envs.close()

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            return [getattr(self.envs, attr_name)] * len(list(self._get_indices(indices)))

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            raise AttributeError(
                f"{shown(attr_name)} cannot be set: these environments are one computation. Say it "
                "to gym.make_vec."
            )

        def env_method(self, method_name: str, *args: Any, indices: Any = None, **kw: Any) -> Any:
            raise AttributeError(
                f"{shown(method_name)} cannot be called: these environments are one computation. "
                "Call it on .envs."
            )

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
            return [False] * len(list(self._get_indices(indices)))

        def get_images(self) -> Any:
            return self.envs.render()

    return RecSimVecEnv


def from_sb3(model: Any) -> StableBaselines3Agent:
    """A model that Stable-Baselines3 made or trained, as an agent; it stays the same model.

    Args:
        model: one of :data:`ALGORITHMS`, with Box spaces of one dimension.

    Raises:
        ImportError: Stable-Baselines3 cannot be imported.
        ValueError: it is another algorithm, or its observations are scaled by a ``VecNormalize``,
            which is no part of the model.
    """
    name = type(model).__name__
    known = _hyperparameters_of(name)
    normalizer = model.get_vec_normalize_env()
    if normalizer is not None and normalizer.norm_obs:  # of rewards it is done with
        raise ValueError(
            f"This {name} sees observations through a VecNormalize, which an agent does not have: "
            "train it with norm_obs=False; observations are in [-1, 1] already."
        )
    plain = {key: getattr(model, key) for key in known if type(getattr(model, key, 0)) in _PLAIN}
    networks = {key: value for key, value in model.policy_kwargs.items() if key != "use_sde"}
    hyperparameters = {**plain, "num_envs": model.n_envs, "policy_kwargs": networks}
    hyperparameters.pop("batch_size", None)
    seed = 0 if model.seed is None else model.seed
    dims = model.observation_space.shape[0], model.action_space.shape[0]
    return StableBaselines3Agent(model, AgentSpec(f"sb3:{name}", *dims, seed, hyperparameters))


def factory(algorithm: str) -> Factory:
    """The function that makes agents of an algorithm, such as ``"SAC"``: :func:`make`.

    Raises:
        ImportError: Stable-Baselines3 cannot be imported.
        ValueError: it is none of :data:`ALGORITHMS`; the nearest is suggested.
    """
    _hyperparameters_of(algorithm)
    return functools.partial(make, algorithm)


def make(
    algorithm: str,
    *,
    observation_dim: int,
    action_dim: int,
    seed: int,
    device: torch.device,
    num_envs: int = 16,
    **hyperparameters: Any,
) -> StableBaselines3Agent:
    """An untrained agent.

    Args:
        algorithm: one of :data:`ALGORITHMS`.
        observation_dim: o ≥ 1.
        action_dim: a ≥ 1.
        seed: integer in [0, 2**63) of initialisation, exploration and order.
        device: where it learns and acts.
        num_envs: the number of users that it serves at once, ≥ 1.
        **hyperparameters: of the algorithm's constructor. ``policy_kwargs`` is a dictionary,
            ``{"net_arch": [128, 128]}``.

    Raises:
        ImportError: Stable-Baselines3 cannot be imported.
        ValueError: an unknown algorithm or hyper-parameter (the nearest is suggested), or one that
            Stable-Baselines3 refuses.
    """
    known = _hyperparameters_of(algorithm)
    for key in hyperparameters:
        if key not in known:
            raise unknown_name(f"hyper-parameter of 'sb3:{algorithm}'", key, [*known, "num_envs"])
    check_integer("num_envs", num_envs, 1)
    spaces = functools.partial(_Spaces, observation_dim, action_dim)
    vec_envs = import_library("stable_baselines3.common.vec_env", EXTRA)
    with _own_draws(seed, device), warnings.catch_warnings():
        # PPO advises on a batch size that is no divisor of a rollout; it takes what is left.
        warnings.filterwarnings("ignore", "You have specified a mini-batch size", UserWarning)
        try:
            model = getattr(import_library("stable_baselines3", EXTRA), algorithm)(
                "MlpPolicy",
                vec_envs.DummyVecEnv([spaces] * num_envs),
                seed=seed % 2**32,
                device=device,
                **copy.deepcopy(hyperparameters),  # it writes into what it is given
            )
        except (AssertionError, TypeError, ValueError) as error:
            raise ValueError(
                f"Stable-Baselines3 makes no {algorithm} of {hyperparameters}: {error}"
            ) from error
    kept = {"num_envs": num_envs, **hyperparameters}
    spec = AgentSpec(f"sb3:{algorithm}", observation_dim, action_dim, seed, kept)
    return StableBaselines3Agent(model, spec)


class _Spaces(gym.Env[Any, Any]):
    """An environment of the right spaces alone: the real ones come when the algorithm learns."""

    def __init__(self, observation_dim: int, action_dim: int) -> None:
        box = gym.spaces.Box
        self.observation_space = box(-np.inf, np.inf, (observation_dim,), np.float32)
        self.action_space = box(-1.0, 1.0, (action_dim,), np.float32)


class StableBaselines3Agent:
    """An algorithm of Stable-Baselines3, which learns online; follows :class:`recsim_drpo.Agent`.

    It learns by :meth:`learn`, on environments, and refuses batches of a log. A checkpoint has its
    networks and optimisers: enough to act, and to go on with an empty replay buffer.

    Args:
        model: of :data:`ALGORITHMS`.
        spec: how it can be made again.
    """

    def __init__(self, model: Any, spec: AgentSpec) -> None:
        self.model, self.spec, self.device = model, spec, model.device

    @property
    def num_envs(self) -> int:
        """The number of environments that it learns on at once."""
        return int(self.model.n_envs)

    def learn(
        self,
        envs: WorldVectorEnv,
        steps: int,
        on_step: Callable[[int, Mapping[str, float]], None],
    ) -> dict[str, float]:
        """Learn online; users are those of the agent's seed.

        Args:
            envs: :attr:`num_envs` environments.
            steps: in all of them together; PPO goes on to the end of a rollout.
            on_step: called whenever all of them made a step, with the number of steps so far and
                the algorithm's latest metrics.

        Returns:
            the last metrics, ``reward`` among them: the mean of what the users paid last.

        Raises:
            TypeError, ValueError: the environments are other, or other in number or shape.
        """
        vec, model, spec = to_sb3(envs), self.model, self.spec
        shapes = vec.observation_space.shape, vec.action_space.shape, vec.num_envs
        expected = (spec.observation_dim,), (spec.action_dim,), self.num_envs
        if shapes != expected:
            raise ValueError(
                f"Environments of observations {shapes[0]} and actions {shapes[1]}, {shapes[2]} "
                f"of them; this agent was made for {expected[0]}, {expected[1]} and {expected[2]}."
            )
        library = import_library("stable_baselines3.common.logger", EXTRA)
        model.set_logger(library.Logger(folder=None, output_formats=[]))
        model.observation_space, model.action_space = vec.observation_space, vec.action_space

        reward = 0.0

        def metrics() -> dict[str, float]:
            logged = model.logger.name_to_value.items()
            named = {
                name.removeprefix("train/"): float(value)
                for name, value in logged
                if name.startswith("train/")
            }
            return named | {"reward": reward}

        def follow(local: dict[str, Any], _: object) -> bool:
            nonlocal reward
            reward = float(np.mean(local["rewards"]))
            on_step(model.num_timesteps, metrics())
            return True

        with _own_draws(spec.seed, self.device):
            model.set_env(vec)
            model.set_random_seed(spec.seed % 2**32)
            vec.seed(spec.seed)
            model.learn(steps, callback=follow, log_interval=None)
        return metrics()

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Raise ``TypeError``: it learns online, and the message says how."""
        raise TypeError(
            f"{self.spec.name} learns online, not from batches of a log: recsim-drpo train, "
            "recsim_drpo.training.online.train_online, or its method learn."
        )

    def act(self, observations: Tensor) -> Tensor:
        """The policy's deterministic actions, float32 (B, a), in [-1, 1].

        Args:
            observations: (B, o), a tensor or an array.

        Raises:
            ValueError: another shape.
        """
        inputs = as_observations(observations, self.spec.observation_dim, torch.device("cpu"))
        actions, _ = self.model.predict(inputs.numpy(), deterministic=True)
        return torch.as_tensor(actions, device=self.device)

    def state_dict(self) -> dict[str, Any]:
        """Copies of networks and optimisers by Stable-Baselines3's names, and the steps so far."""
        model = self.model
        _, variables = model._get_torch_save_params()
        return copy.deepcopy(
            {
                "modules": model.get_parameters(),
                "variables": {name: getattr(model, name).detach() for name in variables},
                "steps": model.num_timesteps,
            }
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.model.set_parameters(dict(state["modules"]))
        for name, value in state["variables"].items():
            getattr(self.model, name).data.copy_(value)
        self.model.num_timesteps = state["steps"]


def _hyperparameters_of(algorithm: str) -> list[str]:
    if algorithm not in ALGORITHMS:
        raise unknown_name("algorithm of Stable-Baselines3", algorithm, ALGORITHMS)
    constructor = getattr(import_library("stable_baselines3", EXTRA), algorithm).__init__
    return [
        name
        for name in inspect.signature(constructor).parameters
        if name not in _NOT_HYPERPARAMETERS
    ]


@contextmanager
def _own_draws(seed: int, device: torch.device) -> Iterator[None]:
    """Let Stable-Baselines3 seed and draw from global generators, and restore them afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
