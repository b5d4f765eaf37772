"""Counter-based random numbers: Philox4x32-10 on any torch device.

Every random number of the simulator is a pure function of ``(seed, stream, counter)``. Nothing has
state, so numbers do not depend on batch size, on order or on the number of threads, and the integer
part is the same on every device.

Source: Salmon, Moraes, Dror, Shaw, *Parallel random numbers: as easy as 1, 2, 3*, SC 2011.
"""

from __future__ import annotations

import enum
import math

import torch
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
_ROUNDS = 10
_BLOCK = 64  # columns that are summed at once


class Stream(enum.IntEnum):
    """What a random number is drawn for: two streams of one seed share no counter.

    The members are part of what a seed means: renumbering one changes every published number.
    """

    TRAIN_USERS = 1
    VALIDATION_USERS = 2
    TEST_USERS = 3
    LOGGING_POLICY = 4
    REFERENCE_POLICY = 5
    TRAINING_ORDER = 6
    AGENT_SAMPLE = 7
    EXPLORATION = 8
    CHUNKS = 9
    NEGATIVES = 10
    TRAIN_STEPS = 16
    VALIDATION_STEPS = 17
    TEST_STEPS = 18
    AGENT_NOISE = 256
    """This and every larger number: the draws of an agent's update, in the order they are made."""


def philox_4x32(seeds: Tensor, stream: int, counters: Tensor, num_words: int) -> Tensor:
    """Random 32-bit words of Philox4x32-10.

    Args:
        seeds: int64, shape (B,) or broadcastable to it; the 64-bit key.
        stream: integer in [0, 2**32); the third counter word.
        counters: int64, shape (B,); the first two counter words.
        num_words: words wanted for each row; the fourth counter word numbers them by four.

    Returns:
        int64 tensor of shape (B, num_words), values in [0, 2**32).
    """
    blocks = -(-num_words // 4)
    draw = torch.arange(blocks, dtype=torch.int64, device=counters.device)
    counters = counters.unsqueeze(-1)
    seeds = seeds.unsqueeze(-1)
    c0, c1 = counters & _MASK, (counters >> 32) & _MASK
    c2, c3 = torch.full_like(c0, int(stream)), draw.expand(counters.shape[0], blocks)
    c0, c1, c2 = (word.expand_as(c3) for word in (c0, c1, c2))
    k0, k1 = seeds & _MASK, (seeds >> 32) & _MASK
    for _ in range(_ROUNDS):
        (high0, low0), (high2, low2) = map(_product, (c0, c2), _MULTIPLIERS)
        c0, c1, c2, c3 = high2 ^ c1 ^ k0, low2, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return torch.stack((c0, c1, c2, c3), dim=-1).flatten(-2)[..., :num_words]


def _product(words: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """Upper and lower 32 bits of the products of 32-bit words with a 32-bit multiplier."""
    if torch.compiler.is_compiling() or type(words) is not Tensor:  # or torch.fx traces it
        # In halves that never fill 64 bits: torch's compiler takes it that int64 does not wrap.
        lower = (words & 0xFFFF) * multiplier
        upper = (words >> 16) * multiplier + (lower >> 16)
        return upper >> 16, ((upper & 0xFFFF) << 16) | (lower & 0xFFFF)
    product = words * multiplier  # int64 wraps, the two halves stay right
    return (product >> 32) & _MASK, product & _MASK


def uniforms(words: Tensor) -> Tensor:
    """Uniform float64 values in (0, 1), never 0 or 1, of 32-bit words; same shape."""
    return (words.to(torch.float64) + 0.5) * 2.0**-32


def uniform_52bit(high: Tensor, low: Tensor) -> Tensor:
    """Uniform float64 values in (0, 1) with 52 random bits, of two 32-bit words; same shape.

    For inverse-CDF draws over large catalogues, where steps of 2**-32 would be felt.
    """
    bits = (high << 20) | (low >> 12)
    return (bits.to(torch.float64) + 0.5) * 2.0**-52


def uniform_integers(words: Tensor, limit: Tensor | int) -> Tensor:
    """Uniform int64 values in [0, limit), of 32-bit words and limits up to 2**31; same shape.

    Each value's probability is within 2**-32 of 1 / limit.
    """
    return (words * limit) >> 32


def normals(first: Tensor, second: Tensor) -> Tensor:
    """Standard normal float64 values, one of each pair of 32-bit words; same shape.

    The cosine branch of Box and Muller, *A note on the generation of random normal deviates*,
    Annals of Mathematical Statistics 29 (1958).
    """
    radius, angle = _polar(first, second)
    return radius * torch.cos(angle)


def box_muller(words: Tensor) -> Tensor:
    """Standard normal float64 values, both branches of Box and Muller (1958).

    Args:
        words: int64 (..., 2 k) in [0, 2**32); word i is paired with word k + i.

    Returns:
        float64 (..., 2 k): the k cosines, then the k sines.
    """
    radius, angle = _polar(*words.chunk(2, dim=-1))
    return torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)


def _polar(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Radius and angle of a standard normal vector in the plane, of two 32-bit words."""
    return torch.sqrt(-2.0 * torch.log(uniforms(first))), 2.0 * math.pi * uniforms(second)


def categorical(weights: Tensor, quantiles: Tensor) -> Tensor:
    """Categories drawn by inverse CDF, a column of ``weights`` for each row: int64 (B,).

    In two levels, sums of 64 columns and then the 64, since a running sum of all N costs more than
    the scores that weights are made of.

    Args:
        weights: float32 (B, N), non-negative, not normalised; at least one of a row is positive.
            A column of weight 0 is never drawn.
        quantiles: float64 (B,), uniform in (0, 1).
    """
    num_rows, num_columns = weights.shape
    padded = torch.nn.functional.pad(weights, (0, -num_columns % _BLOCK))
    blocks = padded.view(num_rows, padded.shape[1] // _BLOCK, _BLOCK)
    upper = blocks.sum(dim=2, dtype=torch.float64).cumsum(dim=1)
    target = quantiles.unsqueeze(1) * upper[:, -1:]
    block = torch.searchsorted(upper, target, right=True).clamp_(max=upper.shape[1] - 1)
    before = torch.where(block > 0, upper.gather(1, (block - 1).clamp_min(0)), 0.0)
    chosen = block.unsqueeze(2).expand(num_rows, 1, _BLOCK)
    inner = blocks.gather(1, chosen).squeeze(1).to(torch.float64).cumsum(dim=1)
    # Below the block's sum, so that rounding cannot lead past its last column of positive weight.
    rest = torch.minimum((target - before).clamp_min(0.0), inner[:, -1:] * (1.0 - 1e-12))
    column = torch.searchsorted(inner, rest, right=True)
    return (block * _BLOCK + column).squeeze(1)
