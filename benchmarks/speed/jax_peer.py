"""BC, IQL and DRPO in JAX, as a peer: ``vmap`` over learners of a ``lax.scan`` over updates.

The same losses, Adam, targets and uniform sampling as :mod:`recsim_drpo.agents`, written as one
would for XLA; :func:`disagreement` says how far the two are from the same computation. Parameters
have our names; weights are (in, out), as is natural there.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from recsim_drpo.agents.algorithms.bc import BCConfig
from recsim_drpo.agents.algorithms.drpo import DRPOConfig
from recsim_drpo.agents.algorithms.filtering import STD_EPSILON
from recsim_drpo.agents.algorithms.iql import IQLConfig
from recsim_drpo.agents.engine.initial import init_parameters
from recsim_drpo.agents.engine.networks import LOG_STD_RANGE
from recsim_drpo.agents.registry import ALGORITHMS
from recsim_drpo.core.transitions import Batch

if importlib.util.find_spec("jax") is not None:  # an extra: without it, nothing here is called
    import jax
    import jax.numpy as jnp

Arrays = dict[str, Any]
AGENTS = ("bc", "iql", "drpo")
_BC, _IQL, _DRPO = BCConfig(), IQLConfig(), DRPOConfig()
_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def available() -> bool:
    """Whether JAX is installed."""
    return importlib.util.find_spec("jax") is not None


class JaxLearner(NamedTuple):
    """State of a learner: parameters, Adam's moments, target networks or κ, updates so far."""

    parameters: Arrays
    exp_avg: Arrays
    exp_avg_sq: Arrays
    targets: Arrays
    step: Any


def network(parameters: Arrays, name: str, inputs: Any) -> Any:
    """Outputs (B, out) for inputs (B, in) of the network called ``name``, two hidden layers."""
    hidden = inputs
    for layer in range(3):
        hidden = hidden @ parameters[f"{name}.weight_{layer}"] + parameters[f"{name}.bias_{layer}"]
        if layer < 2:
            hidden = jax.nn.relu(hidden)
    return hidden


def log_prob(parameters: Arrays, batch: Batch) -> Any:
    """log π(a | s), (B,)."""
    log_std = parameters["log_std"]
    z = (batch.actions - network(parameters, "policy", batch.observations)) * jnp.exp(-log_std)
    return -(0.5 * z * z + log_std + _HALF_LOG_TWO_PI).sum(-1)


def bc_loss(parameters: Arrays, targets: Arrays, batch: Batch) -> tuple[Any, Arrays]:
    """The loss, scalar, of :mod:`recsim_drpo.agents.algorithms.bc`; the next targets."""
    return -log_prob(parameters, batch).mean(), targets


def iql_loss(parameters: Arrays, targets: Arrays, batch: Batch) -> tuple[Any, Arrays]:
    """The loss, scalar, of :mod:`recsim_drpo.agents.algorithms.iql`; its targets, unmoved."""
    joint = jnp.concatenate((batch.observations, batch.actions), -1)
    best = jnp.minimum(network(targets, "q1", joint), network(targets, "q2", joint))[:, 0]
    gap = best - network(parameters, "value", batch.observations)[:, 0]
    value_loss = (jnp.abs(_IQL.tau - (gap < 0)) * gap * gap).mean()
    following = jax.lax.stop_gradient(network(parameters, "value", batch.next_observations)[:, 0])
    goal = batch.rewards + _IQL.discount * jnp.where(batch.terminations, 0.0, following)
    q_loss = sum(
        ((goal - network(parameters, name, joint)[:, 0]) ** 2).mean() for name in ("q1", "q2")
    )
    weights = jnp.minimum(jnp.exp(jax.lax.stop_gradient(gap) / _IQL.beta), _IQL.max_weight)
    return value_loss + q_loss - (weights * log_prob(parameters, batch)).mean(), targets


def drpo_loss(parameters: Arrays, targets: Arrays, batch: Batch) -> tuple[Any, Arrays]:
    """The loss, scalar, of :mod:`recsim_drpo.agents.algorithms.drpo`; the next κ."""
    rewards, kappa = batch.rewards, targets["kappa"]

    def std(weights: Any) -> Any:
        mean = (weights * rewards).sum() / weights.sum()
        variance = (weights * (rewards - mean) ** 2).sum() / weights.sum()
        return jnp.sqrt(variance) + STD_EPSILON

    count = jnp.clip(jnp.floor(kappa * len(rewards)), 1, len(rewards))
    threshold = jnp.sort(rewards)[len(rewards) - count.astype(int)]
    above, equal = rewards > threshold, rewards == threshold
    admitted = above + equal * (count - above.sum()) / equal.sum()
    weights = admitted * (rewards - threshold) / std(admitted)
    loss = -(weights * log_prob(parameters, batch)).sum() / admitted.sum()
    is_narrow = std(admitted) < _DRPO.target_ratio * std(jnp.ones_like(rewards))
    rate = jnp.where(is_narrow, _DRPO.relax_rate, _DRPO.tighten_rate)
    return loss, {"kappa": jnp.clip(kappa * rate, _DRPO.min_kappa, 1.0)}


LOSSES: dict[str, Callable[[Arrays, Arrays, Batch], tuple[Any, Arrays]]] = {
    "bc": bc_loss,
    "iql": iql_loss,
    "drpo": drpo_loss,
}


