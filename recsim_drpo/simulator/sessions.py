"""Sessions: what is shown moves the interest, satiates topics and decides whether the user stays.

The state of a session is its observation, the user's context x and the exposure h to each of the
K topics, so a session is a Markov decision process. It starts at h = 0. Showing item i of topic k,

* interest: u* = Σ_j m_j c_j / ‖·‖ with m = softmax(A x + ``exposure_pull`` h) (mere exposure);
* latent reward: R = exp(-(1 - cos(e_i, u*)) / (2 δ²)) (1 - ``satiation`` h_k);
* the user leaves with probability
  clip(``leave_base`` + ``leave_boredom`` h_k + ``leave_disappointment`` (1 - R), 0, 1);
* exposure: h ← h + ``exposure_rate`` (onehot(k) - h).

Where no item is shown, R = 0, h_k counts as 0 and exposure decays. Everything is a function of
``(split, seed, session)`` and of the actions, whatever the batch.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recsim_drpo.core import rng
from recsim_drpo.core.rng import Stream
from recsim_drpo.core.validation import unknown_name
from recsim_drpo.simulator import tiles
from recsim_drpo.simulator.config import MAX_STEPS, SessionConfig, WorldConfig
from recsim_drpo.simulator.decoder import row_max
from recsim_drpo.simulator.world import World, make_world, stream_of

STEP_STREAMS = {
    "train": Stream.TRAIN_STEPS,
    "validation": Stream.VALIDATION_STEPS,
    "test": Stream.TEST_STEPS,
}


class Luck(NamedTuple):
    """Random numbers of a step, both (B,).

    Attributes:
        noise: float32, standard normal, behind the observed reward (Eq. 49).
        leaving: float64 in (0, 1): the user leaves where it is below the probability of leaving.
    """

    noise: Tensor
    leaving: Tensor


class Step(NamedTuple):
    """Outcome of a recommendation, all with leading axis B.

    Attributes:
        observations: float32 (B, context_dim + K), after the step.
        topics: int64 (B,), of the item shown; -1 where none was.
        latent: float32 (B,) in [0, 1], reward before noise (Eq. 48, less satiation).
        observed: float32 (B,) in [0, 1], reward as paid (Eq. 49).
        left: bool (B,), whether the user left.
    """

    observations: Tensor
    topics: Tensor
    latent: Tensor
    observed: Tensor
    left: Tensor


class Sessions:
    """The sessions of a world: pure functions, batched, on the world's device.

    Args:
        world: items, users and rewards.
        config: how a session goes on.
    """

    def __init__(self, world: World, config: SessionConfig | None = None) -> None:
        self.world = world
        self.config = SessionConfig() if config is None else config
        self.topics = torch.unique(world.topics)
        """int64 (K',), the topics that have items, rising."""
        self._members = [(world.topics == topic).nonzero().squeeze(1) for topic in self.topics]
        self._large = world.num_items > tiles.LARGE
        if self._large:
            # A topic's items side by side, so that tiles of a topic are tiles of memory.
            self._cosines = [
                world.topic_cosines(members).T.contiguous() for members in self._members
            ]

    def __deepcopy__(self, memo: dict[int, Any]) -> Sessions:
        return self  # immutable

    def __reduce__(self) -> Any:
        return Sessions, (self.world, self.config)

    @property
    def observation_dim(self) -> int:
        """Length of an observation: the context and the exposure to each topic."""
        return self.world.context_dim + self.world.num_topics

    def begin(self, split: str, seeds: Tensor | int, sessions: Tensor) -> Tensor:
        """First observations of sessions: contexts of :meth:`World.users`, and no exposure yet.

        Args:
            split: ``"train"``, ``"validation"`` or ``"test"``.
            seeds: int64 (B,), or one integer, in [0, 2**63).
            sessions: int64 (B,), in [0, 2**47).

        Returns:
            float32 (B, context_dim + K).
        """
        contexts = self.world.users(split, seeds, sessions).contexts
        return torch.cat((contexts, contexts.new_zeros(len(contexts), self.world.num_topics)), 1)

    def luck(self, split: str, seeds: Tensor | int, sessions: Tensor, steps: Tensor | int) -> Luck:
        """Random numbers of one step in each session.

        Args:
            split: ``"train"``, ``"validation"`` or ``"test"``.
            seeds: int64 (B,), or one integer, in [0, 2**63).
            sessions: int64 (B,), in [0, 2**47).
            steps: int64 (B,), or one integer, from 0 to 65,535.

        Raises:
            ValueError: an unknown split.
        """
        stream_of(split)
        counters = round_numbers(sessions, steps).to(self.world.device)
        keys = torch.as_tensor(seeds, dtype=torch.int64, device=self.world.device)
        words = rng.philox_4x32(keys.expand_as(counters), STEP_STREAMS[split], counters, 3)
        noise = rng.normals(words[:, 0], words[:, 1]).to(torch.float32)
        return Luck(noise, rng.uniforms(words[:, 2]))

    def parts(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts (..., context_dim) and exposure (..., K) of observations."""
        dim = self.world.context_dim
        return observations[..., :dim], observations[..., dim:]

    def tastes(self, observations: Tensor) -> Tensor:
        """Coordinates of users' interests now in the topics' centres, float32 (..., K).

        Args:
            observations: float32 (..., context_dim + K).
        """
        return self.tastes_at(*self.parts(observations))

    def tastes_at(self, contexts: Tensor, exposure: Tensor) -> Tensor:
        """:meth:`tastes` at contexts (..., context_dim) and exposure (..., K), which broadcast."""
        return self.world.tastes(contexts, self.config.exposure_pull * exposure)

    def interests(self, observations: Tensor) -> Tensor:
        """Latent interests u* now, float32 (..., d) of unit length."""
        return self.world.interests(self.tastes(observations))

    def step(self, observations: Tensor, items: Tensor, luck: Luck) -> Step:
        """Outcome of showing one item to each user.

        Args:
            observations: float32 (B, context_dim + K), the users' states.
            items: int64 (B,), rows of the catalogue; -1 for none.
            luck: of this step, see :meth:`luck`.
        """
        contexts, exposure = self.parts(observations)
        topics, topic_exposure = self._topics_and_exposure(items, exposure)
        latent = self.latent_reward(items, observations)
        observed = self.world.observed_reward(latent, luck.noise)
        observed = torch.where(items >= 0, observed, 0.0)
        left = luck.leaving < self.leaving(latent, topic_exposure)
        every = torch.arange(exposure.shape[1], device=topics.device)
        target = (topics.unsqueeze(1) == every).to(torch.float32)
        after = torch.cat((contexts, self.exposed(exposure, target)), dim=1)
        return Step(after, topics, latent, observed, left)

    def latent_reward(self, items: Tensor, observations: Tensor) -> Tensor:
        """Latent rewards R of one item for each user now, float32 (B,).

        Args:
            items: int64 (B,); -1 (none) earns 0.
            observations: float32 (B, context_dim + K).
        """
        _, topic_exposure = self._topics_and_exposure(items, self.parts(observations)[1])
        relevance = self.world.reward_of_items(items, self.interests(observations))
        return self.sated(relevance, topic_exposure)

    def sated(self, relevance: Tensor, topic_exposure: Tensor) -> Tensor:
        """Latent rewards R: those of Eq. 48, less satiation at exposure h_k; same shape."""
        return relevance * (1.0 - self.config.satiation * topic_exposure)

    def leaving(self, latent: Tensor, topic_exposure: Tensor) -> Tensor:
        """Probability of leaving after a step of reward R at exposure h_k; same shape."""
        config = self.config
        boredom = config.leave_boredom * topic_exposure
        disappointment = config.leave_disappointment * (1.0 - latent)
        return (config.leave_base + boredom + disappointment).clamp(0.0, 1.0)

    def exposed(self, exposure: Tensor, target: Tensor) -> Tensor:
        """Exposure after a step, in [0, 1] and of the same shape (..., K).

        Args:
            exposure: float32 (..., K), before it.
            target: float32 (..., K), 1 at the topic shown and 0 elsewhere.
        """
        return exposure + self.config.exposure_rate * (target - exposure)

    def best_of_topics(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Best item of each topic now, and its latent reward.

        Within a topic the item of largest reward also has the least probability of leaving, and all
        items lead to the same state: no other is ever worth showing.

        Args:
            observations: float32 (B, context_dim + K).

        Returns:
            rewards: float32 (B, K'), of the topics in :attr:`topics`.
            items: int64 (B, K').
        """
        users = self.world.rows_at_a_time
        if self._large:
            users = tiles.users_at_a_time(observations.device)
        cosines, items = tiles.in_parts(
            lambda part: self._best_of_topics(self.tastes(part)), observations, users
        )
        topic_exposure = self.parts(observations)[1][:, self.topics]
        return self.sated(self.world.latent_reward(cosines), topic_exposure), items

    def best_items(self, observations: Tensor) -> Tensor:
        """Item of largest latent reward for each user now, int64 (B,), whatever the decoder."""
        rewards, items = self.best_of_topics(observations)
        return items.gather(1, rewards.argmax(dim=1, keepdim=True)).squeeze(1)

    def _topics_and_exposure(self, items: Tensor, exposure: Tensor) -> tuple[Tensor, Tensor]:
        """Topic k of each item, int64 (B,), and h_k, float32 (B,); -1 and 0 where none is shown."""
        shown = items >= 0
        topics = torch.where(shown, self.world.topics[items.clamp_min(0)], -1)
        topic_exposure = exposure.gather(1, topics.clamp_min(0).unsqueeze(1)).squeeze(1)
        return topics, torch.where(shown, topic_exposure, 0.0)

    def _best_of_topics(self, tastes: Tensor) -> tuple[Tensor, Tensor]:
        """Largest cosine within each topic, float32 (B, K'), and its item, int64 (B, K')."""
        if self._large:
            scans = [tiles.scan(tastes, cosines, ()) for cosines in self._cosines]
            maxima = [(scan.best.squeeze(1), scan.best_items) for scan in scans]
        else:
            cosines = self.world.cosines(tastes)
            maxima = [row_max(cosines[:, members]) for members in self._members]
        items = [
            members[column] for members, (_, column) in zip(self._members, maxima, strict=True)
        ]
        return torch.stack([cosine for cosine, _ in maxima], dim=1), torch.stack(items, dim=1)


def round_numbers(sessions: Tensor, steps: Tensor | int) -> Tensor:
    """Counters, int64 (B,), no two equal, of steps in [0, 2**16) of sessions in [0, 2**47)."""
    return sessions * MAX_STEPS + steps


def make_sessions(device: str | torch.device = "cpu", **kwargs: Any) -> Sessions:
    """Sessions as keyword arguments describe them.

    Args:
        device: where they are computed.
        **kwargs: fields of :class:`SessionConfig`, and what :func:`make_world` takes.

    Raises:
        ValueError: an unknown field (the nearest is named) or a value out of its range.
    """
    of_sessions = {field.name for field in dataclasses.fields(SessionConfig)}
    known = of_sessions | {field.name for field in dataclasses.fields(WorldConfig)} | {"decoder"}
    for name in kwargs:
        if name not in known:
            raise unknown_name("session or world parameter", name, known)
    config = SessionConfig(**{name: value for name, value in kwargs.items() if name in of_sessions})
    of_world = {name: value for name, value in kwargs.items() if name not in of_sessions}
    return Sessions(make_world(device, **of_world), config)
