from __future__ import annotations

import csv
import os
import shlex
import shutil
from pathlib import Path

import minari
import numpy as np
import pytest

from recsim_drpo import load_transitions
from recsim_drpo.benchmarks.open_bandit import as_markdown, click_rate, judged, study
from recsim_drpo.cli import main
from recsim_drpo.datasets.import_log import import_log
from recsim_drpo.datasets.imported import imported_items
from recsim_drpo.datasets.importing.open_bandit import open_bandit
from recsim_drpo.ope.held_out import HeldOut
from recsim_drpo.reporting.statistics import Estimate

pytest.importorskip("pyarrow")

OBD = Path(os.environ.get("RECSIM_DRPO_DATA", Path(__file__).parents[4] / "shared/data")) / "obd"
needs_data = pytest.mark.skipif(not OBD.is_dir(), reason="the Open Bandit Dataset is not here")

HEADER = ",timestamp,item_id,position,click,propensity_score,user_feature_0,user-item_affinity_0\n"
ITEM_HEADER = ",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3\n"


def write_campaign(folder, random, bts, items):
    for path in (random, bts, items):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / random).write_text(HEADER + "0,t,1,3,0,0.5,u,0.5\n1,t,0,1,1,0.5,v,0\n")
    (folder / bts).write_text(HEADER + "0,t,0,2,0,0.9,w,2\n")
    (folder / items).write_text(ITEM_HEADER + "0,1,1,a,x,p\n1,0,-1,b,x,q\n2,2,0,b,x,p\n")
    return folder / random


