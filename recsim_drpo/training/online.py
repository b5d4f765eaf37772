"""Train agents that learn online, in the environment that a log is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeGuard

import torch
from gymnasium.envs.registration import EnvSpec
from tqdm import tqdm

from recsim_drpo.agents.protocol import Agent
from recsim_drpo.agents.registry import make_agent
from recsim_drpo.core.messages import shown
from recsim_drpo.core.policy import PolicyEvaluator
from recsim_drpo.core.torch_settings import resolve_device
from recsim_drpo.core.validation import check_seeds
from recsim_drpo.envs.base import WorldVectorEnv
from recsim_drpo.envs.registration import ENVIRONMENTS
from recsim_drpo.envs.spec import WorldSpec
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import DivergedError, Row, check_row
from recsim_drpo.training.sweep import Callbacks, Run, Trained


class OnlineAgent(Agent, Protocol):
    """An agent that learns online: what every agent has, and ``num_envs`` and ``learn``.

    Its ``update`` may refuse. :func:`train_online` makes it with the hyper-parameter
    ``batch_size``.
    """

    @property
    def num_envs(self) -> int:
        """The number of environments that it learns on at once."""
        ...

    def learn(
        self,
        envs: WorldVectorEnv,
        steps: int,
        on_step: Callable[[int, Mapping[str, float]], None],
    ) -> Mapping[str, float]:
        """Learn for ``steps`` steps of the environments together, or a little more.

        Calls ``on_step`` with the number of steps so far and metrics as it goes; returns the last.
        """
        ...


def learns_online(agent: object) -> TypeGuard[OnlineAgent]:
    """Whether an agent has ``learn`` and ``num_envs``."""
    return callable(getattr(agent, "learn", None)) and hasattr(agent, "num_envs")


def train_online(
    name: str,
    hyperparameters: Mapping[str, Any],
    spec: EnvSpec | None,
    config: TrainingConfig | None = None,
    *,
    seeds: Sequence[int] = (0,),
    device: str | torch.device = "cpu",
    evaluator: PolicyEvaluator | None = None,
    on_log: Callable[[Run, Row], None] | None = None,
    on_done: Callable[[Trained], None] | None = None,
    progress: bool = True,
) -> list[Trained]:
    """Train an agent online: the reference for those that learn from a log alone.

    Args:
        name: of an agent that learns online, such as ``"sb3:SAC"``.
        hyperparameters: of the agent; ``batch_size`` may be among them.
        spec: of the environment, for example of a dataset, ``dataset.spec.env_spec``; its users are
            those of the training split.
        config: see :class:`recsim_drpo.training.config.TrainingConfig`; its steps are those of the
            environments, of all users together.
        seeds: different integers in [0, 2**63), of the agent and of the users it meets.
        device: where the agent and the environments compute.
        evaluator: users to follow the learning on, at step 0 too.
        on_log: called with the run and each row of its history.
        on_done: called with each run when it is done.
        progress: show rate and time left on a terminal.

    Returns:
        the outcome of each run. A history has the mean observed ``reward`` of the users served last
        beside the agent's metrics.

    Raises:
        ValueError: the environment is not ours; an unknown agent or hyper-parameter.
        TypeError: the agent does not learn online.
    """
    config = TrainingConfig() if config is None else config
    world_spec = WorldSpec.of(spec)
    if world_spec is None:
        raise ValueError(
            f"{name} learns online, in {' or '.join(ENVIRONMENTS)}, but the log is of "
            f"{'no environment that it names' if spec is None else spec.id}."
        )
    where = resolve_device(device)
    callbacks = Callbacks(evaluator, on_log, on_done, progress)
    outcomes = []
    for seed in check_seeds(list(seeds)):
        run = Run(name, seed, dict(hyperparameters))
        outcomes.append(_train_run(run, world_spec, config, where, callbacks))
        callbacks.done(outcomes[-1])
    return outcomes


def _train_run(
    run: Run, spec: WorldSpec, config: TrainingConfig, device: torch.device, callbacks: Callbacks
) -> Trained:
    # One environment to read the dimensions off, which the agent needs to be made.
    space = spec.make_vec(1, device)
    dims = space.single_observation_space.shape[0], space.single_action_space.shape[0]
    agent = make_agent(
        run.agent,
        observation_dim=dims[0],
        action_dim=dims[1],
        seed=run.seed,
        device=device,
        **{"batch_size": config.batch_size, **run.overrides},
    )
    if not learns_online(agent):
        raise TypeError(f"{shown(run.agent)} does not learn online: it has no method 'learn'.")
    label, diverged_at = f"{run.agent}, seed {run.seed}", None
    hidden = None if callbacks.progress else True
    with tqdm(total=config.steps, desc=label, unit="step", disable=hidden) as bar:
        follower = _Follower(run, agent, config, callbacks, bar)
        try:
            if callbacks.evaluator is not None:
                follower.log(0, {}, evaluated=True)
            envs = spec.make_vec(agent.num_envs, device)
            metrics = agent.learn(envs, config.steps, follower.on_step)
            follower.log(follower.step, metrics, evaluated=True)
        except DivergedError as error:
            tqdm.write(f"{label}: {error}")
            diverged_at = error.step
    return Trained(run, dims, {}, agent, follower.history, diverged_at)


class _Follower:
    """The history of a run as it grows: a row whenever one is due."""

    def __init__(
        self, run: Run, agent: OnlineAgent, config: TrainingConfig, callbacks: Callbacks, bar: tqdm
    ) -> None:
        self.history: list[Row] = []
        self.step = 0
        self._run, self._agent, self._config = run, agent, config
        self._callbacks, self._bar = callbacks, bar

    def log(self, step: int, metrics: Mapping[str, float], *, evaluated: bool) -> None:
        """Add a row; raises :class:`DivergedError` where it is not finite."""
        row: Row = {"step": float(step), **metrics}
        if self._callbacks.evaluator is not None and evaluated:
            row |= self._callbacks.evaluator(self._agent).headline()
        self.history.append(row)
        self._callbacks.log(self._run, row)
        check_row(row, step, self.history)

    def on_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note that the environments have made so many steps together."""
        config = self._config
        logged, evaluated = (
            step // every > self.step // every
            for every in (config.log_every, config.evaluate_every)
        )
        self._bar.update(step - self.step)
        self.step = step
        if step < config.steps and (logged or evaluated):  # the last row is of what it became
            self.log(step, metrics, evaluated=evaluated)
