from __future__ import annotations

from dataclasses import replace

import minari
import numpy as np
import pytest

from recsim_drpo import load_transitions
from recsim_drpo.core.reward_unit import RewardUnit
from recsim_drpo.datasets.import_log import import_summary
from recsim_drpo.datasets.imported import reward_unit
from recsim_drpo.datasets.importing.columns import Columns

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

BAD = {
    "14,1,0.5,1,phone,1": ("sku: no embedding of that id", "14"),
    ",1,0.5,1,phone,1": ("sku: missing", ""),
    "10,2,0.5,1,phone,1": ("click: outside [0, 1]", "2"),
    "10,-0.1,0.5,1,phone,1": ("click: outside [0, 1]", "-0.1"),
    "10,yes,0.5,1,phone,1": ("click: no finite number", "yes"),
    "10,nan,0.5,1,phone,1": ("click: missing", "nan"),
    "10,,0.5,1,phone,1": ("click: missing", ""),
    "10,1,0,1,phone,1": ("propensity: outside (0, 1]", "0"),
    "10,1,1.01,1,phone,1": ("propensity: outside (0, 1]", "1.01"),
    "10,1,-0.5,1,phone,1": ("propensity: outside (0, 1]", "-0.5"),
    "10,1,,1,phone,1": ("propensity: missing", ""),
    "10,1,0.5,inf,phone,1": ("age: no finite number", "inf"),
    "10,1,0.5,1e39,phone,1": ("age: no finite number", "1e39"),  # no float32
    "10,1,0.5,1,,1": ("device: missing", ""),
    "10,1,0.5,1": ("4 cells where 6 are due", "10,1,0.5,1"),
    "10,1,0.5,1,phone,1,2": ("7 cells where 6 are due", "10,1,0.5,1,phone,1,2"),
}


def test_every_refused_row_is_counted_and_listed(shop, tmp_path):
    rows = [row for bad in BAD for row in (shop.GOOD[0], bad)]
    strict = replace(shop.COLUMNS, missing="refuse")
    dataset = shop.load(shop.write(tmp_path / "log.csv", rows), strict)
    expected = [(str(2 * k + 2), *what) for k, what in enumerate(BAD.values())]
    assert sorted(shop.rejected(), key=lambda row: int(row[0])) == expected
    counts = dataset.storage.metadata["import"]
    assert counts["imported"] == dataset.total_steps == len(BAD)
    assert sum(counts["refused"].values()) == len(BAD)
    assert counts["rows"] == 2 * len(BAD)
    assert counts["refused"]["propensity: outside (0, 1]"] == 3
    summary = import_summary(dataset)
    assert "refused, propensity: outside (0, 1]" in summary
    assert "row 16: '0'" in (shop.folder / "README.md").read_text()


def test_rewards_outside_the_range_are_refused_or_clipped(shop, tmp_path):
    rows = [f"10,{reward},0.5,1,phone,1" for reward in (-3, 0, 4, 9)]
    path = shop.write(tmp_path / "log.csv", rows)
    fields = {"numbers": ["age"], "item": "sku", "reward": "click", "reward_range": (-1, 5)}
    dataset = shop.load(path, Columns(**fields))
    # From -1 to 5 is from 0 to 1 to those who learn.
    assert load_transitions(dataset).rewards.tolist() == pytest.approx([1 / 6, 5 / 6])
    assert reward_unit(dataset) == RewardUnit(-1.0, 5.0)
    assert dataset.storage.metadata["logged_mean_reward"] == pytest.approx(2.0)
    assert "is 2 on average" in (shop.folder / "README.md").read_text()
    assert dataset.storage.metadata["import"]["refused"] == {"click: outside [-1, 5]": 2}
    minari.delete_dataset("own/log-v0")
    dataset = shop.load(path, Columns(**fields, outside="clip"))
    assert load_transitions(dataset).rewards.tolist() == pytest.approx([0, 1 / 6, 5 / 6, 1])
    assert dataset.storage.metadata["import"]["clipped"] == 2
    assert "reward clipped" in import_summary(dataset)


def test_ids_of_any_type_find_their_vectors(shop, tmp_path):
    table = pa.table({"item_id": [11.0, None, 13.0], "reward": [True, True, False], "x": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "log.parquet")
    dataset = shop.load(tmp_path / "log.parquet", Columns(numbers=["x"], propensity=None))
    log = load_transitions(dataset, infos=["item_id"]).as_batch()
    assert log.infos["item_id"].tolist() == [1, 3]
    assert log.rewards.tolist() == [1, 0]
    assert dataset.storage.metadata["import"]["refused"] == {"item_id: missing": 1}
    minari.delete_dataset("own/log-v0")
    named = (shop.VECTORS, np.array(["a b", "007", "7", "é"]))
    path = shop.write(
        tmp_path / "log.csv", ['" a b ",1,1', "007,1,2", "é,1,3"], "item_id,reward,x\n"
    )
    dataset = shop.load(path, Columns(numbers=["x"], propensity=None), named)
    assert load_transitions(dataset, infos=["item_id"]).infos["item_id"].tolist() == [0, 1, 3]