@pytest.mark.parametrize(
    "files",
    [
        ("men_random.csv", "men_bts.csv", "men_item_context.csv"),
        ("random/men/men.csv", "bts/men/men.csv", "random/men/item_context.csv"),
    ],
)
def test_both_layouts(minari_root, tmp_path, files):
    log = write_campaign(tmp_path, *files)
    columns, items, notes = open_bandit(log)
    dataset = import_log("obd/men-v0", log, items, columns, notes=notes, progress=False)
    batch = load_transitions(dataset, infos=["item_id", "propensity", "position"]).as_batch()
    # The affinity; positions 1 to 3; the users' feature u, v or w, of both logs.
    assert batch.observations.tolist() == [[0.5, 0, 0, 1, 1, 0, 0], [0, 1, 0, 0, 0, 1, 0]]
    assert batch.rewards.tolist() == [0, 1]
    assert batch.infos["position"].tolist() == [3, 1]
    assert batch.infos["propensity"].tolist() == [0.5, 0.5]
    vectors, ids = imported_items(dataset)
    assert ids.tolist() == [0, 1, 2]
    # By id: the standardised number, then a or b, x, and p or q.
    z = 1 / np.sqrt(2 / 3)
    expected = np.array([[-z, 0, 1, 1, 0, 1], [z, 1, 0, 1, 1, 0], [0, 0, 1, 1, 1, 0]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    np.testing.assert_allclose(batch.actions, expected[[1, 0]], atol=1e-6)
    assert all(str(Path(name)) in notes[0] for name in files[:2])


def test_another_file_is_one_clear_error(tmp_path):
    (tmp_path / "men_random.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FileNotFoundError, match=r"no item context at .*men_item_context\.csv"):
        open_bandit(tmp_path / "men_random.csv")
    (tmp_path / "men_item_context.csv").write_text(ITEM_HEADER)
    with pytest.raises(ValueError, match=r"Unknown column of 'men_random\.csv'"):
        open_bandit(tmp_path / "men_random.csv")
    with pytest.raises(FileNotFoundError, match="no log at"):
        open_bandit(tmp_path / "women_random.csv")


@needs_data
def test_the_real_campaign_is_imported_whole(minari_root, capsys):
    clicks = {"random": 46, "bts": 69}
    for policy, expected in clicks.items():
        log = OBD / f"men_{policy}.csv"
        assert main(["import", f"obd/{policy}-v0", str(log), "--preset", "open-bandit"]) == 0
        assert "2 items share their vector with another (3 = 21)" in capsys.readouterr().out
        dataset = minari.load_dataset(f"obd/{policy}-v0")
        counts = dataset.storage.metadata["import"]
        assert (counts["imported"], counts["refused"], counts["items"]) == (10_000, {}, 34)
        batch = load_transitions(dataset, infos=["item_id", "propensity"]).as_batch()
        assert batch.rewards.sum() == expected
        # 34 affinities, 3 positions, and 3, 5, 9 and 9 values of the users' features.
        assert batch.observations.shape == (10_000, 34 + 3 + 3 + 5 + 9 + 9)
        assert (batch.observations[:, 34:].sum(dim=1) == 5).all()
        vectors, _ = imported_items(dataset)
        np.testing.assert_array_equal(batch.actions, vectors[batch.infos["item_id"]])
        if policy == "random":
            np.testing.assert_allclose(batch.infos["propensity"], 1 / 34)


def test_click_rates_have_exact_intervals():
    # By hand: with no click of n the upper end is 1 - 0.025^(1/n); one of one mirrors it.
    assert click_rate(0, 100).low == 0
    assert click_rate(0, 100).high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert click_rate(1, 1).low == pytest.approx(0.025)
    assert click_rate(1, 1).high == 1
    assert click_rate(0, 0)[1:] == (0.0, 1.0)


@pytest.mark.parametrize(
    ("clicks", "verdict"), [(0, "undecidable"), (4, "undecidable"), (40, "better")]
)
def test_verdicts_need_intervals_apart(clicks, verdict):
    value = Estimate(clicks / 300, 0, 0)
    found = HeldOut(
        value, matches=300, reward=clicks, effective=300, nonfinite_share=0, num_rounds=9
    )
    log_rate = click_rate(46, 10_000)
    rate, found_verdict, decidable_from = judged(found, log_rate)
    assert found_verdict == verdict
    assert rate == click_rate(clicks, 300)
    assert (rate.value >= decidable_from) == (verdict == "better")
    # The rate from which on is that at which the intervals part.
    assert click_rate(300 * decidable_from, 300).low == pytest.approx(log_rate.high, rel=1e-3)
    worse = judged(HeldOut(Estimate(0, 0, 0), 9_000, 0, 9_000, 0, 9_000), click_rate(460, 10_000))
    assert worse[1] == "worse"


@needs_data
@pytest.mark.slow
def test_the_study_of_real_logs_runs():
    rows = study(OBD, seeds=[0], steps=20)
    assert [(row.policy, row.learnt_from) for row in rows] == [
        (policy, log)
        for log in ("random", "bts")
        for policy in ("most clicked item", "bc", "awr", "iql", "drpo")
    ]
    # The most clicked item of the Thompson log is 13, shown 273 times by chance.
    assert (rows[5].matches, rows[5].clicks, rows[5].effective) == (273, 1, pytest.approx(273))
    assert "undecidable" in as_markdown(rows)


@pytest.mark.slow
@needs_data
def test_the_readmes_five_commands_make_the_whole_chain(minari_root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("men_random.csv", "men_bts.csv", "men_item_context.csv"):
        shutil.copy(OBD / name, name)
    text = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    _, _, section = text.partition("## Your own logs")
    commands = section.split("```")[1].strip().splitlines()
    assert len(commands) == 5
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0, command
    printed = capsys.readouterr().out
    assert "8 of 1,000" in printed  # clicks of the rounds held out
    assert printed.count("refused |") == 5
    with Path("shown.csv").open(newline="") as file:
        shown = list(csv.DictReader(file))
    assert len(shown) == 10_000
    greedy, explored = 1 - 0.1 + 0.1 / 34, 0.1 / 34
    propensities = np.array([float(row["propensity"]) for row in shown])
    assert np.minimum(abs(propensities - greedy), abs(propensities - explored)).max() < 1e-7
    assert (tmp_path / "exported" / "policy.onnx").exists()
