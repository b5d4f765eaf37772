"""The simulated world: catalogue, users and reward, batched in torch on any device (Appendix H).

A user is named by ``(split, seed, episode)`` and is a pure function of that name: the split is part
of every random counter, so training, validation and test users are disjoint whatever the seeds.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from recsim_drpo.core import rng
from recsim_drpo.core.config import build_config
from recsim_drpo.core.messages import shown
from recsim_drpo.core.rng import Stream
from recsim_drpo.core.torch_settings import resolve_device
from recsim_drpo.core.validation import unknown_name
from recsim_drpo.simulator import tiles
from recsim_drpo.simulator.bounds import BestByBounds
from recsim_drpo.simulator.catalogue import SimulatedCatalogue, interest_generator
from recsim_drpo.simulator.config import SPLITS, WorldConfig
from recsim_drpo.simulator.decoder import Decoder, ExactDecoder, cells_at_a_time, decode, row_max
from recsim_drpo.simulator.decoder_names import EXACT, parse_decoder
from recsim_drpo.simulator.described_catalogue import catalogue_of_array, check_size, make_catalogue
from recsim_drpo.simulator.retrieval import check_decoder, make_decoder

MakesDecoder = str | Callable[[Tensor], Decoder]
"""A decoder by its name, or what makes one from the embeddings."""

_BOUNDED_USERS = 1_024  # at a time, against bounds of blocks of items
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
        decoder: the decoder of actions by its name, see :mod:`.decoder_names`, or what makes it
            from the embeddings, float32 (N, d) on the device; ``None``: exact. Oracles are exact
            all the same.
        device: where everything is computed.

    Raises:
        ValueError: a device that cannot be used, a decoder that cannot be called or whose name
            :func:`.retrieval.check_decoder` refuses, or what :func:`make_catalogue` says.

    Attributes:
        config: as the argument.
        catalogue: the items.
        device: as the argument.
        decoder: the decoder made of the embeddings, when it is first used.
        embeddings: float32 (N, d) on the device.
        popularity: float32 (N,) on the device, sums to 1.
        topics: int64 (N,) on the device, in [0, K).
    """

    def __init__(
        self,
        config: WorldConfig,
        *,
        catalogue: SimulatedCatalogue | None = None,
        decoder: MakesDecoder | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.config = config
        self.device = resolve_device(device)
        self._decoder_name = decoder if isinstance(decoder, str) else None
        self._is_drawn = catalogue is None and config.embeddings is None and not callable(decoder)
        if catalogue is not None or config.embeddings is None:  # else of how many, the file tells
            check_size(config, catalogue)
        self.catalogue = make_catalogue(config) if catalogue is None else catalogue
        with warnings.catch_warnings():
            # A memory-mapped file is read-only, which torch warns of; nothing here writes to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
            self.embeddings = torch.from_numpy(self.catalogue.embeddings).to(self.device)
        self.popularity = torch.from_numpy(self.catalogue.popularity).to(self.device, torch.float32)
        self._make_decoder = self._checked(decoder)
        self.topics = torch.from_numpy(self.catalogue.topics).to(self.device)
        self._topic_centres = torch.from_numpy(self.catalogue.topic_centres).to(self.device)
        self._topic_cosines = self._topic_centres @ self.embeddings.T
        shape = (len(self.catalogue.topic_centres), config.context_dim)
        affinity = interest_generator(config.catalogue_seed).standard_normal(shape)
        # Contexts are uniform in [-1, 1], of variance 1/3: this makes the logits' variance
        # interest_sharpness² on average, whatever the dimension.
        affinity *= config.interest_sharpness * np.sqrt(3.0 / config.context_dim)
        self._affinity = torch.from_numpy(affinity.astype(np.float32)).to(self.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> World:
        return self  # immutable

    def __reduce__(self) -> Any:
        """Of a world that is drawn, pickles hold the description: a hundredth of its size."""
        if self._is_drawn:
            return shared_world, (self.config, str(self.device), self._decoder_name)
        return super().__reduce__()

    def __getstate__(self) -> dict[str, Any]:
        """All but what is made at its first use: an index of an engine is built or read again."""
        later = ("decoder", "_best_by_bounds")
        return {name: value for name, value in vars(self).items() if name not in later}

    def _checked(self, decoder: MakesDecoder | None) -> Callable[[Tensor], Decoder]:
        """What makes the decoder; a name that does not fit is refused now, not at the first use."""
        if decoder is None or callable(decoder):
            return decoder or ExactDecoder
        check_decoder(decoder, self.num_items, self.dim, self.device)
        return functools.partial(make_decoder, decoder)

    @functools.cached_property
    def decoder(self) -> Decoder:
        """The decoder of actions; an index that is not kept anywhere is built now."""
        return self._make_decoder(self.embeddings)

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
        if self.num_items <= tiles.LARGE:
            return self._in_parts(lambda part: row_max(self.cosines(part))[1], tastes)
        if self.device.type == "cpu":
            return self._in_parts(self._best_by_bounds, tastes, _BOUNDED_USERS)
        size = tiles.users_at_a_time(self.device)
        return self._in_parts(lambda part: self.scan(part).best_items, tastes, size)

    def _in_parts(
        self, function: Callable[[Tensor], Tensor], tastes: Tensor, size: int | None = None
    ) -> Tensor:
        """A number of each user, (B,), computed for as many users at a time as bound memory."""
        size = self.rows_at_a_time if size is None else size
        return tiles.in_parts(lambda part: (function(part),), tastes, size)[0]

    @functools.cached_property
    def _best_by_bounds(self) -> BestByBounds:
        """The search for best items of a large catalogue, made at the first."""
        return BestByBounds(self._topic_cosines, self.topics)

    def mean_rewards(self, tastes: Tensor) -> Tensor:
        """Mean of each user's latent rewards over all items, float32 (B,).

        Args:
            tastes: float32 (B, K), of :meth:`tastes`.
        """
        if self.num_items > tiles.LARGE:
            size = tiles.users_at_a_time(self.device)
            return self._in_parts(self._mean_reward_in_tiles, tastes, size)
        return self._in_parts(
            lambda part: self.latent_reward(self.cosines(part)).mean(dim=1), tastes
        )

    def _mean_reward_in_tiles(self, tastes: Tensor) -> Tensor:
        total = torch.zeros(len(tastes), dtype=torch.float64, device=self.device)
        for _, cosines in self.cosine_tiles(tastes):
            total += self.latent_reward(cosines).sum(dim=1)
        return (total / self.num_items).to(torch.float32)

    def cosine_tiles(self, tastes: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield the columns of :meth:`cosines` in tiles, see :func:`.tiles.cosine_tiles`."""
        return tiles.cosine_tiles(tastes, self._topic_cosines)

    def scan(self, tastes: Tensor, softmaxes: tuple[tiles.Softmax, ...] = ()) -> tiles.Scan:
        """One pass over all items for a few users, see :func:`.tiles.scan`."""
        return tiles.scan(tastes, self._topic_cosines, softmaxes)

    def tile_of_each(self, tastes: Tensor, tile: Tensor) -> tiles.TileOfEach:
        """One tile of items for each user, see :func:`.tiles.tile_of_each`."""
        return tiles.tile_of_each(tastes, self._topic_cosines, tile)

    @property
    def rows_at_a_time(self) -> int:
        """Number of users to score against the whole catalogue at a time, which bounds memory."""
        return max(1, min(1024, cells_at_a_time(self.device) // self.num_items))


def stream_of(split: str) -> Stream:
    """Random stream of a split of users; ``ValueError`` if there is no such split."""
    if not isinstance(split, str) or split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    return _USER_STREAMS[SPLITS.index(split)]


def shared_world(
    config: WorldConfig, device: str | torch.device = "cpu", decoder: str | None = None
) -> World:
    """World of a configuration, made once in a process and shared by all who ask for it.

    The last four are kept. A file of embeddings that has changed makes another world, as does
    another name of a decoder.
    """
    file_stamp = None
    if config.embeddings is not None:
        with contextlib.suppress(OSError, ValueError):  # to be refused where it is read
            status = Path(config.embeddings).stat()
            file_stamp = (status.st_mtime_ns, status.st_size)
    named = None if decoder is None else str(parse_decoder(decoder))
    return _shared_world(config, str(device), file_stamp, None if named == EXACT else named)


@functools.lru_cache(maxsize=4)
def _shared_world(
    config: WorldConfig, device: str, file_stamp: tuple[int, int] | None, decoder: str | None
) -> World:
    return World(config, decoder=decoder, device=device)


def make_world(
    device: str | torch.device = "cpu",
    *,
    embeddings: str | ArrayLike | None = None,
    decoder: MakesDecoder | None = None,
    **config: Any,
) -> World:
    """World as keyword arguments describe it, shared within the process where possible.

    Args:
        device: where it computes.
        embeddings: path of a file, or an array (N, d). A world made of an array is not shared and
            cannot be named in JSON: save the array and give its path where a dataset is to be made.
        decoder: as for :class:`World`; a world with a decoder that is no name is not shared either.
        **config: fields of :class:`WorldConfig`.

    Raises:
        ValueError: an unknown field (the nearest is named) or a value out of its range.
    """
    if embeddings is None or isinstance(embeddings, (str, Path)):
        path = None if embeddings is None else str(embeddings)
        described = build_config(WorldConfig, {**config, "embeddings": path}, "world parameter")
        if decoder is None or isinstance(decoder, str):
            return shared_world(described, device, decoder)
        return World(described, decoder=decoder, device=device)
    described = build_config(WorldConfig, config, "world parameter")
    for name in ("embeddings_checksum", "id_column", "vector_columns"):
        if getattr(described, name) is not None:
            value = shown(getattr(described, name))
            raise ValueError(f"{name}={value} is about a file, not an array.")
    catalogue = catalogue_of_array(embeddings, described)
    return World(described, catalogue=catalogue, decoder=decoder, device=device)
