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
        (service.HEADER + "\n" + f"{service.ROW}\n" * 13_000).encode()
        + b"\xff"
        + service.ROW.encode()
        + b"\n"
    )
    command = ["recommend", str(run), "--contexts", str(path), "--out", str(out), "-k", "2"]
    assert main(command) == 2
    assert not out.parent.exists()
    assert main(command[:4] + command[6:]) == 2  # on a stream the pieces before the fault are out
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2 * 3 * 4096
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


def test_a_kill_leaves_no_half_written_result(service, run, contexts, tmp_path):
    out = tmp_path / "out" / "o.csv"
    command = [
        sys.executable,
        "-m",
        "recsim_drpo.cli",
        "recommend",
        str(run),
        "--out",
        str(out),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        process.stdin.write((service.HEADER + "\n" + f"{service.ROW}\n" * 9_000).encode())
        process.stdin.flush()  # and it waits for more
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
