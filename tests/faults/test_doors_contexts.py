"""Damaged contexts, rules and lists of items at the door of ``recommend``."""

from __future__ import annotations

import pytest

pytest.importorskip("pyarrow")

from tests.faults.conftest import scaled, seeded
from tests.faults.doors import Case, check, commands
from tests.faults.mutation import mutated
from tests.faults.samples import CONTEXTS, IMPORT, ITEMS, ROWS, written
from tests.serving.conftest import Service

pytestmark = pytest.mark.faults


@pytest.fixture
def scene(tmp_path):
    (tmp_path / "scene").mkdir()
    return tmp_path / "scene"


@pytest.fixture
def run(scene):
    return str(Service.make_run(scene / "run"))


def recommended(run, name, data, *words, others=None, stdin=b""):
    command = ["recommend", run, "--contexts", name, "--out", "out.csv", *words]
    files = {} if data is None else {name: data}
    return Case(command, files | (others or {}), stdin)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_contexts(scene, run, suffix):
    rng = seeded(f"contexts {suffix}")
    lists = [{"user": n, "context": [0.1 * n, 0.2, 0.3, 0.4]} for n in range(12)]
    sound = [written(rows, suffix) for rows in (CONTEXTS, lists)]
    words = ["--id-column", "user", "-k", "3"]
    name = f"contexts{suffix}"
    cases = [recommended(run, name, data, *words) for data in sound]
    cases += [
        recommended(run, name, mutated(rng.choice(sound), rng), *words) for _ in range(scaled(400))
    ]
    found = commands(cases, scene)
    assert [outcome.code for outcome in found[:2]] == [0, 0], found[:2]
    check(cases, found)


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_contexts_by_standard_input(scene, run, format):
    rng = seeded(f"streams {format}")
    sound = written(CONTEXTS, f".{format}")
    words = ["--input-format", format, "--id-column", "user"]
    cases = [
        recommended(run, "-", None, *words, stdin=mutated(sound, rng)) for _ in range(scaled(100))
    ]
    check(cases, commands(cases, scene))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rules(scene, run, suffix):
    rng = seeded(f"rules {suffix}")
    seen = [{"user": f"u{n % 5}", "item_id": n} for n in range(20)]
    kinds = [{"item_id": n, "kind": "ab"[n % 2]} for n in range(60)]
    pools = [row | {"pool": [1, 2, 3 + n]} for n, row in enumerate(CONTEXTS)]
    if suffix == ".csv":
        pools = [row | {"pool": "1 2 3"} for row in CONTEXTS]
    doors = {
        f"seen{suffix}": (seen, ["--exclude-seen", f"seen{suffix}"]),
        f"kinds{suffix}": (kinds, ["--max-per", f"kinds{suffix}=2"]),
        f"pools{suffix}": (pools, ["--candidates", "pool"]),
    }
    cases = []
    for n in range(scaled(200)):
        name = rng.choice(list(doors))
        rows, words = doors[name]
        data = written(rows, suffix) if n < 4 else mutated(written(rows, suffix), rng)
        files = {name: data, "contexts.csv": written(CONTEXTS, ".csv")}
        contexts = name if name.startswith("pools") else "contexts.csv"
        words = [*words, "--id-column", "user"]
        cases.append(recommended(run, contexts, None, *words, others=files))
    check(cases, commands(cases, scene))


@pytest.mark.parametrize("option", ["--allow", "--deny"])
def test_lists_of_items(scene, run, option):
    rng = seeded(f"lists {option}")
    good = "".join(f"{n}\n" for n in range(30)).encode()
    contexts = {"contexts.csv": written(CONTEXTS, ".csv")}
    cases = [
        recommended(
            run,
            "contexts.csv",
            None,
            *[option, "items.txt"],
            others=contexts | {"items.txt": mutated(good, rng)},
        )
        for _ in range(scaled(100))
    ]
    check(cases, commands(cases, scene))


@pytest.fixture
def imported_run(scene, monkeypatch):
    """A run that learnt from an imported log, whose contexts are coded as that log's."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(scene / "minari"))
    (scene / "log.csv").write_bytes(written(ROWS, ".csv"))
    (scene / "items.csv").write_bytes(ITEMS)
    log, items, out = (str(scene / name) for name in ("log.csv", "items.csv", "runs"))
    steps = ["--steps", "2", "--batch-size", "4", "--log-every", "1", "--held-out", "0"]
    cases = [
        Case(["import", "own/log-v0", log, "--items", items, *IMPORT]),
        Case(["train", "--dataset", "own/log-v0", "--agent", "bc", "--out", out, *steps]),
    ]
    made = commands(cases, scene)
    assert [one.code for one in made] == [0, 0], made
    return str(scene / "runs" / "seed-0")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_contexts_of_an_imported_log(scene, imported_run, suffix):
    rng = seeded(f"coded {suffix}")
    rows = [{name: row[name] for name in ("age", "device", "country")} for row in ROWS[:12]]
    good, name = written(rows, suffix), f"contexts{suffix}"
    cases = [recommended(imported_run, name, good, "-k", "2")]
    cases += [
        recommended(imported_run, name, mutated(good, rng), "-k", "2") for _ in range(scaled(150))
    ]
    found = commands(cases, scene)
    assert found[0].code == 0, found[0]
    check(cases, found)
