from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from recsim_drpo.cli import main
from recsim_drpo.datasets.import_log import import_log
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.ope.held_out import load_and_hold_out
from recsim_drpo.ope.logs import read_item_log
from recsim_drpo.ope.split import held_out_part, split_rounds

pytest.importorskip("pyarrow")


def test_the_last_rounds_are_held_out():
    learnt, held_out = split_rounds(10, 0.3)
    assert learnt.tolist() == list(range(7))
    assert held_out.tolist() == [7, 8, 9]
    for share, message in ((0.01, "none to hold out"), (0.99, "none to learn from")):
        with pytest.raises(ValueError, match=message):
            split_rounds(10, share)


def test_the_latest_rounds_are_held_out_and_no_moment_is_on_both_sides():
    times = np.array([5.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0])
    learnt, held_out = split_rounds(8, 0.4, times)  # 3 of 8: the cut would part the 3s
    assert learnt.tolist() == [1, 2, 3, 4, 5, 6]
    assert held_out.tolist() == [7, 0]
    # One moment has almost all: the cut is where the share says.
    for share, wanted in ((0.5, 4), (0.25, 2)):
        learnt, held_out = split_rounds(8, share, np.array([1.0, 2, 2, 2, 2, 2, 2, 2]))
        assert (len(learnt), len(held_out)) == (8 - wanted, wanted)


def test_a_request_is_not_on_both_sides():
    requests = np.array([1, 1, 1, 2, 2, 2, 3, 3])
    learnt, held_out = split_rounds(8, 0.5, requests=requests)
    assert learnt.tolist() == [0, 1, 2]
    assert held_out.tolist() == [3, 4, 5, 6, 7]


@given(
    st.lists(st.integers(0, 8), min_size=4, max_size=60),
    st.floats(0.2, 0.8),
    st.floats(0.2, 0.8),
)
def test_whatever_is_learnt_from_is_no_later_than_what_is_held_out(times, share, other):
    column = np.array(times, dtype=np.float64)
    parts = split_rounds(len(times), share, column)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(times)))
    assert min(map(len, parts)) > 0
    assert column[parts[0]].max() <= column[parts[1]].min()
    # A smaller share holds out nothing that a larger one does not: ope may take it.
    small, large = (split_rounds(len(times), each, column)[1] for each in sorted((share, other)))
    assert set(small.tolist()) <= set(large.tolist())


class Always:
    """A policy that shows the first item."""

    def act(self, observations):
        return torch.eye(3)[0].expand(len(observations), -1)


@pytest.fixture
def log(minari_root, tmp_path, monkeypatch) -> Path:
    """A log in no order, its time in x as well; its rewards are 1 in the last 30 of 200."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    lines = ["item_id,reward,propensity,x,at"]
    lines += [f"{k % 3},{int(k >= 170)},0.3333,{k},{k}" for k in generator.permutation(200)]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    np.save(tmp_path / "items.npy", np.eye(3, dtype=np.float32))
    return tmp_path / "log.csv"


def imported(log, **fields):
    columns = Columns(numbers=["x"], transforms={"x": "none"}, **fields)
    return import_log("own/log-v0", log, log.with_name("items.npy"), columns, progress=False)


def test_training_and_ope_agree_on_the_latest_rounds(log):
    dataset = imported(log, time="at")
    learnt, evaluator = load_and_hold_out(dataset, 0.15)
    assert learnt.observations()[:, 0].tolist() == list(range(170))
    assert learnt.rewards.tolist() == [0.0] * 170
    found = evaluator(Always())
    assert (found.num_rounds, found.matches, found.reward) == (30, 10, 10.0)
    later = held_out_part(read_item_log(dataset), dataset, 0.15)
    assert later.contexts[:, 0].tolist() == list(range(170, 200))
    assert later.rewards.tolist() == [1.0] * 30
    assert len(later.propensities) == len(later) == 30
    assert len(later.embeddings) == 3


def test_a_dataset_in_no_order_of_its_time_is_split_by_it(log):
    """As after an append of what is earlier."""
    dataset = imported(log, keep=["at"])
    about = dict(dataset.storage.metadata["import"])
    dataset.storage.update_metadata({"import": about | {"time": [0.0, 199.0]}})
    with pytest.raises(ValueError, match="'time'"):
        load_and_hold_out(dataset, 0.15)
    dataset = imported_again(log)
    learnt, evaluator = load_and_hold_out(dataset, 0.15, infos=["item_id"])
    assert sorted(learnt.observations()[:, 0].tolist()) == list(range(170))
    assert learnt.infos["item_id"].tolist() == [x % 3 for x in learnt.observations()[:, 0].int()]
    assert evaluator(Always()).reward == 10.0


def imported_again(log):
    """The log with its time as it is kept, but rounds as they come."""
    text = log.read_text().replace("x,at", "x,time")
    log.write_text(text)
    columns = Columns(numbers=["x"], transforms={"x": "none"}, keep=["time"])
    dataset = import_log("own/b-v0", log, log.with_name("items.npy"), columns, progress=False)
    about = dict(dataset.storage.metadata["import"])
    dataset.storage.update_metadata({"import": about | {"time": [0.0, 199.0]}})
    return dataset


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_ope_on_the_rounds_that_a_run_has_not_learnt_from(log, capsys):
    items = ["--items", log.with_name("items.npy"), "--numbers", "x", "--time", "at"]
    assert run("import", "own/log-v0", log, *items) == 0
    train = ["train", "--dataset", "own/log-v0", "--agent", "bc", "--steps", 10, "--out", "runs"]
    assert run(*train, "--log-every", 10, "--held-out", 0.15) == 0
    ope = ["ope", "runs/seed-0", "--dataset", "own/log-v0"]
    capsys.readouterr()
    assert run(*ope) == 0
    out = capsys.readouterr().out
    assert "200 rounds; observed reward" in out
    assert "overestimated. All but its last rounds, that is: --held-out 0.15 is those." in out
    assert run(*ope, "--held-out", 0.15) == 0
    out = capsys.readouterr().out
    assert "30 rounds; observed reward" in out
    assert "1.0000" in out
    assert "overestimated" not in out
    assert run(*ope, "--held-out", 0.2) == 0
    assert "overestimated" in capsys.readouterr().out
    assert run(*ope, "--held-out", 1) == 2
    assert "held_out=1.0 is not a number in (0, 1)" in capsys.readouterr().err
