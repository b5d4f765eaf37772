"""The catalogue that a world's configuration describes: drawn, of a file, or of an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from recsim_drpo.simulator.catalogue import SimulatedCatalogue
from recsim_drpo.simulator.config import DRAWN_DIM, DRAWN_NUM_ITEMS, WorldConfig
from recsim_drpo.simulator.embeddings import load_embeddings


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
                    f"{name}={getattr(config, name)!r} is about a file of embeddings, and none is "
                    "given; drawn embeddings have unit length already."
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
            f"The catalogue read from {config.embeddings!r} has checksum {catalogue.checksum}, "
            f"expected {config.embeddings_checksum}: the file or how it is read has changed."
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
            raise ValueError(f"{name}={size}, but the embeddings' shape is {array.shape}.")
    return SimulatedCatalogue.from_embeddings(
        array,
        item_ids=item_ids,
        normalize=config.normalize,
        num_topics=config.num_topics,
        popularity_exponent=config.popularity_exponent,
        catalogue_seed=config.catalogue_seed,
    )
