"""Approximate maximum inner product search by faiss, its candidates ordered by their vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsim_drpo.simulator.catalogue import checksum_of
from recsim_drpo.simulator.decoder import (
    NO_ITEM,
    ExactDecoder,
    check_queries,
    directions,
    found,
    item_keys,
    unpack_keys,
)
from recsim_drpo.simulator.decoder_names import FAISS, DecoderName
from recsim_drpo.simulator.faiss_engine import (
    Structure,
    Vectors,
    check_parameters,
    empty_index,
    fill,
    set_parameters,
)
from recsim_drpo.simulator.faiss_tuning import tune
from recsim_drpo.simulator.index_files import kept_index, kept_settings, read_index

CANDIDATES = 16
"""Items at least that faiss is asked for, to be ordered by their vectors."""

SAMPLED_QUERIES = 1_024
"""Queries that settings are chosen on."""

_CELLS = 2**22
_ROWS = 4_096
_POOL = 4_096
_SHARES = (128, 32, 8)
_SEED = 2_024


class FaissDecoder:
    """Maximum inner product search by an index of faiss.

    faiss is asked for k + 15 candidates; their scores are computed anew from the items' vectors,
    in float32, and order them: so codes of a quantizer propose and never rank, and of equal scores
    *among the candidates* the smaller item comes first. Whether the best item is among them is
    what is approximate. A query for which faiss finds fewer than k items, as in lists that are
    empty, is searched exactly. A zero vector ties with everything: its items are 0, 1, …; one with
    a NaN or infinite component finds nothing, as in :class:`.decoder.ExactDecoder`.

    Args:
        embeddings: float32 (N, d) of unit length; on any device, faiss computes on the CPU.
        index: of faiss, with N vectors of inner product.
        factory: the words that it was made by.

    Attributes:
        index, factory: as given.
    """

    def __init__(self, embeddings: Tensor, index: Any, factory: str) -> None:
        self.index, self.factory = index, factory
        self._embeddings = embeddings
        self._exact = ExactDecoder(embeddings)

    @property
    def settings(self) -> dict[str, float]:
        """The parameters of searching, as they are set, by faiss's names."""
        return Structure(self.index, len(self._embeddings)).settings

    @property
    def lists(self) -> int:
        """Inverted lists; 0 where there are none."""
        return Structure(self.index, len(self._embeddings)).lists

    @property
    def name(self) -> str:
        """The name of a decoder like it, with all its settings: by which tables name it."""
        return str(DecoderName(FAISS, self.factory, self.settings))

    def search(self, queries: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """About the k items of largest inner product with each query, and these products.

        Arguments, shapes and errors as of :meth:`.decoder.ExactDecoder.search`.
        """
        check_queries(self._embeddings, queries, k)
        scores = torch.empty((len(queries), k), dtype=torch.float32, device=queries.device)
        items = torch.empty((len(queries), k), dtype=torch.int64, device=queries.device)
        for start in range(0, len(queries), _ROWS):
            rows = slice(start, start + _ROWS)
            scores[rows], items[rows] = self._searched(queries[rows], k)
        return scores, items

    def _searched(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """As :meth:`search`, of a block of queries."""
        finite = torch.isfinite(queries).all(dim=1, keepdim=True)
        known = torch.where(finite, queries, 0.0)
        scores, items = self._ordered(known, self._candidates(known, k), k)
        zero = (known == 0).all(dim=1)
        items[zero] = torch.arange(k, device=items.device)
        scores[zero] = 0.0
        few = torch.isinf(scores[:, -1]).nonzero().squeeze(1)
        if len(few):
            scores[few], items[few] = self._exact.search(known[few], k)
        return scores.masked_fill(~finite, -torch.inf), items.masked_fill(~finite, NO_ITEM)

    def _candidates(self, queries: Tensor, k: int) -> Tensor:
        """Items that faiss proposes, int64 (B, ≥ k), −1 where it has no more."""
        wide = min(len(self._embeddings), k + CANDIDATES - 1)
        host = np.ascontiguousarray(queries.detach().cpu().numpy(), dtype=np.float32)
        proposed = self.index.search(host, wide)[1]
        return torch.from_numpy(proposed).to(queries.device)

    def _ordered(self, queries: Tensor, proposed: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k best of candidates, by the vectors, then the smaller item: each (B, k)."""
        size = max(1, _CELLS // (proposed.shape[1] * queries.shape[1]))
        parts = []
        for start in range(0, len(queries), size):
            rows = proposed[start : start + size]
            vectors = self._embeddings[rows.clamp_min(0)]
            # Not a matrix product: equal vectors are to have equal scores.
            scores = (vectors * queries[start : start + size].unsqueeze(1)).sum(dim=-1)
            keys = item_keys(scores.masked_fill_(rows < 0, -torch.inf), rows.clamp_min(0))
            parts.append(keys.topk(k, dim=1).values)
        return unpack_keys(torch.cat(parts) if parts else proposed[:, :k])


def kept_decoder(name: DecoderName, embeddings: Tensor) -> FaissDecoder:
    """The decoder of a name of kind ``"faiss"``, its index built once and kept on this machine.

    Args:
        name: checked by :func:`.retrieval.check_decoder`.
        embeddings: float32 (N, d) of unit length.

    Raises:
        ValueError: as :func:`.faiss_engine.empty_index` and :func:`.faiss_engine.fill`.
    """
    vectors = _on_host(embeddings)
    checksum = checksum_of(vectors)

    def build() -> Any:
        index = empty_index(DecoderName(name.kind, name.what), *vectors.shape)
        fill(index, vectors)
        return index

    index = kept_index(checksum, name.what, build)
    return _set(name, embeddings, index, checksum)


def named_decoder(name: DecoderName, embeddings: Tensor) -> FaissDecoder:
    """The decoder of a name of kind ``"index"``, by an index that was written before.

    Raises:
        UnusableIndexError: it is damaged or of another catalogue; nothing is built in its place.
        ValueError: a parameter that it has not, or out of range.
    """
    checksum = checksum_of(_on_host(embeddings))
    index, factory = read_index(Path(name.what), checksum)
    found_as = DecoderName(FAISS, factory, name.parameters, name.recall)
    return _set(found_as, embeddings, index, "")


def _set(name: DecoderName, embeddings: Tensor, index: Any, checksum: str) -> FaissDecoder:
    """A decoder with the parameters of its name set, or chosen for the recall that it wants."""
    num_items = len(embeddings)
    decoder = FaissDecoder(embeddings, index, name.what)
    wanted = name.recall
    if wanted is None:
        check_parameters(name, index, num_items)
        return decoder

    def chosen() -> dict[str, float]:
        queries = sampled_queries(embeddings)
        best = ExactDecoder(embeddings).search(queries)[0]

        def recall() -> float:
            return float(found(decoder, embeddings, queries, best).to(torch.float32).mean())

        return tune(index, num_items, recall, wanted)

    settings = kept_settings(checksum, name.what, wanted, chosen) if checksum else chosen()
    set_parameters(index, settings)
    return decoder


def sampled_queries(embeddings: Tensor, count: int = SAMPLED_QUERIES) -> Tensor:
    """Queries like those of policies that fit logged items: float32 (count, d), of unit length.

    Each is the mean of those of 4,096 drawn items that are nearest to a random direction: of a
    128th, a 32nd or an 8th of them. So it lies where items are, and near no item in particular: a
    query made around one item would find that item, whatever is missed.
    """
    generator = np.random.default_rng(_SEED)
    pool_size = min(len(embeddings), _POOL)
    pool = np.sort(generator.choice(len(embeddings), pool_size, replace=False))
    vectors = embeddings[torch.from_numpy(pool).to(embeddings.device)]
    drawn = generator.standard_normal((count, embeddings.shape[1])).astype(np.float32)
    centres = torch.from_numpy(drawn).to(embeddings.device)
    queries = []
    for place, share in enumerate(_SHARES):
        scores = centres[place :: len(_SHARES)] @ vectors.T
        near = scores.topk(max(1, pool_size // share), dim=1).indices
        size = max(1, _CELLS // (near.shape[1] * embeddings.shape[1]))
        queries += [vectors[rows].mean(dim=1) for rows in torch.split(near, size)]
    return directions(torch.cat(queries))


def _on_host(embeddings: Tensor) -> Vectors:
    vectors: Vectors = embeddings.detach().cpu().numpy()
    return vectors
