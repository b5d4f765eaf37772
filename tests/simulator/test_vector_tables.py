"""Item vectors from tables: the bits of an array's file, in memory of the vectors and a block."""

import gc
import tracemalloc
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recsim_drpo.simulator.embeddings import load_embeddings
from recsim_drpo.simulator.vector_tables import as_ids

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS, DIM = 24_000, 8
FEW = 3 * 4_096  # more blocks than are held at once


def drawn(rows=ROWS, dim=DIM):
    return np.random.default_rng(0).standard_normal((rows, dim)).astype(np.float32)


def fixed_lists(vectors):
    flat = pyarrow.array(vectors.ravel())
    return {"vector": pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}


def lists(vectors, kind=pyarrow.ListArray):
    ends = np.arange(len(vectors) + 1) * vectors.shape[1]
    return {"vector": kind.from_arrays(pyarrow.array(ends), pyarrow.array(vectors.ravel()))}


def large_lists(vectors):
    return lists(vectors, pyarrow.LargeListArray)


def columns(vectors):
    return {f"emb_{k}": vectors[:, k] for k in range(vectors.shape[1])}


def texts(vectors):
    return {"vector": ["[" + ", ".join(map(repr, row)) + "]" for row in vectors.tolist()]}


SHAPES = (fixed_lists, lists, large_lists, columns, texts)


def write(path, shape, vectors, ids=None, **options):
    ids = np.arange(len(vectors)) * 3 if ids is None else ids
    table = pyarrow.table({"title": ["none of the vector"] * len(vectors), "item_id": ids})
    for name, cells in shape(vectors).items():
        table = table.append_column(name, pyarrow.array(cells))
    if path.suffix == ".csv":
        from pyarrow import csv

        csv.write_csv(table, path)
    else:
        parquet.write_table(table, path, **options)
    return path


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<f2"])
def test_vectors_of_every_shape_are_those_of_an_array_file(tmp_path, shape, dtype):
    vectors = drawn(9_001).astype(dtype)  # blocks and row groups end at rows of their own
    np.save(tmp_path / "a.npy", vectors)
    path = write(tmp_path / "a.parquet", shape, vectors, row_group_size=1_717)
    loaded, ids = load_embeddings(path, vector_columns="vector" if shape is texts else "[ve]*")
    assert loaded.dtype == np.float32
    expected = np.asarray(load_embeddings(tmp_path / "a.npy")[0]).astype(np.float32)
    np.testing.assert_array_equal(loaded.view(np.uint32), expected.view(np.uint32))
    np.testing.assert_array_equal(ids, np.arange(9_001) * 3)
    assert ids.dtype == np.int64


@pytest.mark.parametrize("shape", [columns, texts])
def test_vectors_of_text_are_those_of_an_array_file(tmp_path, shape):
    vectors = drawn(9_001)
    pattern = "vector" if shape is texts else "emb_*"
    loaded, ids = load_embeddings(write(tmp_path / "a.csv", shape, vectors), vector_columns=pattern)
    np.testing.assert_array_equal(loaded.view(np.uint32), vectors.view(np.uint32))
    np.testing.assert_array_equal(ids, np.arange(9_001) * 3)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("shape", SHAPES)
def test_memory_is_of_the_vectors_and_a_block(tmp_path, shape, suffix):
    # As Python's numbers the vectors alone take twenty times their bytes: 0.77 MB here.
    if suffix == ".csv" and shape not in (columns, texts):
        pytest.skip("text has no lists")
    vectors = drawn()
    pattern = "emb_*" if shape is columns else "vector"
    path = write(tmp_path / f"a{suffix}", shape, vectors)
    small = write(tmp_path / f"small{suffix}", shape, vectors[:FEW])
    del vectors
    load_embeddings(small, vector_columns=pattern)  # what is imported and kept by then

    def peak(file):
        gc.collect()
        tracemalloc.start()
        load_embeddings(file, vector_columns=pattern)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    grown = (peak(path) - peak(small)) / (ROWS - FEW)
    # A vector, with an eighth of room, and its id: as text and number until all are known.
    assert grown < DIM * 4 * 9 / 8 + 60


@pytest.mark.parametrize("shape", [fixed_lists, columns])
def test_numbers_beyond_single_precision_are_left_to_the_catalogue(tmp_path, shape):
    vectors = np.ones((3, 2))
    vectors[1] = np.array([0x7FF0000000000001, 0x7FF8000000000000], np.uint64).view(np.float64)
    vectors[2] = [1e300, -1e300]
    path = write(tmp_path / "a.parquet", shape, vectors)
    loaded, _ = load_embeddings(path, vector_columns="[ve]*")
    np.testing.assert_array_equal(loaded, [[1, 1], [np.nan] * 2, [np.inf, -np.inf]])


