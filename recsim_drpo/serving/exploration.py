"""Show items at random, each with the exact probability that it had: what the next log needs.

Two policies, both over the ranking of :mod:`recsim_drpo.serving.ranking`, position by position and
without replacement:

* *epsilon*: with probability ε an item drawn uniformly from all that are left, else the best of
  them;
* *softmax*: of the ``top`` best items one that is left, with probability ∝ exp(score / T):
  a ranking of Plackett (1975) and Luce (1959).

A propensity is the probability of an item at its position, given the items before it; at the first
position, the probability of the item. A policy's own Gaussian noise is no third: the probability
that its sample decodes to an item is an integral over that item's cell, which has no closed form.

Source: Plackett, *The analysis of permutations*, Applied Statistics 24 (1975); Luce, *Individual
choice behavior*, 1959.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recsim_drpo.core.config import Config, Count, Positive, Probability, Seed, build_config
from recsim_drpo.core.messages import shown
from recsim_drpo.core.rng import Stream, philox_4x32, uniform_52bit
from recsim_drpo.core.validation import check_integer
from recsim_drpo.serving.ranking import Allowed, Cap, Ranker
from recsim_drpo.simulator.decoder import NO_ITEM

DEFAULT_TOP = 20
_CELLS = 2**21
_WORDS = 4  # a position: two numbers of 52 bits


@dataclass(frozen=True)
class Exploration(Config):
    """How items are drawn: by ``epsilon`` or by ``temperature``.

    Attributes:
        epsilon: probability of a uniform draw, in [0, 1].
        temperature: of the softmax over cosines, > 0.
        top: the number of best items that the softmax is over; ``None``: 20, or k or N if nearer.
        seed: of the draws, which depend on it and the context's number alone.

    Raises:
        ValueError: a value out of its range; both policies or none; ``top`` with ``epsilon``.
    """

    epsilon: Probability | None = None
    temperature: Positive | None = None
    top: Count | None = None
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.epsilon is None) == (self.temperature is None):
            raise ValueError("Exploring needs epsilon=NUMBER or temperature=NUMBER, one of them.")
        if self.top is not None and self.temperature is None:
            raise ValueError(f"top={self.top} is about temperature=NUMBER; epsilon draws from all.")

    @classmethod
    def of(cls, values: Mapping[str, Any], seed: int) -> Exploration:
        """The exploration of ``epsilon``, or ``temperature`` and ``top``, by name.

        Raises:
            ValueError: as of the class, or another name.
        """
        names = ("epsilon", "temperature", "top")
        unknown = [name for name in values if name not in names]
        if unknown:
            raise ValueError(f"Exploring knows {', '.join(names)}, not {shown(unknown[0])}.")
        return build_config(cls, {**values, "seed": seed}, "exploration")

    def check_depth(self, k: int, num_items: int) -> int:
        """How many of the best items are looked at for k of N.

        Raises:
            ValueError: k or ``top`` out of range.
        """
        check_integer("k", k, 1, num_items)
        if self.temperature is None:
            return k
        if self.top is None:
            return min(num_items, max(k, DEFAULT_TOP))
        check_integer("top", self.top, k, num_items)
        return self.top


class Shown(NamedTuple):
    """The items that were drawn for each of B contexts, position by position.

    Attributes:
        scores: float32 (B, k); −inf where no item was left.
        rows: int64 (B, k), rows of the catalogue, :data:`NO_ITEM` there.
        propensities: float64 (B, k) in (0, 1], given the positions before; NaN there.
    """

    scores: Tensor
    rows: Tensor
    propensities: Tensor


def explore(
    ranker: Ranker,
    actions: Tensor,
    k: int,
    exploration: Exploration,
    numbers: Tensor,
    allowed: Allowed | None = None,
    cap: Cap | None = None,
) -> Shown:
    """Draw k different items for each action.

    Args:
        ranker: of the items.
        actions: finite numbers (B, d).
        k: from 1 to N.
        exploration: how.
        numbers: int64 (B,), which number the contexts of this seed: another one, another draw.
        allowed: the items that each may have; ``None``: all.
        cap: at most so many of a group: the softmax is over the best items within it, and epsilon
            draws from those whose group is not full.

    Raises:
        ValueError: k or ``top`` out of range.
    """
    best = ranker.top(actions, exploration.check_depth(k, len(ranker.embeddings)), allowed, cap)
    uniforms = _uniforms(exploration.seed, numbers, k)
    if exploration.temperature is not None:
        logits = best.scores.to(torch.float64) / exploration.temperature
        columns, propensities = _plackett_luce(logits, uniforms[:, :, 0])
        rows = best.rows.gather(1, columns).masked_fill(propensities.isnan(), NO_ITEM)
        scores = best.scores.gather(1, columns).masked_fill(rows == NO_ITEM, -torch.inf)
        return Shown(scores, rows, propensities)
    assert exploration.epsilon is not None
    num_items = len(ranker.embeddings)
    size, parts = max(1, _CELLS // num_items), []
    for start in range(0, len(actions), size):
        block = torch.arange(start, min(start + size, len(actions)), device=actions.device)
        everything = (len(block), num_items)
        free = (
            torch.ones(everything, dtype=torch.bool, device=actions.device)
            if allowed is None
            else allowed.mask(block).clone()
        )
        parts.append(_greedy(best.rows[block], free, exploration.epsilon, uniforms[block], cap))
    empty = (best.rows[:, :k], torch.empty(best.rows.shape, dtype=torch.float64))
    rows, propensities = (torch.cat(part) for part in zip(*parts or [empty], strict=True))
    return Shown(ranker.scores(actions, rows), rows, propensities)


def _uniforms(seed: int, numbers: Tensor, k: int) -> Tensor:
    """Uniform float64 (B, k, 2) in (0, 1); those of a position do not depend on k."""
    seeds = torch.full_like(numbers, seed)
    words = philox_4x32(seeds, Stream.EXPLORATION, numbers, _WORDS * k)
    words = words.view(len(numbers), k, 2, 2)
    return uniform_52bit(words[..., 0], words[..., 1])


def _plackett_luce(logits: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Columns drawn without replacement, and their probabilities given those before: (B, k).

    Args:
        logits: float64 (B, m); −inf where there is no item.
        uniforms: float64 (B, k) in (0, 1), k ≤ m.
    """
    logits = logits.clone()
    columns, propensities = [], []
    for j in range(uniforms.shape[1]):
        largest = logits.amax(dim=1, keepdim=True)
        weights = (logits - largest).exp()  # NaN where nothing is left
        sums = weights.cumsum(dim=1)
        # Below the sum, so that rounding cannot lead past the last column of positive weight.
        target = uniforms[:, j : j + 1].clamp_max(1.0 - 1e-12) * sums[:, -1:]
        column = torch.searchsorted(sums, target, right=True).clamp_max_(logits.shape[1] - 1)
        columns.append(column)
        propensities.append(weights.gather(1, column) / sums[:, -1:])
        logits.scatter_(1, column, -torch.inf)
    return torch.cat(columns, dim=1), torch.cat(propensities, dim=1)


