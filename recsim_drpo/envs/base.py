"""Base classes of the environments: spaces, seeded sequences of episodes, and rendering."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.core.memory import check_memory
from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.core.validation import SEED_LIMIT, check_integer, check_seed, unknown_name
from recsim_drpo.envs.rendering import Renderer
from recsim_drpo.simulator.world import World, stream_of

RENDER_MODES = ("rgb_array",)
SEED_BITS = 64
"""Bits of environments' seeds: those of Philox's key, all of which Minari's collector draws."""

_ROW_KEYS = ("item_id", "topic")
_BYTES_A_NUMBER = 48
"""What an environment takes at least for a number of a context or an action: bounds, draws."""

Floats = NDArray[np.float32]


def spaces_of(world: World) -> tuple[Any, Any]:
    """Observation space ``Box(-1, 1, (context_dim,))`` and action space ``Box(-1, 1, (d,))``."""
    return (
        gym.spaces.Box(-1.0, 1.0, (world.context_dim,), np.float32),
        gym.spaces.Box(-1.0, 1.0, (world.dim,), np.float32),
    )


def as_actions(actions: Any, shape: tuple[int, ...], world: World) -> Tensor:
    """Actions as a floating-point tensor on the world's device.

    Args:
        actions: numbers that NumPy understands.
        shape: the shape that they must have.
        world: whose device it is.

    Raises:
        ValueError: another shape, or no numbers.
    """
    try:
        array = np.asarray(actions)
    except Exception as error:  # lists of many lengths, tensors of another device or with gradients
        raise ValueError(
            f"Action is no array of shape {shape}: {one_line(error).removesuffix('.')}."
        ) from error
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise ValueError(
            f"Action of shape {array.shape} and type {array.dtype} does not fit; expected numbers "
            f"of shape {shape}."
        )
    # In the caller's precision: only the direction counts, also of what float32 cannot hold.
    floats = array if array.dtype.kind == "f" else array.astype(np.float64)
    return torch.as_tensor(np.array(floats, order="C"), device=world.device)


def key_of(seed: Any) -> int:
    """The seed's 64 bits as int64 has them: seeds from 2**63 on as negative numbers.

    Raises:
        ValueError: no integer in [0, 2**64).
    """
    bits = check_seed(seed, bits=SEED_BITS)
    return bits if bits < SEED_LIMIT else bits - 2**SEED_BITS


def nothing_shown(keys: Sequence[str]) -> dict[str, Any]:
    """The info of a reset, by the keys of a step's: -1 for rows, NaN for rewards.

    Whoever keeps infos, as Minari's collector does, needs the same keys of both.
    """
    return {key: -1 if key in _ROW_KEYS else math.nan for key in keys}


def _check_num_envs(num_envs: int, numbers: int) -> None:
    """Raise ``ValueError`` where there is no memory for environments of so many numbers each."""
    what = f"num_envs={shown(num_envs)} with {numbers:,} numbers each"
    check_memory(what, _BYTES_A_NUMBER * numbers * num_envs, "make fewer")


class Scene(NamedTuple):
    """State of B environments to draw, before a step or after it.

    Attributes:
        interests: float32 (B, d), the users' interests before the step.
        actions: numbers (B, d); ``None`` before the step.
        items: int64 (B,), shown in it, -1 for none; ``None`` before the step.
    """

    interests: Tensor
    actions: Tensor | None = None
    items: NDArray[np.int64] | None = None


