from __future__ import annotations

import pytest

from recsim_drpo import load_transitions
from recsim_drpo.datasets.importing.columns import Columns, read_columns

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402


def test_logs_without_propensities(shop, tmp_path):
    path = shop.write(tmp_path / "log.csv", ["10,1,3"], "item_id,reward,x\n")
    with pytest.raises(
        ValueError, match=r"column of 'log\.csv' for the propensity 'propensity'.*--no-"
    ):
        shop.load(path, Columns(numbers=["x"]))
    dataset = shop.load(path, Columns(numbers=["x"], propensity=None))
    with pytest.raises(ValueError, match=r"Unknown info column .*'propensity'.* Known: item_id"):
        load_transitions(dataset, infos=["propensity"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reward": "clik"}, "for the reward 'clik'. Did you mean 'click'"),
        ({"item": "item_id"}, "for the item 'item_id'"),
        ({"propensity": "propensties"}, "Did you mean 'propensity'"),
        ({"numbers": ["agee"]}, "Did you mean 'age'"),
        ({"numbers": ["age_*"]}, "'age_\\*'. Did you mean 'age'"),
        ({"keep": ["dya"]}, "Did you mean 'day'"),
        ({"numbers": ["*"]}, "'sku' is the item and part of the context"),
        ({"categories": ["age"]}, "'age' is the part of the context and part of the context"),
        ({"numbers": [], "categories": []}, "A context is needed"),
        ({"numbers": "age"}, "numbers='age' is text"),
        ({"reward_range": (1, 0)}, r"reward_range's largest=0 is not a number in \(1, inf\)"),
        ({"reward_range": (1,)}, "not a smallest and a largest"),
        ({"outside": "clipp"}, "Did you mean 'clip'"),
    ],
)
def test_wrong_columns_are_one_clear_error(shop, nothing_is_left, tmp_path, fields, message):
    usual = {"numbers": ["age"], "categories": ["device"], "item": "sku", "reward": "click"}
    path = shop.write(tmp_path / "log.csv", shop.GOOD)
    with pytest.raises(ValueError, match=message):
        shop.load(path, Columns(**(usual | fields)))
    assert nothing_is_left()


def test_columns_that_cannot_be_used_are_one_clear_error(shop, nothing_is_left, tmp_path):
    table = shop.as_table().append_column("when", pa.array([0, 1, 2], pa.timestamp("s")))
    parquet.write_table(table, tmp_path / "log.parquet")
    columns = Columns(numbers=["when"], item="sku", reward="click")
    with pytest.raises(ValueError, match=r"Not one row .* 3 × when: no finite number .*1970"):
        shop.load(tmp_path / "log.parquet", columns)
    rows = [f"10,1,0.5,1,{k},1" for k in range(1001)]
    with pytest.raises(ValueError, match=r"'device' of 'log\.csv' has more than 1,000 different"):
        shop.load(shop.write(tmp_path / "log.csv", rows))
    assert nothing_is_left()


def test_an_odd_columns_file_is_one_clear_error(tmp_path):
    path = tmp_path / "columns.json"
    for text, message in (
        ("{", "is not JSON"),
        ("[1]", "no object of fields"),
        ('{"rewrd": "click"}', "Did you mean 'reward'"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_columns(path)
