"""The Gymnasium environments: one scalar, one natively vectorised, over the same world."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.core import rng
from recsim_drpo.core.validation import check_integer, unknown_name
from recsim_drpo.envs.rendering import Renderer
from recsim_drpo.simulator.world import World, make_world, stream_of

ENV_ID = "RecSimZipf-v0"
SESSION_ENV_ID = "RecSimZipfSession-v0"
INFO_KEYS = ("item_id", "latent_reward", "oracle_reward")
RENDER_MODES = ("rgb_array",)
_PREFETCH = 16

Floats = NDArray[np.float32]


class _Arrivals(NamedTuple):
    """Users who await a recommendation, all with leading axis B."""

    contexts: Tensor
    interests: Tensor
    reward_noise: Tensor
    oracle_rewards: Tensor


class _Outcome(NamedTuple):
    """What one recommendation each came to, as arrays of shape (B,)."""

    rewards: NDArray[np.float64]
    item_id: NDArray[np.int64]
    latent_reward: Floats
    oracle_reward: Floats


def _arrive(world: World, split: str, seeds: Tensor | int, episodes: Tensor) -> _Arrivals:
    users = world.users(split, seeds, episodes)
    best = world.reward_of_items(world.best_items(users.tastes), users.interests)
    return _Arrivals(users.contexts, users.interests, users.reward_noise, best)


def _recommend(world: World, actions: Tensor, arrivals: _Arrivals) -> _Outcome:
    items = world.decode(actions)
    latent = world.reward_of_items(items, arrivals.interests)
    observed = world.observed_reward(latent, arrivals.reward_noise)
    observed = torch.where(items >= 0, observed, 0.0)
    return _Outcome(
        observed.cpu().numpy().astype(np.float64),
        items.cpu().numpy(),
        latent.cpu().numpy(),
        arrivals.oracle_rewards.cpu().numpy().copy(),
    )


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
        super().reset(seed=seed if seed is None else rng.check_seed(seed))
        if seed is not None:
            self._seed, self._episode = int(seed), -1
        elif self._seed < 0:
            self._seed = int(self.np_random.integers(rng.SEED_LIMIT))
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
            super().reset(seed=None if given is None else rng.check_seed(int(given)))
            wanted = [None if given is None else int(given) + i for i in range(self.num_envs)]
        elif isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
            raise ValueError(f"seed={given!r} is neither an integer nor one seed an environment.")
        else:
            wanted = list(given)
            if len(wanted) != self.num_envs:
                raise ValueError(f"{len(wanted)} seeds for {self.num_envs} environments.")
        if self._seeds is None:
            drawn = self.np_random.integers(rng.SEED_LIMIT, size=self.num_envs)
            self._seeds = torch.from_numpy(drawn)
        for i, one in enumerate(wanted):
            if one is not None:
                self._seeds[i], self._episodes[i] = rng.check_seed(one), -1
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


class RecSimZipfEnv(WorldEnv):
    """Recommendation to simulated users as a contextual bandit over item embeddings.

    ## Description
    A user arrives with a context. The agent answers with an embedding, which is decoded to the
    catalogue's item of largest inner product (MIPS). The user pays a reward that falls with the
    angle between the item and the user's latent interest, which is a smooth function of the
    context. Source: Appendix H of *Breaking the Curse of Repulsion: Optimistic Distributionally
    Robust Policy Optimization for Off-Policy Generative Recommendation*; its free parameters are
    calibrated as docs/calibration.md tells.

    ## Action Space
    ``Box(-1, 1, (d,), float32)``, by default d = 128: the embedding to search with. Only its
    direction counts; nothing is clipped, and the bounds are advice for agents that need some. The
    zero vector decodes to item 0; an action with a NaN or infinite component decodes to no item
    (``item_id`` -1) and earns 0.

    ## Observation Space
    ``Box(-1, 1, (context_dim,), float32)``, by default 10 numbers: the user's context, uniform.

    ## Rewards
    In [0, 1]: clip(R + σ_noise ε, 0, 1) with ε ~ N(0, 1) (Eq. 49) and the latent reward
    R = exp(-(1 - cos(e_item, u*)) / (2 δ²)) (Eq. 48). eCPM is 5 × reward.

    ## Starting State
    A user drawn anew. After ``reset(seed=s)`` users are a function of ``(split, s, episode)``,
    independent of ``catalogue_seed``. Users of different splits are disjoint.

    ## Episode End
    After one step, with ``terminated=True``; the observation returned is the same context.

    ## Information
    ``step`` returns ``item_id`` (int, the row of the catalogue), ``latent_reward`` (float, R before
    noise) and ``oracle_reward`` (float, R of the best item).

    ## Arguments
    * ``render_mode``: ``"rgb_array"`` or ``None``.
    * ``split``: ``"train"`` (default), ``"validation"`` or ``"test"`` users.
    * ``device``: where to compute; the arrays in and out are NumPy's.
    * ``embeddings``: real embeddings to use in place of drawn ones: a path, or an array (N, d).
    * ``decoder``: makes another decoder from the embeddings, see
      :class:`recsim_drpo.simulator.decoder.Decoder`; exact search by default.
    * every field of :class:`recsim_drpo.simulator.world.WorldConfig`, where their defaults stand.

    ```python
    import gymnasium as gym
    import recsim_drpo

    env = gym.make("RecSimZipf-v0", catalogue_seed=1)
    envs = gym.make_vec("RecSimZipf-v0", num_envs=1024, vectorization_mode="vector_entry_point")
    ```

    ## Version History
    * v0: first release.
    """

    def __init__(
        self,
        *,
        render_mode: str | None = None,
        split: str = "train",
        device: str = "cpu",
        **world: Any,
    ) -> None:
        super().__init__(render_mode, split)
        self.world = make_world(device, **world)
        self.observation_space, self.action_space = spaces_of(self.world)
        self._block_seed = -1
        self._block_start = 0
        self._block: _Arrivals | None = None
        self._awaits_action = False

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Recommend the item that ``action`` decodes to, once an episode."""
        actions = as_actions(action, self.action_space.shape or (), self.world).unsqueeze(0)
        if not self._awaits_action:
            raise gym.error.ResetNeeded("An episode is one step: call reset() before each step().")
        self._awaits_action = False
        arrival = self._arrival()
        outcome = _recommend(self.world, actions, arrival)
        self._scene = Scene(arrival.interests, actions, outcome.item_id)
        info = {
            "item_id": int(outcome.item_id[0]),
            "latent_reward": float(outcome.latent_reward[0]),
            "oracle_reward": float(outcome.oracle_reward[0]),
        }
        return self._context(), float(outcome.rewards[0]), True, False, info

    def _begin(self) -> Floats:
        self._awaits_action, self._scene = True, Scene(self._arrival().interests)
        return self._context()

    def _context(self) -> Floats:
        context: Floats = self._arrival().contexts[0].cpu().numpy().copy()
        return context

    def _arrival(self) -> _Arrivals:
        # Drawn some users ahead: a batch of sixteen costs about as much as one.
        offset = self._episode - self._block_start
        if self._block is None or self._block_seed != self._seed or not 0 <= offset < _PREFETCH:
            self._block_seed, self._block_start, offset = self._seed, self._episode, 0
            episodes = torch.arange(self._episode, self._episode + _PREFETCH)
            self._block = _arrive(self.world, self.split, self._seed, episodes)
        return _Arrivals(*(field[offset : offset + 1] for field in self._block))


