"""The catalogue that a world's configuration describes: drawn, of a file, or of an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from recsim_drpo.core.memory import check_memory
from recsim_drpo.core.messages import shown
from recsim_drpo.simulator import tiles
from recsim_drpo.simulator.catalogue import SimulatedCatalogue
from recsim_drpo.simulator.config import DRAWN_DIM, DRAWN_NUM_ITEMS, WorldConfig
from recsim_drpo.simulator.embeddings import load_embeddings


def check_size(config: WorldConfig, catalogue: SimulatedCatalogue | None = None) -> None:
    """Raise ``ValueError`` where a world takes more memory than there is, before it is made."""
    if catalogue is not None:
        n, d, k = catalogue.num_items, catalogue.dim, len(catalogue.topic_centres)
    else:
        n = DRAWN_NUM_ITEMS if config.num_items is None else config.num_items
        d = DRAWN_DIM if config.embedding_dim is None else config.embedding_dim
        k = config.num_topics
    of_items = n * (4 * k + (4 * d + 48 if catalogue is None else 4))
    if n > tiles.LARGE:  # the search for best items, and its sorting
        of_items += n * (4 * k + 36)
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
