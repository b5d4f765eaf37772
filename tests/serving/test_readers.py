from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recsim_drpo.cli import main
from recsim_drpo.serving.readers import open_contexts
from recsim_drpo.serving.recommender import load_recommender


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_pieces_are_the_table_in_order(service, tmp_path, suffix):
    pytest.importorskip("pyarrow")
    contexts = np.random.default_rng(0).uniform(-1, 1, (25, service.DIM)).astype(np.float32)
    path = service.write_contexts(tmp_path / f"in{suffix}", contexts)
    pieces = list(open_contexts(path, service.DIM, rows=7).pieces)
    assert [len(piece.ids) for piece in pieces] == [7, 7, 7, 4]
    assert [number for piece in pieces for number in piece.ids] == list(range(25))
    np.testing.assert_array_equal(np.concatenate([piece.contexts for piece in pieces]), contexts)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_list_columns_named_columns_and_text_ids(service, run, contexts, tmp_path, suffix):
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    recommender = load_recommender(run)
    ids = [f"u{i}" for i in range(25)]
    lists, mixed = tmp_path / f"lists{suffix}", tmp_path / f"mixed{suffix}"
    shuffled = {f"x{i}": contexts[:, i].tolist() for i in (2, 0, 3, 1)}
    if suffix == ".parquet":
        columns = {"name": ids, "context": contexts.tolist()}
        arrow.parquet.write_table(arrow.table(columns), lists)
        arrow.parquet.write_table(arrow.table({"other": ids} | shuffled), mixed)
    elif suffix == ".jsonl":
        rows = [{"name": n, "context": c} for n, c in zip(ids, contexts.tolist(), strict=True)]
        lists.write_text("\n".join(map(json.dumps, rows)))
        rows = [{n: shuffled[n][i] for n in shuffled} | {"other": "?"} for i in range(25)]
        mixed.write_text("\n\n".join(map(json.dumps, rows)))
    else:
        rows = [f'{n};"{c}"' for n, c in zip(ids, contexts.tolist(), strict=True)]
        lists.write_text("\ufeff" + "\n".join(["name;context", *rows]), encoding="utf-8")
        rows = ["\t".join(str(shuffled[n][i]) for n in shuffled) + "\t?" for i in range(25)]
        mixed.write_text("\n".join(["\t".join(shuffled) + "\tother", *rows, "", ""]))
    recommender.recommend(lists, tmp_path / "a.csv", k=2, id_column="name")
    recommender.recommend(mixed, tmp_path / "b.csv", k=2, columns=["x0", "x1", "x2", "x3"])
    a = service.plain(service.read_results(tmp_path / "a.csv"), "name")
    b = service.plain(service.read_results(tmp_path / "b.csv"), "row")
    assert [row[1:] for row in a] == [row[1:] for row in b]
    assert [row[0] for row in a[::2]] == ids
    # A pattern takes the table's order, which is another input to the policy.
    recommender.recommend(mixed, tmp_path / "c.csv", k=2, columns=["x*"])
    order = recommender.top(contexts[:, [2, 0, 3, 1]], 2)[1].flatten().tolist()
    assert [int(r["item_id"]) for r in service.read_results(tmp_path / "c.csv")] == order


