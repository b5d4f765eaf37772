"""The catalogue: item embeddings on the unit sphere, their topics and their popularity.

A catalogue is either drawn (a mixture of Gaussians projected on the sphere, Appendix H.1) or made
from real embeddings, whose topics are then found by clustering. Everything here is drawn by NumPy's
Philox generator on the CPU, so that one ``catalogue_seed`` is one catalogue everywhere.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsim_drpo.core.validation import check_integer, check_number, check_seed, repeated_values

MIN_DIM, MAX_DIM = 2, 1024
UNIT_TOLERANCE = 1e-3
"""Largest deviation of a row's length from 1 that still counts as unit length."""

_ITEMS, _POPULARITY, _CLUSTERING, _INTERESTS = range(4)
_CLUSTER_SAMPLE = 50_000
_CLUSTER_ITERATIONS = 20
_ROWS = 65_536  # computed at a time, to bound memory


def catalogue_generator(catalogue_seed: int, purpose: int) -> np.random.Generator:
    """NumPy's Philox generator, keyed by a catalogue seed and what its numbers are for.

    Args:
        catalogue_seed: integer in [0, 2**63).
        purpose: integer in [0, 2**64).

    Raises:
        ValueError: a seed out of its range.
    """
    key = np.array([check_seed(catalogue_seed, "catalogue_seed"), purpose], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def interest_generator(catalogue_seed: int) -> np.random.Generator:
    """Generator of the matrix that maps contexts to topics' logits; the seed is in [0, 2**63)."""
    return catalogue_generator(catalogue_seed, _INTERESTS)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Items with embeddings of unit length.

    Attributes:
        embeddings: float32 (N, d), rows of unit length, so that inner product is cosine.
        item_ids: (N,), integers or strings, the items' names outside; inside, an item is its row.
    """

    embeddings: NDArray[np.float32]
    item_ids: NDArray[np.generic]

    @property
    def num_items(self) -> int:
        """Number of items N."""
        return int(self.embeddings.shape[0])

    @property
    def dim(self) -> int:
        """Dimension d of the embeddings."""
        return int(self.embeddings.shape[1])

    @functools.cached_property
    def checksum(self) -> str:
        """SHA-256 (hex) of the embeddings' values and shape, the same for every file format."""
        return checksum_of(self.embeddings)

    @classmethod
    def of_vectors(
        cls, vectors: ArrayLike, item_ids: ArrayLike | None = None, *, normalize: bool = False
    ) -> Catalogue:
        """A catalogue of vectors and ids from outside, checked.

        Args:
            vectors: (N, d) numbers, d from 2 to 1,024. float32 rows of unit length are not copied:
                do not change them afterwards.
            item_ids: (N,) integers or strings, all different; ``None`` numbers the rows.
            normalize: scale each row to unit length. ``False`` refuses rows of another length.

        Raises:
            ValueError: wrong shape; rows that are not finite, zero, or (without ``normalize``) not
                of unit length, with their number; ids that are too many, too few or repeated.
        """
        array = np.asarray(vectors)
        if array.ndim != 2 or array.dtype.kind not in "fiu":
            raise ValueError(
                f"Embeddings are a numeric array (items, dims); got {array.dtype} {array.shape}."
            )
        check_integer("number of items", len(array), 1)
        check_integer("embedding dimension", array.shape[1], MIN_DIM, MAX_DIM)
        rows = checked_unit_rows(array, normalize)
        ids = np.arange(len(array), dtype=np.int64) if item_ids is None else np.asarray(item_ids)
        check_ids(ids, len(array))
        return Catalogue(rows, ids)


@dataclass(frozen=True, eq=False)
class SimulatedCatalogue(Catalogue):
    """Items of a simulated world, each with a topic and a popularity.

    Attributes:
        embeddings, item_ids: as of :class:`Catalogue`.
        topics: int64 (N,) in [0, K), the topic that each item belongs to.
        topic_centres: float32 (K, d), rows of unit length.
        popularity: float64 (N,), positive, sums to 1: the share of organic traffic of each item.
        popularity_exponent: exponent s of popularity ∝ rank^-s.
    """

    topics: NDArray[np.int64]
    topic_centres: NDArray[np.float32]
    popularity: NDArray[np.float64]
    popularity_exponent: float

    @classmethod
    def synthetic(
        cls,
        num_items: int,
        dim: int,
        *,
        num_topics: int,
        topic_spread: float,
        topic_size_exponent: float,
        popularity_exponent: float,
        catalogue_seed: int,
    ) -> SimulatedCatalogue:
        """A drawn catalogue: a mixture of Gaussians projected on the unit sphere (Appendix H.1).

        Item i of topic k is the direction of c_k + ``topic_spread`` · g / √d with g ~ N(0, I_d);
        topic k has probability ∝ (k + 1)^-``topic_size_exponent``.

        Args:
            num_items: N ≥ 1.
            dim: d from 2 to 1,024.
            num_topics: K ≥ 1.
            topic_spread: from 0 to 100; 0 puts all items of a topic at its centre.
            topic_size_exponent: ≥ 0; 0 makes topics of equal probability.
            popularity_exponent: s from 0 to 20 of popularity ∝ rank^-s; 0 is uniform.
            catalogue_seed: integer in [0, 2**63).

        Raises:
            ValueError: an argument is out of its range.
        """
        check_integer("num_items", num_items, 1)
        check_integer("embedding_dim", dim, MIN_DIM, MAX_DIM)
        check_integer("num_topics", num_topics, 1)
        check_number("topic_spread", topic_spread, 0.0, 100.0)
        check_number("topic_size_exponent", topic_size_exponent, 0.0)
        generator = catalogue_generator(catalogue_seed, _ITEMS)
        centres = _unit_rows(generator.standard_normal((num_topics, dim)))
        shares = np.arange(1, num_topics + 1, dtype=np.float64) ** -topic_size_exponent
        topics = generator.choice(num_topics, size=num_items, p=shares / shares.sum())
        embeddings = np.empty((num_items, dim), dtype=np.float32)
        for start in range(0, num_items, _ROWS):
            rows = slice(start, min(start + _ROWS, num_items))
            noise = generator.standard_normal((rows.stop - start, dim)) / np.sqrt(dim)
            embeddings[rows] = _unit_rows(centres[topics[rows]] + topic_spread * noise)
        return cls(
            embeddings=embeddings,
            item_ids=np.arange(num_items, dtype=np.int64),
            topics=topics.astype(np.int64),
            topic_centres=centres.astype(np.float32),
            popularity=_zipf(num_items, popularity_exponent, catalogue_seed),
            popularity_exponent=float(popularity_exponent),
        )

    @classmethod
    def from_embeddings(
        cls,
        embeddings: ArrayLike,
        *,
        item_ids: ArrayLike | None = None,
        normalize: bool = False,
        num_topics: int,
        popularity_exponent: float,
        catalogue_seed: int,
    ) -> SimulatedCatalogue:
        """A catalogue of given vectors (Appendix H.1), whose topics spherical k-means finds.

        Args:
            embeddings: as of :meth:`Catalogue.of_vectors`, and so are the next two.
            item_ids: likewise.
            normalize: likewise.
            num_topics: K ≥ 1, at most N.
            popularity_exponent: s from 0 to 20; ranks are dealt to items at random.
            catalogue_seed: integer in [0, 2**63); deals ranks and starts the clustering.

        Raises:
            ValueError: as :meth:`Catalogue.of_vectors`, or more topics than items.
        """
        items = Catalogue.of_vectors(embeddings, item_ids, normalize=normalize)
        check_integer("num_topics", num_topics, 1, items.num_items)
        topics, centres = spherical_k_means(items.embeddings, num_topics, catalogue_seed)
        return cls(
            embeddings=items.embeddings,
            item_ids=items.item_ids,
            topics=topics,
            topic_centres=centres,
            popularity=_zipf(items.num_items, popularity_exponent, catalogue_seed),
            popularity_exponent=float(popularity_exponent),
        )


def check_ids(ids: NDArray[np.generic], num_items: int, file: str | None = None) -> None:
    """Raise ``ValueError`` unless there is one id for each item and none is repeated.

    Args:
        ids: integers or strings, expected to be of shape (N,).
        num_items: N.
        file: name of the file that they are from, for the message.
    """
    where = "There are" if file is None else f"{file!r} has"
    if ids.shape != (num_items,):
        raise ValueError(f"{where} {num_items:,} item vectors but ids of shape {ids.shape}.")
    repeated = repeated_values(ids)
    if len(repeated):
        raise ValueError(
            f"{where} {len(repeated):,} item ids more than once, for example "
            f"{str(repeated[0])!r}; ids must be unique."
        )


def checksum_of(embeddings: NDArray[np.float32]) -> str:
    """SHA-256 (hex) of the values and shape of embeddings, float32 (N, d)."""
    digest = hashlib.sha256(repr(embeddings.shape).encode())
    for start in range(0, len(embeddings), _ROWS):
        block = np.ascontiguousarray(embeddings[start : start + _ROWS], dtype="<f4")
        digest.update(block.tobytes())
    return digest.hexdigest()


def _unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (N, d), none of them zero, scaled to unit length."""
    lengths: NDArray[np.float64] = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return rows / lengths


def checked_unit_rows(array: NDArray[np.generic], normalize: bool) -> NDArray[np.float32]:
    """Rows of unit length, float32 (N, d), in the same memory where possible.

    Args:
        array: (N, d) numbers.
        normalize: scale each row to unit length; else a length more than 0.001 from 1 is an error.

    Raises:
        ValueError: rows that are not finite, zero, or (without ``normalize``) not of unit length.
    """
    lengths = np.empty(len(array), dtype=np.float64)
    finite = np.empty(len(array), dtype=np.bool_)
    for start in range(0, len(array), _ROWS):
        rows = slice(start, start + _ROWS)
        block = np.asarray(array[rows], dtype=np.float64)
        finite[rows] = np.isfinite(block).all(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            lengths[rows] = np.sqrt(np.square(block).sum(axis=1))
    zero = finite & (lengths == 0)
    if zero.any():  # or so small that the squares vanished
        zero[zero] = ~np.asarray(array[zero]).any(axis=1)
    for fault, name in ((~finite, "not finite"), (zero, "zero")):
        if fault.any():
            raise ValueError(
                f"{int(fault.sum())} of {len(array)} embedding rows are {name} "
                f"(first: row {int(fault.argmax())}); remove or repair them."
            )
    if normalize:
        scaled_rows = np.empty(array.shape, dtype=np.float32)
        for start in range(0, len(array), _ROWS):
            rows = slice(start, start + _ROWS)
            block = np.asarray(array[rows], dtype=np.float64)
            # By the largest entry first: the square of a huge or tiny one is no number any more.
            scaled_rows[rows] = _unit_rows(block / np.abs(block).max(axis=1, keepdims=True))
        return scaled_rows
    fault = np.abs(lengths - 1.0) > UNIT_TOLERANCE
    if fault.any():
        raise ValueError(
            f"{int(fault.sum())} of {len(array)} embedding rows are not of unit length (first: row "
            f"{int(fault.argmax())}, length {lengths[fault.argmax()]:.4g}); pass normalize=True "
            "(--normalize) to scale them."
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def _zipf(num_items: int, exponent: float, catalogue_seed: int) -> NDArray[np.float64]:
    """Popularity ∝ rank^-exponent, float64 (N,) summing to 1, ranks dealt to items at random."""
    check_number("popularity_exponent", exponent, 0.0, 20.0)
    ranks = catalogue_generator(catalogue_seed, _POPULARITY).permutation(num_items) + 1.0
    weights = np.asarray(ranks**-exponent, dtype=np.float64)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def spherical_k_means(
    vectors: NDArray[np.float32], num_topics: int, catalogue_seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Clusters of unit vectors by cosine, and their centres.

    Spherical k-means (Dhillon and Modha, *Concept decompositions for large sparse text data using
    clustering*, Machine Learning 42, 2001), started by D² sampling (Arthur and Vassilvitskii,
    *k-means++*, SODA 2007). Fitted on at most 50,000 rows; then every row is assigned. Own code,
    since a library's clustering may change with its version, and with it a published world.

    Args:
        vectors: float32 (N, d), rows of unit length.
        num_topics: K clusters, from 1 to N.
        catalogue_seed: integer in [0, 2**63) of the start.

    Returns:
        int64 (N,), the cluster of each row in [0, K), and float32 (K, d), their centres.
    """
    generator = catalogue_generator(catalogue_seed, _CLUSTERING)
    sample_size = min(len(vectors), _CLUSTER_SAMPLE)
    rows = np.sort(generator.permutation(len(vectors))[:sample_size])
    sample = np.asarray(vectors[rows], dtype=np.float64)
    centres = np.empty((num_topics, vectors.shape[1]))
    distance = np.full(sample_size, np.inf)
    for k in range(num_topics):
        total = distance.sum()
        first = k == 0 or total <= 0
        weights = np.full(sample_size, 1.0 / sample_size) if first else distance / total
        centres[k] = sample[generator.choice(sample_size, p=weights)]
        distance = np.minimum(distance, np.maximum(0.0, 1.0 - sample @ centres[k]))
    for _ in range(_CLUSTER_ITERATIONS):
        assigned = (sample @ centres.T).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, assigned, sample)
        lengths = np.sqrt(np.square(sums).sum(axis=1, keepdims=True))
        centres = np.where(lengths > 1e-9, sums / np.maximum(lengths, 1e-9), centres)
    unit_centres = centres.astype(np.float32)
    topics = np.empty(len(vectors), dtype=np.int64)
    for start in range(0, len(vectors), _ROWS):
        topics[start : start + _ROWS] = (vectors[start : start + _ROWS] @ unit_centres.T).argmax(1)
    return topics, unit_centres
