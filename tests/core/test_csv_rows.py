"""Rows of CSV against the grammar read sign by sign, and the two readers against each other."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given, settings, strategies as st

from recsim_drpo.core.csv_rows import CsvRows
from recsim_drpo.core.tables import open_table

NAMES = ["a", "b"]


def read_row(text, at, escape):
    """The cells of the row at a place and where it ends; no cells where it is damaged."""
    cells = []
    while True:
        cell, quoted = "", text[at : at + 1] == '"'
        at += quoted
        while at < len(text):
            sign = text[at]
            if sign == escape != '"' and at + 1 < len(text):
                cell, at = cell + text[at + 1], at + 2
            elif quoted and sign == '"':
                if text[at + 1 : at + 2] != '"':
                    break
                cell, at = cell + '"', at + 2
            elif not quoted and sign in ",\n":
                break
            else:
                cell, at = cell + sign, at + 1
        if quoted:
            at += 1
            if at > len(text) or text[at : at + 1] not in ("", ",", "\n"):
                return None, at
        cells.append(cell)
        if text[at : at + 1] != ",":
            return cells, at + 1
        at += 1


def read_rows(text, escape):
    """Rows of two cells, and the numbers, from 1, of the others among all that are not blank."""
    rows, bad, at, number = [], [], 0, 0
    while at < len(text):
        if text[at] == "\n":
            at += 1
            continue
        number += 1
        cells, end = read_row(text, at, escape)
        if cells is None:
            line_end = text.find("\n", at)
            at = len(text) if line_end < 0 else line_end + 1
        else:
            at = end
        if cells is not None and len(cells) == 2:
            rows.append(cells)
        else:
            bad.append(number)
    return rows, bad


# Beside one another these signs are likelier to mean something than letters drawn at random.
TEXTS = st.lists(
    st.sampled_from(["x", ",", '"', '""', "\n", "\\", '\\"', '","', '"\n"']), max_size=30
)


def read_by_csv(text, escape, block_bytes):
    rows, bad, number = [], [], 0
    with open_table(io.BytesIO(f"a,b\n{text}".encode()), "csv", "t", escape=escape) as table:
        for block in table.blocks(NAMES, 3):
            lists = block.lists()
            rows += map(list, zip(lists["a"], lists["b"], strict=True))
            places = [(line, True) for line in block.rows] + [
                (m[0], False) for m in block.malformed
            ]
            for _, good in sorted(places):
                number += 1
                bad += [] if good else [number]
    return rows, bad


def read_by_pyarrow(text, escape, block_bytes, path):
    from recsim_drpo.datasets.importing.table import open_log_table

    path.write_text(f"a,b\n{text}")
    table = open_log_table(path, escape=escape, block_bytes=block_bytes)
    rows, bad = [], []
    for block in table.blocks(NAMES):
        lists = [[cell or "" for cell in block.cells[name].to_pylist()] for name in NAMES]
        rows += map(list, zip(*lists, strict=True))
        bad += [number for number, *_ in block.malformed]
    return rows, bad


@pytest.mark.parametrize("escape", ['"', "\\"])
@settings(deadline=None)  # it reads files
@given(parts=TEXTS, block_bytes=st.integers(1, 9))
@example(parts=['"x\\""', ",", "x", "\n", "x", ",", '"x"', "\n"], block_bytes=4)
def test_both_readers_read_what_the_grammar_says(tmp_path_factory, escape, parts, block_bytes):
    text = "".join(parts)
    if escape == "\\" and text.endswith("\\"):
        text += "x"  # an escape before the end of the file escapes nothing
    expected = read_rows(text, escape)
    assert read_by_csv(text, escape, block_bytes) == expected
    pytest.importorskip("pyarrow")
    path = tmp_path_factory.getbasetemp() / "t.csv"
    assert read_by_pyarrow(text, escape, block_bytes, path) == expected


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@settings(deadline=None)
@given(
    cells=st.lists(st.tuples(st.text("a,;|\t\"\n\\'é"), st.text('a"\n')), max_size=9),
    block_bytes=st.integers(1, 20),
)
def test_what_a_writer_quotes_comes_back_in_whole_rows(delimiter, cells, block_bytes):
    import csv

    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([NAMES, *cells])
    rows = CsvRows(
        io.BytesIO(file.getvalue().encode()).read, "t", escape='"', block_bytes=block_bytes
    )
    blocks = list(rows)
    assert (rows.delimiter, rows.columns, rows.faults) == (delimiter, NAMES, {})
    read = [
        csv.reader(io.StringIO(block.decode(), newline=""), delimiter=delimiter) for block in blocks
    ]
    assert [tuple(row) for reader in read for row in reader] == cells


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_every_line_break_ends_a_row(line_break):
    text = line_break.join(["a,b", '1,"2"', '"3" x,4', "5,6"])
    with open_table(io.BytesIO(text.encode()), "csv", "t") as table:
        (block,) = table.blocks(NAMES, 9)
    assert block.lists() == {"a": ["1", "5"], "b": ["2", "6"]}
    assert block.rows.tolist() == [2, 4]
    assert block.malformed == [(3, "text after a closing quote", 'line 3: "3" x,4')]


def test_what_is_one_row_or_two_by_the_dialect_is_refused():
    text = b'a,b\n"15\\"",x\n16",y\n'
    faults = {}
    for escape in (None, '"', "\\"):
        with open_table(io.BytesIO(text), "csv", "t", escape=escape) as table:
            (block,) = table.blocks(NAMES, 9)
        faults[escape] = (block.lists()["a"], [line for line, *_ in block.malformed])
    assert faults == {
        None: (['16"'], [2]),
        '"': (['15\\",x\n16'], []),
        "\\": (['15"', '16"'], []),
    }


@pytest.mark.parametrize("escape", ["", "ab", "a", "é", "\n"])
def test_a_sign_that_cannot_escape_is_refused(escape):
    with pytest.raises(ValueError, match="is not one sign such as a backslash"):
        CsvRows(io.BytesIO(b"").read, "t", escape=escape)


def test_faults_have_the_numbers_of_their_lines_in_every_block():
    sound = [b"1,2", b'"1\n",2', b'1,x"', b""]
    bad = [b'1,"x', b'"1"x,2']
    lines, expected, number = [], [], 2
    for row in range(3_000):
        text = (bad if row % 3 == 0 else sound)[row % 2]
        expected += [number] if row % 3 == 0 else []
        lines.append(text)
        number += 1 + text.count(b"\n")
    rows = CsvRows(io.BytesIO(b"a,b\n" + b"\n".join(lines)).read, "t", block_bytes=500)
    assert len(list(rows)) > 20
    found = [int(fault.text.split(":")[0].removeprefix("line ")) for fault in rows.faults.values()]
    assert found == expected
    with open_table(io.BytesIO(b"a,b\n" + b"\n".join(lines)), "csv", "t") as table:
        malformed = [fault for block in table.blocks(NAMES, 100) for fault in block.malformed]
    assert [line for line, *_ in malformed] == expected
    assert all(text.startswith(f"line {line}: ") for line, _, text in malformed)
