from __future__ import annotations

import re

import minari
import pytest

from recsim_drpo.datasets.import_log import import_summary
from recsim_drpo.datasets.importing.columns import Columns

pytest.importorskip("pyarrow")

RATED = Columns(numbers=["age"], item="sku", reward="click")


def rated(*rewards):
    return [f"{10 + k % 4},{reward},0.5,{k},phone,1" for k, reward in enumerate(rewards)]


def test_a_mostly_refused_log_is_an_error_that_names_range_and_option(
    shop, nothing_is_left, tmp_path
):
    path = shop.write(tmp_path / "log.csv", rated(*(1 + k % 5 for k in range(20))))
    with pytest.raises(ValueError, match=r"16 of 20 rows of 'log\.csv' cannot be used") as raised:
        shop.load(path, RATED, max_refused=0.2)
    message = str(raised.value)
    assert "a share of 0.8 where --max-refused allows 0.2" in message
    assert "16 × click: outside [0, 1] (row 2: '2')" in message
    assert "rewards are from 1 to 5" in message
    (option,) = re.findall(r"--reward-range (\S+) (\S+)\.", message)
    assert option == ("1", "5")
    assert nothing_is_left()
    assert shop.load(path, RATED, max_refused=0.8).total_steps == 4


def test_a_share_of_refused_rows_that_is_allowed_is_imported(shop, tmp_path):
    path = shop.write(tmp_path / "log.csv", [*rated(0, 1, 0, 1), "99,1,0.5,1,phone,1"])
    assert shop.load(path, RATED, max_refused=0.2).total_steps == 4
    minari.delete_dataset("own/log-v0")
    with pytest.raises(ValueError, match="ids are like '10', '11', '12'") as raised:
        shop.load(path, RATED, max_refused=0.19)
    assert "--reward-range" not in str(raised.value)
    with pytest.raises(ValueError, match=r"max_refused=1.5 is not a number in \[0, 1\]"):
        shop.load(path, RATED, max_refused=1.5)


def test_constant_rewards_are_told(shop, tmp_path):
    dataset = shop.load(shop.write(tmp_path / "log.csv", rated(1, 1, 1)), RATED)
    note = "All 3 rewards are 1: no item is better than another by this log"
    assert note in import_summary(dataset)
    assert note in (shop.folder / "README.md").read_text()
    minari.delete_dataset("own/log-v0")
    dataset = shop.load(shop.write(tmp_path / "log.csv", rated(1, 0, 1)), RATED)
    assert dataset.storage.metadata["import"]["notes"] == []


def test_the_range_that_is_named_keeps_every_row(shop, tmp_path):
    thirds = [str(k / 3) for k in range(4, 20)]
    path = shop.write(tmp_path / "log.csv", rated(*thirds))
    with pytest.raises(ValueError, match="Not one row") as raised:
        shop.load(path, RATED)
    (option,) = re.findall(r"--reward-range (\S+) (\S+)\.", str(raised.value))
    named = Columns(
        numbers=["age"], item="sku", reward="click", reward_range=tuple(map(float, option))
    )
    assert shop.load(path, named, max_refused=0.0).total_steps == 16


def test_rewards_that_take_up_little_of_their_range_are_told(shop, tmp_path):
    path = shop.write(tmp_path / "log.csv", rated(0, "0.0001", "0.00005"))
    summary = import_summary(shop.load(path, RATED))
    assert "from 0 to 0.0001, of a range from 0 to 1 that agents learn from" in summary
    assert "say --reward-range 0 0.0001." in summary
    assert "--reward-range" in (shop.folder / "README.md").read_text()
    fitting = Columns(numbers=["age"], item="sku", reward="click", reward_range=(0, 0.0001))
    assert "--reward-range" not in import_summary(shop.load(path, fitting, replace=True))
    enough = shop.write(tmp_path / "log.csv", rated(0, 0.1))
    assert "--reward-range" not in import_summary(shop.load(enough, RATED, replace=True))


def test_rows_refused_for_their_reward_are_told_to_be_not_any_rows(shop, tmp_path):
    path = shop.write(tmp_path / "log.csv", rated(0, 1, 0.5, 2.25, 0.75))
    summary = import_summary(shop.load(path, RATED))
    assert "those of the highest rewards are missing. Say --reward-range 0 2.25, or" in summary
    path = shop.write(tmp_path / "log.csv", rated(0, 1, -0.5, 2.25, 0.75))
    summary = import_summary(shop.load(path, RATED, replace=True))
    assert "the lowest and the highest rewards are missing. Say --reward-range -0.5 2.25" in summary
    clipped = Columns(numbers=["age"], item="sku", reward="click", outside="clip")
    assert "missing" not in import_summary(shop.load(path, clipped, replace=True))


def test_clipping_tells_how_many_and_from_where(shop, tmp_path):
    path = shop.write(tmp_path / "log.csv", rated(-3, 0, 1, 9, 2))
    dataset = shop.load(path, Columns(numbers=["age"], item="sku", reward="click", outside="clip"))
    row = "| of these with the reward clipped (found: -3 to 9) | 3 |"
    assert re.sub(" +", " ", row) in re.sub(" +", " ", import_summary(dataset))
