"""The simulated world: catalogue, users and reward, batched in torch on any device (Appendix H).

A user is named by ``(split, seed, episode)`` and is a pure function of that name: the split is part
of every random counter, so training, validation and test users are disjoint whatever the seeds.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from recsim_drpo.core import rng
from recsim_drpo.core.config import build_config
from recsim_drpo.core.memory import check_memory
from recsim_drpo.core.messages import shown
from recsim_drpo.core.rng import Stream
from recsim_drpo.core.torch_settings import resolve_device
from recsim_drpo.core.validation import unknown_name
from recsim_drpo.simulator.catalogue import SimulatedCatalogue, interest_generator
from recsim_drpo.simulator.config import DRAWN_DIM, DRAWN_NUM_ITEMS, SPLITS, WorldConfig
from recsim_drpo.simulator.decoder import Decoder, ExactDecoder, cells_at_a_time, decode, row_max
from recsim_drpo.simulator.embeddings import load_embeddings

_USER_STREAMS = (Stream.TRAIN_USERS, Stream.VALIDATION_USERS, Stream.TEST_USERS)


class Users(NamedTuple):
    """A batch of users.

    Attributes:
        contexts: float32 (B, context_dim), uniform in [-1, 1]: a policy's observations.
        tastes: float32 (B, K), non-negative: the interest's coordinates in the topics' centres.
        interests: float32 (B, d), unit length: the latent u* of Eq. 48.
        reward_noise: float32 (B,), standard normal: ε of Eq. 49.
    """

    contexts: Tensor
    tastes: Tensor
    interests: Tensor
    reward_noise: Tensor


class World:
    """Catalogue, users and rewards on one device. Immutable: environments may share it.

    Args:
        config: configuration of the world.
        catalogue: a catalogue to use in place of the one that ``config`` describes.
        decoder: makes the decoder of actions from the embeddings, float32 (N, d) on the device;
            ``None``: :class:`.decoder.ExactDecoder`. Oracles are exact all the same.
        device: where everything is computed.

    Raises:
        ValueError: a device that cannot be used, a decoder that cannot be called, or what
            :func:`make_catalogue` says.

    Attributes:
        config: as the argument.
        catalogue: the items.
        device: as the argument.
        decoder: the decoder made of the embeddings.
        embeddings: float32 (N, d) on the device.
        popularity: float32 (N,) on the device, sums to 1.
        topics: int64 (N,) on the device, in [0, K).
    """

    def __init__(
        self,
        config: WorldConfig,
        *,
        catalogue: SimulatedCatalogue | None = None,
        decoder: Callable[[Tensor], Decoder] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.config = config
        self.device = resolve_device(device)
        if catalogue is not None or config.embeddings is None:  # else of how many, the file tells
            _check_size(config, catalogue)
        self.catalogue = make_catalogue(config) if catalogue is None else catalogue
        with warnings.catch_warnings():
            # A memory-mapped file is read-only, which torch warns of; nothing here writes to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
            self.embeddings = torch.from_numpy(self.catalogue.embeddings).to(self.device)
        self.popularity = torch.from_numpy(self.catalogue.popularity).to(self.device, torch.float32)
        if decoder is not None and not callable(decoder):
            raise ValueError(f"decoder={shown(decoder)} cannot be called with the embeddings.")
        self.decoder: Decoder = (decoder or ExactDecoder)(self.embeddings)
        self.topics = torch.from_numpy(self.catalogue.topics).to(self.device)
        self._topic_centres = torch.from_numpy(self.catalogue.topic_centres).to(self.device)
        self._topic_cosines = self._topic_centres @ self.embeddings.T
        shape = (len(self.catalogue.topic_centres), config.context_dim)
        affinity = interest_generator(config.catalogue_seed).standard_normal(shape)
        # Contexts are uniform in [-1, 1], of variance 1/3: this makes the logits' variance
        # interest_sharpness² on average, whatever the dimension.
        affinity *= config.interest_sharpness * np.sqrt(3.0 / config.context_dim)
        self._affinity = torch.from_numpy(affinity.astype(np.float32)).to(self.device)

    @property
    def context_dim(self) -> int:
        """Dimension of users' contexts."""
        return self.config.context_dim

    @property
    def dim(self) -> int:
        """Dimension d of embeddings and actions."""
        return self.catalogue.dim

    @property
    def num_items(self) -> int:
        """Number of items N."""
        return self.catalogue.num_items

    @property
    def num_topics(self) -> int:
        """Number of topics K."""
        return len(self._topic_centres)

    def users(self, split: str, seeds: Tensor | int, episodes: Tensor) -> Users:
        """The users named by ``(split, seed, episode)``.

        Args:
            split: ``"train"``, ``"validation"`` or ``"test"``.
            seeds: int64 (B,), or one integer, in [0, 2**63).
            episodes: int64 (B,), ≥ 0.

        Raises:
            ValueError: an unknown split.
        """
        stream = stream_of(split)
        counters = episodes.to(self.device)
        keys = torch.as_tensor(seeds, dtype=torch.int64, device=self.device).expand_as(counters)
        dim = self.context_dim
        words = rng.philox_4x32(keys, stream, counters, dim + 2)
        contexts = (2.0 * rng.uniforms(words[:, :dim]) - 1.0).to(torch.float32)
        noise = rng.normals(words[:, dim], words[:, dim + 1]).to(torch.float32)
        tastes = self.tastes(contexts)
        return Users(contexts, tastes, self.interests(tastes), noise)

    def tastes(self, contexts: Tensor, drift: Tensor | None = None) -> Tensor:
        """Users' mixes of topics by context, scaled so that u* has unit length.

        softmax(A x + drift) / ‖Σ_k softmax(A x + drift)_k c_k‖, smooth in x.

        Args:
            contexts: float32 (..., context_dim).
            drift: float32 (..., K), added to the topics' logits by a session; ``None``: 0.

        Returns:
            float32 (..., K), non-negative.
        """
        logits = contexts @ self._affinity.T
        mix = torch.softmax(logits if drift is None else logits + drift, dim=-1)
        lengths: Tensor = torch.linalg.vector_norm(mix @ self._topic_centres, dim=-1, keepdim=True)
        return mix / lengths.clamp_min(1e-6)  # of topics that cancel, no direction is left

    def interests(self, tastes: Tensor) -> Tensor:
        """Latent interests u* = Σ_k taste_k c_k, float32 (..., d) of unit length.

        Args:
            tastes: float32 (..., K), of :meth:`tastes`.
        """
        return tastes @ self._topic_centres

    def cosines(self, tastes: Tensor) -> Tensor:
        """Cosines cos(e_i, u*) of every user with every item, float32 (B, N).

        Through the K topics, since u* lies in the span of their centres: with the default world a
        twelfth of the arithmetic of interests @ embeddings.T, and the same up to rounding.

        Args:
            tastes: float32 (B, K), of :meth:`tastes`.
        """
        return tastes @ self._topic_cosines

    def topic_cosines(self, items: Tensor) -> Tensor:
        """Cosines cos(e_i, c_k) of items, int64 (...), with every centre: float32 (..., K)."""
        return self._topic_cosines.T[items]

    def latent_reward(self, cosines: Tensor) -> Tensor:
        """Latent rewards R = exp(-(1 - cos) / (2 δ²)) of Eq. 48, in [0, 1]; same shape."""
        return torch.exp((cosines.clamp(max=1.0) - 1.0) / (2.0 * self.config.delta**2))

    def observed_reward(self, latent: Tensor, noise: Tensor) -> Tensor:
        """Observed rewards clip(R + σ_noise ε, 0, 1) of Eq. 49, ε being ``noise``; same shape."""
        return (latent + self.config.reward_noise * noise).clamp(0.0, 1.0)

    def decode(self, actions: Tensor) -> Tensor:
        """Item of largest inner product with each action, of which only the direction counts.

        Args:
            actions: numbers (B, d), any finite vectors, whatever their length. The zero vector
                ties with everything and decodes to item 0.

        Returns:
            int64 (B,); -1 (no item) where an action has a non-finite component.
        """
        return decode(self.decoder, actions.to(self.device))

    def reward_of_items(self, items: Tensor, interests: Tensor) -> Tensor:
        """Latent rewards (Eq. 48) of one item for each user, float32 (B,) in [0, 1].

        Args:
            items: int64 (B,), rows of the catalogue; -1 (none) earns 0.
            interests: float32 (B, d) of unit length.
        """
        cosines = (self.embeddings[items.clamp_min(0)] * interests).sum(dim=-1)
        return torch.where(items >= 0, self.latent_reward(cosines), 0.0)

    def best_items(self, tastes: Tensor) -> Tensor:
        """Item of largest latent reward for each user, int64 (B,), whatever the decoder.

        Args:
            tastes: float32 (B, K), of :meth:`tastes`.
        """
        parts = torch.split(tastes, self.rows_at_a_time)
        return torch.cat([row_max(self.cosines(part))[1] for part in parts])

    def mean_rewards(self, tastes: Tensor) -> Tensor:
        """Mean of each user's latent rewards over all items, float32 (B,).

        Args:
            tastes: float32 (B, K), of :meth:`tastes`.
        """
        parts = torch.split(tastes, self.rows_at_a_time)
        return torch.cat([self.latent_reward(self.cosines(part)).mean(dim=1) for part in parts])

    @property
    def rows_at_a_time(self) -> int:
        """Number of users to score against the whole catalogue at a time, which bounds memory."""
        return max(1, min(1024, cells_at_a_time(self.device) // self.num_items))


def stream_of(split: str) -> Stream:
    """Random stream of a split of users; ``ValueError`` if there is no such split."""
    if not isinstance(split, str) or split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    return _USER_STREAMS[SPLITS.index(split)]


def _check_size(config: WorldConfig, catalogue: SimulatedCatalogue | None = None) -> None:
    """Raise ``ValueError`` where a world takes more memory than there is, before it is made."""
    if catalogue is not None:
        n, d, k = catalogue.num_items, catalogue.dim, len(catalogue.topic_centres)
    else:
        n = DRAWN_NUM_ITEMS if config.num_items is None else config.num_items
        d = DRAWN_DIM if config.embedding_dim is None else config.embedding_dim
        k = config.num_topics
    of_items = n * (4 * k + (4 * d + 48 if catalogue is None else 4))
    of_topics = k * (24 * d + 12 * config.context_dim)
    of_blocks = 16 * d * min(n, 65_536) if catalogue is None else 0  # drawn at a time
    of_contexts = 400 * config.context_dim  # sixteen users are drawn at a time
    what = (
        f"A world of {shown(n)} items × {d:,} dimensions, {shown(k)} topics and contexts of "
        f"{shown(config.context_dim)} numbers"
    )
    check_memory(what, of_items + of_blocks + of_topics + of_contexts, "make it smaller")


def make_catalogue(config: WorldConfig) -> SimulatedCatalogue:
    """Catalogue that a configuration describes, drawn or read from its file of embeddings.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_embeddings` and
            :class:`SimulatedCatalogue` say, and where the file disagrees with
            ``num_items``, ``embedding_dim`` or the checksum.
    """
    if config.embeddings is None:
        for name in ("embeddings_checksum", "normalize", "id_column", "vector_columns"):
            if getattr(config, name):
                raise ValueError(
                    f"{name}={shown(getattr(config, name))} is about a file of embeddings, and "
                    "none is given; drawn embeddings have unit length already."
                )
        return SimulatedCatalogue.synthetic(
            DRAWN_NUM_ITEMS if config.num_items is None else config.num_items,
            DRAWN_DIM if config.embedding_dim is None else config.embedding_dim,
            num_topics=config.num_topics,
            topic_spread=config.topic_spread,
            topic_size_exponent=config.topic_size_exponent,
            popularity_exponent=config.popularity_exponent,
            catalogue_seed=config.catalogue_seed,
        )
    vectors, item_ids = load_embeddings(
        config.embeddings, id_column=config.id_column, vector_columns=config.vector_columns
    )
    catalogue = catalogue_of_array(vectors, config, item_ids=item_ids)
    if config.embeddings_checksum not in (None, catalogue.checksum):
        raise ValueError(
            f"The catalogue read from {shown(config.embeddings)} has checksum "
            f"{catalogue.checksum}, expected {shown(config.embeddings_checksum)[:18]}…: the file "
            "or how it is read has changed."
        )
    return catalogue


def catalogue_of_array(
    vectors: ArrayLike, config: WorldConfig, *, item_ids: ArrayLike | None = None
) -> SimulatedCatalogue:
    """Catalogue of given vectors, with the other properties that a configuration describes.

    Args:
        vectors: (N, d) numbers, as for :meth:`Catalogue.of_vectors`.
        config: its ``embeddings`` and how to read them play no part.
        item_ids: (N,) integers or strings; ``None`` numbers the rows.

    Raises:
        ValueError: as :meth:`SimulatedCatalogue.from_embeddings` says, or the array disagrees with
            ``num_items`` or ``embedding_dim``.
    """
    array = np.asarray(vectors)
    for name, size, axis in (
        ("num_items", config.num_items, 0),
        ("embedding_dim", config.embedding_dim, 1),
    ):
        if size is not None and array.ndim == 2 and array.shape[axis] != size:
            raise ValueError(f"{name}={shown(size)}, but the embeddings' shape is {array.shape}.")
    return SimulatedCatalogue.from_embeddings(
        array,
        item_ids=item_ids,
        normalize=config.normalize,
        num_topics=config.num_topics,
        popularity_exponent=config.popularity_exponent,
        catalogue_seed=config.catalogue_seed,
    )


def shared_world(config: WorldConfig, device: str | torch.device = "cpu") -> World:
    """World of a configuration, made once in a process and shared by all who ask for it.

    The last four are kept. A file of embeddings that has changed makes another world.
    """
    file_stamp = None
    if config.embeddings is not None:
        with contextlib.suppress(OSError, ValueError):  # to be refused where it is read
            status = Path(config.embeddings).stat()
            file_stamp = (status.st_mtime_ns, status.st_size)
    return _shared_world(config, str(device), file_stamp)


@functools.lru_cache(maxsize=4)
def _shared_world(config: WorldConfig, device: str, file_stamp: tuple[int, int] | None) -> World:
    return World(config, device=device)


def make_world(
    device: str | torch.device = "cpu",
    *,
    embeddings: str | ArrayLike | None = None,
    decoder: Callable[[Tensor], Decoder] | None = None,
    **config: Any,
) -> World:
    """World as keyword arguments describe it, shared within the process where possible.

    Args:
        device: where it computes.
        embeddings: path of a file, or an array (N, d). A world made of an array is not shared and
            cannot be named in JSON: save the array and give its path where a dataset is to be made.
        decoder: as for :class:`World`; such a world is not shared either.
        **config: fields of :class:`WorldConfig`.

    Raises:
        ValueError: an unknown field (the nearest is named) or a value out of its range.
    """
    if embeddings is None or isinstance(embeddings, (str, Path)):
        path = None if embeddings is None else str(embeddings)
        described = build_config(WorldConfig, {**config, "embeddings": path}, "world parameter")
        if decoder is None:
            return shared_world(described, device)
        return World(described, decoder=decoder, device=device)
    described = build_config(WorldConfig, config, "world parameter")
    for name in ("embeddings_checksum", "id_column", "vector_columns"):
        if getattr(described, name) is not None:
            value = shown(getattr(described, name))
            raise ValueError(f"{name}={value} is about a file, not an array.")
    catalogue = catalogue_of_array(embeddings, described)
    return World(described, catalogue=catalogue, decoder=decoder, device=device)
