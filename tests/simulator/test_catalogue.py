"""Catalogues: drawn ones have the promised structure, real ones are checked row by row."""

import hashlib
import re

import numpy as np
import pytest

from recsim_drpo.simulator.catalogue import (
    SimulatedCatalogue,
    catalogue_generator,
    interest_generator,
)

SYNTHETIC = {
    "num_items": 200,
    "dim": 16,
    "num_topics": 5,
    "topic_spread": 1.0,
    "topic_size_exponent": 0.5,
    "popularity_exponent": 1.0,
    "catalogue_seed": 0,
}


def synthetic(**changes):
    return SimulatedCatalogue.synthetic(**{**SYNTHETIC, **changes})


def from_embeddings(array, **changes):
    options = {"num_topics": 2, "popularity_exponent": 1.0, "catalogue_seed": 0}
    return SimulatedCatalogue.from_embeddings(array, **{**options, **changes})


def unit_vectors(num_items=40, dim=6, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((num_items, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def lengths_of(vectors):
    return np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=1)


# Drawn catalogues


@pytest.mark.parametrize("dim", [2, 3, 16, 127, 1024])
def test_rows_have_unit_length_in_every_dimension(dim):
    catalogue = synthetic(dim=dim, num_items=60)
    assert catalogue.embeddings.shape == (60, dim)
    assert catalogue.embeddings.dtype == np.float32
    assert (catalogue.num_items, catalogue.dim) == (60, dim)
    np.testing.assert_allclose(lengths_of(catalogue.embeddings), 1.0, atol=1e-6)
    np.testing.assert_allclose(lengths_of(catalogue.topic_centres), 1.0, atol=1e-6)
    assert catalogue.topic_centres.shape == (5, dim)
    assert catalogue.topic_centres.dtype == np.float32


def test_shapes_and_ids():
    catalogue = synthetic()
    assert catalogue.item_ids.tolist() == list(range(200))
    assert catalogue.topics.shape == (200,)
    assert catalogue.topics.dtype == np.int64
    assert set(catalogue.topics) <= set(range(5))
    assert catalogue.popularity.dtype == np.float64


def test_without_spread_items_lie_at_their_topics_centre():
    catalogue = synthetic(topic_spread=0.0)
    centres = catalogue.topic_centres[catalogue.topics]
    np.testing.assert_allclose(catalogue.embeddings, centres, atol=1e-6)


@pytest.mark.parametrize("spread", [0.25, 1.0, 2.0])
def test_spread_sets_the_cosine_to_the_topics_centre(spread):
    catalogue = synthetic(num_items=3000, dim=256, topic_spread=spread)
    centres = catalogue.topic_centres[catalogue.topics]
    cosines = (catalogue.embeddings * centres).sum(axis=1)
    # In many dimensions |c + σ g / √d|² concentrates at 1 + σ².
    assert cosines.mean() == pytest.approx(1.0 / np.sqrt(1.0 + spread**2), abs=0.01)


def test_items_are_nearer_to_their_own_topic():
    catalogue = synthetic(dim=64, topic_spread=0.5)
    cosines = catalogue.embeddings @ catalogue.topic_centres.T
    assert (cosines.argmax(axis=1) == catalogue.topics).mean() > 0.99


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.5])
def test_topic_sizes_follow_the_exponent(exponent):
    catalogue = synthetic(num_items=20_000, dim=2, topic_size_exponent=exponent)
    shares = np.bincount(catalogue.topics, minlength=5) / 20_000
    expected = np.arange(1, 6) ** -exponent
    expected /= expected.sum()
    assert np.all(np.abs(shares - expected) < 5 * np.sqrt(expected * (1 - expected) / 20_000))


def test_one_topic_and_one_item():
    catalogue = synthetic(num_items=1, num_topics=1)
    assert catalogue.popularity.tolist() == [1.0]
    assert catalogue.topics.tolist() == [0]
    assert catalogue.embeddings.shape == (1, 16)


def test_more_topics_than_items():
    catalogue = synthetic(num_items=3, num_topics=50)
    assert catalogue.topic_centres.shape == (50, 16)


def test_items_beyond_one_block_of_rows_are_drawn_too():
    catalogue = synthetic(num_items=70_000, dim=2)
    assert np.abs(lengths_of(catalogue.embeddings) - 1.0).max() < 1e-6
    tail = catalogue.embeddings[65_536:]
    assert len(np.unique(tail, axis=0)) > 0.99 * len(tail)
    assert not np.array_equal(tail[:1000], catalogue.embeddings[:1000])


