"""Users against a catalogue of any size, in tiles of scores that stay in cache.

A user's scores of a million items fill 4 MB: written, read and exponentiated in turn they cross the
memory several times. A tile of some users and a thousand items is finished with while it is in
cache, and what is kept of it are its maximum and its sums.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from recsim_drpo.simulator.decoder import row_max

LARGE = 2**15
"""Items above which tiles are used; below, whole rows, whose rounding stored datasets rest on."""

_CPU_TILE = (512, 1024)
_GPU_TILE = (1024, 2**15)
_LOG2_E = math.log2(math.e)
NARROW = 40.0
"""Nats between biases by which none vanishes in float32 beside the largest."""
_LARGEST_EXPONENT = 110.0
"""Of a power of two whose sum over a tile is within float32, with some to spare."""
COLDEST = 1e-30
"""The least temperature: a smaller one would be zero in float32, and 0 / 0 no number."""


def in_parts(
    function: Callable[[Tensor], tuple[Tensor, ...]], rows: Tensor, size: int
) -> tuple[Tensor, ...]:
    """What a function makes of rows, some of them at a time: tensors of as many rows.

    Parts are written into one tensor as they come. Kept beside each other, each would lie between
    the large ones that it was computed of, whose memory the C library could then not give out
    again: gigabytes of it for a thousand parts.

    Args:
        function: of rows (m, …), to tensors (m, …).
        rows: (B, …).
        size: rows of a part, ≥ 1.
    """
    if len(rows) <= size:
        return function(rows)
    whole: tuple[Tensor, ...] = ()
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        found = function(rows[part])
        whole = whole or tuple(each.new_empty((len(rows), *each.shape[1:])) for each in found)
        for column, some in zip(whole, found, strict=True):
            column[part] = some
    return whole


class Softmax(NamedTuple):
    """Probabilities of items ∝ exp(cos / τ + bias) for each user.

    Attributes:
        temperature: τ > 0.
        bias: float32 (N,), ≤ 0, in bits (multiples of log 2), or ``None`` for none.
        is_narrow: no bias is :data:`NARROW` below the largest: weights need not be relative to the
            largest of a tile, since none that counts vanishes.
    """

    temperature: float
    bias: Tensor | None = None
    is_narrow: bool = True

    @classmethod
    def biased(cls, temperature: float, bias: Tensor, device: torch.device) -> Softmax:
        """One on a device with a bias (N,) in nats of the CPU, of which differences alone count."""
        below = bias - bias.amax()
        is_narrow = bool(below.amin() > -NARROW)
        return cls(temperature, (below * _LOG2_E).to(device, torch.float32), is_narrow)

    @property
    def scale(self) -> float:
        """log2(e) / τ, by which a cosine becomes the exponent of a power of two."""
        return _LOG2_E / max(self.temperature, COLDEST)

    @property
    def takes_cosines(self) -> bool:
        """Whether weights of cosines as they are, in [-1, 1], are within float32."""
        span = 0.0 if self.bias is None else NARROW * _LOG2_E
        return self.is_narrow and self.scale + span < _LARGEST_EXPONENT

    def logs(self, matches: Tensor, columns: slice) -> Tensor:
        """log2 of the weights exp(match / τ + bias) of some items, float32 (B, n)."""
        logs = matches * self.scale
        return logs if self.bias is None else logs + self.bias[columns]

    def weights_(self, matches: Tensor, first: int | Tensor, out: Tensor) -> Tensor:
        """Write weights relative to one of each row to ``out``, and return log2 of that.

        It is the row's largest where the bias is not narrow, and else 1, which takes no search.

        Args:
            matches: float32 (B, n), cosines less the largest of the row, or cosines where
                :attr:`takes_cosines`.
            first: the item of the first column; int64 (B,) where each row has its own.
            out: float32 (B, n), the weights; powers of two, which cost a third of powers of e.

        Returns:
            float32 (B, 1).
        """
        if self.bias is None:
            torch.mul(matches, self.scale, out=out).exp2_()
            return torch.zeros_like(matches[:, :1])
        bias = self.bias.unfold(0, matches.shape[1], 1)[first]
        torch.add(bias, matches, alpha=self.scale, out=out)
        if self.is_narrow:
            out.exp2_()
            return torch.zeros_like(matches[:, :1])
        peak = out.amax(dim=1, keepdim=True)
        out.sub_(peak).exp2_()
        return peak


class Scan(NamedTuple):
    """What one pass over the catalogue leaves of B users' scores.

    Attributes:
        best: float32 (B, 1), the largest cosine.
        best_items: int64 (B,), the item that has it, the first of equals.
        shares: float64 (B, tiles) for each softmax, the probability of each tile of items.
        log_totals: float64 (B, 1) for each softmax, log2 of the sum of its weights over all items,
            where a weight is exp((cos - best) / τ + bias).
    """

    best: Tensor
    best_items: Tensor
    shares: list[Tensor]
    log_totals: list[Tensor]


def users_at_a_time(device: torch.device) -> int:
    """Number of users that a tile has on a device."""
    return (_CPU_TILE if device.type == "cpu" else _GPU_TILE)[0]


def items_at_a_time(device: torch.device) -> int:
    """Number of items that a tile has on a device."""
    return (_CPU_TILE if device.type == "cpu" else _GPU_TILE)[1]


def cosine_tiles(tastes: Tensor, topic_cosines: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield slices of items with their cosines, float32 (B, n), in memory that is used again.

    Args:
        tastes: float32 (B, K).
        topic_cosines: float32 (K, N).
    """
    num_items, width = topic_cosines.shape[1], items_at_a_time(tastes.device)
    memory = tastes.new_empty(len(tastes) * width)
    for start in range(0, num_items, width):
        columns = slice(start, min(start + width, num_items))
        shape = (len(tastes), columns.stop - start)
        tile = memory[: shape[0] * shape[1]].view(shape)
        yield columns, torch.mm(tastes, topic_cosines[:, columns], out=tile)