def update(name: str, learner: JaxLearner, batch: Batch) -> JaxLearner:
    """The learner after one step of Adam, and of the targets where there are any."""
    differentiated = jax.grad(LOSSES[name], has_aux=True)
    gradients, following = differentiated(learner.parameters, learner.targets, batch)
    step = learner.step + 1
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, learner.exp_avg, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, learner.exp_avg_sq, gradients)
    length = _BC.learning_rate / (1.0 - 0.9**step)
    scale = 1.0 / (1.0 - 0.999**step)
    parameters = jax.tree.map(
        lambda p, m, v: p - length * m / (jnp.sqrt(v * scale) + 1e-8),
        learner.parameters,
        first,
        second,
    )
    parameters["log_std"] = jnp.clip(parameters["log_std"], *LOG_STD_RANGE)
    targets = {
        key: old + _IQL.polyak * (parameters[key] - old) if key in parameters else old
        for key, old in following.items()
    }
    return JaxLearner(parameters, first, second, targets, step)


def make_learner(name: str, seed: int, observation_dim: int, action_dim: int) -> JaxLearner:
    """A learner that starts as this package's agent of that seed does."""
    algorithm = ALGORITHMS[name]
    fresh = init_parameters(algorithm, observation_dim, action_dim, algorithm.config(), seed)
    parameters = _to_jax(fresh)
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    targets = {key: array for key, array in parameters.items() if key.startswith("q")}
    if name == "drpo":
        targets["kappa"] = jnp.float32(_DRPO.initial_kappa)
    return JaxLearner(parameters, zeros, zeros, targets, jnp.float32(0.0))


class JaxFleet:
    """Learners that train as one compiled computation, which draws its batches itself.

    Args:
        name: of :data:`AGENTS`.
        size: learners L.
        log: all transitions.
        batch_size: transitions of an update.
        steps: updates of each learner in a call.
    """

    def __init__(self, name: str, size: int, log: Batch, batch_size: int, steps: int) -> None:
        data = to_jax_batch(log)
        count = len(log.rewards)

        def move(learner: JaxLearner, key: Any, data: Batch) -> JaxLearner:
            def advance(learner: JaxLearner, key: Any) -> tuple[JaxLearner, None]:
                rows = jax.random.randint(key, (batch_size,), 0, count)
                drawn = jax.tree.map(lambda column: column[rows], data)
                return update(name, learner, drawn), None

            moved: JaxLearner = jax.lax.scan(advance, learner, jax.random.split(key, steps))[0]
            return moved

        self._move = jax.jit(jax.vmap(move, in_axes=(0, 0, None)))
        self._data = data
        self._key = jax.random.PRNGKey(0)
        dims = log.observations.shape[1], log.actions.shape[1]
        each = [make_learner(name, seed, *dims) for seed in range(size)]
        self.learner: JaxLearner = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    def run(self) -> None:
        """Move every learner on by ``steps`` updates, and wait for them."""
        self._key, drawn = jax.random.split(self._key)
        keys = jax.random.split(drawn, len(self.learner.step))
        self.learner = jax.block_until_ready(self._move(self.learner, keys, self._data))


def disagreement(name: str) -> float:
    """The largest difference of loss and gradients to ours, relative to their size.

    On a batch of which some transitions are not terminal, with targets that are not the networks.
    """
    generator = torch.Generator().manual_seed(0)
    size, observation_dim, action_dim = 64, 10, 16
    batch = Batch(
        torch.rand(size, observation_dim, generator=generator),
        torch.rand(size, action_dim, generator=generator),
        torch.rand(size, generator=generator),
        torch.rand(size, observation_dim, generator=generator),
        torch.rand(size, generator=generator) < 0.5,
    )
    algorithm = ALGORITHMS[name]
    config = algorithm.config()
    ours, others = (
        init_parameters(algorithm, observation_dim, action_dim, config, seed) for seed in (0, 1)
    )
    state = algorithm.init_state(others, config)
    leaves = {key: tensor.requires_grad_() for key, tensor in ours.items()}
    loss = algorithm.loss(leaves, state, batch, {}, config).loss
    ours_by_torch = torch.autograd.grad(loss, list(leaves.values()))
    targets = _to_jax({key.removeprefix("target."): tensor for key, tensor in state.items()})
    differentiated = jax.value_and_grad(LOSSES[name], has_aux=True)
    (value, _), gradients = differentiated(_to_jax(ours), targets, to_jax_batch(batch))
    expected = [
        jnp.asarray(loss.item()),
        *_to_jax(dict(zip(leaves, ours_by_torch, strict=True))).values(),
    ]
    return _largest_difference(expected, [value, *(gradients[key] for key in leaves)])


def _largest_difference(expected: Sequence[Any], actual: Sequence[Any]) -> float:
    return max(
        float(jnp.abs(a - b).max() / jnp.abs(a).max())
        for a, b in zip(expected, actual, strict=True)
    )


def to_jax_batch(batch: Batch) -> Batch:
    """The five columns as arrays of JAX."""
    return Batch(*(jnp.asarray(column.numpy()) for column in batch[:5]))


def _to_jax(parameters: dict[str, torch.Tensor]) -> Arrays:
    return {
        name: jnp.asarray((tensor.T if tensor.ndim == 2 else tensor).detach().numpy())
        for name, tensor in parameters.items()
    }
