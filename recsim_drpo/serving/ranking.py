"""Rank items for actions, exactly and in bounded memory: the order is that of one written rule.

The score of an item is the inner product of the action's direction and the item's vector, summed
in double precision and rounded to float32; the largest comes first, of equals the smaller row. That
does not depend on how many actions are ranked at once, and a few lines of NumPy give the same
(docs/serving.md).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from recsim_drpo.core.validation import check_integer
from recsim_drpo.simulator.decoder import (
    NO_ITEM,
    Decoder,
    ExactDecoder,
    directions,
    sortable_keys,
    unpack_keys,
)
from recsim_drpo.simulator.retrieval import is_exact, label

_SPARE = 16  # candidates beyond k, so that rounding seldom leaves in doubt which are the top k
_CELLS = 2**21
_EQUAL = 1e-6  # scores that differ by no more are equal, but for rounding


class Ranking(NamedTuple):
    """The best items of each of B actions.

    Attributes:
        scores: float32 (B, k), falling; −inf where an action has fewer than k items.
        rows: int64 (B, k), rows of the catalogue, :data:`NO_ITEM` there.
    """

    scores: Tensor
    rows: Tensor


class Allowed(Protocol):
    """Which items may be ranked for each of B actions."""

    def mask(self, rows: Tensor) -> Tensor:
        """For the actions of these numbers, int64 (n,): bool (n, N), true where it may."""
        ...


class Cap(NamedTuple):
    """At most so many items of a group in one ranking.

    Attributes:
        groups: int64 (N,), the group of each item; −1 where nothing limits it.
        limit: ≥ 1.
    """

    groups: Tensor
    limit: int

    def admits(self, rows: Tensor) -> Tensor:
        """Of ranked items, int64 (B, n), those that are among the first so many of their group."""
        groups = self.groups[rows.clamp_min(0)].masked_fill(rows == NO_ITEM, -1)
        order = groups.argsort(dim=1, stable=True)
        ordered = groups.gather(1, order)
        places = torch.arange(rows.shape[1], device=rows.device).expand_as(rows)
        begins = torch.ones_like(rows, dtype=torch.bool)
        begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        first = places.masked_fill(~begins, 0).cummax(dim=1).values
        earlier = torch.empty_like(rows).scatter_(1, order, places - first)  # of the same group
        return (rows != NO_ITEM) & ((groups < 0) | (earlier < self.limit))


class _Part(NamedTuple):
    """What is allowed for some of the actions."""

    allowed: Allowed
    numbers: Tensor

    def mask(self, rows: Tensor) -> Tensor:
        return self.allowed.mask(self.numbers[rows])


class Ranker:
    """Ranks the items of a catalogue for actions.

    A search in single precision proposes candidates, which are scored again in double precision.
    Where the bound of its rounding leaves open whether another item belongs to the k best, such as
    among more items of one vector than there are candidates, all items are scored in double
    precision.

    An approximate decoder proposes likewise, and what it does not propose is not looked for; among
    allowed items all are scored, whatever the decoder.

    Args:
        embeddings: float32 (N, d), rows of unit length.
        decoder: of them; ``None``: exact.

    Attributes:
        embeddings: as given.
        decoder: that searches them.
    """

    def __init__(self, embeddings: Tensor, decoder: Decoder | None = None) -> None:
        self.embeddings = embeddings
        self.decoder = ExactDecoder(embeddings) if decoder is None else decoder
        # Of d products of entries of unit vectors in single precision, and of the direction itself.
        self._rounding = (embeddings.shape[1] + 8) * 2.0**-23

    def top(
        self, actions: Tensor, k: int, allowed: Allowed | None = None, cap: Cap | None = None
    ) -> Ranking:
        """The k items of largest score for each action.

        Args:
            actions: finite numbers (B, d) of any length.
            k: from 1 to N.
            allowed: the items that each may have; ``None``: all.
            cap: items are taken from the best on, as long as their group is not full.

        Raises:
            ValueError: k is out of range.
        """
        check_integer("k", k, 1, len(self.embeddings))
        if cap is None:
            return self._top(actions, k, allowed)
        return self._capped(actions, k, allowed, cap)

    def _top(self, actions: Tensor, k: int, allowed: Allowed | None) -> Ranking:
        num_items = len(self.embeddings)
        complete = allowed is not None or is_exact(self.decoder)
        units, wide = _unit(actions), min(num_items, k + _SPARE if complete else k)
        queries = directions(actions)
        if allowed is None:
            proposed, rows = self.decoder.search(queries, wide)
        else:
            proposed, rows = self._masked(queries, wide, allowed)
        scores = self._rescored(units, rows)
        ordered = _ordered(scores, rows)
        best = Ranking(ordered.scores[:, :k].clone(), ordered.rows[:, :k].clone())
        if wide < num_items and complete:
            doubtful = proposed[:, -1] + self._rounding >= best.scores[:, -1]
            doubtful &= torch.isfinite(proposed[:, -1])
            where = doubtful.nonzero().squeeze(1)
            if len(where):
                exact = self._exhaustive(units, where, k, allowed)
                best.scores[where], best.rows[where] = exact
        return best

    def _capped(self, actions: Tensor, k: int, allowed: Allowed | None, cap: Cap) -> Ranking:
        """Of ever more of the best, those that the cap admits, until there are k of them."""
        num_items, device = len(self.embeddings), actions.device
        scores = torch.full((len(actions), k), -torch.inf, device=device)
        rows = torch.full((len(actions), k), NO_ITEM, device=device)
        pending, depth = torch.arange(len(actions), device=device), k
        while len(pending):
            depth, later = min(num_items, 4 * depth), []
            for part in pending.split(max(1, _CELLS // depth)):  # type: ignore[no-untyped-call]
                among = None if allowed is None else _Part(allowed, part)
                best = self._top(actions[part], depth, among)
                admitted = cap.admits(best.rows)
                places = admitted.cumsum(dim=1) - 1
                row, column = (admitted & (places < k)).nonzero(as_tuple=True)
                place = part[row], places[row, column]
                scores[place], rows[place] = best.scores[row, column], best.rows[row, column]
                done = (places[:, -1] >= k - 1) | (best.rows[:, -1] == NO_ITEM)
                later.append(part[~done])
            pending = torch.cat(later) if depth < num_items else pending[:0]
        return Ranking(scores, rows)

    def scores(self, actions: Tensor, rows: Tensor) -> Tensor:
        """Scores, float32 (B, k), of rows int64 (B, k) for actions (B, d); −inf for no item."""
        return self._rescored(_unit(actions), rows)

    def _masked(self, queries: Tensor, k: int, allowed: Allowed) -> tuple[Tensor, Tensor]:
        """As the decoder's search, among the items that are allowed."""
        parts = []
        for rows in _blocks(torch.arange(len(queries), device=queries.device), self.embeddings):
            scores = queries[rows] @ self.embeddings.T
            scores.masked_fill_(~allowed.mask(rows), -torch.inf)
            parts.append(_best(scores, k))
        return _joined(parts, k, queries.device)

    def _rescored(self, units: Tensor, rows: Tensor) -> Tensor:
        """Scores by the rule, float32 (B, k), of rows int64 (B, k); −inf where there is no item."""
        scores = torch.empty(rows.shape, dtype=torch.float32, device=rows.device)
        size = max(1, _CELLS // (rows.shape[1] * units.shape[1]))
        for start in range(0, len(rows), size):
            block = slice(start, start + size)
            vectors = self.embeddings[rows[block].clamp_min(0)].to(torch.float64)
            scores[block] = torch.einsum("bkd,bd->bk", vectors, units[block]).to(torch.float32)
        return scores.masked_fill_(rows == NO_ITEM, -torch.inf)

    def _exhaustive(
        self, units: Tensor, where: Tensor, k: int, allowed: Allowed | None
    ) -> tuple[Tensor, Tensor]:
        """The k best for the actions of these numbers, every item scored by the rule."""
        parts = []
        for rows in _blocks(where, self.embeddings):
            scores = torch.empty(
                (len(rows), len(self.embeddings)), dtype=torch.float32, device=rows.device
            )
            size = max(1, _CELLS // units.shape[1])
            for start in range(0, len(self.embeddings), size):
                items = slice(start, start + size)
                vectors = self.embeddings[items].to(torch.float64)
                scores[:, items] = (units[rows] @ vectors.T).to(torch.float32)
            if allowed is not None:
                scores.masked_fill_(~allowed.mask(rows), -torch.inf)
            parts.append(_best(scores, k))
        return _joined(parts, k, units.device)


class RankingRecall(NamedTuple):
    """How much of exact rankings an approximate decoder finds.

    Attributes:
        decoder: its name.
        at_1: share of the actions whose best item, or one as good, is ranked first.
        at_k: share of the k best items that are among the k ranked, or as good.
        k: items a ranking.
        actions: actions that were ranked by both.
    """

    decoder: str
    at_1: float
    at_k: float
    k: int
    actions: int

    def __str__(self) -> str:
        shares = f"recall@1 {self.at_1:.1%}"
        if self.k > 1:
            shares += f", recall@{self.k} {self.at_k:.1%}"
        return (
            f"Items are found by {self.decoder}: {shares}, of the first {self.actions:,} contexts."
        )


def ranking_recall(ranker: Ranker, actions: Tensor, k: int) -> RankingRecall:
    """Hold a ranker against exact search, on actions (B, d), B ≥ 1, k items each."""
    found = ranker.top(actions, k).scores
    best = Ranker(ranker.embeddings).top(actions, k).scores
    # Both fall: an item missed moves all behind it, so count those that reach the k-th best.
    hits = (found >= best[:, -1:] - _EQUAL).to(torch.float64).mean()
    first = (found[:, 0] >= best[:, 0] - _EQUAL).to(torch.float64).mean()
    return RankingRecall(label(ranker.decoder), float(first), float(hits), k, len(actions))


def _unit(actions: Tensor) -> Tensor:
    """Actions scaled to unit length, float64 of the same shape; a zero vector stays one."""
    wide = actions.to(torch.float64)
    wide = wide / wide.abs().amax(dim=-1, keepdim=True).clamp_min(torch.finfo(wide.dtype).tiny)
    return torch.nn.functional.normalize(wide, dim=-1)


def _blocks(rows: Tensor, embeddings: Tensor) -> list[Tensor]:
    """Row numbers in pieces, so small that a score for each item fits into memory."""
    size = max(1, _CELLS // len(embeddings))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of scores (n, N), ties the smaller column; what is −inf is no item."""
    best, rows = unpack_keys(sortable_keys(scores, 0).topk(k, dim=1).values)
    return best, rows.masked_fill(best == -torch.inf, NO_ITEM)


def _joined(
    parts: list[tuple[Tensor, Tensor]], k: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    if not parts:
        empty = torch.empty((0, k), device=device)
        return empty, empty.to(torch.int64)
    return torch.cat([scores for scores, _ in parts]), torch.cat([rows for _, rows in parts])


def _ordered(scores: Tensor, rows: Tensor) -> Ranking:
    """Items by falling score, ties by row, what is no item last."""
    by_row = torch.where(rows == NO_ITEM, torch.iinfo(torch.int64).max, rows).argsort(dim=1)
    scores, rows = scores.gather(1, by_row), rows.gather(1, by_row)
    by_score = scores.argsort(dim=1, descending=True, stable=True)
    return Ranking(scores.gather(1, by_score), rows.gather(1, by_score))
