"""d3rlpy: our logs as its replay buffer, and its algorithms as agents (docs/libraries/d3rlpy.md).

Source: Seno and Imai, *d3rlpy: An Offline Deep Reinforcement Learning Library*, JMLR 2022.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from minari import MinariDataset
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.adapters import import_library
from recsim_drpo.agents.plugins import Factory
from recsim_drpo.agents.registry import AgentSpec
from recsim_drpo.core.messages import shown
from recsim_drpo.core.policy import as_observations
from recsim_drpo.core.transitions import Batch, Transitions, check_batch
from recsim_drpo.core.validation import check_flag, check_integer, check_number, unknown_name
from recsim_drpo.datasets.load import as_transitions

EXTRA = "d3rlpy"
_SCALERS = ("observation_scaler", "action_scaler", "reward_scaler")
# Algorithms that learn from more than a batch, and from what. Of rounds that end after one step the
# first two need nothing more.
_BEYOND = {
    "CalQL": "the return to come",
    "ReBRAC": "the action that was taken next",
    "PRDC": "its neighbours in the whole log",
}


def to_d3rlpy(dataset: str | MinariDataset | Transitions) -> Any:
    """A log as d3rlpy's replay buffer, each transition with its own next observation.

    d3rlpy's own ``get_minari`` counts an observation for each action, where Minari keeps one more
    an episode: from the second episode on its actions belong to other observations.

    d3rlpy drops the last transition of an episode that was cut off, whose next observation it has
    nowhere to keep. Here such an episode has one step more, of the action 0 and the reward 0, which
    keeps it and is no transition itself.

    Args:
        dataset: a Minari dataset with Box spaces, the id of a local one, or what was read of it.

    Returns:
        a ``d3rlpy.dataset.ReplayBuffer`` of as many transitions as the log has, in its order, with
        float32 observations (o,), actions (a,) and rewards (1,).

    Raises:
        ImportError: d3rlpy cannot be imported.
        FileNotFoundError, ValueError: as :func:`recsim_drpo.load_transitions`.
    """
    library = import_library("d3rlpy", EXTRA)
    log = as_transitions(dataset)
    batch = log.as_batch()
    observations, actions, rewards, following = (
        column.cpu().numpy()
        for column in (batch.observations, batch.actions, batch.rewards, batch.next_observations)
    )
    terminations = batch.terminations.cpu().numpy()
    ends = log.episode_ends.cpu().nonzero().squeeze(1).add(1).tolist()
    episodes = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        parts = [column[start:end] for column in (observations, actions, rewards[:, None])]
        terminated = bool(terminations[end - 1])
        if not terminated:
            beyond = (following[end - 1], 0.0, 0.0)
            parts = [_with_row(part, row) for part, row in zip(parts, beyond, strict=True)]
        episodes.append(library.dataset.Episode(*parts, terminated=terminated))
    return library.dataset.ReplayBuffer(
        library.dataset.InfiniteBuffer(),
        episodes=episodes,
        action_space=library.ActionSpace.CONTINUOUS,
        action_size=log.action_dim,
    )


def _with_row(rows: NDArray[np.float32], row: NDArray[np.float32] | float) -> NDArray[np.float32]:
    return np.concatenate([rows, np.broadcast_to(np.float32(row), (1, *rows.shape[1:]))])


def from_d3rlpy(algorithm: Any) -> D3rlpyAgent:
    """An algorithm that d3rlpy trained, as an agent; it stays the same algorithm.

    Args:
        algorithm: of continuous actions, which has been trained, or built otherwise.

    Raises:
        ImportError: d3rlpy cannot be imported.
        ValueError: it is none of those, or has no networks yet.
    """
    name = type(algorithm).__name__
    _config_class(name)
    if algorithm.impl is None:
        raise ValueError(f"This {name} has no networks yet: train it by fit, or build it.")
    dims = math.prod(algorithm.observation_shape), algorithm.action_size
    hyperparameters = algorithm.config.serialize_to_dict()
    del hyperparameters["batch_size"]
    return D3rlpyAgent(algorithm, AgentSpec(f"d3rlpy:{name}", *dims, 0, hyperparameters))


def factory(algorithm: str) -> Factory:
    """The function that makes agents of an algorithm of d3rlpy, such as ``"IQL"``: :func:`make`.

    Raises:
        ImportError: d3rlpy cannot be imported.
        ValueError: it has no such algorithm of continuous actions; the nearest is suggested.
    """
    _config_class(algorithm)
    return functools.partial(make, algorithm)


def make(
    algorithm: str,
    *,
    observation_dim: int,
    action_dim: int,
    seed: int,
    device: torch.device,
    **hyperparameters: Any,
) -> D3rlpyAgent:
    """An untrained agent.

    Args:
        algorithm: its name in ``d3rlpy.algos``.
        observation_dim: o ≥ 1.
        action_dim: a ≥ 1.
        seed: integer in [0, 2**63).
        device: where it learns and acts.
        **hyperparameters: fields of d3rlpy's ``…Config``, but for ``batch_size``. Encoders,
            optimisers and scalers in the form in which d3rlpy keeps them,
            ``{"type": "vector", "params": {"hidden_units": [128, 128]}}``.

    Raises:
        ImportError: d3rlpy cannot be imported.
        ValueError: an unknown algorithm or hyper-parameter (the nearest is suggested), one of the
            wrong kind, or a scaler without its numbers.
    """
    made = _config(algorithm, hyperparameters).create(device=str(device))
    with _own_draws(seed, -1, device):
        made.create_impl((observation_dim,), action_dim)
    name = f"d3rlpy:{algorithm}"
    return D3rlpyAgent(made, AgentSpec(name, observation_dim, action_dim, seed, hyperparameters))


class D3rlpyAgent:
    """An algorithm of d3rlpy that learns from our batches; follows :class:`recsim_drpo.Agent`.

    An update is d3rlpy's own, on the same device. Its random numbers are a function of seed and
    update, so what goes on after a checkpoint goes on to the bit.

    Args:
        algorithm: with its networks.
        spec: how it can be made again.
    """

    def __init__(self, algorithm: Any, spec: AgentSpec) -> None:
        self.algorithm, self.spec = algorithm, spec
        self.device = torch.device(algorithm.impl.device)
        self._batches = import_library("d3rlpy.torch_utility", EXTRA).TorchMiniBatch
        self._beyond = _BEYOND.get(type(algorithm).__name__)
        self._needs_log = type(algorithm).__name__ == "PRDC"

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One update of the algorithm; returns its metrics.

        Raises:
            ValueError: the batch's shapes do not fit; the algorithm looks further than a batch
                does, as few do.
        """
        spec = self.spec
        check_batch(batch, spec.observation_dim, spec.action_dim)
        if self._beyond and (self._needs_log or not bool(batch.terminations.all())):
            raise ValueError(
                f"{spec.name} needs {self._beyond}, which this batch does not have: train it by "
                "d3rlpy's fit on to_d3rlpy(dataset), then from_d3rlpy(algorithm)."
            )
        rewards = self._scaled("reward_scaler", batch.rewards.unsqueeze(1))
        actions = self._scaled("action_scaler", batch.actions)
        mini = self._batches(
            observations=self._scaled("observation_scaler", batch.observations),
            actions=actions,
            rewards=rewards,
            next_observations=self._scaled("observation_scaler", batch.next_observations),
            next_actions=torch.zeros_like(actions),
            returns_to_go=rewards,  # of a round that ends; asked for nowhere else
            terminals=batch.terminations.unsqueeze(1).to(rewards.dtype),
            intervals=torch.ones_like(rewards),
            device=str(self.device),
        )
        step = self.algorithm.grad_step
        with _own_draws(spec.seed, step, self.device):
            metrics = self.algorithm.impl.update(mini, step)
        self.algorithm.set_grad_step(step + 1)
        return {name: torch.tensor(value) for name, value in metrics.items()}

    def act(self, observations: Tensor) -> Tensor:
        """The actions that the algorithm holds best, float32 (B, a), in [-1, 1].

        Args:
            observations: (B, o), a tensor or an array.

        Raises:
            ValueError: another shape.
        """
        inputs = as_observations(observations, self.spec.observation_dim, self.device)
        with torch.no_grad():
            inputs = self._scaled("observation_scaler", inputs)
            actions: Tensor = self.algorithm.impl.predict_best_action(inputs)
            scaler = self.algorithm.config.action_scaler
            return actions if scaler is None else scaler.reverse_transform(actions)

    def state_dict(self) -> dict[str, Any]:
        """Copies of networks and optimisers by d3rlpy's names, and the number of updates."""
        return copy.deepcopy(_state_of(self.algorithm))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for name, module in _modules_of(self.algorithm).items():
            module.load_state_dict(state["modules"][name])
        self.algorithm.set_grad_step(state["grad_step"])

    def _scaled(self, scaler: str, values: Tensor) -> Tensor:
        transformer = getattr(self.algorithm.config, scaler)
        scaled: Tensor = values if transformer is None else transformer.transform(values)
        return scaled


