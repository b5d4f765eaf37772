"""Reading embeddings: every format, and an error that names the fault for every bad file."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from recsim_drpo.simulator.catalogue import SimulatedCatalogue
from recsim_drpo.simulator.embeddings import load_embeddings

RL4RS = Path(__file__).resolve().parents[2] / ".." / "shared/data/rl4rs/item_info.csv"
VECTORS = np.array([[0.5, -1.25, 3.0], [2.0, 0.0, -0.125], [1e-3, 7.0, 4.5]], dtype=np.float32)


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def write_parquet(path, columns):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(columns), path)
    return path


def assert_loaded(result, vectors=VECTORS, ids=(0, 1, 2)):
    loaded, item_ids = result
    np.testing.assert_allclose(loaded, vectors, rtol=1e-6)
    assert item_ids.tolist() == list(ids)


# Arrays


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4"])
def test_npy_is_memory_mapped(tmp_path, dtype):
    path = tmp_path / "items.npy"
    np.save(path, VECTORS.astype(dtype))
    vectors, ids = load_embeddings(path)
    assert isinstance(vectors, np.memmap)
    assert not vectors.flags.writeable
    assert vectors.dtype == np.dtype(dtype)
    assert_loaded((vectors, ids))
    assert ids.dtype == np.int64


def test_path_as_string_and_suffix_in_capitals(tmp_path):
    path = tmp_path / "ITEMS.NPY"
    with path.open("wb") as file:
        np.save(file, VECTORS)
    assert_loaded(load_embeddings(str(path)))


def test_npz_with_one_matrix_of_any_name(tmp_path):
    path = tmp_path / "items.npz"
    np.savez(path, weights=VECTORS, notes=np.arange(5))
    assert_loaded(load_embeddings(path))


def test_npz_with_named_embeddings_and_ids(tmp_path):
    path = tmp_path / "items.npz"
    np.savez(path, embeddings=VECTORS, other=np.ones((2, 2)), item_ids=np.array([30, 10, 20]))
    assert_loaded(load_embeddings(path), ids=(30, 10, 20))


def test_npz_with_string_ids(tmp_path):
    path = tmp_path / "items.npz"
    np.savez_compressed(path, embeddings=VECTORS, item_ids=np.array(["b", "a", "c"]))
    assert_loaded(load_embeddings(path), ids=("b", "a", "c"))


def test_safetensors(tmp_path):
    path = tmp_path / "items.safetensors"
    save_file({"weight": VECTORS}, path)
    assert_loaded(load_embeddings(path))
    save_file({"embeddings": VECTORS, "item_ids": np.array([7, 8, 3]), "x": np.eye(2)}, path)
    assert_loaded(load_embeddings(path), ids=(7, 8, 3))


# Parquet


def test_parquet_with_a_list_column(tmp_path):
    path = write_parquet(
        tmp_path / "items.parquet",
        {"title": ["x", "y", "z"], "item_id": [4, 9, 1], "vector": VECTORS.tolist()},
    )
    assert_loaded(load_embeddings(path), ids=(4, 9, 1))


def test_parquet_with_one_column_a_dimension(tmp_path):
    columns = {f"emb_{i}": VECTORS[:, i] for i in range(3)}
    path = write_parquet(tmp_path / "items.parquet", {"item": ["p", "q", "r"], **columns})
    assert_loaded(load_embeddings(path), ids=("p", "q", "r"))


def test_parquet_with_a_missing_number_in_a_list(tmp_path):
    path = write_parquet(tmp_path / "items.parquet", {"vector": [[1.0, 2.0], [3.0, None]]})
    with pytest.raises(ValueError, match=r"'vector': 1 rows \(first: row 1\) are not lists of 2"):
        load_embeddings(path)


def test_parquet_that_is_none(tmp_path):
    pytest.importorskip("pyarrow")
    path = write(tmp_path, "items.parquet", "nonsense")
    with pytest.raises(ValueError, match=r"'items\.parquet' is not a readable Parquet file"):
        load_embeddings(path)


@pytest.mark.parametrize("columns", [{"vector": []}, {"item_id": [], "a": [], "b": []}])
def test_parquet_without_rows(tmp_path, columns):
    path = write_parquet(tmp_path / "items.parquet", columns)
    with pytest.raises(ValueError, match=r"items\.parquet"):
        load_embeddings(path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = write(tmp_path, "items.parquet", "")
    with pytest.raises(ValueError, match=r"recsim-drpo\[parquet\]"):
        load_embeddings(path)


def test_parquet_ids_that_are_fractions_stay_apart_from_integers(tmp_path):
    path = write_parquet(
        tmp_path / "items.parquet", {"item_id": [1.5, 2.0, 3.0], "vector": VECTORS.tolist()}
    )
    assert [float(x) for x in load_embeddings(path)[1]] == [1.5, 2.0, 3.0]


# Text


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", " "])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_text_with_one_column_a_dimension(tmp_path, delimiter, newline):
    rows = [["item_id", "x", "y", "z"]]
    rows += [[5 - i, *(repr(float(v)) for v in vector)] for i, vector in enumerate(VECTORS)]
    text = newline.join(delimiter.join(map(str, row)) for row in rows) + newline
    path = tmp_path / "items.txt"
    path.write_bytes(text.encode())
    vectors, ids = load_embeddings(path)
    assert vectors.dtype == np.float32
    assert_loaded((vectors, ids), ids=(5, 4, 3))


@pytest.mark.parametrize(
    ("name", "delimiter", "quote"),
    [("a.csv", ",", '"'), ("a.tsv", "\t", ""), ("a.csv", " ", ""), ("a.txt", ";", "")],
)
@pytest.mark.parametrize("brackets", ["", "[]", "()"])
def test_text_with_a_list_column(tmp_path, name, delimiter, quote, brackets):
    left, right = brackets or ("", "")
    lines = [delimiter.join(("id", "vec", "price"))]
    for i, vector in enumerate(VECTORS):
        cell = left + ",".join(repr(float(v)) for v in vector) + right
        lines.append(delimiter.join((f"i{i}", quote + cell + quote, "9.5")))
    path = write(tmp_path, name, "\n".join(lines))
    assert_loaded(load_embeddings(path), ids=("i0", "i1", "i2"))


@pytest.mark.parametrize("separator", [",", " ", "; ", ",  "])
def test_separators_within_a_list_cell(tmp_path, separator):
    cells = [separator.join(repr(float(v)) for v in vector) for vector in VECTORS]
    text = "item_id\tvec\n" + "\n".join(f"{i}\t{cell}" for i, cell in enumerate(cells))
    assert_loaded(load_embeddings(write(tmp_path, "a.tsv", text)))


def test_text_with_the_list_column_alone(tmp_path):
    text = "vec\n" + "\n".join('"' + str(vector.tolist()) + '"' for vector in VECTORS)
    assert_loaded(load_embeddings(write(tmp_path, "a.csv", text)))


def test_blank_lines_are_no_items(tmp_path):
    path = write(tmp_path, "a.csv", "item_id,x,y\n1,0.5,1\n\n2,1,0.25\n\n")
    assert_loaded(load_embeddings(path), [[0.5, 1.0], [1.0, 0.25]], ids=(1, 2))


def test_ids_are_row_numbers_where_no_column_has_them(tmp_path):
    vectors, ids = load_embeddings(write(tmp_path, "a.csv", "x,y\n3,4\n5,6\n"))
    assert_loaded((vectors, ids), [[3, 4], [5, 6]], ids=(0, 1))
    assert ids.dtype == np.int64


@pytest.mark.parametrize("name", ["item_id", "ItemID", "item", "ID"])
def test_usual_names_of_the_id_column(tmp_path, name):
    path = write(tmp_path, "a.csv", f"x,{name},y\n3,40,4\n5,20,6\n")
    assert_loaded(load_embeddings(path), [[3, 4], [5, 6]], ids=(40, 20))


def test_named_id_column(tmp_path):
    path = write(tmp_path, "a.csv", "sku,x,y\nA-1,3,4\nA-0,5,6\n")
    assert_loaded(load_embeddings(path, id_column="sku"), [[3, 4], [5, 6]], ids=("A-1", "A-0"))


def test_ids_are_strings_when_one_of_them_is_no_integer(tmp_path):
    path = write(tmp_path, "a.csv", "id,x,y\n1,3,4\nb,5,6\n")
    assert_loaded(load_embeddings(path), [[3, 4], [5, 6]], ids=("1", "b"))


def test_ids_beyond_64_bits_are_kept(tmp_path):
    names = ["18446744073709551615", "18446744073709551614"]
    path = write(tmp_path, "a.csv", f"id,x,y\n{names[0]},3,4\n{names[1]},5,6\n")
    ids = load_embeddings(path)[1]
    assert [str(name) for name in ids] == names


def test_vector_columns_by_pattern_in_the_tables_order(tmp_path):
    path = write(tmp_path, "a.csv", "id,emb_1,price,emb_0,note\n1,3,9,4,x\n2,5,9,6,y\n")
    assert_loaded(load_embeddings(path, vector_columns="emb_*"), [[3, 4], [5, 6]], ids=(1, 2))


def test_vector_column_by_name_among_two_lists(tmp_path):
    path = write(tmp_path, "a.tsv", "id\ta\tb\n1\t1,2\t3,4\n2\t5,6\t7,8\n")
    assert_loaded(load_embeddings(path, vector_columns="b"), [[3, 4], [7, 8]], ids=(1, 2))


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("item_id,x,y\n11,3,4\n12,5,6\n", encoding="utf-8-sig")
    assert_loaded(load_embeddings(path), [[3, 4], [5, 6]], ids=(11, 12))


def test_real_items():
    if not RL4RS.is_file():
        pytest.skip("the RL4RS item table is not part of this checkout")
    vectors, ids = load_embeddings(RL4RS)
    assert vectors.shape == (283, 40)
    assert vectors.dtype == np.float32
    assert ids.tolist() == list(range(1, 284))
    np.testing.assert_allclose(vectors[0, :3], [-0.2137, -0.0489, -0.3633], rtol=1e-6)
    np.testing.assert_allclose(vectors[0, -1], 1.2644, rtol=1e-6)
    # Independently of the library: columns are split by spaces and lists by commas.
    lines = RL4RS.read_text(encoding="utf-8").splitlines()[1:]
    expected = [[float(x) for x in line.split(" ")[1].split(",")] for line in lines]
    np.testing.assert_allclose(vectors, expected, rtol=1e-6)
    catalogue = SimulatedCatalogue.from_embeddings(
        vectors,
        item_ids=ids,
        normalize=True,
        num_topics=5,
        popularity_exponent=1.0,
        catalogue_seed=0,
    )
    np.testing.assert_allclose(np.linalg.norm(catalogue.embeddings, axis=1), 1.0, atol=1e-6)


# Errors


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no embeddings file at .*nowhere\.npy"):
        load_embeddings(tmp_path / "nowhere.npy")


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "items.npy").mkdir()
    with pytest.raises(FileNotFoundError, match=r"items\.npy"):
        load_embeddings(tmp_path / "items.npy")


@pytest.mark.parametrize("name", ["items.pkl", "items"])
def test_unknown_suffix_lists_the_known_ones(tmp_path, name):
    path = write(tmp_path, name, "")
    with pytest.raises(ValueError, match=rf"{name}' has suffix .*\.npy, \.npz, \.safetensors"):
        load_embeddings(path)


@pytest.mark.parametrize("option", ["id_column", "vector_columns"])
def test_columns_are_for_tables(tmp_path, option):
    path = tmp_path / "items.npy"
    np.save(path, VECTORS)
    with pytest.raises(ValueError, match=rf"{option}='x' is for tables; 'items\.npy'"):
        load_embeddings(path, **{option: "x"})


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"nonsense nonsense nonsense"])
def test_damaged_array_files(tmp_path, suffix, content):
    path = tmp_path / f"items{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"'items\{suffix}' is not a readable \{suffix} file"):
        load_embeddings(path)


def test_truncated_npy(tmp_path):
    path = tmp_path / "items.npy"
    np.save(path, np.ones((100, 8)))
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(ValueError, match="is not a readable"):
        load_embeddings(path)


def test_pickled_objects_are_not_read(tmp_path):
    path = tmp_path / "items.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"'items\.npy' is not a readable \.npy file"):
        load_embeddings(path)


@pytest.mark.parametrize(("wrong", "right"), [(".npy", ".npz"), (".npz", ".npy")])
def test_an_archive_under_the_other_suffix(tmp_path, wrong, right):
    path = tmp_path / f"items{right}"
    if right == ".npz":
        np.savez(path, embeddings=VECTORS)
    else:
        np.save(path, VECTORS)
    with pytest.raises(ValueError, match=rf"items\{wrong}"):
        load_embeddings(path.rename(tmp_path / f"items{wrong}"))


@pytest.mark.parametrize("shape", [(6,), (2, 3, 4), (0, 3), (3, 0)])
def test_shapes_that_are_no_table(tmp_path, shape):
    path = tmp_path / "items.npy"
    np.save(path, np.ones(shape))
    with pytest.raises(ValueError, match=re.escape(f"'items.npy' holds an array of shape {shape}")):
        load_embeddings(path)


def test_named_embeddings_of_a_wrong_shape(tmp_path):
    path = tmp_path / "items.npz"
    np.savez(path, embeddings=np.ones(4))
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        load_embeddings(path)


@pytest.mark.parametrize(
    "arrays", [{"b": VECTORS, "a": VECTORS}, {"b": np.arange(3), "a": np.ones((1, 1, 1))}]
)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_arrays_of_unclear_names(tmp_path, suffix, arrays):
    path = tmp_path / f"items{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    with pytest.raises(ValueError, match=r"holds \['a', 'b'\]; name the .* array 'embeddings'"):
        load_embeddings(path)


@pytest.mark.parametrize("ids", [np.arange(2), np.arange(6).reshape(3, 2)])
def test_ids_of_another_length(tmp_path, ids):
    path = tmp_path / "items.npz"
    np.savez(path, embeddings=VECTORS, item_ids=ids)
    with pytest.raises(ValueError, match=re.escape(f"3 item vectors but ids of shape {ids.shape}")):
        load_embeddings(path)


@pytest.mark.parametrize(
    ("ids", "count", "example"),
    [([7, 8, 7, 8, 7, 9], 2, "7"), (["a", "b", "c", "d", "d", "e"], 1, "'d'")],
)
def test_duplicate_ids(tmp_path, ids, count, example):
    rows = "".join(f"{name},{i},1\n" for i, name in enumerate(ids))
    path = write(tmp_path, "a.csv", "id,x,y\n" + rows)
    with pytest.raises(ValueError, match=rf"{count} item ids more than once.*{example}.*unique"):
        load_embeddings(path)


def test_text_that_is_not_utf_8(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("id,x,y\nMünchen,1,2\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"'a\.csv', line 2: column 'id' is not UTF-8 text"):
        load_embeddings(path)


def test_rows_of_another_length(tmp_path):
    path = write(tmp_path, "a.csv", "id,x,y\n1,2,3\n2,3\n3,4,5,6\n")
    with pytest.raises(ValueError, match=r"2 rows \(first: line 3\) without the header's 3 col"):
        load_embeddings(path)


def test_the_line_of_a_bad_row_counts_blank_lines(tmp_path):
    path = write(tmp_path, "a.csv", "id,x,y\n1,2,3\n\n\n2,3\n")
    with pytest.raises(ValueError, match=r"1 rows \(first: line 5\)"):
        load_embeddings(path)


@pytest.mark.parametrize("text", ["", "id,x,y\n", "id,x,y\n\n\n"])
def test_text_without_rows(tmp_path, text):
    with pytest.raises(ValueError, match=r"'a\.csv' has no row with the header's"):
        load_embeddings(write(tmp_path, "a.csv", text))


def test_a_quote_that_is_never_closed(tmp_path):
    rows = "".join(f"{i},0.5,0.5\n" for i in range(20_000))
    path = write(tmp_path, "a.csv", 'id,x,y\n1,"0.5,0.5\n' + rows)
    with pytest.raises(ValueError, match=r"a\.csv"):
        load_embeddings(path)


def test_two_columns_of_one_name(tmp_path):
    # Taken by name, one of them would be lost and the vectors be shorter than the file's.
    path = write(tmp_path, "a.csv", "id,x,y,x\n1,2,3,4\n2,5,6,7\n")
    with pytest.raises(ValueError, match=r"a\.csv.*x"):
        load_embeddings(path)


def test_no_such_id_column(tmp_path):
    path = write(tmp_path, "a.csv", "id,x,y\n1,2,3\n")
    with pytest.raises(ValueError, match=r"no column 'sku'\. It has 'id', 'x', 'y'"):
        load_embeddings(path, id_column="sku")


def test_no_such_vector_column(tmp_path):
    path = write(tmp_path, "a.csv", "id,x,y\n1,2,3\n")
    with pytest.raises(ValueError, match=r"no column like 'emb_\*'; it has 'id', 'x', 'y'"):
        load_embeddings(path, vector_columns="emb_*")


def test_two_list_columns(tmp_path):
    path = write(tmp_path, "a.tsv", "id\ta\tb\n1\t1,2\t3,4\n")
    with pytest.raises(ValueError, match=r"2 list columns \(a, b\); choose one by vector_columns"):
        load_embeddings(path)


@pytest.mark.parametrize("cell", ["1,2", "1,2,3,4", "1,x,3", "", "[1,2", "7"])
def test_lists_that_do_not_fit(tmp_path, cell):
    path = write(tmp_path, "a.tsv", f"id\tvec\n1\t1,2,3\n2\t4,5,6\n3\t{cell}\n4\t{cell}\n")
    with pytest.raises(
        ValueError, match=r"column 'vec': 2 rows \(first: row 2\) are not lists of 3 numbers"
    ):
        load_embeddings(path)


@pytest.mark.parametrize("cell", ["red", "", "1/2"])
def test_columns_that_are_not_numbers(tmp_path, cell):
    path = write(tmp_path, "a.csv", f"id,x,colour\n1,2,3\n2,3,{cell}\n")
    with pytest.raises(ValueError, match=r"not all of the columns x, colour are numbers.*vector_c"):
        load_embeddings(path)


def test_a_table_of_ids_alone(tmp_path):
    path = write(tmp_path, "a.csv", "item_id\n1\n2\n")
    with pytest.raises(ValueError, match=r"a\.csv"):
        load_embeddings(path)


def test_values_that_are_not_finite_are_left_to_the_catalogue(tmp_path):
    vectors, _ = load_embeddings(write(tmp_path, "a.csv", "id,x,y\n1,nan,1\n2,inf,0\n"))
    assert np.isnan(vectors[0, 0])
    assert np.isposinf(vectors[1, 0])


@pytest.mark.parametrize("cell", ["[1. 2. .5]", "(1, 2, 0.5)", "1;2;0.5", " [1,2, 5e-1] "])
def test_list_cells_as_numpy_and_others_write_them(tmp_path, cell):
    path = write(tmp_path, "a.tsv", f"id\tv\n1\t{cell}\n2\t{cell}\n")
    assert_loaded(load_embeddings(path), [[1, 2, 0.5]] * 2, ids=(1, 2))


def test_ids_that_only_look_like_integers_keep_their_text(tmp_path):
    path = write(tmp_path, "a.csv", "id,x,y\n007,3,4\n7,5,6\n1_0,7,8\n")
    assert load_embeddings(path)[1].tolist() == ["007", "7", "1_0"]


def test_a_table_of_ids_only(tmp_path):
    with pytest.raises(ValueError, match=r"a\.csv.*item ids only"):
        load_embeddings(write(tmp_path, "a.csv", "id\n1\n2\n"))
