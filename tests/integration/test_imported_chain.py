"""What comes after an import: train, evaluate from logs, recommend, export, on the same log."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import minari
import numpy as np
import pytest
import torch

from recsim_drpo.cli import main
from recsim_drpo.datasets.imported import imported_context, imported_items
from recsim_drpo.datasets.importing.coding import ContextCoder
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.ope.logs import read_item_log
from recsim_drpo.runs.folder import load_agent, load_config
from recsim_drpo.serving.readers import open_contexts
from recsim_drpo.serving.recommender import load_recommender

pytest.importorskip("pyarrow")

IDS = ["shirt", "shoe", "hat", "belt"]
NUM_ROUNDS = 400


def run(*arguments):
    return main([str(argument) for argument in arguments])


def write_log(path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sku", "clicked", "p", "age", "device"])
        for age in generator.normal(size=NUM_ROUNDS):
            item, device = generator.integers(4), generator.choice(["phone", "desk"])
            clicked = int(generator.random() < (0.8 if (age > 0) == (item < 2) else 0.2))
            writer.writerow([IDS[item], clicked, 0.25, f"{age:.4f}", device])


@pytest.fixture(scope="module")
def once_chained(tmp_path_factory) -> Path:
    """A folder with two imported logs, shop/first-v0 and shop/later-v0, and a run on the first."""
    folder = tmp_path_factory.mktemp("chain")
    np.savez(folder / "items.npz", embeddings=np.eye(4, dtype=np.float32), item_ids=IDS)
    columns = ["--item", "sku", "--reward", "clicked", "--propensity", "p"]
    columns += ["--numbers", "age", "--categories", "device"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
        patch.chdir(folder)
        for seed, name in enumerate(("first", "later")):
            write_log(folder / f"{name}.csv", seed)
            command = ["import", f"shop/{name}-v0", f"{name}.csv", "--items", "items.npz"]
            assert run(*command, *columns) == 0
            columns = ["--columns", "minari/shop/first-v0/columns.json"]
        train = ["train", "--dataset", "shop/first-v0", "--agent", "awr", "--steps", 40]
        assert run(*train, "--log-every", 20, "--out", "runs") == 0
    return folder


@pytest.fixture
def chain(once_chained, minari_root, tmp_path, monkeypatch) -> Path:
    """The run, in the working folder, which is a copy of that one."""
    shutil.copytree(once_chained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Path("runs/seed-0")


def test_recommend_codes_contexts_and_finds_items_as_the_import_did(chain, tmp_path):
    dataset = minari.load_dataset("shop/later-v0")
    vectors, ids = imported_items(dataset)
    contexts = load_transitions(dataset).observations()
    actions = load_agent(chain).act(contexts).numpy()
    best = ids[(actions @ vectors.T).argmax(axis=1)].tolist()
    table = pytest.importorskip("pyarrow.csv").read_csv(tmp_path / "later.csv")
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "later.parquet")
    np.savetxt(
        tmp_path / "coded.csv",
        contexts.numpy(),
        delimiter=",",
        header="context_0,context_1,context_2",
        comments="",
    )
    piped = (tmp_path / "later.csv").read_text().replace(",", "|")
    (tmp_path / "later.txt").write_text(piped)
    for name in ("later.csv", "later.txt", "later.parquet", "coded.csv"):
        out = tmp_path / f"of-{name}.csv"
        assert run("recommend", chain, "--contexts", tmp_path / name, "--out", out, "-k", 1) == 0
        with out.open() as file:
            assert [row["item_id"] for row in csv.DictReader(file)] == best


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "age,device\nold,phone\n",
            "the first: 'users.csv', row 1: age: no finite number ('old')",
        ),
        ("age,devise\n0.5,phone\n", "has no column 'device'. Did you mean 'devise'?"),
    ],
)
def test_contexts_that_cannot_be_coded_are_one_line(chain, tmp_path, capsys, text, message):
    (tmp_path / "users.csv").write_text(text)
    out = tmp_path / "top.csv"
    capsys.readouterr()
    assert run("recommend", chain, "--contexts", tmp_path / "users.csv", "--out", out) == 2
    # k is 10 by default, of 4 items.
    assert "k=10 is not an integer from 1 to 4" in capsys.readouterr().err
    command = ["recommend", chain, "--contexts", tmp_path / "users.csv", "--out", out, "-k", 2]
    assert run(*command) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not out.exists()


def test_rows_that_are_no_context_are_reported_and_the_rest_goes_on(chain, tmp_path, capsys):
    """An unknown device is another one and an empty age the mean; two ages are no numbers."""
    text = "user,age,device\na,0.5,phone\nb,old,phone\nc,0.5,tv\nd,,desk\ne,1\nf,inf,desk\ng,1,\n"
    (tmp_path / "users.csv").write_text(text)
    out = tmp_path / "top.csv"
    command = ["recommend", chain, "--contexts", tmp_path / "users.csv", "-k", 1]
    capsys.readouterr()
    assert run(*command, "--id-column", "user", "--out", out) == 0
    error = capsys.readouterr().err
    assert "3 rows refused, listed in top.csv.refused.csv: 2 × age: no finite number" in error
    assert out.with_name("top.csv.refused.csv").read_text().splitlines() == [
        "row,reason,value",
        "2,age: no finite number,old",
        '5,2 cells where 3 are due,"e,1"',
        "6,age: no finite number,inf",
    ]
    with out.open() as file:
        chosen = {row["user"]: row["item_id"] for row in csv.DictReader(file)}
    assert list(chosen) == ["a", "c", "d", "g"]
    recommender = load_recommender(chain)
    mean = recommender.coding.numbers["age"].mean
    scale = recommender.coding.numbers["age"].scale
    by_hand = np.array(
        [[(0.5 - mean) / scale, 0, 1], [(0.5 - mean) / scale, 0, 0], [0, 1, 0]], dtype=np.float32
    )
    _, rows = recommender.top(by_hand, 1)
    expected = recommender.items.item_ids[rows[:, 0].numpy()].tolist()
    assert [chosen["a"], chosen["c"], chosen["d"]] == expected
    # By number, rows keep their places; a stream has a summary alone.
    assert run(*command) == 0
    printed = capsys.readouterr()
    assert [line.split(",")[0] for line in printed.out.splitlines()] == ["row", "0", "2", "3", "6"]
    assert printed.err.startswith("3 rows refused: 2 × age")
    # A report that is there is noticed before any work.
    assert run(*command, "--out", tmp_path / "other.csv") == 0
    (tmp_path / "other.csv").unlink()
    assert run(*command, "--out", tmp_path / "other.csv") == 2
    assert "other.csv.refused.csv' is there already" in capsys.readouterr().err
    assert not (tmp_path / "other.csv").exists()


def test_a_parquet_log_is_coded_alike_whatever_its_types(minari_root, tmp_path):
    pyarrow, n = pytest.importorskip("pyarrow"), 60
    generator = np.random.default_rng(0)
    table = pyarrow.table(
        {
            "item_id": generator.integers(4, size=n),
            "reward": generator.integers(2, size=n).astype(bool),
            "propensity": np.full(n, 0.25),
            "member": generator.integers(2, size=n).astype(bool),
            "hour": generator.integers(3, size=n).astype(np.float64),
            "device": pyarrow.array(generator.choice(["a", "b"], size=n)).dictionary_encode(),
            "new": generator.integers(2, size=n).astype(bool),
        }
    )
    path = tmp_path / "log.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(table, path)
    np.save(tmp_path / "items.npy", np.eye(4, dtype=np.float32))
    columns = ["--numbers", "member", "--categories", "hour", "device", "new"]
    assert run("import", "pq/log-v0", path, "--items", tmp_path / "items.npy", *columns) == 0
    dataset = minari.load_dataset("pq/log-v0")
    coding = ContextCoder.of_description(imported_context(dataset))
    assert coding.categories == {
        "hour": ["0", "1", "2"],
        "device": ["a", "b"],
        "new": ["false", "true"],
    }
    opened = open_contexts(path, coding.dim, coding=coding)
    contexts = np.concatenate([piece.contexts for piece in opened.pieces])
    np.testing.assert_array_equal(contexts, load_transitions(dataset).observations())


def test_export_says_how_a_context_is_made(chain, tmp_path):
    pytest.importorskip("onnxruntime")
    assert run("export", chain, "--out", tmp_path / "exported") == 0
    description = json.loads((tmp_path / "exported/export.json").read_text())
    inputs = description["policy"]["inputs"]["observations"]
    assert inputs["shape"] == ["batch", 3]
    assert inputs["numbers"] == ["age"]
    assert inputs["categories"] == {"device": ["desk", "phone"]}
    assert np.load(tmp_path / "exported/item_ids.npy").tolist() == IDS
    # The graph takes ages as they are.
    assert inputs["dtype"] == "float64"
    assert inputs["layout"] == [
        {"column": "age", "first": 0, "size": 1, "further": []},
        {"column": "device", "first": 1, "size": 2, "further": []},
    ]
    recommender = load_recommender(chain)
    rows = np.array([[0.5, 0, 1], [-1.5, 1, 0], [np.nan, 0, 1]])
    actions = onnx_actions(tmp_path / "exported", rows)
    coded = recommender.coding.values(
        {"age": [0.5, "-1.5", None], "device": ["phone", "desk", "phone"]}
    )
    expected = recommender.agent.act(torch.from_numpy(recommender.coding.contexts(coded)))
    np.testing.assert_allclose(actions, expected, atol=1e-5)


def onnx_actions(folder, rows):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(
        folder / "policy.onnx", providers=["CPUExecutionProvider"]
    )
    return session.run(["action"], {"observations": rows})[0]


def test_every_transform_is_inside_the_exported_graph(minari_root, tmp_path, monkeypatch):
    """Times in milliseconds, whose float32 are all alike, are told apart by the ONNX file."""
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    generator, n = np.random.default_rng(0), 300
    frame = {
        "item_id": generator.integers(4, size=n),
        "reward": generator.integers(2, size=n),
        "time": 1_700_000_000_000 + generator.integers(60_000, size=n),
        "income": np.exp(generator.normal(10, 2, n)),
        "views": generator.poisson(0.5, n).astype(np.float64) ** 3,
        "raw": generator.normal(size=n),
        "user": [f"u{k}" for k in generator.integers(100, size=n)],
        "device": generator.choice(["a", "b"], n).tolist(),
    }
    frame["views"][::7] = np.nan
    frame["device"][::9] = [None] * len(frame["device"][::9])
    pyarrow = pytest.importorskip("pyarrow")
    frame["single"] = pyarrow.array(generator.normal(size=n).astype(np.float32))
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(frame), "log.parquet")
    np.save("items.npy", np.eye(4, dtype=np.float32))
    command = ["import", "own/log-v0", "log.parquet", "--items", "items.npy", "--no-propensity"]
    command += ["--numbers", "time", "income", "views", "raw", "single", "--categories", "device"]
    command += ["--hash", "user=8", "--transform", "income=log", "views=quantile", "raw=none"]
    assert run(*command) == 0
    train = ["train", "--dataset", "own/log-v0", "--agent", "bc", "--steps", 5, "--out", "runs"]
    assert run(*train) == 0
    assert run("export", "runs/seed-0", "--out", "exported") == 0
    recommender = load_recommender("runs/seed-0")
    coder, dataset = recommender.coding, minari.load_dataset("own/log-v0")
    observations = load_transitions(dataset).observations()
    numbers = np.stack([np.asarray(frame[name]) for name in coder.numbers], axis=1)
    one_hot = observations[:, 5 : 5 + 3 + 8].numpy()  # a, b, missing; eight buckets
    rows = np.concatenate([numbers.astype(np.float64), one_hot], axis=1)
    actions = onnx_actions(Path("exported"), rows)
    np.testing.assert_allclose(actions, recommender.agent.act(observations), atol=1e-5)
    assert len(np.unique(rows[:, 0].astype(np.float32))) == 1
    assert len(np.unique(observations[:, 0])) == len(np.unique(rows[:, 0]))
    rows[:, 0] = 1_700_000_000_000
    assert np.abs(onnx_actions(Path("exported"), rows) - actions).max() > 0.01


TRUTH = np.array([[0.6, 0.2, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1], [0.1, 0.1, 0.6, 0.2]])
"""The chance of a click by segment and item, of which the best is worth 0.6."""


def test_a_column_of_large_numbers_costs_nothing(minari_root, tmp_path, monkeypatch):
    """Incomes, which say nothing here, spoil a policy as they are, and standardised they do not."""
    monkeypatch.chdir(tmp_path)
    generator, n = np.random.default_rng(0), 4000
    segment, item = generator.integers(3, size=n), generator.integers(4, size=n)
    clicks = (generator.random(n) < TRUTH[segment, item]).astype(int)
    incomes = generator.lognormal(10.5, 0.5, n)
    with Path("log.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "reward", "propensity", "segment", "income"])
        writer.writerows(zip(item, clicks, [0.25] * n, segment, incomes, strict=True))
    np.save("items.npy", np.eye(4, dtype=np.float32))
    values = {}
    for name, numbers in (
        ("without", []),
        ("standardised", ["--numbers", "income"]),
        ("raw", ["--numbers", "income", "--transform", "income=none"]),
    ):
        command = ["import", f"own/{name}-v0", "log.csv", "--items", "items.npy", *numbers]
        assert run(*command, "--categories", "segment") == 0
        train = ["train", "--dataset", f"own/{name}-v0", "--agent", "awr", "--steps", 100]
        train += ["--log-every", 100, "--held-out", 0, "--set", "hidden_dim=32"]
        assert run(*train, "learning_rate=3e-3", "--out", name) == 0
        observations = load_transitions(f"own/{name}-v0").observations()
        _, rows = load_recommender(f"{name}/seed-0").top(observations, 1)
        values[name] = TRUTH[segment, rows[:, 0].numpy()].mean()
    print(values)
    assert values["without"] > 0.55
    assert values["standardised"] > values["without"] - 0.03
    assert values["raw"] < values["standardised"] - 0.1


def test_items_that_are_gone_or_others_are_refused(chain, minari_root, tmp_path, capsys):
    (minari_root / "shop/first-v0").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match=r"'shop/first-v0', is gone; give .* --embeddings"):
        load_recommender(chain)
    assert load_recommender(chain, embeddings=tmp_path / "items.npz").coding.dim == 3
    other = tmp_path / "other.npz"
    np.savez(other, embeddings=np.eye(4, dtype=np.float32)[::-1], item_ids=IDS)
    command = ["import", "shop/first-v0", tmp_path / "first.csv", "--items", other]
    assert run(*command, "--columns", tmp_path / "away/columns.json") == 0
    with pytest.raises(ValueError, match="have changed since the run learnt from it"):
        load_recommender(chain)
    capsys.readouterr()
    assert run("ope", chain, "--dataset", "shop/first-v0") == 2
    assert "learnt on another catalogue" in capsys.readouterr().err


def test_ope_on_an_imported_log(chain, minari_root, tmp_path, capsys):
    assert read_item_log("shop/later-v0").item_ids.tolist() == IDS
    capsys.readouterr()
    assert run("ope", chain, "--dataset", "shop/later-v0", "--out", tmp_path / "ope") == 0
    (found,) = json.loads((tmp_path / "ope/ope.json").read_text()).values()
    assert found["num_rounds"] == NUM_ROUNDS
    assert found["unlogged"] == 0.0
    assert found["propensities"] is None

    capsys.readouterr()
    command = ["ope", chain, "--dataset", "shop/later-v0", "--estimate-propensities"]
    assert run(*command, "--out", tmp_path / "estimated") == 0
    told = capsys.readouterr().out
    assert "ips, estimated p |" in told
    assert "| expected rounds | rounds |" in told
    (found,) = json.loads((tmp_path / "estimated/ope.json").read_text()).values()
    # Logged uniformly at random over four items.
    assert found["propensities"]["apart"] < 0.2
    assert abs(found["propensities"]["mean_weight"]["value"] - 1.0) < 0.1

    path = minari_root / "shop/later-v0/columns.json"
    columns = json.loads(path.read_text())
    columns["categories"]["device"].reverse()
    path.write_text(json.dumps(columns))
    capsys.readouterr()
    assert run("ope", chain, "--dataset", "shop/later-v0") == 2
    error = capsys.readouterr().err
    assert "are not coded as those that" in error
    assert "columns.json" in error
    assert load_config(chain)["source"]["context"]["categories"] == {"device": ["desk", "phone"]}


def write_items(path: Path, items: dict[str, list[float]]) -> Path:
    vectors = np.array(list(items.values()), dtype=np.float32)
    np.savez(path, embeddings=vectors, item_ids=list(items))
    return path


def test_ope_goes_on_when_the_catalogue_changes(chain, minari_root, tmp_path, capsys):
    """An item more, in front, and one less: matched by id, told, and counted as never logged."""
    rows = dict(zip(IDS, np.eye(4).tolist(), strict=True))
    scarf = {"scarf": [0.5, 0.5, 0.5, 0.5]}
    more = write_items(tmp_path / "more.npz", scarf | rows)
    capsys.readouterr()

    def ope(*arguments):
        status = run("ope", chain, "--dataset", *arguments)
        return status, capsys.readouterr()

    status, told = ope("shop/later-v0", "--embeddings", more, "--out", tmp_path / "more")
    assert status == 0
    note = "learnt on another state of the catalogue: 1 item (scarf) new."
    assert note in told.out
    assert note in (tmp_path / "more/ope.md").read_text()
    status, _ = ope("shop/later-v0", "--out", tmp_path / "same")
    before, after = (
        json.loads((tmp_path / name / "ope.json").read_text())["runs/seed-0"]
        for name in ("same", "more")
    )
    # A policy can show the new item; what it then lacks is told.
    assert before["unlogged"] == 0.0
    assert (after["unlogged"] > 0.0) == ("first of all scarf" in told.out)
    assert [item for item, _ in after["unlogged_items"]] in ([], ["scarf"])

    del rows["hat"]
    fewer = write_items(tmp_path / "fewer.npz", rows | scarf)
    log = read_item_log("shop/later-v0", embeddings=fewer)
    first = read_item_log("shop/later-v0")
    assert (log.num_items, log.num_gone) == (4, 1)
    assert log.item_ids.tolist() == ["shirt", "shoe", "belt", "scarf", "hat"]
    assert log.item_ids[log.items].tolist() == first.item_ids[first.items].tolist()
    hats = int((first.items == IDS.index("hat")).sum())
    status, told = ope("shop/later-v0", "--embeddings", fewer)
    assert status == 0
    assert "another state of the catalogue: 1 item (scarf) new, 1 item (hat) gone." in told.out
    assert f"1 items of the log are gone from the catalogue; {hats} rounds show them" in told.out

    # The same by a log that was imported with the later catalogue.
    command = ["import", "shop/new-v0", tmp_path / "later.csv", "--items", more]
    assert run(*command, "--columns", minari_root / "shop/first-v0/columns.json") == 0
    status, told = ope("shop/new-v0")
    assert (status, note in told.out) == (0, True)

    moved = write_items(
        tmp_path / "moved.npz", dict(zip(IDS, np.eye(4)[::-1].tolist(), strict=True))
    )
    status, told = ope("shop/later-v0", "--embeddings", moved)
    assert (status, "embeddings are of another catalogue" in told.err) == (2, True)


def commands_of(readme: Path) -> list[list[str]]:
    """The words of the commands that a run's README tells, without the program's name."""
    lines = readme.read_text(encoding="utf-8").splitlines()
    return [line.split()[1:] for line in lines if line.startswith("recsim-drpo ")]


def test_the_commands_that_a_readme_tells_work(chain, tmp_path):
    pytest.importorskip("onnxruntime")
    commands = commands_of(chain / "README.md")
    assert [words[0] for words in commands] == ["ope", "ope", "recommend", "export"]
    here = {"THIS_FOLDER": str(chain), "LATER_LOG": "shop/later-v0", "USERS.csv": "later.csv"}
    for words in commands:
        assert run(*(here.get(word, word) for word in words)) == 0
    assert {"TOP.csv", "EXPORTED"} <= {path.name for path in tmp_path.iterdir()}
