from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch

import recsim_drpo  # noqa: F401 - registers the environment
from recsim_drpo.agents.registry import AgentSpec
from recsim_drpo.cli import main
from recsim_drpo.runs.folder import CHECKPOINT, save_run
from recsim_drpo.serving.recommender import Recommender, items_of_run, load_recommender
from recsim_drpo.simulator.catalogue import SimulatedCatalogue
from recsim_drpo.simulator.decoder import ExactDecoder
from recsim_drpo.simulator.world import make_world

DIM = 4
WORLD = {"num_items": 60, "embedding_dim": 8, "num_topics": 3, "context_dim": DIM}
NAMES = [f"context_{i}" for i in range(DIM)]
TRAINING = {"steps": 1, "batch_size": 2, "seed": 0}
MODULE = """
import torch
class Fixed:
    '''Always the same action.'''
    def __init__(self, *, observation_dim, action_dim, seed, device):
        self.action = torch.arange(1.0, action_dim + 1)
    def update(self, batch):
        return {}
    def act(self, observations):
        return self.action.expand(len(observations), -1).numpy()
    def state_dict(self):
        return {"action": self.action}
    def load_state_dict(self, state):
        self.action = state["action"]
"""


def make_run(folder, name="bc", spec=None, env=True, **hyperparameters):
    spec = AgentSpec(name, DIM, 8, 0, hyperparameters)
    source = {"dataset": "try/small-v0"}
    if env:
        source["env_spec"] = gym.make("RecSimZipf-v0", **WORLD).spec.to_json()
    save_run(folder, spec.make(), [], TRAINING, source, spec)
    return folder


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def contexts():
    return np.random.default_rng(0).uniform(-1, 1, (25, DIM)).astype(np.float32)


def write_contexts(path, contexts, ids=None):
    columns = {"user": ids} if ids is not None else {}
    columns |= {name: contexts[:, i].tolist() for i, name in enumerate(NAMES)}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(sys.modules["pyarrow"].table(columns), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(columns))
            writer.writeheader()
            writer.writerows(rows)
    return path


def read_results(path):
    if path.suffix == ".parquet":
        return sys.modules["pyarrow"].parquet.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def plain(rows, key):
    return [
        (str(r[key]), int(r["rank"]), str(r["item_id"]), np.float32(r["score"]).item())
        for r in rows
    ]


def test_top_is_what_the_decoder_says(run, contexts):
    recommender = load_recommender(run)
    world = make_world(**WORLD)
    actions = recommender.agent.act(torch.from_numpy(contexts))
    cosines = torch.nn.functional.cosine_similarity(actions[:, None], world.embeddings[None], dim=2)
    scores, rows = recommender.top(contexts, 60)
    torch.testing.assert_close(scores, cosines.sort(dim=1, descending=True).values)
    torch.testing.assert_close(cosines.gather(1, rows), scores)
    direct = ExactDecoder(world.embeddings).search(torch.nn.functional.normalize(actions), 5)
    assert torch.equal(direct[1], rows[:, :5])
    assert torch.equal(world.decode(actions), rows[:, 0])


