"""Philox words against an independent reference, and the distributions made of them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings, strategies as st
from scipy import stats

from recsim_drpo.core import rng
from recsim_drpo.core.rng import Stream

# Known answers published with Random123: counter words, key words, output words.
KNOWN_ANSWERS = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def reference_philox(counter, key):
    """One block of Philox4x32-10 in Python's unbounded integers, after the paper's figure."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


def reference_words(seed, stream, counter, num_words):
    words = []
    for block in range(-(-num_words // 4)):
        words += reference_philox(
            (counter % 2**32, (counter >> 32) % 2**32, stream, block),
            (seed % 2**32, (seed >> 32) % 2**32),
        )
    return words[:num_words]


def words_of(seed, stream, counters, num_words):
    counters = torch.as_tensor(counters, dtype=torch.int64)
    return rng.philox_4x32(torch.tensor(seed), stream, counters, num_words)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_the_reference_gives_the_published_answers(counter, key, expected):
    assert reference_philox(counter, key) == expected


def test_the_library_gives_the_published_answer_for_zero():
    words = words_of(0, 0, [0], 4)
    assert words.tolist() == [[0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]]


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 2**63 - 1),
    stream=st.integers(0, 2**32 - 1),
    counter=st.integers(0, 2**63 - 1),
    num_words=st.integers(1, 13),
)
def test_words_equal_the_reference(seed, stream, counter, num_words):
    words = words_of(seed, stream, [counter], num_words)
    assert words.shape == (1, num_words)
    assert words.dtype == torch.int64
    assert words[0].tolist() == reference_words(seed, stream, counter, num_words)


@pytest.mark.parametrize("seed", [0, 0xFFFFFFFF, 2**32, 0x299F31D0A4093822, 2**63 - 1])
def test_words_equal_the_reference_where_bits_fill_up(seed):
    for counter in (0, 0xFFFFFFFF, 2**32, 2**63 - 1):
        for stream in (0, 1, 0x13198A2E, 0xFFFFFFFF):
            words = words_of(seed, stream, [counter], 9)[0].tolist()
            assert words == reference_words(seed, stream, counter, 9), (counter, stream)


def test_words_beyond_the_first_four_come_from_numbered_blocks():
    words = words_of(7, 3, [11], 10)[0].tolist()
    for block in range(3):
        expected = reference_philox((11, 0, 3, block), (7, 0))
        assert words[4 * block : 4 * block + 4] == list(expected)[: len(words[4 * block :])]


def test_fewer_words_are_a_prefix_of_more():
    long = words_of(5, 2, range(20), 11)
    for num_words in range(1, 11):
        assert torch.equal(words_of(5, 2, range(20), num_words), long[:, :num_words])


def test_a_row_does_not_depend_on_the_other_rows():
    seeds = torch.tensor([3, 2**40 + 1, 3, 9, 0, 2**63 - 1])
    counters = torch.tensor([0, 5, 2**35, 5, 0, 8])
    together = rng.philox_4x32(seeds, 4, counters, 6)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    assert torch.equal(rng.philox_4x32(seeds[order], 4, counters[order], 6), together[order])
    for row in range(len(seeds)):
        alone = rng.philox_4x32(seeds[row : row + 1], 4, counters[row : row + 1], 6)
        assert torch.equal(alone[0], together[row])


def test_one_seed_is_broadcast_to_all_counters():
    counters = torch.arange(9)
    spelled_out = rng.philox_4x32(torch.full((9,), 17), 1, counters, 5)
    assert torch.equal(rng.philox_4x32(torch.tensor(17), 1, counters, 5), spelled_out)
    assert torch.equal(rng.philox_4x32(torch.tensor([17]), 1, counters, 5), spelled_out)


def test_arguments_are_left_as_they_were():
    seeds, counters = torch.tensor([1, 2]), torch.tensor([3, 4])
    rng.philox_4x32(seeds, 1, counters, 8)
    assert seeds.tolist() == [1, 2]
    assert counters.tolist() == [3, 4]


def test_streams_seeds_and_counters_share_no_block():
    blocks = set()
    for seed in range(4):
        for stream in Stream:
            blocks |= {tuple(row) for row in words_of(seed, stream, range(100), 4).tolist()}
    assert len(blocks) == 4 * len(Stream) * 100


def test_stream_numbers_are_fixed():
    # They are part of what a seed means: other numbers would make other published users.
    assert {stream.name: int(stream) for stream in Stream} == {
        "TRAIN_USERS": 1,
        "VALIDATION_USERS": 2,
        "TEST_USERS": 3,
        "LOGGING_POLICY": 4,
        "REFERENCE_POLICY": 5,
        "TRAINING_ORDER": 6,
        "AGENT_SAMPLE": 7,
        "EXPLORATION": 8,
        "CHUNKS": 9,
        "NEGATIVES": 10,
        "TRAIN_STEPS": 16,
        "VALIDATION_STEPS": 17,
        "TEST_STEPS": 18,
        "AGENT_NOISE": 256,
    }


