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


class Stream(enum.IntEnum):
    """Domain separation: two streams of one seed share no counter, whatever is drawn from them.

    The members are part of what a seed means: renumbering one changes every published number.
    """

    TRAIN_USERS = 1
    VALIDATION_USERS = 2
    TEST_USERS = 3
    LOGGING_POLICY = 4
    REFERENCE_POLICY = 5
    TRAINING_ORDER = 6
    AGENT_SAMPLE = 7
    TRAIN_STEPS = 16
    VALIDATION_STEPS = 17
    TEST_STEPS = 18
    AGENT_NOISE = 256
    """And those after it: an agent's draws of one update, in order."""


def philox_4x32(seeds: Tensor, stream: int, counters: Tensor, num_words: int) -> Tensor:
    """Random 32-bit words.

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
    """The upper and the lower 32 bits of products of 32-bit words."""
    if torch.compiler.is_compiling():
        # In halves that never fill 64 bits: torch's compiler takes it that int64 does not wrap.
        lower = (words & 0xFFFF) * multiplier
        upper = (words >> 16) * multiplier + (lower >> 16)
        return upper >> 16, ((upper & 0xFFFF) << 16) | (lower & 0xFFFF)
    product = words * multiplier  # int64 wraps, the two halves stay right
    return (product >> 32) & _MASK, product & _MASK


def uniforms(words: Tensor) -> Tensor:
    """Map 32-bit words to float64 in (0, 1), never 0 or 1; same shape."""
    return (words.to(torch.float64) + 0.5) * 2.0**-32


def fine_uniforms(high: Tensor, low: Tensor) -> Tensor:
    """Map two 32-bit words to float64 in (0, 1) with 52 random bits; same shape.

    For inverse-CDF draws over large catalogues, where steps of 2**-32 would be felt.
    """
    bits = (high << 20) | (low >> 12)
    return (bits.to(torch.float64) + 0.5) * 2.0**-52


def below(words: Tensor, limit: Tensor | int) -> Tensor:
    """Map 32-bit words to int64 in [0, limit), for limits up to 2**31; same shape.

    Uniform to within limit / 2**32.
    """
    return (words * limit) >> 32


def normals(first: Tensor, second: Tensor) -> Tensor:
    """Standard normal float64 values from two tensors of 32-bit words (Box and Muller, 1958)."""
    radius = torch.sqrt(-2.0 * torch.log(uniforms(first)))
    return radius * torch.cos(2.0 * math.pi * uniforms(second))


def many_normals(words: Tensor) -> Tensor:
    """As many standard normal float64 values as there are words (..., 2 k): both of each pair."""
    first, second = words.chunk(2, dim=-1)
    radius = torch.sqrt(-2.0 * torch.log(uniforms(first)))
    angle = 2.0 * math.pi * uniforms(second)
    return torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)