class _Frames:
    """Frames of scenes, where the render mode asks for them; ``ValueError`` for an unknown mode."""

    def __init__(self, render_mode: str | None) -> None:
        if render_mode is not None and not (
            isinstance(render_mode, str) and render_mode in RENDER_MODES
        ):
            raise unknown_name("render mode", render_mode, RENDER_MODES)
        self._enabled = render_mode is not None
        self._renderer: Renderer | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_renderer": None}  # made anew of the catalogue, and large

    def draw(self, world: World, scene: Scene | None) -> list[NDArray[np.uint8]] | None:
        """A frame of each user, uint8 (height, width, 3); without a mode ``None`` and a warning."""
        if not self._enabled:
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
    """Base class of the scalar environments: a seeded sequence of episodes, and rendering.

    A subclass sets ``world``, ``observation_space`` and ``action_space``, names the keys of its
    infos in ``info_keys``, begins an episode in :meth:`_begin`, and keeps in ``_scene`` what
    :meth:`render` draws.

    Raises:
        ValueError: an unknown render mode or split.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4}  # noqa: RUF012 - Gymnasium declares it so
    info_keys: tuple[str, ...] = ()
    world: World

    def __init__(self, render_mode: str | None, split: str) -> None:
        self._frames = _Frames(render_mode)
        stream_of(split)
        self.render_mode = render_mode
        self.split = split
        self._has_seed = False
        self._seed = 0  # as key_of has it
        self._episode = -1
        self._scene: Scene | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Start an episode with the next user.

        Args:
            seed: integer in [0, 2**64), which starts a sequence of users; ``None`` goes on with it.
            options: ignored, whatever they are: there are none.

        Returns:
            the first observation; and an info of the keys of a step's, in which nothing is shown
            yet: -1 for an item or topic, NaN for a reward.

        Raises:
            ValueError: a seed out of its range.
        """
        super().reset(seed=seed if seed is None else check_seed(seed, bits=SEED_BITS))
        if seed is not None:
            self._seed, self._episode = key_of(seed), -1
        elif not self._has_seed:
            self._seed = int(self.np_random.integers(SEED_LIMIT))
        self._has_seed = True
        self._episode += 1
        return self._begin(), nothing_shown(self.info_keys)

    def render(self) -> NDArray[np.uint8] | None:
        """Frame of the catalogue in two dimensions, the user's interest, the action and its item.

        Returns:
            uint8 (height, width, 3), or ``None`` where no render mode was asked for.
        """
        frames = self._frames.draw(self.world, self._scene)
        return None if frames is None else frames[0]

    def _begin(self) -> Floats:
        """First observation of episode ``_episode`` of seed ``_seed``, which begins."""
        raise NotImplementedError


class WorldVectorEnv(VectorEnv[Floats, Floats, NDArray[Any]]):
    """Base class of the native vector environments; a subclass does as for :class:`WorldEnv`."""

    metadata = {  # noqa: RUF012 - Gymnasium declares it so
        **WorldEnv.metadata,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    autoreset_mode = AutoresetMode.SAME_STEP  # where TorchRL looks, as Gymnasium's own have it
    info_keys: tuple[str, ...] = ()
    world: World

    def __init__(self, num_envs: int, render_mode: str | None, split: str) -> None:
        check_integer("num_envs", num_envs, 1)
        num_envs = operator.index(num_envs)
        _check_num_envs(num_envs, 1)
        self._frames = _Frames(render_mode)
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
            options: ignored, whatever they are: there are none.

        Returns:
            the first observations, (num_envs, o), and infos as :meth:`WorldEnv.reset` has them, in
            Gymnasium's form for many environments.

        Raises:
            ValueError: a seed out of its range, or another number of them.
        """
        keys = [None if one is None else key_of(one) for one in self._seed_of_each(seed)]
        if self._seeds is None:
            random_seeds = self.np_random.integers(SEED_LIMIT, size=self.num_envs)
            self._seeds = torch.from_numpy(random_seeds)
        for i, key in enumerate(keys):
            if key is not None:
                self._seeds[i], self._episodes[i] = key, -1
        self._episodes += 1
        infos: dict[str, Any] = {}
        for name, filler in nothing_shown(self.info_keys).items():
            kind = np.int64 if isinstance(filler, int) else np.float32
            infos[name] = np.full(self.num_envs, filler, dtype=kind)
            infos[f"_{name}"] = np.ones(self.num_envs, dtype=np.bool_)
        return self._begin(self._seeds), infos

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Frames of all environments, as of :meth:`WorldEnv.render`."""
        frames = self._frames.draw(self.world, self._scene)
        return None if frames is None else tuple(frames)

    def _seed_of_each(self, seed: Any) -> list[int | None]:
        """Seed of each environment, not checked for its range; seeds ``np_random`` with one."""
        if seed is None or (isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)):
            first = None if seed is None else check_seed(int(seed), bits=SEED_BITS)
            super().reset(seed=first)
            return [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        if isinstance(seed, str) or not isinstance(seed, Sequence | np.ndarray):
            raise ValueError(
                f"seed={shown(seed)} is neither an integer nor one seed an environment."
            )
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds for {self.num_envs} environments.")
        return list(seed)

    def _set_spaces(self, spaces: tuple[Any, Any]) -> None:
        _check_num_envs(self.num_envs, sum(space.shape[0] for space in spaces))
        self.single_observation_space, self.single_action_space = spaces
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _begin(self, seeds: Tensor) -> Floats:
        """First observations of episodes ``_episodes`` of these seeds, which begin everywhere."""
        raise NotImplementedError
