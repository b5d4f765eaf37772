"""RecSimZipfSession-v0: its scalar and its natively vectorised environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.envs.base import Floats, Scene, WorldEnv, WorldVectorEnv, as_actions, spaces_of
from recsim_drpo.simulator.sessions import Sessions, make_sessions

SESSION_INFO_KEYS = ("item_id", "topic", "latent_reward", "oracle_reward")


def session_spaces_of(sessions: Sessions) -> tuple[Any, Any]:
    """Observation space, contexts in [-1, 1] and exposure in [0, 1], and action space."""
    contexts, actions = spaces_of(sessions.world)
    least = np.zeros(sessions.world.num_topics, dtype=np.float32)
    low, high = np.concatenate([contexts.low, least]), np.concatenate([contexts.high, least + 1.0])
    return gym.spaces.Box(low, high, dtype=np.float32), actions


class _Running:
    """Running sessions of num_envs users, in lockstep."""

    def __init__(self, sessions: Sessions, split: str) -> None:
        self._sessions = sessions
        self._split = split
        self.observations: Tensor | None = None

    def begin(self, seeds: Tensor, episodes: Tensor) -> Tensor:
        """First observations (B, o) of these sessions, which begin everywhere."""
        self._seeds, self._episodes = seeds.clone(), episodes.clone()
        self._steps = torch.zeros_like(episodes)
        self.observations = self._sessions.begin(self._split, seeds, episodes)
        return self.observations

    def begin_next(self, rows: Tensor) -> None:
        """Begin the next session in some rows, int64 (b,)."""
        assert self.observations is not None
        self._episodes[rows] += 1
        self._steps[rows] = 0
        self.observations = self.observations.clone()
        self.observations[rows] = self._sessions.begin(
            self._split, self._seeds[rows], self._episodes[rows]
        )

    def step(
        self, actions: Tensor
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, NDArray[Any]]]:
        """Observed rewards, terminations, truncations and info columns of a step, each (B,)."""
        assert self.observations is not None
        sessions, before = self._sessions, self.observations
        items = sessions.world.decode(actions)
        luck = sessions.luck(self._split, self._seeds, self._episodes, self._steps)
        outcome = sessions.step(before, items, luck)
        oracle = sessions.latent_reward(sessions.best_items(before), before)
        self._steps += 1
        self.observations = outcome.observations
        terminated = outcome.left.cpu().numpy()
        truncated = ~terminated & (self._steps >= sessions.config.max_steps).numpy()
        columns = (items, outcome.topics, outcome.latent, oracle)
        infos = {
            key: column.cpu().numpy()
            for key, column in zip(SESSION_INFO_KEYS, columns, strict=True)
        }
        return outcome.observed.cpu().numpy().astype(np.float64), terminated, truncated, infos


class RecSimZipfSessionEnv(WorldEnv):
    """Recommendation to simulated users who stay for a session, or leave.

    ## Description
    The world of :class:`.bandit.RecSimZipfEnv` in sessions: what is shown moves the user's
    interest towards its topic, satiates the topic, and decides whether the user stays. What is best
    now is not what is best for the session. docs/sessions.md has the model in formulas.

    ## Action Space
    As in ``RecSimZipf-v0``: ``Box(-1, 1, (d,), float32)``, the embedding to search with. An action
    with a NaN or infinite component shows no item (``item_id`` and ``topic`` -1) and earns 0.

    ## Observation Space
    ``Box(low, 1, (context_dim + num_topics,), float32)``: the context, in [-1, 1], which stays, and
    the exposure to each topic, in [0, 1]. Everything is a function of it and of the action.

    ## Rewards
    In [0, 1]: clip(R + σ_noise ε, 0, 1) where R is the reward of ``RecSimZipf-v0`` at the interest
    that the user has now, less what satiation takes.

    ## Starting State
    A user drawn anew, the same as ``RecSimZipf-v0`` would have drawn, nothing shown yet. After
    ``reset(seed=s)`` sessions are a function of ``(split, s, episode)`` and of the actions.

    ## Episode End
    ``terminated=True`` when the user leaves; ``truncated=True`` where after ``max_steps`` steps the
    user is still there.

    ## Information
    ``step`` returns ``item_id`` and ``topic`` (int), ``latent_reward`` (float, R before noise) and
    ``oracle_reward`` (float, the largest R that was to be had in this step). ``reset`` returns the
    same keys, with -1 and NaN: nothing is shown yet.

    ## Arguments
    Those of ``RecSimZipf-v0``, and every field of :class:`.sessions.SessionConfig`.

    ```python
    import gymnasium as gym
    import recsim_drpo

    env = gym.make("RecSimZipfSession-v0", max_steps=20)
    envs = gym.make_vec("RecSimZipfSession-v0", 1024, vectorization_mode="vector_entry_point")
    ```

    ## Version History
    * v0: first release.
    """

    info_keys = SESSION_INFO_KEYS

    def __init__(
        self,
        *,
        render_mode: str | None = None,
        split: str = "train",
        device: str = "cpu",
        **sessions: Any,
    ) -> None:
        super().__init__(render_mode, split)
        self.sessions = make_sessions(device, **sessions)
        self.world = self.sessions.world
        self.observation_space, self.action_space = session_spaces_of(self.sessions)
        self._running = _Running(self.sessions, split)
        self._over = True

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Recommend the item that ``action`` decodes to.

        Args:
            action: numbers (d,).

        Returns:
            observation float32 (context_dim + num_topics,); observed reward; whether the user left;
            whether the session was cut off; info.

        Raises:
            ValueError: an action of another shape, or not of numbers.
            ResetNeeded: no session is running.
        """
        before = self._running.observations
        if self._over or before is None:
            raise gym.error.ResetNeeded("No session is running: call reset() before step().")
        actions = as_actions(action, self.action_space.shape or (), self.world).unsqueeze(0)
        rewards, terminated, truncated, infos = self._running.step(actions)
        self._scene = Scene(self.sessions.interests(before), actions, infos["item_id"])
        self._over = bool(terminated[0] or truncated[0])
        info = {key: column[0].item() for key, column in infos.items()}
        return (
            self._observation(),
            float(rewards[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            info,
        )

    def _begin(self) -> Floats:
        first = self._running.begin(torch.tensor([self._seed]), torch.tensor([self._episode]))
        self._scene = Scene(self.sessions.interests(first))
        self._over = False
        return self._observation()

    def _observation(self) -> Floats:
        assert self._running.observations is not None
        observation: Floats = self._running.observations[0].cpu().numpy().copy()
        return observation


class RecSimZipfSessionVectorEnv(WorldVectorEnv):
    """Many :class:`RecSimZipfSessionEnv` in lockstep, computed as one batch.

    Environment i behaves as the scalar environment that is reset with ``seed + i``: same users,
    same items (unless the two best scores are within rounding), same rewards and lengths.

    The autoreset mode is ``SAME_STEP``: where a session ended, the observation that ``step``
    returns is the next user's, the last of the session is in ``infos["final_obs"]`` and the info of
    its last step in ``infos["final_info"]``; both are there only if a session ended. ``infos`` has
    the info of every step directly as well: ``item_id`` and ``topic`` int64, ``latent_reward`` and
    ``oracle_reward`` float32, each (num_envs,).

    Args:
        num_envs: number of environments, ≥ 1.
        render_mode, split, device, **sessions: as for :class:`RecSimZipfSessionEnv`.
    """

    info_keys = SESSION_INFO_KEYS

    def __init__(
        self,
        num_envs: int = 1,
        *,
        render_mode: str | None = None,
        split: str = "train",
        device: str = "cpu",
        **sessions: Any,
    ) -> None:
        super().__init__(num_envs, render_mode, split)
        self.sessions = make_sessions(device, **sessions)
        self.world = self.sessions.world
        self._set_spaces(session_spaces_of(self.sessions))
        self._running = _Running(self.sessions, split)

    def step(
        self, actions: Floats
    ) -> tuple[Floats, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Recommend to every user; where a session ends, the next user arrives.

        Args:
            actions: numbers (num_envs, d).

        Returns:
            observations float32 (num_envs, o); rewards float64, terminations and truncations, each
            (num_envs,); infos.

        Raises:
            ValueError: actions of another shape, or not of numbers.
            ResetNeeded: before the first ``reset``.
        """
        before = self._running.observations
        if before is None:
            raise gym.error.ResetNeeded("Call reset() before step().")
        batch = as_actions(actions, self.action_space.shape or (), self.world)
        rewards, terminated, truncated, columns = self._running.step(batch)
        self._scene = Scene(self.sessions.interests(before), batch, columns["item_id"])
        ended = terminated | truncated
        infos = _with_masks(columns, np.ones(self.num_envs, dtype=np.bool_))
        if ended.any():
            ended_rows = ended.nonzero()[0]
            final_obs = np.full(self.num_envs, None, dtype=object)
            last_observations = self._observations()
            for i in ended_rows:
                final_obs[i] = last_observations[i]
            infos |= {
                "final_obs": final_obs,
                "_final_obs": ended.copy(),
                "final_info": _with_masks(columns, ended),
                "_final_info": ended.copy(),
            }
            self._running.begin_next(torch.from_numpy(ended_rows))
            self._episodes[ended_rows] += 1
        return self._observations(), rewards, terminated, truncated, infos

    def _begin(self, seeds: Tensor) -> Floats:
        first = self._running.begin(seeds, self._episodes)
        self._scene = Scene(self.sessions.interests(first))
        return self._observations()

    def _observations(self) -> Floats:
        assert self._running.observations is not None
        observations: Floats = self._running.observations.cpu().numpy().copy()
        return observations


def _with_masks(columns: dict[str, NDArray[Any]], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Info columns as Gymnasium's vector environments give them, each with its mask, copied."""
    infos: dict[str, Any] = {key: column.copy() for key, column in columns.items()}
    return infos | {f"_{key}": mask.copy() for key in columns}
