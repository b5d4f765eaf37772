"""Exact search: against brute force, across chunk borders, with ties and with bad queries."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings, strategies as st

from recsim_drpo.simulator.config import WorldConfig
from recsim_drpo.simulator.decoder import NO_ITEM, Decoder, ExactDecoder, row_max
from recsim_drpo.simulator.world import World

# Chunks of one cell, of a few rows, and of all at once; few of them divide the sizes used.
CELLS = [1, 7, 64, 100, 1000, 2**23]


def random_rows(num_rows, dim, seed):
    rows = np.random.default_rng(seed).standard_normal((num_rows, dim)).astype(np.float32)
    return torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def whole_rows(num_rows, dim, seed, largest=2):
    """Small whole numbers: every sum of products is exact, so that ties are ties."""
    rows = np.random.default_rng(seed).integers(-largest, largest + 1, (num_rows, dim))
    return torch.from_numpy(rows.astype(np.float32))


def brute_force(embeddings, queries, k):
    scores = queries.double().numpy() @ embeddings.double().numpy().T
    items = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, items, axis=1), items


@pytest.fixture(scope="module")
def world():
    return World(WorldConfig(num_items=90, embedding_dim=8, num_topics=4))


@pytest.mark.parametrize("max_cells", CELLS)
@pytest.mark.parametrize("k", [1, 2, 10, 157])
def test_scores_equal_brute_force(max_cells, k):
    embeddings, queries = random_rows(157, 12, 0), random_rows(23, 12, 1)
    scores, items = ExactDecoder(embeddings, max_cells).search(queries, k)
    assert scores.shape == items.shape == (23, k)
    assert (scores.dtype, items.dtype) == (torch.float32, torch.int64)
    expected, expected_items = brute_force(embeddings, queries, k)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)
    # These draws have no two scores nearer than rounding where it would matter at the top.
    if k <= 10:
        np.testing.assert_array_equal(items.numpy(), expected_items)
    assert all(len(set(row)) == k for row in items.tolist())
    own = np.take_along_axis(queries.numpy() @ embeddings.numpy().T, items.numpy(), axis=1)
    np.testing.assert_allclose(scores.numpy(), own, atol=1e-6)
    assert torch.all(scores[:, :-1] >= scores[:, 1:])


@pytest.mark.parametrize("max_cells", CELLS)
@pytest.mark.parametrize("k", [1, 2, 5, 40, 130])
def test_ties_go_to_the_smaller_item(max_cells, k):
    # Every row five times, spread over the catalogue, so that ties cross the chunks' borders.
    embeddings = whole_rows(26, 3, 2).repeat(5, 1)
    queries = whole_rows(17, 3, 3)
    scores, items = ExactDecoder(embeddings, max_cells).search(queries, k)
    expected, expected_items = brute_force(embeddings, queries, k)
    np.testing.assert_array_equal(items.numpy(), expected_items)
    np.testing.assert_array_equal(scores.numpy(), expected)


@settings(derandomize=True, database=None, deadline=None, max_examples=150)
@given(data=st.data())
def test_any_shape_equals_brute_force(data):
    num_items = data.draw(st.integers(1, 200), label="items")
    num_queries = data.draw(st.integers(0, 9), label="queries")
    dim = data.draw(st.integers(1, 6), label="dim")
    k = data.draw(st.one_of(st.just(1), st.integers(1, num_items)), label="k")
    max_cells = data.draw(st.one_of(st.integers(1, 40), st.integers(1, 3000)), label="cells")
    seed = data.draw(st.integers(0, 1000), label="seed")
    embeddings = whole_rows(num_items, dim, seed)
    queries = whole_rows(num_queries, dim, seed + 1)
    scores, items = ExactDecoder(embeddings, max_cells).search(queries, k)
    expected, expected_items = brute_force(embeddings, queries, k)
    np.testing.assert_array_equal(items.numpy(), expected_items)
    np.testing.assert_array_equal(scores.numpy(), expected)


def test_all_items_equal():
    embeddings = torch.ones((70, 4))
    for max_cells in CELLS:
        decoder = ExactDecoder(embeddings, max_cells)
        assert decoder.search(torch.ones((2, 4)))[1].tolist() == [[0], [0]]
        assert decoder.search(-torch.ones((1, 4)), 70)[1].tolist() == [list(range(70))]


def test_positive_and_negative_zero_tie():
    embeddings = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, -1.0], [1.0, 0.0]])
    query = torch.tensor([[0.0, 1.0]])
    # Products of 0 and -1 are -0: it must not fall behind the other zeros.
    scores, items = ExactDecoder(embeddings).search(query, 4)
    assert items.tolist() == [[0, 1, 3, 2]]
    assert scores.tolist() == [[0.0, 0.0, 0.0, -1.0]]


def test_negative_scores_are_ordered():
    embeddings = torch.tensor([[-3.0], [-1.0], [-2.0], [-0.5], [-0.25]])
    scores, items = ExactDecoder(embeddings, 2).search(torch.tensor([[1.0]]), 5)
    assert items.tolist() == [[4, 3, 1, 2, 0]]
    assert scores.tolist() == [[-0.25, -0.5, -1.0, -2.0, -3.0]]


def test_more_queries_than_one_block_takes():
    embeddings, queries = whole_rows(40, 4, 4), whole_rows(2500, 4, 5)
    for k in (1, 3):
        _, items = ExactDecoder(embeddings).search(queries, k)
        np.testing.assert_array_equal(items.numpy(), brute_force(embeddings, queries, k)[1])


@pytest.mark.parametrize("max_cells", CELLS)
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_bad_query_finds_nothing_and_leaves_its_neighbours(max_cells, k, value):
    embeddings, queries = whole_rows(100, 5, 6), whole_rows(12, 5, 7)
    bad = queries.clone()
    bad[0, 0] = bad[5, 4] = bad[11, 2] = value
    scores, items = ExactDecoder(embeddings, max_cells).search(bad, k)
    fine = [i for i in range(12) if i not in (0, 5, 11)]
    assert torch.all(items[[0, 5, 11]] == NO_ITEM)
    assert torch.all(scores[[0, 5, 11]] == -torch.inf)
    expected, expected_items = brute_force(embeddings, queries, k)
    np.testing.assert_array_equal(items[fine].numpy(), expected_items[fine])
    np.testing.assert_array_equal(scores[fine].numpy(), expected[fine])
    assert NO_ITEM == -1


def test_only_bad_queries():
    scores, items = ExactDecoder(whole_rows(9, 3, 8)).search(torch.full((4, 3), torch.nan), 2)
    assert items.tolist() == [[-1, -1]] * 4
    assert scores.tolist() == [[-np.inf, -np.inf]] * 4


def test_no_queries():
    scores, items = ExactDecoder(whole_rows(9, 3, 8)).search(torch.empty((0, 3)), 2)
    assert scores.shape == items.shape == (0, 2)


def test_queries_are_not_written_to():
    queries = whole_rows(4, 3, 9)
    queries[0, 0] = torch.nan
    before = queries.clone()
    ExactDecoder(whole_rows(9, 3, 8)).search(queries, 2)
    assert torch.equal(queries.nan_to_num(99.0), before.nan_to_num(99.0))


@pytest.mark.parametrize("k", [0, -1, 10, 1.0, True])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match=rf"k={k} is not an integer from 1 to 9"):
        ExactDecoder(whole_rows(9, 3, 8)).search(whole_rows(2, 3, 9), k)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3)])
def test_queries_of_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"Queries of shape .* do not fit dimension 3"):
        ExactDecoder(whole_rows(9, 3, 8)).search(torch.ones(shape))


@pytest.mark.parametrize("max_cells", [0, -5, 2.5])
def test_cells_out_of_range(max_cells):
    with pytest.raises(ValueError, match=rf"max_cells={max_cells} is not an integer at least 1"):
        ExactDecoder(whole_rows(9, 3, 8), max_cells)


def test_it_is_a_decoder():
    assert isinstance(ExactDecoder(whole_rows(9, 3, 8)), Decoder)
    assert not isinstance(object(), Decoder)


# row_max


@settings(derandomize=True, database=None, deadline=None, max_examples=150)
@given(
    num_rows=st.integers(1, 6),
    num_columns=st.integers(1, 300),
    largest=st.integers(0, 50),
    seed=st.integers(0, 1000),
)
@example(num_rows=3, num_columns=64, largest=0, seed=0)
@example(num_rows=3, num_columns=63, largest=1, seed=0)
@example(num_rows=3, num_columns=65, largest=0, seed=0)
@example(num_rows=3, num_columns=128, largest=1, seed=0)
def test_row_max_is_the_first_of_the_largest(num_rows, num_columns, largest, seed):
    scores = whole_rows(num_rows, num_columns, seed, largest)
    best, column = row_max(scores)
    assert (best.dtype, column.dtype) == (torch.float32, torch.int64)
    assert torch.equal(best, scores.max(dim=1).values)
    # NumPy promises the first of equals; torch's own answer is held against it, too.
    np.testing.assert_array_equal(column.numpy(), scores.numpy().argmax(axis=1))
    assert torch.equal(column, scores.max(dim=1).indices)


@pytest.mark.parametrize("num_columns", [5, 64, 100])
def test_row_max_of_no_rows(num_columns):
    best, column = row_max(torch.empty((0, num_columns)))
    assert best.shape == column.shape == (0,)


@pytest.mark.parametrize("place", [0, 63, 64, 127, 128, 130])
def test_row_max_finds_the_largest_in_every_run(place):
    scores = torch.full((2, 131), -torch.inf)
    scores[0, place] = -5.0
    best, column = row_max(scores)
    assert best.tolist() == [-5.0, -np.inf]
    assert column.tolist() == [place, 0]


def test_row_max_of_columns_that_are_not_contiguous():
    scores = whole_rows(130, 7, 10).T
    assert not scores.is_contiguous()
    best, column = row_max(scores)
    assert torch.equal(best, scores.max(dim=1).values)
    np.testing.assert_array_equal(column.numpy(), scores.numpy().argmax(axis=1))


# World.decode


def test_an_items_embedding_decodes_to_the_item(world):
    assert world.decode(world.embeddings).tolist() == list(range(90))


def test_zero_decodes_to_the_first_item(world):
    actions = torch.zeros((3, 8))
    actions[1] = world.embeddings[42]
    actions[2] = -0.0
    assert world.decode(actions).tolist() == [0, 42, 0]


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [
        (1e38, torch.float32),
        (1e-38, torch.float32),
        (1e-43, torch.float32),
        (1e300, torch.float64),
        (1e-300, torch.float64),
        (1e-310, torch.float64),
        (6e4, torch.float16),
        (1e38, torch.bfloat16),
        (0.1, torch.float32),
    ],
)
def test_only_the_direction_of_an_action_counts(world, scale, dtype):
    # Signs of equal size: directions that every format and every scale can hold.
    signs = torch.from_numpy(np.random.default_rng(3).choice([-1.0, 1.0], (20, 8)))
    expected = (signs.numpy() @ world.embeddings.double().numpy().T).argmax(axis=1)
    assert len(set(expected)) > 5
    np.testing.assert_array_equal(world.decode((signs * scale).to(dtype)).numpy(), expected)


@pytest.mark.parametrize("scale", [1e38, 3e-38, 1e-6, 1e6])
def test_scaled_embeddings_decode_to_their_items(world, scale):
    assert world.decode(world.embeddings * scale).tolist() == list(range(90))


def test_bad_actions_decode_to_no_item(world):
    actions = world.embeddings[:6].clone()
    actions[1, 3] = torch.nan
    actions[2, 0] = torch.inf
    actions[4] = -torch.inf
    assert world.decode(actions).tolist() == [0, -1, -1, 3, -1, 5]
    assert actions[2, 0] == torch.inf


def test_no_actions(world):
    assert world.decode(torch.empty((0, 8))).shape == (0,)


def test_another_decoder_is_used(world):
    class Last:
        def search(self, queries, k):
            assert torch.allclose(torch.linalg.vector_norm(queries, dim=1), torch.ones(2))
            return torch.zeros((len(queries), k)), torch.full((len(queries), k), 89)

    other = World(world.config, catalogue=world.catalogue)
    other.decoder = Last()
    assert other.decode(world.embeddings[:2] * 7.0).tolist() == [89, 89]
