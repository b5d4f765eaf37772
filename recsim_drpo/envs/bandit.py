"""RecSimZipf-v0, a contextual bandit: its scalar and its natively vectorised environment."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.envs.base import Floats, Scene, WorldEnv, WorldVectorEnv, as_actions, spaces_of
from recsim_drpo.simulator.world import World, make_world

INFO_KEYS = ("item_id", "latent_reward", "oracle_reward")
_PREFETCH = 16  # users drawn at once: a batch of sixteen costs about as much as one


class _Arrivals(NamedTuple):
    """Users who await a recommendation, with the reward of each one's best item; leading axis B."""

    contexts: Tensor
    interests: Tensor
    reward_noise: Tensor
    oracle_rewards: Tensor


class _Outcome(NamedTuple):
    """Outcome of one recommendation to each user, as arrays of shape (B,)."""

    rewards: NDArray[np.float64]
    item_id: NDArray[np.int64]
    latent_reward: Floats
    oracle_reward: Floats


def _arrive(world: World, split: str, seeds: Tensor | int, episodes: Tensor) -> _Arrivals:
    """Users of these names, as of :meth:`World.users`."""
    users = world.users(split, seeds, episodes)
    best = world.reward_of_items(world.best_items(users.tastes), users.interests)
    return _Arrivals(users.contexts, users.interests, users.reward_noise, best)


def _recommend(world: World, actions: Tensor, arrivals: _Arrivals) -> _Outcome:
    """Outcome of actions (B, d): rewards (Eq. 48, 49) of the items that they decode to."""
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
    noise) and ``oracle_reward`` (float, R of the best item). ``reset`` returns the same keys, with
    -1 and NaN: nothing is shown yet.

    ## Arguments
    * ``render_mode``: ``"rgb_array"`` or ``None``.
    * ``split``: ``"train"`` (default), ``"validation"`` or ``"test"`` users.
    * ``device``: where to compute; the arrays in and out are NumPy's.
    * ``embeddings``: real embeddings to use in place of drawn ones: a path, or an array (N, d).
    * ``decoder``: how items are found: ``"exact"`` (default), ``"auto"``,
      ``"faiss:IVF4096,Flat?nprobe=32"``, see docs/retrieval.md; or what makes a
      :class:`recsim_drpo.simulator.decoder.Decoder` from the embeddings.
    * every field of :class:`recsim_drpo.simulator.config.WorldConfig`, where their defaults stand.

    ```python
    import gymnasium as gym
    import recsim_drpo

    env = gym.make("RecSimZipf-v0", catalogue_seed=1)
    envs = gym.make_vec("RecSimZipf-v0", num_envs=1024, vectorization_mode="vector_entry_point")
    ```

    ## Version History
    * v0: first release.
    """

    info_keys = INFO_KEYS

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
        """Recommend the item that ``action`` decodes to, once an episode.

        Args:
            action: numbers (d,).

        Returns:
            context float32 (context_dim,); observed reward; ``True``; ``False``; info.

        Raises:
            ValueError: an action of another shape, or not of numbers.
            ResetNeeded: the episode is over, or none has begun.
        """
        if not self._awaits_action:
            raise gym.error.ResetNeeded("An episode is one step: call reset() before each step().")
        actions = as_actions(action, self.action_space.shape or (), self.world).unsqueeze(0)
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
        """The user of this episode, B = 1."""
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
        num_envs: number of environments, ≥ 1.
        render_mode, split, device, **world: as for :class:`RecSimZipfEnv`.
    """

    info_keys = INFO_KEYS

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
            actions: numbers (num_envs, d).

        Returns:
            next contexts float32 (num_envs, context_dim); rewards float64, terminations (all true)
            and truncations (all false), each (num_envs,); infos.

        Raises:
            ValueError: actions of another shape, or not of numbers.
            ResetNeeded: before the first ``reset``.
        """
        if self._arrivals is None or self._seeds is None:
            raise gym.error.ResetNeeded("Call reset() before step().")
        batch = as_actions(actions, self.action_space.shape or (), self.world)
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