def packed(service, folder, contexts):
    """The contexts in parts, in every way in which logs come."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parts = np.array_split(contexts, 5)
    folder.mkdir()
    text = service.write_contexts(folder / "1.csv", parts[0]).read_bytes()
    (folder / "1.csv").unlink()
    (folder / "1.csv.gz").write_bytes(gzip.compress(text))
    lines = service.write_contexts(folder / "2.jsonl", parts[1]).read_bytes()
    (folder / "2.jsonl").unlink()
    with arrow.CompressedOutputStream(str(folder / "2.jsonl.zst"), "zstd") as file:
        file.write(lines)
    table = arrow.table(dict(zip(service.NAMES, parts[2].T, strict=True)))
    (folder / "3" / "day=1").mkdir(parents=True)
    parquet.write_table(table, folder / "3" / "day=1" / "part.parquet")
    with arrow.ipc.new_file(str(folder / "4.arrow"), table.schema) as writer:
        writer.write_table(arrow.table(dict(zip(service.NAMES, parts[3].T, strict=True))))
    return arrow.table(dict(zip(service.NAMES, parts[4].T, strict=True)))


def test_contexts_come_in_all_the_ways_of_logs(service, run, contexts, tmp_path):
    table = packed(service, tmp_path / "in", contexts)
    recommender = load_recommender(run)
    expected = recommender.top(contexts, 2)[1].flatten().tolist()
    names = ["1.csv.gz", "2.jsonl.zst", "3", "4.arrow"]
    logs = [[tmp_path / "in" / name for name in names], [tmp_path / "in"], [f"{tmp_path}/in/*"]]
    for number, log in enumerate(logs):
        out = tmp_path / f"{number}.csv"
        for more in ([table], [table.to_reader(3)]):
            assert recommender.recommend([*log, *more], out, k=2) == 25
            rows = service.read_results(out)
            assert [int(row["item_id"]) for row in rows] == expected
            assert [int(row["row"]) for row in rows[::2]] == list(range(25))
            out.unlink()
    words = ["--contexts", *(str(name) for name in logs[0]), "--out", str(tmp_path / "cli.csv")]
    assert main(["recommend", str(run), "-k", "2", *words]) == 0
    rows = service.read_results(tmp_path / "cli.csv")
    assert [int(row["item_id"]) for row in rows] == expected[: len(rows)]
    assert len(rows) == 2 * 20


def test_a_refused_row_of_several_files_is_listed_with_its_own(service, run, contexts, tmp_path):
    service.write_contexts(tmp_path / "a.csv", contexts[:3])
    (tmp_path / "b.csv").write_text(f"{service.HEADER}\n{service.ROW}\n1,2,x,4\n{service.ROW}\n")
    recommender = load_recommender(run)
    for rows in (1, 2, 100):  # in pieces of whatever size
        pieces = list(open_contexts([tmp_path / "a.csv", tmp_path / "b.csv"], 4, rows=rows).pieces)
        assert [number for piece in pieces for number in piece.ids] == [0, 1, 2, 3, 5]
        (refused,) = [piece for piece in pieces if piece.refused]
        assert (refused.file, refused.refused[0][0]) == ("b.csv", 2)
    recommender.recommend([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "out.csv", k=1)
    with (tmp_path / "out.csv.refused.csv").open(newline="") as file:
        listed = list(csv.reader(file))
    assert listed[1:] == [["b.csv", "2", "context_2: no finite number", "x"]]


@settings(max_examples=50, deadline=None)
@given(good=st.lists(st.booleans(), min_size=1, max_size=30), size=st.integers(1, 12))
def test_contexts_are_numbered_as_in_the_file_in_pieces_of_any_size(good, size):
    pytest.importorskip("pyarrow")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c.csv")
        path.write_text("\n".join([HEADER, *(GOOD if one else "1,2" for one in good)]) + "\n")
        pieces = []
        with contextlib.suppress(ValueError):  # not one of them is a context
            for piece in open_contexts(path, 4, rows=size).pieces:
                pieces.append(piece)
    assert all(len(piece.ids) <= size for piece in pieces)
    assert [i for piece in pieces for i in piece.ids] == list(np.flatnonzero(good))
    bad = [row for piece in pieces for row, *_ in piece.refused]
    assert bad == list(np.flatnonzero(~np.array(good)) + 1)


def stream(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def test_streams(service, run, contexts, tmp_path, monkeypatch, capsys):
    path = service.write_contexts(tmp_path / "in.csv", contexts)
    assert main(["recommend", str(run), "--contexts", str(path), "-k", "2"]) == 0
    printed = capsys.readouterr().out
    stream(monkeypatch, path.read_bytes())
    assert main(["recommend", str(run), "-k", "2"]) == 0
    assert capsys.readouterr().out == printed
    assert not sys.stdin.buffer.closed
    lines = service.write_contexts(tmp_path / "in.jsonl", contexts).read_bytes()
    stream(monkeypatch, lines)
    options = ["--input-format", "jsonl", "--output-format", "jsonl"]
    assert main(["recommend", str(run), "-k", "2", *options]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert service.plain(rows, "row") == service.plain(
        list(csv.DictReader(io.StringIO(printed))), "row"
    )


NAMES = [f"context_{i}" for i in range(4)]
HEADER = ",".join(NAMES)
GOOD = "0.1,0.2,0.3,0.4"
ROW = '{"context_0": %s, "context_1": %s, "context_2": 0, "context_3": 0}'
LIST = '{"context": [1, 2, 3, 4]}'
WHOLE, STRING, NONE = ROW % ("1", "0"), '"two"', "no finite number"
LISTED, TAKES = f"context: {NONE}", "; the policy takes 4"


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("c.csv", "", {}, "'c.csv' is empty"),
        ("c.csv", HEADER, {}, "'c.csv' has no rows"),
        ("c.csv", HEADER.replace("t_1", "_1") + f"\n{GOOD}", {}, "Did you mean 'contex_1'"),
        ("c.csv", f"a,b,c,d\n{GOOD}", {}, "column 'context_0' (4 are missing). It has 'a', 'b'"),
        ("c.csv", f"{HEADER},context_4\n{GOOD},1", {}, "a column 'context_4'; the policy takes 4"),
        ("c.csv", f"{HEADER}\n{GOOD}", {"columns": NAMES[:3]}, "3 columns are named"),
        ("c.csv", f"{HEADER}\n{GOOD}", {"columns": [*NAMES[:3], "contxt_3"]}, "mean 'context_3'"),
        ("c.csv", f"{HEADER}\n{GOOD}", {"columns": NAMES[:3] * 2}, "6 columns are named"),
        ("c.csv", f"{HEADER}\n{GOOD}", {"id_column": "user"}, "no column 'user'"),
        ("c.csv", f"{HEADER},score\n{GOOD},1", {"id_column": "score"}, "cannot be called 'score'"),
        ("c.csv", f"{HEADER},context_0\n{GOOD},1", {}, "more than one column called context_0"),
        ("c.csv", b"context\n\xff\xfe", {}, "row 1: column 'context' is not UTF-8"),
        ("c.jsonl", "", {}, "'c.jsonl' is empty"),
        ("c.jsonl", "[1, 2]", {}, "has no object of named cells (not an object"),
        (
            "c.jsonl",
            '{"context": [1, 2, 3, 4], "u": 1}\n' * 10_000 + '{"context": [1, 2, 3, 4], "u": "1"}',
            {"id_column": "u"},
            "row 10001: the id u='1' is of type str, and the first is of type int",
        ),
        ("c.jsonl", '{"context": [1, 2, 3, 4], "u": 0.5}', {"id_column": "u"}, "of type float"),
        ("c.parquet", b"PAR1 cut off", {}, "'c.parquet' is cut off, damaged or no .parquet file"),
        ("c.xlsx", "", {}, "'c.xlsx' has suffix '.xlsx'; known: .csv"),
        ("c.csv", f"{HEADER}\n{GOOD}", {"input_format": "cvs"}, "Did you mean 'csv'"),
        ("c.csv", f"{HEADER}\n{GOOD}", {"output_format": "xml"}, "Unknown --output-format 'xml'"),
        ("c.csv", f"{HEADER}\n{GOOD}", {"k": 61}, "k=61 is not an integer from 1 to 60"),
        ("c.csv", f"{HEADER}\n{GOOD}", {"k": 0}, "k=0 is not"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_error_and_nothing_is_left(
    run, tmp_path, name, content, options, message
):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared below
        load_recommender(run).recommend(path, tmp_path / "out.csv", **{"k": 2, **options})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "content", "refused"),
    [
        ("c.csv", f"{HEADER}\n{GOOD}\n\n1,2,3\n", (2, "3 cells where 4 are due", "1,2,3")),
        ("c.csv", f"{HEADER}\n{GOOD}\n1,2,nan,4", (2, "context_2: missing", "nan")),
        ("c.csv", f"{HEADER}\n{GOOD}\n1,2,,4", (2, "context_2: missing", "")),
        ("c.csv", f"{HEADER}\n{GOOD}\n1,2,3,x", (2, f"context_3: {NONE}", "x")),
        ("c.csv", f"{HEADER}\n{GOOD}\n1,2,1e39,x", (2, f"context_2: {NONE}", "1e39")),
        ("c.csv", "context\n[1 2 3 4]\n[1 2]", (2, f"context: 2 numbers{TAKES}", "[1 2]")),
        ("c.csv", "context\n[1 2 3 4]\nabc", (2, "context: no list of numbers", "abc")),
        ("c.jsonl", f'{LIST}\n{{"context": [1, 2, NaN, 4]}}', (2, LISTED, "[1.0, 2.0, nan, 4.0]")),
        ("c.jsonl", f'{LIST}\n{{"contxt": 1}}', (2, "context: no list of numbers", "")),
        ("c.jsonl", f'{LIST}\n[1]', (2, "not an object of named cells", "[1]")),
        ("c.jsonl", f"{WHOLE}\n{ROW % ('1', STRING)}", (2, f"context_1: {NONE}", "two")),
        ("c.jsonl", f"{WHOLE}\n{ROW % ('1', 'null')}", (2, "context_1: missing", "")),
        ("c.jsonl", f'{{"u": "a", {LIST[1:]}\n{{"u": null, {LIST[1:]}', (2, "u: missing", "")),
    ],
)  # fmt: skip
def test_a_row_that_is_no_context_is_refused_and_the_rest_goes_on(
    run, service, tmp_path, name, content, refused
):
    path = tmp_path / name
    path.write_text(content)
    ids = "u" if '"u"' in content else None
    (piece,) = open_contexts(path, service.DIM, id_column=ids).pieces
    assert piece.refused == [refused]
    assert piece.ids == (["a"] if ids else [0])
    load_recommender(run).recommend(path, tmp_path / "out.csv", k=1, id_column=ids)
    assert len(service.read_results(tmp_path / "out.csv")) == 1
    good, header = content.split("\n"), name == "c.csv"
    path.write_text("\n".join([*good[:header], *good[header + 1 :]]))  # the faulty one alone
    (tmp_path / "out.csv.refused.csv").unlink()
    (tmp_path / "out.csv").unlink()
    alone = "Not one of 1 rows is a context; the first|no object of named|has no column 'context"
    with pytest.raises(ValueError, match=alone):
        load_recommender(run).recommend(path, tmp_path / "out.csv", k=1, id_column=ids)
    assert [file.name for file in tmp_path.iterdir() if "out" in file.name] == []
