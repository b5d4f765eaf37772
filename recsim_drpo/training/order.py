"""The order in which learners meet the transitions of a log: a function of seed and step alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from recsim_drpo.core import rng
from recsim_drpo.core.memory import check_memory
from recsim_drpo.core.messages import shown

_BYTES_AN_INDEX = 100
"""What drawing an index takes: the words of its block, in 64 bits, and itself."""


def draw_indices(
    seeds: Tensor, sizes: Tensor, first_step: int, num_steps: int, batch_size: int
) -> Tensor:
    """The transitions that learners meet: uniform with replacement, on the seeds' device.

    A pure function of seed and step: not of who else is trained, nor of where training stopped.

    Args:
        seeds: int64 (L,).
        sizes: int64 (L,), number of transitions of each learner's log, up to 2**31.
        first_step: number of the first update, from 0.
        num_steps: T ≥ 1.
        batch_size: B ≥ 1.

    Returns:
        int64 (T, L, B) in [0, size).
    """
    num_learners = len(seeds)
    steps = torch.arange(first_step, first_step + num_steps, device=seeds.device)
    words = rng.philox_4x32(
        seeds.repeat(num_steps),
        rng.Stream.TRAINING_ORDER,
        steps.repeat_interleave(num_learners),
        batch_size,
    )
    return rng.uniform_integers(
        words.view(num_steps, num_learners, batch_size), sizes.view(1, -1, 1)
    )


def drawn_ahead(
    seeds: Tensor,
    sizes: Tensor,
    first_step: int,
    num_steps: int,
    batch_size: int,
    max_indices: int = 2**22,
) -> Iterator[Tensor]:
    """:func:`draw_indices` step by step, int64 (L, B), drawn for many steps at a time.

    ``max_indices`` bounds how many indices are held; those of one step always are.
    """
    of_one_step = len(seeds) * batch_size
    what = f"batch_size={shown(batch_size)} for {len(seeds)} learners"
    check_memory(what, _BYTES_AN_INDEX * of_one_step, "choose smaller batches")
    ahead = max(1, max_indices // of_one_step)
    end = first_step + num_steps
    for start in range(first_step, end, ahead):
        yield from draw_indices(seeds, sizes, start, min(ahead, end - start), batch_size)