class RecSimZipfVectorEnv(WorldVectorEnv):
    """Many :class:`RecSimZipfEnv` in lockstep, computed as one batch.

    Environment i behaves as the scalar environment that is reset with ``seed + i``: same users,
    same items (unless the two best scores are within rounding), same rewards.

    Every episode is one step, so the autoreset mode is ``SAME_STEP``: the observation that ``step``
    returns is the next user's. What belongs to the step just made is in ``infos["final_info"]``
    (and the finished episodes' observations in ``infos["final_obs"]``), as Gymnasium defines; the
    same arrays are in ``infos`` directly: ``item_id`` int64, ``latent_reward`` and
    ``oracle_reward`` float32, each (num_envs,).

    Args:
        num_envs: how many, at least 1.
        render_mode, split, device, **world: as for :class:`RecSimZipfEnv`.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        render_mode: str | None = None,
        split: str = "train",
        device: str = "cpu",
        **world: Any,
    ) -> None:
        super().__init__(num_envs, render_mode, split)
        self.world = make_world(device, **world)
        self._set_spaces(spaces_of(self.world))
        self._arrivals: _Arrivals | None = None

    def step(
        self, actions: Floats
    ) -> tuple[Floats, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Recommend to every user, and let the next ones arrive.

        Args:
            actions: float (num_envs, d).

        Returns:
            next contexts float32 (num_envs, context_dim); rewards float64, terminations (all true)
            and truncations (all false), each (num_envs,); infos.
        """
        batch = as_actions(actions, self.action_space.shape or (), self.world)
        if self._arrivals is None or self._seeds is None:
            raise gym.error.ResetNeeded("Call reset() before step().")
        arrivals = self._arrivals
        outcome = _recommend(self.world, batch, arrivals)
        everywhere = np.ones(self.num_envs, dtype=np.bool_)
        step_info: dict[str, Any] = {}
        for key in INFO_KEYS:
            step_info[key], step_info[f"_{key}"] = getattr(outcome, key), everywhere.copy()
        final_obs = np.empty(self.num_envs, dtype=object)
        final_obs[:] = list(arrivals.contexts.cpu().numpy().copy())
        infos = {
            "final_obs": final_obs,
            "_final_obs": everywhere.copy(),
            "final_info": step_info,
            "_final_info": everywhere.copy(),
            **{key: value.copy() for key, value in step_info.items()},
        }
        self._episodes += 1
        contexts = self._begin(self._seeds)
        self._scene = Scene(arrivals.interests, batch, outcome.item_id)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        return contexts, outcome.rewards, everywhere, truncations, infos

    def _begin(self, seeds: Tensor) -> Floats:
        self._arrivals = _arrive(self.world, self.split, seeds, self._episodes)
        self._scene = Scene(self._arrivals.interests)
        contexts: Floats = self._arrivals.contexts.cpu().numpy().copy()
        return contexts


def register() -> None:
    """Register the environments with Gymnasium; done on ``import recsim_drpo``."""
    _survive_forks()
    if ENV_ID not in gym.registry:
        gym.register(
            ENV_ID,
            entry_point="recsim_drpo.envs:RecSimZipfEnv",
            vector_entry_point="recsim_drpo.envs:RecSimZipfVectorEnv",
        )
    if SESSION_ENV_ID not in gym.registry:
        gym.register(
            SESSION_ENV_ID,
            entry_point="recsim_drpo.session_envs:RecSimZipfSessionEnv",
            vector_entry_point="recsim_drpo.session_envs:RecSimZipfSessionVectorEnv",
        )


@functools.cache
def _survive_forks() -> None:
    """Let forked children compute with one thread.

    OpenMP's threads do not survive a fork, and a child that asks for them waits for ever: so would
    Gymnasium's AsyncVectorEnv, which forks.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
