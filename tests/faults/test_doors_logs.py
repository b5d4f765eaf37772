"""Damaged logs, items and meanings of columns at the door of ``import``."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("pyarrow")

from tests.faults.conftest import scaled, seeded
from tests.faults.doors import Case, check, commands
from tests.faults.mutation import mutated
from tests.faults.samples import COLUMNS, IMPORT, ITEMS, PRESETS, ROWS, written

pytestmark = pytest.mark.faults

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet", ".feather", ".arrow", ".stream.arrow")
FORMATS += (".csv.gz", ".csv.zst", ".jsonl.gz", ".jsonl.zst")
HERE = {"MINARI_DATASETS_PATH": "minari"}


def as_imported(log, *others, files):
    words = ["import", "own/log-v0", log, *others]
    return Case(words, files, env=HERE)


@pytest.fixture
def scene(tmp_path):
    (tmp_path / "scene").mkdir()
    return tmp_path / "scene"


@pytest.mark.parametrize("suffix", FORMATS)
def test_logs(scene, suffix):
    rng = seeded(f"logs {suffix}")
    log, name = written(ROWS, suffix), f"log{suffix}"
    options = ["--items", "items.csv", *IMPORT]
    cases = [as_imported(name, *options, files={name: log, "items.csv": ITEMS})]
    cases += [
        as_imported(name, *options, files={name: mutated(log, rng), "items.csv": ITEMS})
        for _ in range(scaled(220))
    ]
    found = commands(cases, scene)
    assert found[0].code == 0, found[0]
    check(cases, found)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_items(scene, suffix):
    rng = seeded(f"items {suffix}")
    rows = [
        {"item_id": n, "v": None} | {f"e{i}": float(i == n) for i in range(4)} for n in range(4)
    ]
    lists = [{"item_id": 10 + n, "v": [float(i == n) for i in range(4)]} for n in range(4)]
    files = [written([{k: v for k, v in row.items() if k != "v"} for row in rows], suffix)]
    files += [written(lists, suffix)]
    log, name = written(ROWS, ".csv"), f"items{suffix}"
    cases = [
        as_imported(
            "log.csv",
            *["--items", name, *IMPORT],
            files={name: mutated(rng.choice(files), rng), "log.csv": log},
        )
        for _ in range(scaled(200))
    ]
    check(cases, commands(cases, scene))


@pytest.mark.parametrize("kind", PRESETS)
def test_presets(scene, kind):
    rng = seeded(f"presets {kind}")
    preset, log, files = PRESETS[kind]
    words = ["--preset", preset, "--max-refused", "1"]
    cases = [as_imported(log, *words, files=files)]
    for _ in range(scaled(100)):
        name = rng.choice(list(files))
        cases.append(as_imported(log, *words, files=files | {name: mutated(files[name], rng)}))
    found = commands(cases, scene)
    assert found[0].code == 0, found[0]
    check(cases, found)


def test_files_of_columns(scene):
    rng = seeded("columns")
    good = json.dumps(COLUMNS).encode()
    rest = {"log.csv": written(ROWS, ".csv"), "items.csv": ITEMS}
    words = ["--columns", "columns.json", "--items", "items.csv"]
    cases = [as_imported("log.csv", *words, files=rest | {"columns.json": good})]
    for n in range(scaled(300)):
        text = mutated(good, rng) if n % 2 else json.dumps(changed(COLUMNS, rng)).encode()
        cases.append(as_imported("log.csv", *words, files=rest | {"columns.json": text}))
    found = commands(cases, scene)
    assert found[0].code == 0, found[0]
    check(cases, found)


OTHERS = (None, True, 0, -1, 1.5, 1e300, 10**30, "", "x", "*", [], [None], {}, {"x": {}}, [[1]])
OTHERS += ({"age": None}, {"age": []}, ["age", 3], {"device": 5}, {"country": 10**12})


def changed(value, rng):
    """A value of JSON with something in it that is of another type, gone, or twice."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name = rng.choice(list(value))
        if rng.random() < 0.15:
            return {k: v for k, v in value.items() if k != name}
        if rng.random() < 0.1:
            return value | {rng.choice(("x", "", "é" * 500, "item ")): rng.choice(OTHERS)}
        return value | {name: changed(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.5:
        place = rng.randrange(len(value))
        return [*value[:place], changed(value[place], rng), *value[place + 1 :]]
    return rng.choice(OTHERS)
