from __future__ import annotations

import csv
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from recsim_drpo.cli import main
from recsim_drpo.serving.readers import open_contexts
from recsim_drpo.serving.recommender import load_recommender


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_pieces_are_the_table_in_order(service, tmp_path, suffix):
    pytest.importorskip("pyarrow")
    contexts = np.random.default_rng(0).uniform(-1, 1, (25, service.DIM)).astype(np.float32)
    path = service.write_contexts(tmp_path / f"in{suffix}", contexts)
    with open_contexts(path, service.DIM, rows=7) as table:
        pieces = list(table.pieces)
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
WHOLE, STRING, NONE = ROW % ("1", "0"), '"2"', "no finite number"
LISTED, TAKES = f"context: {NONE}", "; the policy takes 4"


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("c.csv", "", {}, "'c.csv' has no header line"),
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
        ("c.csv", b"context\n\xff\xfe", {}, "line 2: column 'context' is not UTF-8"),
        ("c.jsonl", "", {}, "'c.jsonl' has no rows"),
        ("c.jsonl", "[1, 2]", {}, "line 1: not an object"),
        (
            "c.jsonl",
            '{"context": [1, 2, 3, 4], "u": 1}\n{"context": [1, 2, 3, 4], "u": "1"}',
            {"id_column": "u"},
            "line 2: the id u='1' is of type str, and the first is of type int",
        ),
        ("c.jsonl", '{"context": [1, 2, 3, 4], "u": 0.5}', {"id_column": "u"}, "of type float"),
        ("c.parquet", b"PAR1 cut off", {}, "'c.parquet' is not a readable Parquet file"),
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
        ("c.csv", f"{HEADER}\n{GOOD}\n\n1,2,3\n", (4, "3 cells; the header has 4", "1,2,3")),
        ("c.csv", f"{HEADER}\n{GOOD}\n1,2,nan,4", (3, f"context_2: {NONE}", "'nan'")),
        ("c.csv", f"{HEADER}\n{GOOD}\n1,2,,4", (3, f"context_2: {NONE}", "''")),
        ("c.csv", f"{HEADER}\n{GOOD}\n1,2,3,x", (3, f"context_3: {NONE}", "'x'")),
        ("c.csv", f"{HEADER}\n{GOOD}\n1,2,1e39,x", (3, f"context_2: {NONE}", "'1e39'")),
        ("c.csv", "context\n[1 2 3 4]\n[1 2]", (3, f"context: 2 numbers{TAKES}", "'[1 2]'")),
        ("c.csv", "context\n[1 2 3 4]\nabc", (3, "context: no list of numbers", "'abc'")),
        ("c.jsonl", f'{LIST}\n{{"context": [1, 2, NaN, 4]}}', (2, LISTED, "[1, 2, nan, 4]")),
        ("c.jsonl", f'{LIST}\n{{"contxt": 1}}', (2, "context: no list of numbers", "None")),
        ("c.jsonl", f'{LIST}\n[1]', (2, "not an object of named values", "[1]")),
        ("c.jsonl", f"{WHOLE}\n{ROW % ('true', '0')}", (2, f"context_0: {NONE}", "True")),
        ("c.jsonl", f"{WHOLE}\n{ROW % ('1', STRING)}", (2, f"context_1: {NONE}", "'2'")),
        ("c.jsonl", f"{WHOLE}\n{ROW % ('1', 'null')}", (2, f"context_1: {NONE}", "None")),
        ("c.jsonl", f'{{"u": "a", {LIST[1:]}\n{{"u": null, {LIST[1:]}', (2, "u: missing", "")),
    ],
)  # fmt: skip
def test_a_row_that_is_no_context_is_refused_and_the_rest_goes_on(
    run, service, tmp_path, name, content, refused
):
    path = tmp_path / name
    path.write_text(content)
    ids = "u" if '"u"' in content else None
    with open_contexts(path, service.DIM, id_column=ids) as table:
        (piece,) = table.pieces
    assert piece.refused == [refused]
    assert piece.ids == (["a"] if ids else [0])
    load_recommender(run).recommend(path, tmp_path / "out.csv", k=1, id_column=ids)
    assert len(service.read_results(tmp_path / "out.csv")) == 1
    good, header = content.split("\n"), name == "c.csv"
    path.write_text("\n".join([*good[:header], *good[header + 1 :]]))  # the faulty one alone
    (tmp_path / "out.csv.refused.csv").unlink()
    (tmp_path / "out.csv").unlink()
    alone = "Not one of 1 rows is a context; the first|line 1: not an obj|has no column 'context"
    with pytest.raises(ValueError, match=alone):
        load_recommender(run).recommend(path, tmp_path / "out.csv", k=1, id_column=ids)
    assert [file.name for file in tmp_path.iterdir() if "out" in file.name] == []
