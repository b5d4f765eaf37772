"""Every format gives the same rows, in blocks, with their places; what is no table is refused."""

from __future__ import annotations

import io
import sys
import tracemalloc

import numpy as np
import pytest

from recsim_drpo.core.tables import open_table, reading

NAMES = ["a", "b"]


def write(path, rows):
    columns = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(sys.modules["pyarrow"].table(columns), path, row_group_size=4)
    else:
        path.write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in rows))
    return path


def read(source, format, columns=("b",), size=3, **options):
    with open_table(source, format, "t", **options) as table:
        blocks = [(block, block.lists()) for block in table.blocks(columns, size)]
    return table, blocks


@pytest.mark.parametrize(("format", "first", "cell"), [("csv", 2, str), ("parquet", 0, int)])
def test_blocks_are_the_rows_in_order_with_their_places(tmp_path, format, first, cell):
    path = write(tmp_path / f"t.{format}", [(i, 10 * i) for i in range(10)])
    table, blocks = read(path, format)
    assert table.columns == NAMES
    assert table.num_rows == (10 if format == "parquet" else None)
    assert all(0 < len(block.rows) <= 3 and not block.malformed for block, _ in blocks)
    assert [number for block, _ in blocks for number in block.rows] == list(
        range(first, first + 10)
    )
    assert [value for _, lists in blocks for value in lists["b"]] == [
        cell(10 * i) for i in range(10)
    ]
    assert all(set(lists) == {"b"} for _, lists in blocks)


def test_rows_of_another_length_are_told_and_left_out():
    text = b'a,b\n1,2\n3\n\n"4\n5",6\n7,8,9\n'
    _, blocks = read(io.BytesIO(text), "csv", NAMES)
    ((block, lists),) = blocks[:1]
    assert lists == {"a": ["1", "4\n5"], "b": ["2", "6"]}
    assert block.rows.tolist() == [2, 6]  # a row stands where it ends
    assert block.malformed == [(3, "1 cells; the header has 2", "3")]
    assert blocks[1][0].malformed == [(7, "3 cells; the header has 2", "7,8,9")]


def test_a_stream_stays_open_and_a_table_without_a_header_has_no_columns():
    stream = io.BytesIO(b"")
    table, blocks = read(stream, "csv", ())
    assert (table.columns, blocks, stream.closed) == ([], [], False)


def test_dictionaries_are_decoded(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    column = arrow.array(["x", "y", "x"]).dictionary_encode()
    parquet.write_table(arrow.table({"b": column}), tmp_path / "t.parquet")
    _, [(block, lists)] = read(tmp_path / "t.parquet", "parquet")
    assert block.cells["b"].type == arrow.string()
    assert lists == {"b": ["x", "y", "x"]}


@pytest.mark.parametrize(
    ("format", "content", "message"),
    [
        ("csv", b"a,\xff\n1,2\n", "'t' is not a readable text table .*utf-8"),
        ("csv", b"a,b\n1,2\n1,\xff\n", "'t', line 3: column 'b' is not UTF-8 text.* iconv -f"),
        ("csv", b"a,b\n1," + b"2" * 2**24, "'t', line 2: it has more than 16 MiB"),
        ("csv", b"2" * 2**24, "'t', line 1: it has more than 16 MiB"),
        ("parquet", b"PAR1 cut off", "'t' is not a readable Parquet file"),
    ],
)
def test_what_is_no_table_is_one_clear_error(tmp_path, format, content, message):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "t", format)


def test_the_error_for_what_cannot_be_read_can_be_chosen():
    def error(name, format, cause):
        return ValueError(f"{name}: no {format}, {type(cause).__name__}")

    with pytest.raises(ValueError, match="t: no text table, UnicodeDecodeError"):
        read(io.BytesIO(b"a,\xff\n"), "csv", NAMES, unreadable=error)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r'Parquet needs pyarrow: pip install "recsim-drpo\[parq'):
        read(tmp_path / "t", "parquet")


def test_memory_does_not_grow_with_the_table(tmp_path):
    peaks = []
    for count in (2_000, 12_000):
        path = write(tmp_path / f"{count}.csv", np.arange(2 * count).reshape(-1, 2).tolist())
        with open_table(path, "csv", "t") as table:
            tracemalloc.start()
            assert sum(len(block.rows) for block in table.blocks(NAMES, 500)) == count
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]  # and not six times as much


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("malloc of size 9 failed"),
        SystemError("returned NULL\nwithout an exception"),
        RecursionError("too deep"),
        OverflowError("too large"),
        KeyError("key"),
        TypeError("no such type"),
        OSError("Unexpected end\n\n of stream"),
    ],
)
def test_whatever_a_reader_raises_becomes_one_line(error):
    with (
        pytest.raises(ValueError, match=r"'t' is not a readable table \(.+\)\.") as refused,
        reading("t", "table"),
    ):
        raise error
    assert len(str(refused.value).splitlines()) == 1