def scan(tastes: Tensor, topic_cosines: Tensor, softmaxes: tuple[Softmax, ...]) -> Scan:
    """One pass over the catalogue: each user's best item, and where the softmaxes' weight lies.

    Where weights of cosines might be beyond float32, each tile's are relative to its maximum, so
    that no temperature and no bias over- or underflows; tiles are brought together in float64.

    Args:
        tastes: float32 (B, K), of :func:`users_at_a_time` users at most.
        topic_cosines: float32 (K, N).
        softmaxes: whose weights are summed.
    """
    bests = []
    sums: list[list[Tensor]] = [[] for _ in softmaxes]
    peaks: list[list[Tensor]] = [[] for _ in softmaxes]
    memory: Tensor | None = None
    as_they_are = all(softmax.takes_cosines for softmax in softmaxes)
    for columns, cosines in cosine_tiles(tastes, topic_cosines):
        best = cosines.amax(dim=1)
        bests.append(best)
        if not softmaxes:
            continue
        if not as_they_are:
            cosines.sub_(best.unsqueeze(1))
        if memory is None or memory.shape != cosines.shape:
            memory = torch.empty_like(cosines)
        for softmax, tile_sums, tile_peaks in zip(softmaxes, sums, peaks, strict=True):
            tile_peaks.append(softmax.weights_(cosines, columns.start, memory).squeeze(-1))
            tile_sums.append(memory.sum(dim=1))
    tile_best = torch.stack(bests, dim=1)
    best, tile_of_best = row_max(tile_best)
    near = tile_of_each(tastes, topic_cosines, tile_of_best)
    items = near.starts + row_max(near.matches)[1]
    best = best.unsqueeze(1)
    below = (0.0 if as_they_are else tile_best) - best  # what matches of a tile are relative to
    shares, log_totals = [], []
    for softmax, tile_sums, tile_peaks in zip(softmaxes, sums, peaks, strict=True):
        logs = below.to(torch.float64) * softmax.scale + torch.stack(tile_peaks, dim=-1)
        peak = logs.amax(dim=1, keepdim=True)
        weights = torch.stack(tile_sums, dim=1) * torch.exp2(logs - peak)
        total = weights.sum(dim=1, keepdim=True)
        shares.append(weights / total)
        log_totals.append(peak + total.log2())
    return Scan(best, items, shares, log_totals)