def test_every_bit_is_set_half_of_the_time():
    words = words_of(1, 1, range(20_000), 4).flatten()
    shares = torch.stack([(words >> bit) & 1 for bit in range(32)]).double().mean(dim=1)
    assert torch.all((shares - 0.5).abs() < 5 * 0.5 / math.sqrt(len(words)))


def test_uniforms_hand_values_and_open_interval():
    words = torch.tensor([0, 1, 2**31, 2**32 - 1])
    values = rng.uniforms(words)
    assert values.dtype == torch.float64
    assert values.tolist() == [2.0**-33, 1.5 * 2.0**-32, 0.5 + 2.0**-33, 1.0 - 2.0**-33]
    assert values.min() > 0.0
    assert values.max() < 1.0


def test_uniform_52bit_hand_values_and_open_interval():
    top = 2**32 - 1
    high = torch.tensor([0, 0, 2**31, top, 1])
    low = torch.tensor([0, 4096, 0, top, 0])
    values = rng.uniform_52bit(high, low)
    assert values.dtype == torch.float64
    assert values.tolist() == [
        2.0**-53,
        1.5 * 2.0**-52,
        0.5 + 2.0**-53,
        1.0 - 2.0**-53,
        2.0**-32 + 2.0**-53,
    ]
    assert values.max() < 1.0


def test_uniform_52bit_resolves_what_uniforms_cannot():
    low = torch.tensor([0, 1 << 12, 1 << 31])
    values = rng.uniform_52bit(torch.full((3,), 77), low)
    assert values[0] < values[1] < values[2]
    assert torch.all((values - rng.uniforms(torch.tensor(77))).abs() <= 2.0**-33)


def test_uniforms_are_uniform():
    values = rng.uniforms(words_of(2, 1, range(25_000), 4)).numpy()
    count = values.size
    assert abs(values.mean() - 0.5) < 5 / math.sqrt(12 * count)
    # Var of (u - 1/2)² is 1/80 - 1/144.
    spread = np.square(values - 0.5).mean()
    assert abs(spread - 1 / 12) < 5 * math.sqrt((1 / 80 - 1 / 144) / count)
    assert stats.kstest(values.ravel(), "uniform").pvalue > 1e-3
    correlations = np.corrcoef(values, rowvar=False)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 5 / math.sqrt(len(values))
    lag = np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]
    assert abs(lag) < 5 / math.sqrt(len(values))


def test_uniform_52bit_values_are_uniform():
    words = words_of(3, 4, range(50_000), 2)
    values = rng.uniform_52bit(words[:, 0], words[:, 1]).numpy()
    assert abs(values.mean() - 0.5) < 5 / math.sqrt(12 * values.size)
    assert stats.kstest(values, "uniform").pvalue > 1e-3


def test_normals_are_standard_normal():
    words = words_of(4, 1, range(100_000), 2)
    values = rng.normals(words[:, 0], words[:, 1])
    assert values.dtype == torch.float64
    x, count = values.numpy(), len(values)
    assert abs(x.mean()) < 5 / math.sqrt(count)
    assert abs(x.var() - 1.0) < 5 * math.sqrt(2 / count)
    assert abs((x**3).mean()) < 5 * math.sqrt(15 / count)
    assert abs((x**4).mean() - 3.0) < 5 * math.sqrt(96 / count)
    assert stats.kstest(x, "norm").pvalue > 1e-3


def test_normals_hand_values_and_largest():
    quarter, half = 2**30, 2**31
    values = rng.normals(torch.tensor([half, half, half]), torch.tensor([0, quarter, half]))
    radius = math.sqrt(2 * math.log(2))
    assert values.tolist() == pytest.approx([radius, 0.0, -radius], abs=1e-8)
    # The smallest uniform gives the largest radius: finite, about 6.8.
    extreme = rng.normals(torch.tensor([0, 2**32 - 1]), torch.tensor([0, 0]))
    assert extreme[0].item() == pytest.approx(math.sqrt(66 * math.log(2)), rel=1e-12)
    assert 0.0 < extreme[1].item() < 1e-4


