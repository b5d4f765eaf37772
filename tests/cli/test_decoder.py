"""``--decoder``: commands that decode take it, say what they used, and refuse what is none."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from recsim_drpo.cli import main
from recsim_drpo.datasets.load import open_dataset
from recsim_drpo.envs.spec import WorldSpec
from recsim_drpo.runs.folder import load_config

WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]
QUICK = ["--steps", "20", "--log-every", "10", "--evaluate-every", "10"]
SCARCE = "faiss:IVF32,Flat?nprobe=1"
WHOLE = "faiss:IVF32,Flat?nprobe=32"


@pytest.fixture(scope="module")
def once_trained(generated, tmp_path_factory):
    """The folder of a run on a log of a world whose decoder is exact."""
    out = tmp_path_factory.mktemp("trained") / "bc"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(generated))
        words = ["train", "--dataset", "cli/small-v0", "--agent", "bc", "--out", str(out)]
        assert main([*words, *QUICK]) == 0
    return out / "seed-0"


@pytest.fixture
def trained(indexes, once_trained, dataset, tmp_path):
    """That run, of which each test has a copy of its own, and its log."""
    return Path(shutil.copytree(once_trained, tmp_path / "bc" / "seed-0"))


def test_evaluate_says_what_was_approximate(run, trained, tmp_path, capsys):
    out = tmp_path / "evaluation"
    words = ["evaluate", trained, "--num-users", 200, "--decoder", SCARCE, "--out", out]
    assert run(*words) == 0
    printed = capsys.readouterr().out
    assert f"Items are found by {SCARCE}: recall@1" in printed
    assert "of the first 200 users" in printed
    assert (out / "evaluation.md").read_text() in printed
    results = json.loads((out / "evaluation.json").read_text())
    for result in results.values():
        found = result["retrieval"]
        assert found["decoder"] == SCARCE
        assert f"{found['recall']['value']:.1%}" in printed
        assert f"{found['lost']['value']:.4f} [" in printed
    assert results[trained.as_posix()]["retrieval"]["recall"]["value"] < 1.0


def test_evaluate_without_one_is_as_before(run, trained, tmp_path, capsys):
    tables = []
    for number, words in enumerate([[], ["--decoder", "exact"], ["--decoder", "auto"]]):
        out = tmp_path / str(number)
        assert run("evaluate", trained, "--num-users", 100, "--out", out, *words) == 0
        tables.append((out / "evaluation.json").read_text())
    assert tables[0] == tables[1] == tables[2]
    assert "retrieval" not in tables[0]
    assert "recall" not in capsys.readouterr().out


def test_a_log_and_its_runs_record_the_decoder_of_their_world(
    indexes, run, minari_root, tmp_path, capsys
):
    words = ["generate", "cli/faiss-v0", "--rounds", 400, "--no-card", *WORLD, f"decoder={SCARCE}"]
    assert run(*words) == 0
    assert WorldSpec.of(open_dataset("cli/faiss-v0").spec.env_spec).decoder == SCARCE
    assert not indexes.exists()  # nothing was decoded
    words = [
        "train",
        "--dataset",
        "cli/faiss-v0",
        "--agent",
        "bc",
        "--out",
        tmp_path / "bc",
        *QUICK,
    ]
    assert run(*words) == 0
    assert (
        WorldSpec.of(load_config(tmp_path / "bc" / "seed-0")["source"]["env_spec"]).decoder
        == SCARCE
    )
    capsys.readouterr()
    assert run("evaluate", tmp_path / "bc", "--num-users", 50) == 0
    assert f"Items are found by {SCARCE}" in capsys.readouterr().out
    assert run("evaluate", tmp_path / "bc", "--num-users", 50, "--decoder", "exact") == 0
    assert "Items are found" not in capsys.readouterr().out


def test_generate_refuses_a_decoder_that_does_not_fit(indexes, run, minari_root, capsys):
    assert run("generate", "cli/bad-v0", "--no-card", *WORLD, "decoder=faiss:IVF301,Flat") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "has 301 lists for 300 items" in line
    assert not list(minari_root.rglob("bad-v0"))


@pytest.fixture
def contexts(tmp_path):
    """A table of 40 contexts."""
    rows = np.random.default_rng(0).uniform(-1, 1, (40, 10))
    header = ",".join(f"context_{i}" for i in range(10))
    np.savetxt(tmp_path / "contexts.csv", rows, delimiter=",", header=header, comments="")
    return tmp_path / "contexts.csv"


def test_recommend_says_it_on_standard_error_and_beside_the_table(
    run, trained, contexts, tmp_path, capsys
):
    out = tmp_path / "top.csv"
    words = ["recommend", trained, "--contexts", contexts, "-k", 2, "--out", out]
    assert run(*words, "--decoder", SCARCE) == 0
    told = json.loads((tmp_path / "top.csv.retrieval.json").read_text())
    printed = capsys.readouterr()
    assert f"Items are found by {SCARCE}: recall@1 {told['at_1']:.1%}" in printed.err
    assert printed.out == ""
    assert out.read_text().count("\n") == 81
    out.unlink()
    assert run(*words, "--decoder", "exact") == 0
    assert "Items are found" not in capsys.readouterr().err


def test_ope_says_it_below_the_table(run, trained, dataset, tmp_path, capsys):
    results = {}
    for name in (SCARCE, WHOLE, "exact"):
        out = tmp_path / name.partition("=")[2]
        words = ["ope", trained, "--dataset", dataset, "--decoder", name, "--out", out / "ope"]
        assert run(*words) == 0
        printed = capsys.readouterr().out
        results[name] = json.loads((out / "ope" / "ope.json").read_text())[trained.as_posix()]
        assert ("items are found by" in printed) == (name != "exact")
        if name != "exact":
            value = results[name]["recall"]["value"]
            assert f"items are found by {name}, recall@1 {value:.1%} [" in printed
            assert "in the first 800 contexts; what that loses in reward, a log" in printed
    assert results[SCARCE]["recall"]["value"] < 1.0
    assert results[WHOLE].pop("recall") == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert results[WHOLE].pop("decoder") == WHOLE
    assert results[WHOLE] == results["exact"]


def test_ope_of_draws_by_an_approximate_decoder(run, trained, dataset, capsys):
    words = ["ope", trained, "--dataset", dataset, "--decoder", WHOLE, "--samples", 2]
    assert run(*words) == 0
    assert f"items are found by {WHOLE}, recall@1 100.0%" in capsys.readouterr().out


def test_export_writes_the_index_and_says_its_recall(run, trained, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    assert run("export", trained, "--out", tmp_path / "out", "--decoder", SCARCE) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert f"items by {SCARCE}, recall@1 " in lines[-1]
    assert (tmp_path / "out" / "index" / "index.faiss").is_file()
    words = ["evaluate", trained, "--num-users", 50, "--decoder", f"index:{tmp_path}/out/index"]
    assert run(*words) == 0
    assert f"Items are found by {SCARCE}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["evaluate", "recommend", "ope", "export", "serve"])
@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        ("exat", "Did you mean 'exact'?"),
        ("faiss:IVF301,Flat", "has 301 lists for 300 items"),
        ("faiss:IVF8,Flatt", "Did you mean 'faiss:IVF8,Flat'?"),
        ("faiss:IVF8,Flat?nprobe=9", "=9 is not an integer from 1 to 8"),
        ("index:nowhere", "holds no index"),
    ],
)
def test_what_is_no_decoder_is_one_line(
    run, trained, indexes, dataset, contexts, tmp_path, capsys, command, decoder, message
):
    words = [] if command == "serve" else ["--out", tmp_path / "out"]
    words += {"recommend": ["--contexts", contexts], "ope": ["--dataset", dataset]}.get(command, [])
    assert run(command, trained, "--decoder", decoder, *words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()
    assert not indexes.exists()


def test_train_evaluates_by_it_and_keeps_that_it_did(indexes, run, dataset, tmp_path):
    words = ["train", "--dataset", dataset, "--agent", "bc", *QUICK]
    found = {}
    for name, decoder in (("exact", []), ("scarce", [SCARCE]), ("whole", [WHOLE])):
        options = ["--decoder", *decoder] if decoder else []
        assert run(*words, "--out", tmp_path / name, *options) == 0
        folder = tmp_path / name / "seed-0"
        assert load_config(folder)["source"].get("decoder") == (decoder or [None])[0]
        found[name] = (folder / "history.csv").read_text()
    assert found["whole"] == found["exact"] != found["scarce"]


def test_train_refuses_a_decoder_that_is_none_before_it_learns(run, dataset, tmp_path, capsys):
    words = ["train", "--dataset", dataset, "--agent", "bc", "--out", tmp_path / "bc", *QUICK]
    assert run(*words, "--decoder", "faiss") == 2
    assert "faiss" in capsys.readouterr().err
    assert not (tmp_path / "bc").exists()
