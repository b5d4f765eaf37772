"""Decoding: from an action embedding to the items of largest inner product (MIPS)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from recsim_drpo.core.validation import check_integer

NO_ITEM = -1
"""The item that a query with a non-finite component decodes to."""

# Small enough on a CPU that the scores stay in cache and the allocator gives the same pages again.
_CPU_CELLS = 2**21
_GPU_CELLS = 2**26
_MAX_QUERIES = 1024
_EQUAL = 1e-6  # scores that differ by no more are equal, but for rounding
_RUN = 64  # columns whose maximum is taken at once


def cells_at_a_time(device: torch.device) -> int:
    """Number of scores of users against items that are best computed at a time on a device."""
    return _CPU_CELLS if device.type == "cpu" else _GPU_CELLS


def directions(actions: Tensor) -> Tensor:
    """Actions scaled to unit length, float32 of the same shape (..., d).

    Args:
        actions: numbers of any type (..., d). Finite vectors of any length are scaled and a zero
            vector stays one; a NaN or infinite component leaves components that are not finite.
    """
    if not actions.is_floating_point():
        actions = actions.to(torch.float64)
    # By the largest entry first: the square of a huge one would overflow.
    largest = actions.abs().amax(dim=-1, keepdim=True).clamp_min(torch.finfo(actions.dtype).tiny)
    return torch.nn.functional.normalize((actions / largest).to(torch.float32), dim=-1)


@runtime_checkable
class Decoder(Protocol):
    """A maximum inner product search over items; approximate indices plug in by this protocol."""

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """``(scores, items)`` of the k best items, best first, each (B, k), for queries (B, d).

        Scores and queries are float32, items int64.
        """
        ...


def check_queries(embeddings: Tensor, queries: Tensor, k: int) -> None:
    """Raise ``ValueError`` unless k of the items (N, d) can be searched for queries (B, d)."""
    num_items, dim = embeddings.shape
    check_integer("k", k, 1, num_items)
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"Queries of shape {tuple(queries.shape)} do not fit dimension {dim}.")


class ExactDecoder:
    """Exhaustive maximum inner product search in bounded memory, on the catalogue's device.

    Ties: the smaller item first. A query with a NaN or infinite component finds nothing: its items
    are :data:`NO_ITEM` and its scores −inf, whatever the other queries are. Scores are computed in
    float32; two calls with differently shaped batches may differ by rounding, hence in the item
    where two scores are equal to within about 1e-6.

    Args:
        embeddings: float32 (N, d).
        max_cells: largest number of scores held at a time; ``None``: 2**21 (8 MB) on a CPU, 2**26
            elsewhere.
    """

    def __init__(self, embeddings: Tensor, max_cells: int | None = None) -> None:
        if max_cells is None:
            max_cells = cells_at_a_time(embeddings.device)
        check_integer("max_cells", max_cells, 1)
        self._embeddings = embeddings
        self._max_cells = max_cells

    def search(self, queries: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """The k items of largest inner product with each query, and these products.

        Args:
            queries: float32 (B, d).
            k: from 1 to N.

        Returns:
            scores: float32 (B, k), falling.
            items: int64 (B, k), rows of the catalogue.

        Raises:
            ValueError: k is out of range, or the queries have another shape.
        """
        check_queries(self._embeddings, queries, k)
        scores = torch.empty((len(queries), k), dtype=torch.float32, device=queries.device)
        items = torch.empty((len(queries), k), dtype=torch.int64, device=queries.device)
        rows = min(_MAX_QUERIES, self._max_cells)
        for start in range(0, len(queries), rows):
            chunk = slice(start, start + rows)
            block = queries[chunk]
            best_scores, best_items = self._nearest(block) if k == 1 else self._top(block, k)
            undefined = ~torch.isfinite(block).all(dim=1, keepdim=True)
            scores[chunk] = best_scores.masked_fill(undefined, -torch.inf)
            items[chunk] = best_items.masked_fill(undefined, NO_ITEM)
        return scores, items

    def _item_chunks(self, num_queries: int, k: int) -> list[slice]:
        num_items = len(self._embeddings)
        step = max(k, self._max_cells // max(1, num_queries))
        return [slice(s, min(s + step, num_items)) for s in range(0, num_items, step)]

    def _nearest(self, block: Tensor) -> tuple[Tensor, Tensor]:
        """Score and item of largest inner product with each query of a block, each (B, 1)."""
        best: tuple[Tensor, Tensor] | None = None
        for chunk in self._item_chunks(len(block), 1):
            score, item = row_max(block @ self._embeddings[chunk].T)
            item = item + chunk.start
            if best is not None:
                better = score > best[0]  # strictly: on a tie the earlier item stays
                score = torch.where(better, score, best[0])
                item = torch.where(better, item, best[1])
            best = (score, item)
        assert best is not None
        return best[0].unsqueeze(1), best[1].unsqueeze(1)

    def _top(self, block: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Scores and items of the k largest inner products with each query, each (B, k)."""
        keys = torch.empty((len(block), 0), dtype=torch.int64, device=block.device)
        for chunk in self._item_chunks(len(block), k):
            chunk_keys = sortable_keys(block @ self._embeddings[chunk].T, chunk.start)
            best_of_chunk = chunk_keys.topk(min(k, chunk_keys.shape[1]), dim=1).values
            keys = torch.cat((keys, best_of_chunk), dim=1)
            keys = keys.topk(min(k, keys.shape[1]), dim=1).values
        return unpack_keys(keys)


