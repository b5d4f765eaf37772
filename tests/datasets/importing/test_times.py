from __future__ import annotations

from datetime import UTC, date, datetime

import minari
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recsim_drpo import load_transitions
from recsim_drpo.datasets.import_log import import_summary
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.leaks import LeakCheck
from recsim_drpo.datasets.importing.rounds import Rounds
from recsim_drpo.datasets.importing.sorting import sorted_rounds

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

from recsim_drpo.datasets.importing.times import seconds  # noqa: E402

HEADER = "item_id,reward,propensity,x,at\n"
PLAIN = {"numbers": ["x"], "transforms": {"x": "none"}}
TIMED = Columns(**PLAIN, time="at")
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_any_unit_are_seconds_since_1970(unit):
    naive = NOON.replace(tzinfo=None)
    cells = pa.array([naive, None], pa.timestamp(unit))
    assert seconds(cells)[0] == NOON.timestamp() == 1709294400
    assert np.isnan(seconds(cells)[1])
    assert seconds(pa.array([NOON], pa.timestamp(unit, "Asia/Tokyo")))[0] == NOON.timestamp()


def test_dates_numbers_and_text_are_seconds():
    assert seconds(pa.array([date(1970, 1, 3)])).tolist() == [2 * 86_400]
    assert seconds(pa.array([date(1970, 1, 3)], pa.date64())).tolist() == [2 * 86_400]
    assert seconds(pa.array([3, 4])).tolist() == [3.0, 4.0]
    text = ["1.5", " 1970-01-02 ", "1970-01-01T00:00:02.5Z", "1970-01-01 01:00:00+01:00", "soon"]
    found = seconds(pa.array([*text, None]))
    np.testing.assert_array_equal(found, [1.5, 86_400.0, 2.5, 0.0, np.nan, np.nan])


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=6),
    st.integers(1, 7),
)
def test_sorting_is_stable_and_in_pieces(tmp_path_factory, keys, size):
    folder = tmp_path_factory.mktemp("sorting")
    whole = [key for block in keys for key in block]
    blocks, start = [], 0
    for block in keys:
        rows = np.arange(start, start + len(block))
        columns = {"reward": rows.astype(np.float32), "key": np.array(block, np.float64)}
        blocks.append(Rounds(columns | {"context": np.stack([rows, -rows], axis=1)}))
        start += len(block)
    with sorted_rounds(iter(blocks), "key", folder, size) as waiting:
        pieces = list(waiting)
    assert all(len(piece) == size for piece in pieces[:-1])
    expected = sorted(range(len(whole)), key=lambda row: whole[row])
    assert [int(row) for piece in pieces for row in piece["reward"]] == expected
    assert [list(pair) for piece in pieces for pair in piece["context"]] == [
        [row, -row] for row in expected
    ]
    assert list(folder.iterdir()) == []


def test_rounds_come_in_the_order_of_time_and_keep_it(shop, tmp_path):
    size = 25_000
    day = np.random.default_rng(0).permutation(size) // 2  # two rounds at each moment
    rows = [f"{10 + k % 4},{k % 2},0.5,{k},{day[k]}" for k in range(size)]
    rows[7] = "10,1,0.5,7,"
    rows[8] = "10,1,0.5,8,soon"
    dataset = shop.load(shop.write(tmp_path / "log.csv", rows, HEADER), TIMED)
    kept = [k for k in range(size) if k not in (7, 8)]
    expected = sorted(kept, key=lambda k: day[k])
    log = load_transitions(dataset, infos=["item_id", "time"]).as_batch()
    assert log.observations[:, 0].tolist() == expected
    assert log.infos["time"].tolist() == [day[k] for k in expected]
    assert log.infos["item_id"].tolist() == [k % 4 for k in expected]
    assert shop.rejected() == [("8", "at: missing", ""), ("9", "at: no time", "soon")]
    assert dataset.storage.metadata["import"]["time"] == [0.0, float(day.max())]
    names = {path.name for path in shop.folder.iterdir()}
    assert names == {"data", "README.md", "refused.csv", "columns.json", "items.npz"}


