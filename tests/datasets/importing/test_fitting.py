from __future__ import annotations

import json
from dataclasses import replace

import minari
import numpy as np
import pytest

from recsim_drpo import load_transitions
from recsim_drpo.datasets.imported import imported_context
from recsim_drpo.datasets.importing.coding import ContextCoder, hash_bucket
from recsim_drpo.datasets.importing.columns import Columns, read_columns

pytest.importorskip("pyarrow")

GAPS = ("11,1,0.5,1,phone,1", "13,0,0.5,,tablet,2", "10,1,0.5,5,,3", "10,0,0.5,3,phone,")
TYPES = {"item": "sku", "reward": "click"}


def contexts(dataset):
    return load_transitions(dataset).observations().numpy()


def test_numbers_are_standardised_and_gaps_have_dimensions(shop, tmp_path):
    columns = replace(shop.COLUMNS, transforms={})
    dataset = shop.load(shop.write(tmp_path / "log.csv", GAPS), columns)
    low, high = (1 - 3) / (8 / 3) ** 0.5, (5 - 3) / (8 / 3) ** 0.5
    np.testing.assert_allclose(  # age, phone, tablet, device missing, age missing
        contexts(dataset),
        [[low, 1, 0, 0, 0], [0, 0, 1, 0, 1], [high, 0, 0, 1, 0], [0, 1, 0, 0, 0]],
        rtol=1e-6,
    )
    assert shop.rejected() == []
    kept = load_transitions(dataset, infos=["day"]).infos["day"].tolist()
    assert kept[:3] == [1, 2, 3]
    assert np.isnan(kept[3])
    card = (shop.folder / "README.md").read_text()
    assert "| age    | standardise |    3 |" in card
    assert "25.00%" in card
    # A log without gaps, and one with another device and an empty age, are coded alike.
    columns = Columns(**read_columns(shop.folder / "columns.json"))
    before = imported_context(dataset)
    minari.delete_dataset("own/log-v0")
    other = shop.write(tmp_path / "b.csv", ["10,1,0.5,5,tablet,1", "10,1,0.5,,watch,1"])
    dataset = shop.load(other, columns)
    np.testing.assert_allclose(contexts(dataset), [[high, 0, 1, 0, 0], [0, 0, 0, 0, 1]], rtol=1e-6)
    assert imported_context(dataset) == before
    assert ContextCoder.of_description(before).dimensions == [
        "age",
        "device=phone",
        "device=tablet",
        "device=missing",
        "age=missing",
    ]


def test_rows_with_gaps_are_refused_on_demand(shop, tmp_path):
    columns = replace(shop.COLUMNS, transforms={}, missing="refuse")
    dataset = shop.load(shop.write(tmp_path / "log.csv", GAPS), columns)
    assert contexts(dataset).shape == (2, 2)  # age and phone: no other device is in use
    assert shop.rejected() == [("2", "age: missing", ""), ("3", "device: missing", "")]
    assert imported_context(dataset)["coding"]["strict"] is True


def test_categories_that_were_not_given_are_others(shop, tmp_path):
    columns = replace(shop.COLUMNS, categories={"device": ["tablet", "watch"]})
    dataset = shop.load(shop.write(tmp_path / "log.csv", shop.GOOD), columns)
    # age, tablet, watch, another
    assert contexts(dataset).tolist() == [[0.25, 0, 0, 1], [-2, 1, 0, 0], [30, 0, 0, 1]]


def test_hashed_columns(shop, tmp_path):
    # The check value by which any implementation of CRC-32 is known.
    assert [hash_bucket(text, 2**32) for text in ("123456789", "")] == [0xCBF43926, 0]
    columns = replace(shop.COLUMNS, numbers=(), transforms={}, categories={}, hashes={"device": 5})
    dataset = shop.load(shop.write(tmp_path / "log.csv", GAPS), columns)
    expected = np.zeros((4, 6))
    for row, text in ((0, "phone"), (1, "tablet"), (3, "phone")):
        expected[row, hash_bucket(text, 5)] = 1
    expected[2, 5] = 1  # missing
    np.testing.assert_array_equal(contexts(dataset), expected)
    counts = np.bincount([hash_bucket(f"user-{k}", 50) for k in range(50_000)], minlength=50)
    assert counts.min() > 900  # 1,000 each, give or take three deviations
    assert counts.max() < 1100
    many = [f"10,1,0.5,1,{k},1" for k in range(1001)]
    minari.delete_dataset("own/log-v0")
    assert contexts(shop.load(shop.write(tmp_path / "log.csv", many), columns)).shape == (1001, 5)