@pytest.mark.parametrize("source", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("target", [".csv", ".jsonl", ".parquet"])
def test_formats_agree(run, contexts, tmp_path, source, target):
    pytest.importorskip("pyarrow")
    recommender = load_recommender(run)
    ids = [100 + i for i in range(len(contexts))]
    path = write_contexts(tmp_path / f"in{source}", contexts, ids)
    out = tmp_path / "new" / f"out{target}"
    assert recommender.recommend(path, out, k=3, id_column="user") == 25
    scores, rows = recommender.top(contexts, 3)
    expected = [
        (str(ids[i]), rank + 1, str(rows[i, rank].item()), scores[i, rank].item())
        for i in range(25)
        for rank in range(3)
    ]
    found = read_results(out)
    assert plain(found, "user") == expected
    assert list(found[0]) == ["user", "rank", "item_id", "score"]
    if target != ".csv" and source != ".csv":  # in which everything is text
        assert [type(value) for value in found[0].values()] == [int, int, int, float]
    assert list((tmp_path / "new").iterdir()) == [out]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_streaming_equals_one_shot(run, contexts, tmp_path, monkeypatch, suffix):
    pytest.importorskip("pyarrow")
    recommender = load_recommender(run)
    path = write_contexts(tmp_path / f"in{suffix}", contexts)
    recommender.recommend(path, tmp_path / f"whole{suffix}", k=4)
    sizes, top = [], recommender.top
    monkeypatch.setattr("recsim_drpo.serving.recommender._ROWS", 7)
    monkeypatch.setattr(recommender, "top", lambda x, k: sizes.append(len(x)) or top(x, k))
    recommender.recommend(path, tmp_path / f"pieces{suffix}", k=4)
    assert sizes == [7, 7, 7, 4]
    whole, pieces = (
        plain(read_results(tmp_path / f"{n}{suffix}"), "row") for n in ("whole", "pieces")
    )
    assert [row[:3] for row in whole] == [row[:3] for row in pieces]
    np.testing.assert_allclose([r[3] for r in whole], [r[3] for r in pieces], atol=1e-6)
    assert [row[0] for row in whole[::4]] == [str(i) for i in range(25)]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_list_columns_named_columns_and_text_ids(run, contexts, tmp_path, suffix):
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
    a = plain(read_results(tmp_path / "a.csv"), "name")
    b = plain(read_results(tmp_path / "b.csv"), "row")
    assert [row[1:] for row in a] == [row[1:] for row in b]
    assert [row[0] for row in a[::2]] == ids
    # A pattern takes the table's order, which is another input to the policy.
    recommender.recommend(mixed, tmp_path / "c.csv", k=2, columns=["x*"])
    order = recommender.top(contexts[:, [2, 0, 3, 1]], 2)[1].flatten().tolist()
    assert [int(r["item_id"]) for r in read_results(tmp_path / "c.csv")] == order


def test_ids_of_the_items(tmp_path, contexts):
    vectors = np.random.default_rng(1).normal(size=(30, 8))
    path = tmp_path / "items.csv"
    header = "item_id," + ",".join(f"v{i}" for i in range(8))
    lines = [f"film-{i}," + ",".join(map(str, row)) for i, row in enumerate(vectors)]
    path.write_text("\n".join([header, *lines]))
    run = make_run(tmp_path / "run", env=False)  # a log of no catalogue of ours
    with pytest.raises(ValueError, match=r"'try/small-v0', names no catalogue.*--embeddings FILE"):
        load_recommender(run)
    with pytest.raises(ValueError, match="not of unit length"):
        load_recommender(run, embeddings=path)
    recommender = load_recommender(run, embeddings=path, normalize=True)
    write_contexts(tmp_path / "in.csv", contexts)
    recommender.recommend(tmp_path / "in.csv", tmp_path / "out.jsonl", k=1)
    actions = recommender.agent.act(torch.from_numpy(contexts)).numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    best = (actions @ unit.T).argmax(axis=1)
    assert [r["item_id"] for r in read_results(tmp_path / "out.jsonl")] == [
        f"film-{i}" for i in best
    ]


def test_items_of_a_log_of_sessions_and_of_another_environment():
    spec = gym.make("RecSimZipfSession-v0", **WORLD).spec
    config = {"action_dim": 8, "source": {"env_spec": spec.to_json()}}
    items = items_of_run(config)
    np.testing.assert_array_equal(items.embeddings, make_world(**WORLD).catalogue.embeddings)
    assert items.item_ids.tolist() == list(range(60))
    config["source"]["env_spec"] = gym.spec("CartPole-v1").to_json()
    with pytest.raises(ValueError, match="names no catalogue"):
        items_of_run(config)


def test_agents_from_outside(tmp_path, monkeypatch, contexts):
    (tmp_path / "fixed_agents.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    recommender = load_recommender(make_run(tmp_path / "run", "fixed_agents:Fixed"))
    items = make_world(**WORLD).catalogue.embeddings
    action = np.arange(1.0, 9.0)
    cosines = items @ (action / np.linalg.norm(action))
    scores, rows = recommender.top(contexts, 3)
    assert rows.tolist() == [np.argsort(-cosines)[:3].tolist()] * 25
    np.testing.assert_allclose(scores[0], np.sort(cosines)[::-1][:3], rtol=1e-5)


def stream(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def test_streams(run, contexts, tmp_path, monkeypatch, capsys):
    path = write_contexts(tmp_path / "in.csv", contexts)
    assert main(["recommend", str(run), "--contexts", str(path), "-k", "2"]) == 0
    printed = capsys.readouterr().out
    stream(monkeypatch, path.read_bytes())
    assert main(["recommend", str(run), "-k", "2"]) == 0
    assert capsys.readouterr().out == printed
    assert not sys.stdin.buffer.closed
    lines = write_contexts(tmp_path / "in.jsonl", contexts).read_bytes()
    stream(monkeypatch, lines)
    options = ["--input-format", "jsonl", "--output-format", "jsonl"]
    assert main(["recommend", str(run), "-k", "2", *options]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert plain(rows, "row") == plain(list(csv.DictReader(io.StringIO(printed))), "row")


HEADER = ",".join(NAMES)
GOOD = "0.1,0.2,0.3,0.4"
ROW = '{"context_0": %s, "context_1": %s, "context_2": 0, "context_3": 0}'
LIST = '{"context": [1, 2, 3, 4]}'


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
        ("c.csv", f"{HEADER}\n{GOOD}\n\n1,2,3\n", {}, "line 4: 3 cells; the header has 4"),
        ("c.csv", f"{HEADER}\n{GOOD}\n1,2,nan,4", {}, "line 3: context_2='nan' is not a finite"),
        ("c.csv", f"{HEADER}\n{GOOD}\n1,2,,4", {}, "line 3: context_2='' is not a finite"),
        ("c.csv", f"{HEADER}\n{GOOD}\n1,2,3,x", {}, "line 3: context_3='x' is not a finite"),
        ("c.csv", f"{HEADER}\n{GOOD}\n1,2,1e39,4", {}, "context_2='1e39' is not a finite"),
        ("c.csv", "context\n[1 2 3 4]\n[1 2 3]", {}, "line 3: 'context' holds 3 numbers; the"),
        ("c.csv", "context\n[1 2 3 4]\nabc", {}, "line 3: 'context' holds no list of numbers"),
        ("c.csv", b"context\n\xff\xfe", {}, "'c.csv' is not a readable text table"),
        ("c.jsonl", "", {}, "'c.jsonl' has no rows"),
        ("c.jsonl", '{"context": [1, 2, 3, 4]}\n{"context": [1, 2', {}, "line 2: not JSON"),
        ("c.jsonl", "[1, 2]", {}, "line 1: not an object"),
        ("c.jsonl", '{"context": [1, 2, 3, 4]}\n{"contxt": 1}', {}, "line 2' has no column"),
        ("c.jsonl", '{"context": [1, 2, NaN, 4]}', {}, "line 1: context=[1, 2, nan, 4] is not"),
        ("c.jsonl", ROW % ('true', '0'), {}, "=True"),
        ("c.jsonl", ROW % ('1', '"2"'), {}, "='2'"),
        ("c.jsonl", ROW % ('1', 'null'), {}, "=None"),
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


def test_other_mistakes(run, contexts, tmp_path, monkeypatch, capsys):
    path = write_contexts(tmp_path / "in.csv", contexts)
    np.save(tmp_path / "wide.npy", np.eye(9, dtype=np.float32))
    world = make_world(**WORLD)
    broken = SimpleNamespace(act=lambda x: torch.full((len(x), 8), torch.nan))
    narrow = SimpleNamespace(act=lambda x: torch.zeros(len(x), 3))
    items = world.catalogue
    with pytest.raises(ValueError, match="not finite for 25 of 25 contexts"):
        Recommender(broken, items, DIM).recommend(path, tmp_path / "out.csv")
    with pytest.raises(ValueError, match=r"shape \(25, 3\) for 25 .* takes \(25, 8\)"):
        Recommender(narrow, items, DIM).top(contexts, 1)
    (tmp_path / "taken.csv").write_text("mine")
    make_run(tmp_path / "many" / "seed-0")
    make_run(tmp_path / "many" / "seed-1")
    for arguments, message in (
        (["nowhere"], "There is no run in"),
        ([tmp_path / "many"], "There are 2 runs in"),
        ([run, "--contexts", tmp_path / "none.csv"], "no file of contexts"),
        ([run, "--contexts", path, "--out", tmp_path / "taken.csv"], "choose another file"),
        ([run, "--contexts", path, "--out", tmp_path / "in.csv" / "x.csv"], "is a file"),
        ([run, "--embeddings", tmp_path / "wide.npy"], "have 9 dimensions; the policy's"),
        ([run, "--normalize"], "--normalize is about a file"),
        ([run, "--input-format", "parquet"], "needs a file"),
        ([run, "--output-format", "parquet", "--contexts", path], "needs a file"),
        ([run, "--device", "cuda:9"], "device='cuda:9'"),
    ):  # fmt: skip
        assert main(["recommend", *map(str, arguments)]) == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert printed.err.count("\n") == 1
        assert printed.out == ""
    assert (tmp_path / "taken.csv").read_text() == "mine"
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "c.parquet").write_bytes(b"")
    assert main(["recommend", str(run), "--contexts", str(tmp_path / "c.parquet")]) == 2
    assert 'pip install "recsim-drpo[parquet]"' in capsys.readouterr().err


def test_a_checkpoint_of_another_dimension(run, tmp_path, capsys):
    wide = AgentSpec("bc", DIM + 1, 8)
    save_run(tmp_path / "wide", wide.make(), [], TRAINING, {}, wide)
    shutil.copy(tmp_path / "wide" / CHECKPOINT, run / CHECKPOINT)
    assert main(["recommend", str(run), "--contexts", "none.csv"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not fit this 'bc' agent (observation_dim=4, action_dim=8)" in line


def test_a_changed_catalogue_is_noticed(tmp_path):
    path = tmp_path / "items.npy"
    np.save(path, np.eye(8, dtype=np.float32))
    checksum = SimulatedCatalogue.from_embeddings(
        np.eye(8), num_topics=2, popularity_exponent=1.0, catalogue_seed=0
    ).checksum
    world = {"embeddings": str(path), "num_topics": 2, "context_dim": DIM}
    spec = gym.make("RecSimZipf-v0", **world, embeddings_checksum=checksum).spec.to_json()
    agent = AgentSpec("bc", DIM, 8)
    save_run(tmp_path / "run", agent.make(), [], TRAINING, {"env_spec": spec}, agent)
    assert load_recommender(tmp_path / "run").items.embeddings.shape == (8, 8)
    np.save(path, np.eye(8, dtype=np.float32)[::-1])
    with pytest.raises(ValueError, match="has changed"):
        load_recommender(tmp_path / "run")


def test_an_interrupt_or_a_late_fault_leaves_nothing(run, contexts, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("recsim_drpo.serving.recommender._ROWS", 4)
    path = write_contexts(tmp_path / "in.csv", contexts)
    with path.open("a") as file:
        file.write("1,2,3\n")
    out = tmp_path / "out" / "o.csv"
    command = ["recommend", str(run), "--contexts", str(path), "--out", str(out), "-k", "2"]
    assert main(command) == 2
    assert list(out.parent.iterdir()) == []
    assert main(command[:4] + command[6:]) == 2  # on a stream the rows before the fault are out
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2 * 24
    top, calls = Recommender.top, []

    def interrupted(self, contexts, k):
        calls.append(list(out.parent.iterdir()))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return top(self, contexts, k)

    monkeypatch.setattr(Recommender, "top", interrupted)
    assert main(command) == 130
    assert [len(found) for found in calls] == [1, 1, 1]  # the file aside
    assert list(out.parent.iterdir()) == []


def test_a_kill_leaves_no_half_written_result(run, contexts, tmp_path):
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
        process.stdin.write((HEADER + "\n" + f"{GOOD}\n" * 9_000).encode())
        process.stdin.flush()  # and it waits for more
        partial = out.with_name(".o.csv.partial")
        end = time.monotonic() + 120
        while not (partial.exists() and partial.stat().st_size) and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert partial.stat().st_size
    assert not out.exists()
    path = write_contexts(tmp_path / "in.csv", contexts)
    load_recommender(run).recommend(path, out, k=2)
    assert len(out.read_text().splitlines()) == 51
    assert list(out.parent.iterdir()) == [out]


def test_memory_does_not_grow_with_the_table(run, tmp_path, monkeypatch):
    """Pieces are let go: the peak of Python's own memory is that of one piece."""
    import tracemalloc

    recommender = load_recommender(run)
    monkeypatch.setattr("recsim_drpo.serving.recommender._ROWS", 500)
    peaks = []
    for rows in (2_000, 12_000):
        path = tmp_path / f"{rows}.csv"
        path.write_text(HEADER + "\n" + f"{GOOD}\n" * rows)
        tracemalloc.start()
        recommender.recommend(path, tmp_path / f"out-{rows}.csv", k=2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