def decode(decoder: Decoder, actions: Tensor) -> Tensor:
    """The item of largest inner product with each action: only an action's direction counts.

    Args:
        decoder: searches the items.
        actions: numbers (B, d) on the decoder's device, of whatever length.

    Returns:
        int64 (B,); :data:`NO_ITEM` where an action has a non-finite component.
    """
    return decoder.search(directions(actions), 1)[1].squeeze(-1)


def found(decoder: Decoder, embeddings: Tensor, queries: Tensor, best: Tensor) -> Tensor:
    """Whether a decoder finds the best item of each query, bool (B,): one as good counts.

    Where a query has a component that is not finite there is nothing to find, which counts too.

    Args:
        decoder: searches the items.
        embeddings: float32 (N, d) of the items.
        queries: float32 (B, d) of unit length.
        best: float32 (B, 1), the largest inner products, of :class:`ExactDecoder`.
    """
    return are_best(decoder.search(queries, 1)[1].squeeze(1), embeddings, queries, best)


def are_best(items: Tensor, embeddings: Tensor, queries: Tensor, best: Tensor) -> Tensor:
    """As :func:`found`, of items, int64 (B,), that were found already."""
    scores = (embeddings[items.clamp_min(0)] * queries).sum(dim=1)
    right = (items >= 0) & (scores >= best.squeeze(1) - _EQUAL)
    return right | ~torch.isfinite(queries).all(dim=1)


def row_max(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Largest entry of each row and its column, the first of equals: float32 and int64, (B,).

    As ``scores.max(dim=1)``, whose search for the column costs several times a plain maximum: here
    the maxima of runs of 64 columns come first, and only the best run is searched.
    """
    num_columns = scores.shape[1]
    whole = num_columns - num_columns % _RUN
    if whole == 0 or scores.device.type != "cpu":
        best, column = scores.max(dim=1)
        return best, column
    runs = scores[:, :whole].view(len(scores), whole // _RUN, _RUN)
    run = runs.amax(dim=2).argmax(dim=1)
    best, column = runs[torch.arange(len(scores)), run].max(dim=1)
    column = column + run * _RUN
    if whole < num_columns:
        rest, rest_column = scores[:, whole:].max(dim=1)
        column = torch.where(rest > best, rest_column + whole, column)
        best = torch.maximum(best, rest)
    return best, column


def sortable_keys(scores: Tensor, first_item: int) -> Tensor:
    """Keys, int64 (B, n), that order by score, then by smaller item: no two are equal.

    The bits of a float32, read as an integer, order like the float once negative ones are flipped.
    """
    items = torch.arange(first_item, first_item + scores.shape[1], device=scores.device)
    return item_keys(scores, items)


def item_keys(scores: Tensor, items: Tensor) -> Tensor:
    """As :func:`sortable_keys`, of items, int64 (B, n) or (n,), in [0, 2**32)."""
    bits = (scores + 0.0).view(torch.int32)  # + 0.0 makes -0.0 and 0.0 one value
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int64)
    return (ordered << 32) | (0xFFFFFFFF - items)


def unpack_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Scores, float32, and items, int64, of :func:`sortable_keys`, in the same shape."""
    ordered = (keys >> 32).to(torch.int32)
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered)
    return bits.view(torch.float32), 0xFFFFFFFF - (keys & 0xFFFFFFFF)