def test_timestamps_of_parquet_sort_alike(shop, tmp_path):
    moments = [datetime(2024, 1, day, tzinfo=UTC) for day in (3, 1, 2)]
    columns = {"item_id": [10, 11, 12], "reward": [1, 0, 1], "x": [3.0, 1.0, 2.0], "at": moments}
    parquet.write_table(pa.table(columns), tmp_path / "log.parquet")
    dataset = shop.load(tmp_path / "log.parquet", Columns(**PLAIN, time="at", propensity=None))
    log = load_transitions(dataset, infos=["time"]).as_batch()
    assert log.observations[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert log.infos["time"].tolist() == [moments[k].timestamp() for k in (1, 2, 0)]


def test_a_time_that_is_not_there_is_one_clear_error(shop, nothing_is_left, tmp_path):
    path = shop.write(tmp_path / "log.csv", ["10,1,1,3,5"], HEADER)
    with pytest.raises(ValueError, match=r"for the time 'att'. Did you mean 'at'"):
        shop.load(path, Columns(numbers=["x"], time="att"))
    renamed = shop.write(tmp_path / "b.csv", ["10,1,1,3,5,5"], HEADER.strip() + ",time\n")
    with pytest.raises(ValueError, match="info column of that name"):
        shop.load(renamed, Columns(numbers=["x"], time="at", keep=["time"]))
    assert nothing_is_left()


def test_a_log_with_a_time_that_nobody_told_of_is_noted(shop, tmp_path):
    rows = ["10,1,1,3,5"]
    path = shop.write(tmp_path / "log.csv", rows, HEADER.replace("at", "Timestamp"))
    dataset = shop.load(path, Columns(numbers=["x"]))
    assert "Say --time Timestamp." in import_summary(dataset)
    minari.delete_dataset("own/log-v0")
    dataset = shop.load(path, Columns(numbers=["x"], time="Timestamp"))
    assert "--time" not in import_summary(dataset)


def test_columns_that_tell_the_reward_or_the_time_are_noted(shop, tmp_path):
    generator = np.random.default_rng(0)
    size = 12_000  # two packs
    clicks, noise = generator.integers(2, size=size), generator.normal(size=size)
    lines = [
        f"{10 + k % 4},{clicks[k]},0.5,{noise[k]:.3f},{-2 + 3 * clicks[k]},{k},{size - k},7,{k}"
        f",{'yes' if clicks[k] else 'no'},{'ab'[k % 2]}"
        for k in generator.permutation(size)
    ]
    header = "item_id,reward,propensity,x,copy,grows,falls,same,at,bought,device\n"
    path = shop.write(tmp_path / "log.csv", lines, header)
    columns = {
        "numbers": ["x", "copy", "grows", "falls", "same"],
        "categories": ["bought", "device"],
    }
    notes = shop.load(path, Columns(**columns, time="at")).storage.metadata["import"]["notes"]
    told = {note.split(" of the context ")[0] for note in notes if "of the context" in note}
    assert told == {"copy", "bought", "grows", "falls"}
    assert sum("is the reward" in note for note in notes) == 2
    minari.delete_dataset("own/log-v0")
    notes = shop.load(path, Columns(**columns)).storage.metadata["import"]["notes"]
    told = {note.split(" of the context ")[0] for note in notes if "of the context" in note}
    assert told == {"copy", "bought"}


def test_a_leak_is_found_among_many_columns_and_gaps():
    generator = np.random.default_rng(0)
    contexts, rewards = generator.normal(size=(200, 150)), generator.integers(2, size=200)
    contexts[:, 130] = 3.0 - 2.0 * rewards
    contexts[:, 7] = np.where(generator.random(200) < 0.3, np.nan, contexts[:, 7])
    check = LeakCheck([f"x{k}" for k in range(150)], 150, by_time=True)
    for part in (slice(0, 90), slice(90, 200)):
        check.add(contexts[part], rewards[part].astype(np.float32))
    (note,) = check.notes
    assert note.startswith("x130 of the context is the reward")


def test_a_few_rounds_or_a_single_break_in_order_tell_nothing():
    check = LeakCheck(["x"], 1, by_time=True)
    check.add(np.arange(10.0)[:, None], np.arange(10.0))
    assert check.notes == []
    check = LeakCheck(["x"], 1, by_time=True)
    x = np.arange(100.0)
    x[50] = 10.0
    check.add(x[:60, None], x[:60] % 2)
    check.add(x[60:, None], x[60:] % 2)
    assert check.notes == []
    check = LeakCheck(["x"], 1, by_time=True)
    check.add(np.arange(60.0)[:, None], x[:60] % 2)
    check.add(np.arange(40.0)[:, None], x[60:] % 2)  # starts anew
    assert check.notes == []