def test_room_is_for_rows_that_there_are(tmp_path):
    # What has too many dimensions is refused later, with a message; it is not to be asked for.
    parquet.write_table(pyarrow.table({"v": [[0.5] * 200_000] * 2}), tmp_path / "a.parquet")
    tracemalloc.start()
    assert load_embeddings(tmp_path / "a.parquet")[0].shape == (2, 200_000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 50e6


def test_arrows_own_memory_is_of_a_block(tmp_path):
    path = write(tmp_path / "a.parquet", fixed_lists, drawn(400_000, 16))
    pool = pyarrow.system_memory_pool()
    before = pyarrow.default_memory_pool()
    pyarrow.set_memory_pool(pool)
    try:
        start = pool.bytes_allocated()
        assert load_embeddings(path)[0].shape == (400_000, 16)
        assert pool.max_memory() - start < 20e6 < 400_000 * 16 * 4
    finally:
        pyarrow.set_memory_pool(before)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pyarrow.int8(), [1, -2, 3]),
        (pyarrow.uint64(), [2**63 + 2**40 + 1, 1, 2]),
        (pyarrow.int64(), [2**62 + 2**38 + 1, -(2**53) - 1, 0]),
        (pyarrow.bool_(), [True, False, True]),
        (pyarrow.decimal128(5, 2), [Decimal("1.25"), Decimal("-0.50"), Decimal("3.00")]),
        (pyarrow.string(), ["0.5", "1e-3", "-7"]),
    ],
)
def test_numbers_of_other_types_are_rounded_as_float_rounds_them(tmp_path, kind, values):
    expected = np.array([[float(v)] * 2 for v in values], dtype=np.float32)
    listed = pyarrow.array([[v, v] for v in values], pyarrow.list_(kind))
    parquet.write_table(pyarrow.table({"v": listed}), tmp_path / "a.parquet")
    np.testing.assert_array_equal(load_embeddings(tmp_path / "a.parquet")[0], expected)
    column = pyarrow.array(values, kind)
    parquet.write_table(pyarrow.table({"x": column, "y": column}), tmp_path / "b.parquet")
    np.testing.assert_array_equal(load_embeddings(tmp_path / "b.parquet")[0], expected)


@pytest.mark.parametrize("wrong", [None, [1.0], [1.0] * (DIM + 1), [None] * DIM])
@pytest.mark.parametrize("row", [3, 4_096, 12_345])
def test_a_list_that_does_not_fit_is_told_with_its_row_in_the_file(tmp_path, wrong, row):
    rows = drawn().tolist()
    rows[row] = rows[-1] = wrong
    parquet.write_table(pyarrow.table({"vector": rows}), tmp_path / "a.parquet")
    told = rf"'vector': 2 rows \(first: row {row}\) are not lists of {DIM} numbers"
    with pytest.raises(ValueError, match=told):
        load_embeddings(tmp_path / "a.parquet")


def test_columns_of_lists_are_no_vector_together(tmp_path):
    table = pyarrow.table({"a": [[1.0, 2.0]] * 3, "b": [[3.0, 4.0]] * 3})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="not all of the columns a, b are numbers"):
        load_embeddings(tmp_path / "a.parquet", vector_columns="?")


def test_an_empty_number_far_into_a_column_is_left_to_the_catalogue(tmp_path):
    x = pyarrow.array([1.0] * 9_000 + [None])
    parquet.write_table(pyarrow.table({"x": x, "y": x}), tmp_path / "a.parquet")
    vectors, _ = load_embeddings(tmp_path / "a.parquet")
    assert np.isnan(vectors[9_000]).all()
    assert np.isfinite(vectors[:9_000]).all()


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
        st.lists(st.one_of(st.integers(-9, 9), st.none()), min_size=1),
        st.lists(st.floats(-9, 9).map(lambda x: round(x, 1)), min_size=1),
        st.lists(st.sampled_from(["7", "07", " 7", "x", "é", "-1", "1_0"]), min_size=1),
        st.lists(st.integers(0, 2**64 - 1), min_size=1),
    ),
    st.integers(1, 5),
)
def test_ids_in_blocks_are_the_ids_at_once(values, size):
    from recsim_drpo.simulator.vector_tables import _Ids

    large = any(isinstance(value, int) and value >= 2**63 for value in values)
    array = pyarrow.array(values, pyarrow.uint64() if large else None)
    ids, plain = _Ids(), _Ids()
    for start in range(0, len(values), size):
        ids.add(array[start : start + size])
        plain.add(values[start : start + size])
    expected = as_ids(array.to_pylist())
    for found in (ids.whole(), plain.whole()):
        assert found.dtype.kind == expected.dtype.kind
        assert found.tolist() == expected.tolist()


def test_text_ids_late_in_a_file_make_all_of_them_text(tmp_path):
    ids = [str(i) for i in range(9_000)]
    ids[8_999] = "last"
    path = write(tmp_path / "a.csv", columns, drawn(9_000, 2), ids=ids)
    assert load_embeddings(path, vector_columns="emb_*")[1].tolist() == ids