def test_a_seed_is_one_catalogue():
    first, second = synthetic(catalogue_seed=3), synthetic(catalogue_seed=3)
    np.testing.assert_array_equal(first.embeddings, second.embeddings)
    np.testing.assert_array_equal(first.popularity, second.popularity)
    np.testing.assert_array_equal(first.topics, second.topics)
    assert first.checksum == second.checksum
    other = synthetic(catalogue_seed=4)
    assert other.checksum != first.checksum
    assert not np.array_equal(other.popularity, first.popularity)
    assert not np.array_equal(other.topics, first.topics)


def test_drawing_leaves_numpys_global_generator_alone():
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    synthetic()
    assert np.random.rand() == expected  # noqa: NPY002


def test_generators_of_two_purposes_and_two_seeds_differ():
    draws = {
        tuple(catalogue_generator(seed, purpose).random(4))
        for seed in range(3)
        for purpose in range(4)
    }
    draws |= {tuple(interest_generator(seed).random(4)) for seed in range(3)}
    # interest_generator is one of the four purposes, so that it adds no draws of its own.
    assert len(draws) == 12


def test_popularity_does_not_depend_on_embeddings():
    flat = synthetic(dim=2, topic_spread=0.0, num_topics=1)
    np.testing.assert_array_equal(flat.popularity, synthetic().popularity)


def test_checksum_is_pinned():
    # Published datasets name their catalogue by it: a change of the draws must not pass unseen.
    checksum = synthetic(num_items=50, dim=8).checksum
    assert checksum == "80b8531d45c883df75c85432d0548c30fc01d7f03487dc98b24c09e28d862fe4"


def test_checksum_is_of_float32_values_and_shape():
    catalogue = synthetic(num_items=12, dim=4)
    values = catalogue.embeddings.astype("<f4").tobytes()
    assert catalogue.checksum == hashlib.sha256(b"(12, 4)" + values).hexdigest()
    vectors = unit_vectors(12, 4).astype(np.float32)
    plain = from_embeddings(vectors).checksum
    assert from_embeddings(np.asfortranarray(vectors)).checksum == plain
    assert from_embeddings(vectors.astype(">f4")).checksum == plain
    assert from_embeddings(vectors.astype(np.float64)).checksum == plain
    assert from_embeddings(vectors[::-1]).checksum != plain
    assert from_embeddings(vectors, catalogue_seed=9).checksum == plain


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0, 2.5])
def test_popularity_is_zipf_exactly(exponent):
    catalogue = synthetic(popularity_exponent=exponent)
    expected = np.arange(1, 201, dtype=np.float64) ** -exponent
    expected /= expected.sum()
    np.testing.assert_allclose(np.sort(catalogue.popularity)[::-1], expected, rtol=1e-12)
    assert catalogue.popularity.sum() == pytest.approx(1.0, abs=1e-12)
    assert catalogue.popularity_exponent == exponent


def test_ranks_are_dealt_at_random():
    popularity = synthetic(num_items=2000).popularity
    ranks = np.argsort(np.argsort(-popularity))
    correlation = np.corrcoef(ranks, np.arange(2000))[0, 1]
    assert abs(correlation) < 5 / np.sqrt(2000)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_items", 0, r"num_items=0 is not an integer at least 1"),
        ("num_items", 2.0, r"num_items=2\.0 is not an integer"),
        ("num_items", True, r"num_items=True is not an integer"),
        ("dim", 1, r"embedding_dim=1 is not an integer from 2 to 1024"),
        ("dim", 1025, r"embedding_dim=1025 is not an integer from 2 to 1024"),
        ("num_topics", 0, r"num_topics=0 is not an integer at least 1"),
        ("topic_spread", -0.1, r"topic_spread=-0\.1 is not a number in \[0, 100\]"),
        ("topic_spread", float("nan"), r"topic_spread=nan is not a number"),
        ("topic_spread", float("inf"), r"topic_spread=inf is not a number"),
        ("topic_size_exponent", -1, r"topic_size_exponent=-1 is not a number"),
        ("topic_size_exponent", float("inf"), r"topic_size_exponent=inf is not a number"),
        ("popularity_exponent", -0.5, r"popularity_exponent=-0\.5 is not a number"),
        ("popularity_exponent", float("nan"), r"popularity_exponent=nan is not a number"),
        ("popularity_exponent", float("inf"), r"popularity_exponent=inf is not a number"),
        ("popularity_exponent", "1", r"popularity_exponent='1' is not a number"),
        ("catalogue_seed", -1, r"catalogue_seed=-1 is not an integer in \[0, 2\*\*63\)"),
        ("catalogue_seed", 2**63, r"catalogue_seed=9223372036854775808 is not an integer"),
    ],
)
def test_arguments_out_of_range(field, value, message):
    with pytest.raises(ValueError, match=message):
        synthetic(**{field: value})


