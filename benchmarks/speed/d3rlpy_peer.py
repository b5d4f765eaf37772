"""BC and IQL of d3rlpy, as a peer: its own training loop on the same log.

Widths, batch size and learning rates are ours. What differs is d3rlpy's: its stochastic BC has a
network for log σ as well and descends the squared error of a draw; its buffer collects a batch
transition by transition.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

from recsim_drpo.agents.algorithms.bc import BCConfig
from recsim_drpo.agents.algorithms.iql import IQLConfig
from recsim_drpo.core.transitions import Batch

AGENTS = ("bc", "iql")
_FOREVER = 10**9


def available() -> bool:
    """Whether d3rlpy is installed."""
    return importlib.util.find_spec("d3rlpy") is not None


class D3rlpyTraining:
    """One of its agents in the middle of ``fit``.

    Args:
        name: of :data:`AGENTS`.
        log: all transitions, each an episode of its own that ended.
        batch_size: transitions of an update.
        steps: updates in a call of :meth:`run`.
    """

    def __init__(self, name: str, log: Batch, batch_size: int, steps: int) -> None:
        import d3rlpy
        import structlog

        # It reports every epoch; a call of `run` is one.
        level = structlog.make_filtering_bound_logger(logging.ERROR)
        structlog.configure(wrapper_class=level)
        buffer = _buffer(log)
        self._steps = steps
        self._batch = buffer.sample_transition_batch(batch_size)
        self._agent = _config(name, batch_size).create(device="cpu")
        # `fit` is this generator read to its end, and an epoch is what lies between two items.
        self._epochs = self._agent.fitter(
            buffer,
            n_steps=_FOREVER * steps,
            n_steps_per_epoch=steps,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
            show_progress=False,
        )

    def run(self) -> None:
        """The next ``steps`` updates of ``fit``; the first call makes the networks as well."""
        next(self._epochs)

    def run_without_drawing(self) -> None:
        """As many updates on a batch that was drawn before."""
        for _ in range(self._steps):
            self._agent.update(self._batch)


def _config(name: str, batch_size: int) -> Any:
    import d3rlpy

    def encoder() -> Any:
        return d3rlpy.models.VectorEncoderFactory(hidden_units=[BCConfig().hidden_dim] * 2)

    if name == "bc":
        return d3rlpy.algos.BCConfig(
            policy_type="stochastic",
            batch_size=batch_size,
            learning_rate=BCConfig().learning_rate,
            encoder_factory=encoder(),
        )
    ours = IQLConfig()
    return d3rlpy.algos.IQLConfig(
        batch_size=batch_size,
        actor_learning_rate=ours.learning_rate,
        critic_learning_rate=ours.learning_rate,
        actor_encoder_factory=encoder(),
        critic_encoder_factory=encoder(),
        value_encoder_factory=encoder(),
        gamma=ours.discount,
        tau=ours.polyak,
        expectile=ours.tau,
        weight_temp=1.0 / ours.beta,
        max_weight=ours.max_weight,
    )


def _buffer(log: Batch) -> Any:
    from d3rlpy.constants import ActionSpace
    from d3rlpy.dataset import Episode, InfiniteBuffer, ReplayBuffer

    columns = (column.numpy()[:, None] for column in (log.observations, log.actions))
    episodes = [
        Episode(observation, action, reward, terminated=True)
        for observation, action, reward in zip(
            *columns, log.rewards.numpy()[:, None, None], strict=True
        )
    ]
    return ReplayBuffer(
        InfiniteBuffer(),
        episodes=episodes,
        action_space=ActionSpace.CONTINUOUS,
        action_size=log.actions.shape[1],
    )