def _greedy(
    best: Tensor, free: Tensor, epsilon: float, uniforms: Tensor, cap: Cap | None
) -> tuple[Tensor, Tensor]:
    """Items, and their probabilities given those before, of the epsilon policy: (B, k).

    Args:
        best: int64 (B, k), the best k items of each within the cap, :data:`NO_ITEM` where there
            are fewer. Whatever is drawn, the best that is left stays among them: a better one is
            drawn, or in a group that is full of drawn ones, and of those there are fewer than k.
        free: bool (B, N), the items that may be shown; is changed.
        epsilon: in [0, 1].
        uniforms: float64 (B, k, 2) in (0, 1).
        cap: at most so many of a group.
    """
    index = torch.arange(len(best), device=best.device)
    rows, propensities = torch.empty_like(best), torch.empty(best.shape, dtype=torch.float64)
    propensities = propensities.to(best.device)
    for j in range(best.shape[1]):
        left = free.sum(dim=1)
        open_best = free.gather(1, best.clamp_min(0)) & (best != NO_ITEM)
        greedy = best.gather(1, open_best.to(torch.uint8).argmax(dim=1, keepdim=True)).squeeze(1)
        item = greedy.clone()
        uniform = ((uniforms[:, j, 0] < epsilon) & (left > 0)).nonzero().squeeze(1)
        if len(uniform):
            ordinal = (uniforms[uniform, j, 1] * left[uniform]).to(torch.int64)
            item[uniform] = _nth(free[uniform], ordinal)
        chance = epsilon / left + (1.0 - epsilon) * (item == greedy)
        none = left == 0
        free[index[~none], item[~none]] = False
        rows[:, j] = item.masked_fill(none, NO_ITEM)
        propensities[:, j] = chance.to(torch.float64).masked_fill(none, torch.nan)
        if cap is not None:
            _close_full_groups(free, rows[:, : j + 1], cap)
    return rows, propensities


def _close_full_groups(free: Tensor, drawn: Tensor, cap: Cap) -> None:
    """Take the group of the last item drawn, of int64 (B, j), out of ``free`` where it is full."""
    groups = cap.groups[drawn.clamp_min(0)].masked_fill(drawn == NO_ITEM, -1)
    last = groups[:, -1]
    full = (groups == last.unsqueeze(1)).sum(dim=1) >= cap.limit
    where = (full & (last >= 0)).nonzero().squeeze(1)
    if len(where):
        free[where] &= cap.groups != last[where].unsqueeze(1)


def _nth(mask: Tensor, ordinal: Tensor) -> Tensor:
    """The column of the true entry of each row that has this number, from 0: int64 (B,)."""
    counts = mask.cumsum(dim=1, dtype=torch.int32)
    wanted = (ordinal + 1).to(torch.int32).unsqueeze(1)
    return torch.searchsorted(counts, wanted).squeeze(1)