def test_box_muller_values_are_both_of_every_pair():
    words = rng.philox_4x32(torch.tensor(3), 9, torch.arange(2), 100_000)
    drawn = rng.box_muller(words)
    assert drawn.shape == (2, 100_000)
    torch.testing.assert_close(drawn[:, :50_000], rng.normals(words[:, :50_000], words[:, 50_000:]))
    flat = drawn.flatten().numpy()
    assert abs(flat.mean()) < 4 / np.sqrt(flat.size)
    assert abs(flat.std() - 1) < 4 / np.sqrt(2 * flat.size)
    assert abs(np.corrcoef(flat[:50_000], flat[50_000:100_000])[0, 1]) < 0.02
    assert stats.kstest(flat, "norm").pvalue > 1e-4


def assert_drawn_by_inverse_cdf(weights, quantiles, items):
    rows = weights.double().numpy()
    for row, quantile, item in zip(rows, quantiles.tolist(), items.tolist(), strict=True):
        assert 0 <= item < len(row)
        assert row[item] > 0
        cumulative = np.concatenate(([0.0], np.cumsum(row))) / row.sum()
        assert cumulative[item] - 1e-9 <= quantile <= cumulative[item + 1] + 1e-9


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(
    num_rows=st.integers(1, 4),
    num_items=st.integers(1, 260),
    density=st.sampled_from([0.005, 0.05, 0.5, 1.0]),
    spread=st.sampled_from([0.0, 3.0, 40.0]),
    quantile=st.one_of(
        st.sampled_from([2.0**-53, 0.5, 1.0 - 2.0**-53]), st.floats(2.0**-53, 1.0 - 2.0**-53)
    ),
    seed=st.integers(0, 10_000),
)
@example(num_rows=1, num_items=64, density=1.0, spread=0.0, quantile=1.0 - 2.0**-53, seed=0)
@example(num_rows=1, num_items=65, density=1.0, spread=0.0, quantile=1.0 - 2.0**-53, seed=0)
@example(num_rows=1, num_items=129, density=0.005, spread=0.0, quantile=2.0**-53, seed=1)
def test_draws_never_give_an_item_of_weight_zero(
    num_rows, num_items, density, spread, quantile, seed
):
    generator = np.random.default_rng(seed)
    weights = np.exp(-spread * generator.random((num_rows, num_items)))
    weights *= generator.random((num_rows, num_items)) < density
    weights[np.arange(num_rows), generator.integers(num_items, size=num_rows)] = 1.0
    weights = torch.from_numpy(weights.astype(np.float32))
    quantiles = torch.full((num_rows,), quantile, dtype=torch.float64)
    assert_drawn_by_inverse_cdf(weights, quantiles, rng.categorical(weights, quantiles))


@pytest.mark.parametrize("place", [0, 63, 64, 100, 127, 128, 199])
@pytest.mark.parametrize("weight", [1.0, 1e-45, 3e38])
def test_the_only_item_of_weight_is_drawn(place, weight):
    weights = torch.zeros((5, 200))
    weights[:, place] = weight
    quantiles = torch.tensor([2.0**-53, 1e-9, 0.5, 1.0 - 1e-9, 1.0 - 2.0**-53], dtype=torch.float64)
    assert rng.categorical(weights, quantiles).tolist() == [place] * 5


@pytest.mark.parametrize("num_items", [60, 64, 150])
def test_rounding_of_sums_leads_past_no_last_item(num_items):
    # Sums of 64 at once and running sums round differently, which tells at the largest quantile.
    generator = np.random.default_rng(1)
    weights = np.exp(-40.0 * generator.random((3000, num_items))).astype(np.float32)
    weights[:, -3:] = 0.0
    quantiles = torch.full((3000,), 1.0 - 2.0**-53, dtype=torch.float64)
    weights = torch.from_numpy(weights)
    assert_drawn_by_inverse_cdf(weights, quantiles, rng.categorical(weights, quantiles))


def test_no_draws():
    items = rng.categorical(torch.empty((0, 70)), torch.empty(0, dtype=torch.float64))
    assert items.shape == (0,)
    assert items.dtype == torch.int64


def test_weights_beyond_the_range_of_a_sum_in_float32():
    weights = torch.full((1, 200), 3e38)
    quantiles = torch.tensor([0.7525], dtype=torch.float64)
    assert rng.categorical(weights, quantiles).tolist() == [150]


def test_draws_follow_the_weights():
    weights = torch.from_numpy(np.random.default_rng(0).random(130).astype(np.float32))
    weights[::3] = 0.0
    quantiles = (torch.arange(40_000, dtype=torch.float64) + 0.5) / 40_000
    items = torch.cat(
        [rng.categorical(weights.expand(4000, -1), part) for part in quantiles.split(4000)]
    )
    counts = np.bincount(items.numpy(), minlength=130)
    expected = 40_000 * weights.double().numpy() / weights.double().sum().item()
    # Evenly spaced quantiles leave each item its share to within one.
    assert np.abs(counts - expected).max() <= 1.0 + 1e-6
    assert counts[::3].sum() == 0
