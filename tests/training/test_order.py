from __future__ import annotations

import torch
from hypothesis import given, settings, strategies as st

from recsim_drpo.training.order import draw_indices, drawn_ahead


@given(
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4, unique=True),
    st.integers(1, 2**31),
    st.integers(0, 10_000),
    st.integers(1, 7),
    st.integers(1, 9),
)
@settings(max_examples=50, deadline=None)
def test_indices_depend_on_seed_and_step_alone(seeds, size, first, steps, batch):
    sizes = torch.full((len(seeds),), size)
    indices = draw_indices(torch.tensor(seeds), sizes, first, steps, batch)
    assert indices.shape == (steps, len(seeds), batch)
    assert indices.dtype == torch.int64
    assert 0 <= int(indices.min()) <= int(indices.max()) < size
    for t in (0, steps - 1):
        for k in (0, len(seeds) - 1):
            alone = draw_indices(torch.tensor(seeds[k : k + 1]), sizes[:1], first + t, 1, batch)
            assert torch.equal(indices[t, k], alone[0, 0])


def test_indices_are_uniform():
    indices = draw_indices(torch.tensor([4]), torch.tensor([7]), 0, 1_000, 70).flatten()
    counts = torch.bincount(indices, minlength=7).numpy()
    # χ² with 6 degrees of freedom: 22.5 is its 99.9 % quantile.
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 22.5


def test_indices_drawn_ahead_are_those_of_each_step():
    seeds, sizes = torch.tensor([3, 5]), torch.tensor([7, 9])
    expected = draw_indices(seeds, sizes, 2, 5, 4)
    for held in (1, 17, 1_000):  # a step, two steps, all of them
        ahead = drawn_ahead(seeds, sizes, 2, 5, 4, max_indices=held)
        assert torch.equal(torch.stack(list(ahead)), expected)
