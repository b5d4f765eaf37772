from __future__ import annotations

import minari
import numpy as np
import pytest
import torch

from recsim_drpo import load_transitions
from recsim_drpo.datasets.append_log import append_log
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.ope.held_out import load_and_hold_out
from recsim_drpo.ope.intervals import logit_interval
from recsim_drpo.reporting.statistics import ratio_interval

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

from recsim_drpo.datasets.importing.requests import SlateCheck, request_codes  # noqa: E402

HEADER = "item_id,reward,propensity,x,page,slot\n"
PAGES = Columns(numbers=["x"], request="page", position="slot")


def test_codes_are_of_the_text_whatever_the_type_and_the_log():
    rows = np.arange(1, 4)
    text = request_codes(pa.array(["7", " 8", "7 "]), rows, "a.csv")
    assert (text >= 0).all()
    assert text[0] == text[2] != text[1]
    for cells in (pa.array([7, 8, 7]), pa.array(["7", "8", "7"]).dictionary_encode()):
        assert request_codes(cells, rows + 5, "b.csv").tolist() == text.tolist()


def test_a_row_without_a_request_stands_alone():
    cells = pa.array(["7", None, None])
    codes = [request_codes(cells, np.array([1, 2, 3]), file) for file in ("a.csv", "b.csv")]
    assert codes[0][0] == codes[1][0]
    assert len({*codes[0].tolist(), *codes[1].tolist()}) == 5


def test_requests_and_positions_are_kept_across_an_append(shop, tmp_path):
    rows = ["10,1,0.5,1,p-1,2", "11,0,0.5,2,p-1,", "12,0,0.5,3,p-2,1", "13,1,0.5,4,,3"]
    shop.load(shop.write(tmp_path / "log.csv", rows, HEADER), PAGES)
    more = shop.write(tmp_path / "more.csv", ["10,1,0.5,5,p-2,4"], HEADER)
    dataset = append_log("own/log-v0", more, progress=False)
    log = load_transitions(dataset, infos=["request", "position"]).as_batch()
    first, second, third, alone, appended = log.infos["request"].tolist()
    assert first == second
    assert third == appended
    assert len({first, third, alone}) == 3
    np.testing.assert_array_equal(log.infos["position"], [2, np.nan, 1, 3, 4])


def paged(rewards_of, pages=40):
    return [
        f"{10 + k % 4},{rewards_of(page, k)},0.25,{k},p-{page},{k}"
        for page in range(pages)
        for k in range(3)
    ]


def test_a_request_is_one_cluster_on_one_side_of_the_split(shop, tmp_path):
    rewards = np.random.default_rng(0).integers(2, size=(40, 3))
    rows = paged(lambda page, k: rewards[page, k])
    dataset = shop.load(shop.write(tmp_path / "log.csv", rows, HEADER), PAGES)
    learnt, evaluator = load_and_hold_out(dataset, 0.26, infos=["request"])
    assert len(learnt) % 3 == 0
    found = evaluator(First())
    log = load_transitions(dataset, infos=["item_id", "request"]).as_batch()
    held = slice(len(learnt), None)
    match = (log.infos["item_id"][held] == 0).numpy() / 0.25
    expected = ratio_interval(
        match * log.rewards[held].numpy(), match, log.infos["request"][held].numpy()
    )
    in_range = logit_interval(expected, (0.0, 1.0), float((match > 0).sum()))
    assert tuple(found.value) == pytest.approx(tuple(in_range), rel=1e-6)
    assert found.num_rounds == 30


class First:
    """A policy that shows the first item."""

    def act(self, observations):
        return torch.eye(4)[0].expand(len(observations), -1)


def test_one_reward_for_a_slate_is_refused_with_what_to_do(shop, nothing_is_left, tmp_path):
    path = shop.write(tmp_path / "log.csv", paged(lambda page, k: page % 2), HEADER)
    with pytest.raises(ValueError, match=r"In all 20 requests .* the same reward") as raised:
        shop.load(path, PAGES)
    assert "Give each row the reward of its own item" in str(raised.value)
    assert nothing_is_left()
    # Without word of requests there is none to be seen; with one row apart it is no slate.
    assert shop.load(path, Columns(numbers=["x"])).total_steps == 120
    minari.delete_dataset("own/log-v0")
    apart = shop.write(
        tmp_path / "log.csv", paged(lambda page, k: page % 2 * ((page, k) != (1, 0))), HEADER
    )
    assert shop.load(apart, PAGES).total_steps == 120


def test_a_log_of_one_reward_is_told_and_not_taken_for_slates(shop, tmp_path):
    path = shop.write(tmp_path / "log.csv", paged(lambda page, k: 1), HEADER)
    assert "All 120 rewards are 1" in str(
        (shop.load(path, PAGES), (shop.folder / "README.md").read_text())
    )
    check = SlateCheck()
    check.add(np.repeat(np.arange(9), 2), np.ones(18))  # fewer are alike by chance
    check.check(rewards_differ=True)


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.int64())])
def test_lists_of_items_are_refused_with_what_to_do(shop, nothing_is_left, tmp_path, kind):
    table = pa.table(
        {"item_id": pa.array([[10, 11], [12]], kind), "reward": [1, 0], "x": [1.0, 2.0]}
    )
    parquet.write_table(table, tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"'item_id' has several items in a row, a slate\."):
        shop.load(tmp_path / "log.parquet", Columns(numbers=["x"], propensity=None))
    assert nothing_is_left()