def draw_tile(weights: Tensor, quantiles: Tensor) -> tuple[Tensor, Tensor]:
    """Tiles drawn by inverse CDF, int64 (B,), and what is left of the quantile within the tile.

    Args:
        weights: float64 (B, tiles), summing to 1.
        quantiles: float64 (B,), uniform in (0, 1).

    Returns:
        tiles: int64 (B,), none of weight 0.
        rest: float64 (B,), uniform in [0, 1).
    """
    upper = weights.cumsum(dim=1)
    # Below the sum, so that rounding cannot lead past the last tile of positive weight.
    target = torch.minimum(quantiles.unsqueeze(1), torch.ones_like(upper[:, -1:]) - 1e-15)
    target = target * upper[:, -1:]
    tile = torch.searchsorted(upper, target, right=True).clamp_(max=weights.shape[1] - 1)
    width = weights.gather(1, tile)
    rest = (target - (upper.gather(1, tile) - width)) / width
    return tile.squeeze(1), rest.squeeze(1).clamp_(0.0, 1.0 - 1e-15)


class TileOfEach(NamedTuple):
    """One tile of items for each user, recomputed.

    Attributes:
        starts: int64 (B,), the first item.
        matches: float32 (B, n), cosines less the largest of the row; −inf for items of other tiles,
            which fill up the last one.
    """

    starts: Tensor
    matches: Tensor

    def weights(self, softmax: Softmax) -> Tensor:
        """Weights float32 (B, n) of a softmax, relative to the largest of each row."""
        weights = torch.empty_like(self.matches)
        softmax.weights_(self.matches, self.starts, weights)
        return weights


def tile_of_each(tastes: Tensor, topic_cosines: Tensor, tiles: Tensor) -> TileOfEach:
    """The tile that each user is to have, with that user's cosines.

    Args:
        tastes: float32 (B, K).
        topic_cosines: float32 (K, N).
        tiles: int64 (B,), as of :func:`draw_tile`.
    """
    num_items, width = topic_cosines.shape[1], items_at_a_time(tastes.device)
    width = min(width, num_items)
    firsts = tiles * items_at_a_time(tastes.device)
    starts = firsts.clamp(max=num_items - width)
    cosines = _of_each(tastes, topic_cosines, starts, width)
    others = torch.arange(width, device=tastes.device) < (firsts - starts).unsqueeze(1)
    cosines.masked_fill_(others, -torch.inf)
    return TileOfEach(starts, cosines.sub_(cosines.amax(dim=1, keepdim=True)))


def _of_each(tastes: Tensor, topic_cosines: Tensor, starts: Tensor, width: int) -> Tensor:
    """Cosines (B, width) of each user with the items from ``starts`` (B,) on.

    A CPU takes users of one tile together, where their items need not be copied for each.
    """
    if tastes.device.type != "cpu":
        return torch.einsum("bk,kbn->bn", tastes, topic_cosines.unfold(1, width, 1)[:, starts])
    order = starts.argsort()
    grouped, cosines = tastes[order], tastes.new_empty(len(tastes), width)
    first = 0
    for start, count in sorted(Counter(starts.tolist()).items()):
        rows = slice(first, first + count)
        torch.mm(grouped[rows], topic_cosines[:, start : start + width], out=cosines[rows])
        first += count
    return cosines[order.argsort()]