def test_columns_of_a_former_dataset_are_coded_as_they_were(shop, tmp_path):
    former = {
        "numbers": ["age"],
        "categories": {"device": ["phone", "tablet"]},
        **TYPES,
        "propensity": "propensity",
        "keep": [],
        "reward_range": [0.0, 1.0],
        "outside": "refuse",
    }
    (tmp_path / "columns.json").write_text(json.dumps(former))
    columns = Columns(**read_columns(tmp_path / "columns.json"))
    dataset = shop.load(shop.write(tmp_path / "log.csv", GAPS), columns)
    assert contexts(dataset).tolist() == [[1, 1, 0], [3, 1, 0]]
    assert imported_context(dataset) == {k: former[k] for k in ("numbers", "categories")}
    del former["keep"]  # written by hand
    (tmp_path / "columns.json").write_text(json.dumps(former))
    assert Columns(**read_columns(tmp_path / "columns.json")).coding is None


def test_a_coding_of_other_columns_is_refused():
    description = {"numbers": ["a"], "categories": {}, "coding": {"numbers": {"b": {}}}}
    with pytest.raises(ValueError, match=r"coding is of the numbers \['b'\], not of \['a'\]"):
        ContextCoder.of_description(description)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"transforms": {"age": "logg"}}, "Unknown transform 'logg'. Did you mean 'log'"),
        ({"transforms": {"agee": "log"}}, "to be transformed 'agee'. Did you mean 'age'"),
        ({"hashes": {"sku2": 5}}, "Did you mean 'sku'"),
        ({"hashes": {"device": 0}}, "number of buckets of 'device'=0 is not an integer from 1 to"),
        ({"missing": "cod"}, "Did you mean 'code'"),
    ],
)
def test_wrong_codings_are_one_clear_error(shop, nothing_is_left, tmp_path, fields, message):
    path = shop.write(tmp_path / "log.csv", shop.GOOD)
    with pytest.raises(ValueError, match=message):
        shop.load(path, Columns(**({"numbers": ["age"]} | TYPES | fields)))
    assert nothing_is_left()


def test_patterns_of_transforms(shop, tmp_path):
    transforms = {"age": "log", "*": "none", "d*": "quantile"}
    columns = Columns(numbers=["age", "day"], transforms=transforms, **TYPES)
    dataset = shop.load(shop.write(tmp_path / "log.csv", shop.GOOD), columns)
    assert read_columns(shop.folder / "columns.json")["transforms"] == {
        "age": "log",
        "day": "quantile",
    }
    assert contexts(dataset)[:, 1].tolist() == [-1, 0, 1]


def test_numbers_that_cannot_be_told_apart_are_noted_on_the_card(shop, tmp_path):
    rows = [f"10,1,0.5,{1_700_000_000 + k},phone,1" for k in range(100)]
    dataset = shop.load(shop.write(tmp_path / "log.csv", rows))
    (note,) = dataset.storage.metadata["import"]["notes"]
    assert "Column 'age': single precision leaves 2 of 100 different numbers" in note
    assert note in (shop.folder / "README.md").read_text()


def test_ids_and_categories_with_a_point_are_whole(shop, tmp_path):
    rows = ["11.0,1,0.5,1,1.0,1", "13,True,0.5,2,1,2", " 10 ,FALSE,0.5,3,2.50,3"]
    dataset = shop.load(shop.write(tmp_path / "log.csv", rows))
    assert imported_context(dataset)["categories"] == {"device": ["1", "2.5"]}
    log = load_transitions(dataset, infos=["item_id"])
    assert log.infos["item_id"].tolist() == [1, 3, 0]
    assert log.rewards.tolist() == [1, 1, 0]
