from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from recsim_drpo.cli import main
from recsim_drpo.core.files import STAGING
from recsim_drpo.serving.recommender import Recommender, load_recommender


@pytest.mark.parametrize("source", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("target", [".csv", ".jsonl", ".parquet"])
def test_formats_agree(service, run, contexts, tmp_path, source, target):
    pytest.importorskip("pyarrow")
    recommender = load_recommender(run)
    ids = [100 + i for i in range(len(contexts))]
    path = service.write_contexts(tmp_path / f"in{source}", contexts, ids)
    out = tmp_path / "new" / f"out{target}"
    assert recommender.recommend(path, out, k=3, id_column="user") == 25
    scores, rows = recommender.top(contexts, 3)
    expected = [
        (str(ids[i]), rank + 1, str(rows[i, rank].item()), scores[i, rank].item())
        for i in range(25)
        for rank in range(3)
    ]
    found = service.read_results(out)
    assert service.plain(found, "user") == expected
    assert list(found[0]) == ["user", "rank", "item_id", "score"]
    if target != ".csv" and source != ".csv":  # in which everything is text
        assert [type(value) for value in found[0].values()] == [int, int, int, float]
    assert list((tmp_path / "new").iterdir()) == [out]


def test_an_interrupt_or_a_late_fault_leaves_nothing(service, run, tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "in.csv", tmp_path / "out" / "o.csv"
    path.write_bytes(
        (service.HEADER + "\n" + f"{service.ROW}\n" * 140_000).encode()
        + b"\xff"
        + service.ROW.encode()
        + b"\n"
    )
    command = ["recommend", str(run), "--contexts", str(path), "--out", str(out), "-k", "2"]
    assert main(command) == 2
    assert not out.parent.exists()
    assert main(command[:4] + command[6:]) == 2  # on a stream the blocks before the fault are out
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 2 * ((2**21 - len(service.HEADER) - 1) // (len(service.ROW) + 1))
    top, files = Recommender.top, []

    def interrupted(self, contexts, k):
        files.append(list(out.parent.iterdir()))
        if len(files) == 3:
            raise KeyboardInterrupt
        return top(self, contexts, k)

    monkeypatch.setattr(Recommender, "top", interrupted)
    assert main(command) == 130
    assert files == [[out.parent / STAGING]] * 3
    assert not out.parent.exists()


@pytest.mark.slow
def test_a_kill_leaves_no_half_written_result(service, run, contexts, tmp_path):
    path, out = tmp_path / "in.csv", tmp_path / "out" / "o.csv"
    path.write_text(service.HEADER + "\n" + f"{service.ROW}\n" * 1_000_000)
    words = ["recommend", str(run), "--contexts", str(path), "--out", str(out)]
    with subprocess.Popen([sys.executable, "-m", "recsim_drpo.cli", *words]) as process:
        partial = out.parent / STAGING / "o.csv.partial"
        end = time.monotonic() + 120
        while not (partial.exists() and partial.stat().st_size) and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert partial.stat().st_size
    assert not out.exists()
    path = service.write_contexts(tmp_path / "in.csv", contexts)
    load_recommender(run).recommend(path, out, k=2)
    assert len(out.read_text().splitlines()) == 51
    assert list(out.parent.iterdir()) == [out]


def test_no_cell_is_a_formula_where_that_is_asked(service, run, contexts, tmp_path, capsys):
    formula = "=HYPERLINK(A1)"
    path = service.write_contexts(tmp_path / "in.csv", contexts[:2], [formula, "-7"])
    with path.open("a") as file:
        file.write("=2+3\n")
    command = ["recommend", str(run), "--contexts", str(path), "-k", "1", "--id-column", "user"]
    plain, safe = tmp_path / "plain.csv", tmp_path / "safe.csv"
    assert main([*command, "--out", str(plain)]) == 0
    assert main([*command, "--out", str(safe), "--excel-safe"]) == 0
    before, after = service.read_results(plain), service.read_results(safe)
    assert [row["user"] for row in before] == [formula, "-7"]
    assert [row["user"] for row in after] == [f"'{formula}", "-7"]
    assert [row["score"] for row in after] == [row["score"] for row in before]
    assert ",=2+3\n" in (tmp_path / "plain.csv.refused.csv").read_text()
    assert ",'=2+3\n" in (tmp_path / "safe.csv.refused.csv").read_text()
    capsys.readouterr()
    assert main([*command, "--out", str(tmp_path / "o.jsonl"), "--excel-safe"]) == 2
    assert "--excel-safe) is about CSV" in capsys.readouterr().err
