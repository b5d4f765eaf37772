"""What all environments share: spaces, seeded sequences of episodes, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.core.validation import SEED_LIMIT, check_integer, check_seed, unknown_name
from recsim_drpo.envs.rendering import Renderer
from recsim_drpo.simulator.world import World, stream_of

RENDER_MODES = ("rgb_array",)
Floats = NDArray[np.float32]


def spaces_of(world: World) -> tuple[Any, Any]:
    """Observation and action space of the environments of a world."""
    return (
        gym.spaces.Box(-1.0, 1.0, (world.context_dim,), np.float32),
        gym.spaces.Box(-1.0, 1.0, (world.dim,), np.float32),
    )


def as_actions(actions: Any, shape: tuple[int, ...], world: World) -> Tensor:
    """Actions of anyone as a tensor on the world's device; ``ValueError`` where they do not fit."""
    array = np.asarray(actions)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise ValueError(
            f"Action of shape {array.shape} and type {array.dtype} does not fit; expected numbers "
            f"of shape {shape}."
        )
    # In the caller's precision: only the direction counts, also of what float32 cannot hold.
    floats = array if array.dtype.kind == "f" else array.astype(np.float64)
    return torch.as_tensor(np.array(floats, order="C"), device=world.device)


class Scene(NamedTuple):
    """What there is to draw of environments: after a step, or of users who wait.

    Attributes:
        interests: float32 (B, d), where the recommendation found them.
        actions: (B, d); ``None`` before a step.
        items: int64 (B,), -1 for none; ``None`` before a step.
    """

    interests: Tensor
    actions: Tensor | None = None
    items: NDArray[np.int64] | None = None


class _Pictures:
    """Draws scenes, where a render mode asks for them."""

    def __init__(self, render_mode: str | None) -> None:
        if render_mode not in (None, *RENDER_MODES):
            raise unknown_name("render mode", render_mode, RENDER_MODES)
        self._wanted = render_mode is not None
        self._renderer: Renderer | None = None

    def draw(self, world: World, scene: Scene | None) -> list[NDArray[np.uint8]] | None:
        """One frame a user of the scene; ``None``, and a warning, where no mode was asked for."""
        if not self._wanted:
            gym.logger.warn('render() without a render mode: pass render_mode="rgb_array".')
            return None
        if scene is None:
            raise gym.error.ResetNeeded("Call reset() before render().")
        if self._renderer is None:
            self._renderer = Renderer(world.catalogue)
        interests = scene.interests.cpu().numpy()
        if scene.actions is None or scene.items is None:
            return [self._renderer.frame(interest, None, None) for interest in interests]
        actions = scene.actions.cpu().numpy()
        return [
            self._renderer.frame(interest, action, int(item))
            for interest, action, item in zip(interests, actions, scene.items, strict=True)
        ]


class WorldEnv(gym.Env[Floats, Floats]):
    """What the scalar environments share: a seeded sequence of episodes, and pictures.

    A subclass sets ``world``, ``observation_space`` and ``action_space``, begins an episode in
    :meth:`_begin`, and keeps what there is to draw in ``_scene``.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4}  # noqa: RUF012 - Gymnasium declares it so
    world: World

    def __init__(self, render_mode: str | None, split: str) -> None:
        self._pictures = _Pictures(render_mode)
        stream_of(split)
        self.render_mode = render_mode
        self.split = split
        self._seed = -1
        self._episode = -1
        self._scene: Scene | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Start an episode with the next user; a seed in [0, 2**63) starts a sequence of users."""
        super().reset(seed=seed if seed is None else check_seed(seed))
        if seed is not None:
            self._seed, self._episode = int(seed), -1
        elif self._seed < 0:
            self._seed = int(self.np_random.integers(SEED_LIMIT))
        self._episode += 1
        return self._begin(), {}

    def render(self) -> NDArray[np.uint8] | None:
        """The catalogue in two dimensions with the user's interest, the action and its item.

        Returns:
            uint8 (height, width, 3), or ``None`` where no render mode was asked for.
        """
        frames = self._pictures.draw(self.world, self._scene)
        return None if frames is None else frames[0]

    def _begin(self) -> Floats:
        """Begin episode ``_episode`` of seed ``_seed``; its first observation."""
        raise NotImplementedError


class WorldVectorEnv(VectorEnv[Floats, Floats, NDArray[Any]]):
    """What the native vector environments share; a subclass does as for :class:`WorldEnv`."""

    metadata = {  # noqa: RUF012 - Gymnasium declares it so
        **WorldEnv.metadata,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    world: World

    def __init__(self, num_envs: int, render_mode: str | None, split: str) -> None:
        check_integer("num_envs", num_envs, 1)
        self._pictures = _Pictures(render_mode)
        stream_of(split)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.split = split
        self._seeds: Tensor | None = None
        self._episodes = torch.full((num_envs,), -1, dtype=torch.int64)
        self._scene: Scene | None = None

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Floats, dict[str, Any]]:
        """Start an episode in every environment.

        Args:
            seed: an integer s seeds environment i with s + i; or one seed (or ``None``, which
                lets that environment's sequence go on) an environment.
            options: ignored.
        """
        given: Any = seed  # whatever a caller without types passes
        if given is None or (isinstance(given, (int, np.integer)) and not isinstance(given, bool)):
            super().reset(seed=None if given is None else check_seed(int(given)))
            wanted = [None if given is None else int(given) + i for i in range(self.num_envs)]
        elif isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
            raise ValueError(f"seed={given!r} is neither an integer nor one seed an environment.")
        else:
            wanted = list(given)
            if len(wanted) != self.num_envs:
                raise ValueError(f"{len(wanted)} seeds for {self.num_envs} environments.")
        if self._seeds is None:
            drawn = self.np_random.integers(SEED_LIMIT, size=self.num_envs)
            self._seeds = torch.from_numpy(drawn)
        for i, one in enumerate(wanted):
            if one is not None:
                self._seeds[i], self._episodes[i] = check_seed(one), -1
        self._episodes += 1
        return self._begin(self._seeds), {}

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """One frame an environment, of the step just made or of the users who wait."""
        frames = self._pictures.draw(self.world, self._scene)
        return None if frames is None else tuple(frames)

    def _set_spaces(self, spaces: tuple[Any, Any]) -> None:
        self.single_observation_space, self.single_action_space = spaces
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _begin(self, seeds: Tensor) -> Floats:
        """Begin episodes ``_episodes`` of these seeds everywhere; their first observations."""
        raise NotImplementedError
