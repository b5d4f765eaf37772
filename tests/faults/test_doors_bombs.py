"""Small files that are huge once they are unpacked: memory is bounded, or one line refuses them."""

from __future__ import annotations

import gzip
import io
import resource

import pytest

pyarrow = pytest.importorskip("pyarrow")

from pyarrow import parquet  # noqa: E402

from tests.faults.doors import Case, check, commands, outcomes  # noqa: E402
from tests.faults.samples import CONTEXTS, IMPORT, ITEMS, ROWS, written  # noqa: E402
from tests.serving.conftest import Service  # noqa: E402

pytestmark = pytest.mark.faults

MEMORY = 2**30
"""How much memory a command may add to what it has at its start."""


def packed(data, suffix, times):
    """Data so many times, packed, without being anywhere at once."""
    if suffix == ".gz":
        return gzip.compress(data, mtime=0) * times
    return pyarrow.compress(data, codec="zstd", asbytes=True) * times


def parquet_of(rows, text):
    """Parquet of a few kilobytes with so many rows that all have one long text."""
    column = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0], pyarrow.int32()).take(pyarrow.array([0] * rows)), [text]
    )
    one = {name: [value] * rows for name, value in ROWS[0].items() if name != "device"}
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table(one | {"device": column}), sink, compression="zstd")
    return sink.getvalue()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_what_is_packed_and_has_no_end(tmp_path, suffix):
    scene = tmp_path / "scene"
    scene.mkdir()
    header = written(ROWS, ".csv").split(b"\n")[0] + b"\n"
    endless = packed(b"\0" * 2**26, suffix, 64)
    logs = {
        "log.csv": endless,
        "rows.csv": packed(header, suffix, 1) + endless,
        "quoted.csv": packed(header + b'1,"', suffix, 1) + endless,
        "log.jsonl": endless,
        "log.vw": endless,
        "log.txt": packed(b"example 6: ", suffix, 1) + endless,
    }
    presets = {"log.vw": "vw", "log.txt": "criteo"}
    cases = []
    for name, data in logs.items():
        words = ["--items", "items.csv", *IMPORT]
        words = ["--preset", presets[name]] if name in presets else words
        files = {f"{name}{suffix}": data, "items.csv": ITEMS}
        env = {"MINARI_DATASETS_PATH": "minari"}
        cases.append(Case(["import", "own/log-v0", f"{name}{suffix}", *words], files, env=env))
    found = commands(cases, scene, limit=MEMORY)
    assert [outcome.code for outcome in found] == [2] * len(cases), found
    check(cases, found)


def test_parquet_of_one_long_text_in_many_rows(tmp_path):
    scene = tmp_path / "scene"
    run = str(Service.make_run(scene / "run"))
    log = parquet_of(200_000, "x" * 1_000_000)
    assert len(log) < 2**21
    files = {"log.parquet": log, "items.csv": ITEMS, "contexts.csv": written(CONTEXTS, ".csv")}
    env = {"MINARI_DATASETS_PATH": "minari"}
    words = ["recommend", run, "--contexts", "log.parquet", "--columns", "age", "device"]
    words += ["reward", "time", "--out", "out.csv"]
    cases = [
        Case(["import", "a-v0", "log.parquet", "--items", "items.csv", *IMPORT], files, env=env),
        Case(words, files),
    ]
    found = commands(cases, scene, limit=MEMORY)
    assert [outcome.code for outcome in found] == [2, 2], found
    check(cases, found)


def test_children_have_the_limit():
    def grow(size):
        try:
            bytearray(size)
        except MemoryError:
            return _of(2)
        return _of(resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY)

    found = outcomes([2**20, 2 * MEMORY], grow, limit=MEMORY)
    assert [outcome.code for outcome in found] == [0, 2]


def _of(code):
    from tests.faults.doors import Outcome

    return Outcome(int(code), "")
