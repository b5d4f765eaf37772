"""What comes after an import: train, evaluate from logs, recommend, export, on the same log."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import minari
import numpy as np
import pytest

from recsim_drpo.cli import main
from recsim_drpo.datasets.imported import imported_context, imported_items
from recsim_drpo.datasets.importing.columns import Columns
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


@pytest.fixture
def chain(minari_root, tmp_path, monkeypatch) -> Path:
    """Two imported logs, shop/first-v0 and shop/later-v0, and a run on the first."""
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "items.npz", embeddings=np.eye(4, dtype=np.float32), item_ids=IDS)
    columns = ["--item", "sku", "--reward", "clicked", "--propensity", "p"]
    columns += ["--numbers", "age", "--categories", "device"]
    for seed, name in enumerate(("first", "later")):
        log = tmp_path / f"{name}.csv"
        write_log(log, seed)
        command = ["import", f"shop/{name}-v0", log, "--items", tmp_path / "items.npz"]
        assert run(*command, *columns) == 0
        columns = ["--columns", minari_root / "shop/first-v0/columns.json"]
    train = ["train", "--dataset", "shop/first-v0", "--agent", "awr", "--steps", 40]
    assert run(*train, "--log-every", 20, "--out", "runs") == 0
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
        ("age,device\n0.5,phone\n0.5,tv\n", "line 3: device='tv' is none of the categories"),
        ("age,device\n0.5,\n", "line 2: device='' is none of the categories"),
        ("age,device\nold,phone\n", "line 2: age='old' is not a finite number"),
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
    coding = Columns(**imported_context(dataset))
    assert coding.categories == {
        "hour": ["0", "1", "2"],
        "device": ["a", "b"],
        "new": ["false", "true"],
    }
    with open_contexts(path, coding.dim, coding=coding) as opened:
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