def test_largest_seed():
    assert synthetic(catalogue_seed=2**63 - 1).checksum != synthetic().checksum


# Real embeddings


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_normalising_keeps_directions(dtype):
    vectors = np.array([[3, 4], [-6, 8], [0, -2], [5, 0]], dtype=dtype)
    catalogue = from_embeddings(vectors, normalize=True)
    expected = [[0.6, 0.8], [-0.6, 0.8], [0, -1], [1, 0]]
    np.testing.assert_allclose(catalogue.embeddings, expected, atol=1e-7)
    assert catalogue.embeddings.dtype == np.float32


@pytest.mark.parametrize("dim", [2, 1024])
def test_unit_rows_are_taken_as_they_are(dim):
    vectors = unit_vectors(20, dim).astype(np.float32)
    catalogue = from_embeddings(vectors)
    np.testing.assert_array_equal(catalogue.embeddings, vectors)


def test_given_vectors_are_not_written_to():
    vectors = 3.0 * unit_vectors()
    before = vectors.copy()
    from_embeddings(vectors, normalize=True)
    np.testing.assert_array_equal(vectors, before)


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [
        (1e300, np.float64),
        (5e-324, np.float64),
        (1e-300, np.float64),
        (3e38, np.float32),
        (1e-38, np.float32),
        (60_000, np.float16),
    ],
)
def test_extreme_finite_values_are_normalised(scale, dtype):
    vectors = np.array([[1, 0, 0, 0], [1, -1, 0, 0], [1, 1, 1, 1]], dtype=dtype) * dtype(scale)
    catalogue = from_embeddings(vectors, normalize=True)
    r = np.sqrt(0.5)
    expected = [[1, 0, 0, 0], [r, -r, 0, 0], [0.5, 0.5, 0.5, 0.5]]
    np.testing.assert_allclose(catalogue.embeddings, expected, atol=1e-6)


def test_the_largest_float64_is_finite_too():
    largest = np.finfo(np.float64).max
    vectors = np.array([[largest, largest, largest, largest], [1.0, 0, 0, 0]])
    catalogue = from_embeddings(vectors, normalize=True)
    np.testing.assert_allclose(catalogue.embeddings, [[0.5] * 4, [1, 0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "not finite"), (np.inf, "not finite"), (-np.inf, "not finite"), (0.0, "zero")],
)
def test_rows_at_fault_are_counted(value, message, normalize):
    vectors = unit_vectors()
    if value == 0:
        vectors[[4, 7, 30]] = 0.0
    else:
        vectors[[4, 7, 30], [0, 5, 2]] = value
    with pytest.raises(ValueError, match=rf"3 of 40 embedding rows are {message} \(first: row 4\)"):
        from_embeddings(vectors, normalize=normalize)


def test_rows_of_another_length_are_counted_and_the_mend_named():
    vectors = unit_vectors()
    vectors[[9, 11]] *= 2.5
    message = r"2 of 40 .* unit length \(first: row 9, length 2\.5\); pass normalize=True"
    with pytest.raises(ValueError, match=message):
        from_embeddings(vectors)
    np.testing.assert_allclose(
        from_embeddings(vectors, normalize=True).embeddings, unit_vectors(), atol=1e-6
    )


@pytest.mark.parametrize(("factor", "passes"), [(1.0005, True), (0.9995, True), (1.002, False)])
def test_tolerance_of_unit_length(factor, passes):
    vectors = unit_vectors() * factor
    if passes:
        assert from_embeddings(vectors).num_items == 40
    else:
        with pytest.raises(ValueError, match="40 of 40"):
            from_embeddings(vectors)