@contextmanager
def _own_draws(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Seed torch's own generators, from which d3rlpy draws, by seed and step; then restore them."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(hash((seed, step)))
        yield


def _state_of(algorithm: Any) -> dict[str, Any]:
    modules = {name: module.state_dict() for name, module in _modules_of(algorithm).items()}
    return {"modules": modules, "grad_step": algorithm.grad_step}


def _modules_of(algorithm: Any) -> dict[str, Any]:
    """Networks and optimisers by name, as d3rlpy's own checkpoints have them."""
    modules: dict[str, Any] = algorithm.impl.modules.create_checkpointer(
        algorithm.impl.device
    ).modules
    return modules


@functools.cache
def algorithms() -> dict[str, Any]:
    """The configurations of algorithms that learn continuous actions by batches, by name."""
    library = import_library("d3rlpy", EXTRA)
    base, continuous = library.algos.QLearningAlgoBase, library.ActionSpace.CONTINUOUS
    configs = {}
    for name, cls in vars(library.algos).items():
        config = vars(library.algos).get(f"{name}Config")
        # RandomPolicy is there to be compared with, and cannot be trained.
        if config is None or not issubclass(cls, base) or name == "RandomPolicy":
            continue
        if config().create(device="cpu:0").get_action_type() == continuous:
            configs[name] = config
    return configs


def _config_class(algorithm: str) -> Any:
    known = algorithms()
    if algorithm not in known:
        raise unknown_name("continuous algorithm of d3rlpy", algorithm, known)
    return known[algorithm]


def _config(algorithm: str, hyperparameters: Mapping[str, Any]) -> Any:
    """The algorithm's configuration, every value checked to be of the kind of its default."""
    cls = _config_class(algorithm)
    defaults = cls()
    known = [field.name for field in dataclasses.fields(cls) if field.name != "batch_size"]
    for name, value in hyperparameters.items():
        if name not in known:
            raise unknown_name(f"hyper-parameter of 'd3rlpy:{algorithm}'", name, known)
        _check_kind(name, value, getattr(defaults, name))
    config = cls.deserialize_from_dict(defaults.serialize_to_dict() | dict(hyperparameters))
    for name in _SCALERS:
        scaler = getattr(config, name)
        if scaler is not None and not scaler.built:
            raise ValueError(
                f"{name}={shown(hyperparameters[name])} has no numbers, and an agent that sees "
                "batches "
                'alone cannot find them: give them in its "params".'
            )
    return config


def _check_kind(name: str, value: Any, default: Any) -> None:
    if isinstance(default, bool):
        check_flag(name, value)
    elif isinstance(default, int):
        check_integer(name, value, 0)
    elif isinstance(default, float):
        check_number(name, value, -math.inf)
    elif isinstance(default, str):
        if not isinstance(value, str):
            raise ValueError(f"{name}={shown(value)} is not text, such as {shown(default)}.")
    elif value is not None and not (isinstance(value, Mapping) and {"type", "params"} <= {*value}):
        raise ValueError(
            f"{name}={shown(value)} is not in d3rlpy's form: "
            '{"type": "vector", "params": {"hidden_units": [128, 128]}}, for example.'
        )