def test_faults_in_the_last_block_of_rows_are_found():
    vectors = np.zeros((65_600, 2), dtype=np.float32)
    vectors[:, 0] = 1.0
    vectors[65_590, 1] = np.nan
    with pytest.raises(ValueError, match=r"1 of 65600 .* not finite \(first: row 65590\)"):
        from_embeddings(vectors)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(5), r"numeric array \(items, dims\); got float64 \(5,\)"),
        (np.ones((2, 2, 2)), r"got float64 \(2, 2, 2\)"),
        (np.array([["a", "b"]]), r"numeric array"),
        (np.array([[True, False]]), r"got bool"),
        (np.ones((2, 2), dtype=complex), r"got complex128"),
        (np.ones((0, 4)), r"number of items=0"),
        (np.ones((3, 1)), r"embedding dimension=1 is not an integer from 2 to 1024"),
        (np.ones((3, 1025)), r"embedding dimension=1025"),
    ],
)
def test_arrays_that_are_no_embeddings(array, message):
    with pytest.raises(ValueError, match=message):
        from_embeddings(array, normalize=True, num_topics=1)


@pytest.mark.parametrize("num_topics", [0, 41])
def test_topics_number_from_one_to_the_number_of_items(num_topics):
    with pytest.raises(ValueError, match=rf"num_topics={num_topics} .* from 1 to 40"):
        from_embeddings(unit_vectors(), num_topics=num_topics)


def test_bad_popularity_exponent():
    with pytest.raises(ValueError, match="popularity_exponent=-1"):
        from_embeddings(unit_vectors(), popularity_exponent=-1)


def test_ids_come_through_or_are_refused():
    names = [f"sku-{i}" for i in range(40)]
    assert from_embeddings(unit_vectors(), item_ids=names).item_ids.tolist() == names
    assert from_embeddings(unit_vectors()).item_ids.tolist() == list(range(40))
    with pytest.raises(ValueError, match=re.escape("40 item vectors but ids of shape (39,)")):
        from_embeddings(unit_vectors(), item_ids=names[1:])


def test_popularity_of_real_embeddings_is_that_of_drawn_ones():
    catalogue = from_embeddings(unit_vectors(200), popularity_exponent=1.0)
    np.testing.assert_array_equal(catalogue.popularity, synthetic().popularity)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clustering_recovers_well_separated_clusters(seed):
    generator = np.random.default_rng(10 + seed)
    truth = generator.permutation(np.repeat(np.arange(6), 30))
    vectors = np.eye(6, 12)[truth] + 0.05 * generator.standard_normal((180, 12))
    catalogue = from_embeddings(vectors, normalize=True, num_topics=6, catalogue_seed=seed)
    # One found topic for each true one, the names being free.
    pairs = set(zip(truth.tolist(), catalogue.topics.tolist(), strict=True))
    assert len(pairs) == 6
    assert {topic for _, topic in pairs} == set(range(6))
    for true, found in pairs:
        mean = catalogue.embeddings[truth == true].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(
            catalogue.topic_centres[found], mean / np.linalg.norm(mean), atol=1e-5
        )


def test_topics_are_the_nearest_centres():
    catalogue = from_embeddings(unit_vectors(120, 5), num_topics=7)
    nearest = (catalogue.embeddings @ catalogue.topic_centres.T).argmax(axis=1)
    np.testing.assert_array_equal(catalogue.topics, nearest)
    np.testing.assert_allclose(lengths_of(catalogue.topic_centres), 1.0, atol=1e-6)


def test_clustering_is_reproducible_by_seed():
    first = from_embeddings(unit_vectors(120, 5), num_topics=7, catalogue_seed=1)
    second = from_embeddings(unit_vectors(120, 5), num_topics=7, catalogue_seed=1)
    other = from_embeddings(unit_vectors(120, 5), num_topics=7, catalogue_seed=2)
    np.testing.assert_array_equal(first.topic_centres, second.topic_centres)
    np.testing.assert_array_equal(first.topics, second.topics)
    assert not np.array_equal(first.topic_centres, other.topic_centres)


def test_clustering_of_equal_rows():
    vectors = np.tile([[0.6, 0.8]], (10, 1))
    catalogue = from_embeddings(vectors, num_topics=4)
    np.testing.assert_allclose(catalogue.topic_centres, vectors[:4], atol=1e-6)
    assert len(set(catalogue.topics)) == 1


def test_as_many_topics_as_items():
    vectors = np.eye(5)
    catalogue = from_embeddings(vectors, num_topics=5)
    assert sorted(catalogue.topics) == list(range(5))
    np.testing.assert_allclose(catalogue.topic_centres[catalogue.topics], vectors, atol=1e-6)


def test_repeated_item_ids_are_refused():
    with pytest.raises(ValueError, match="item ids more than once"):
        from_embeddings(unit_vectors()[:4], item_ids=["a", "a", "b", "b"])
