"""Logs in parts, each a dataset, which together are the log."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_drpo import generate_dataset
from recsim_drpo.datasets.shards import Shard, check_shard, shard_ids
from recsim_drpo.datasets.soundness import metadata_of


def test_ids_have_the_number_before_the_version():
    assert shard_ids("ns/log-v0", 2) == ["ns/log-1-of-2-v0", "ns/log-2-of-2-v0"]
    assert shard_ids("log", 1) == ["log-1-of-1"]
    assert shard_ids("a-v1-b-v12", 10)[8:] == ["a-v1-b-09-of-10-v12", "a-v1-b-10-of-10-v12"]
    with pytest.raises(ValueError, match="shards=0"):
        shard_ids("log-v0", 0)


def test_an_episode_lies_where_its_first_round_does():
    """Of 10 rounds in 3 shards, those numbered 0-3, 4-6 and 7-9."""
    places = [[Shard(k, 3).place(r, 10) for r in range(10)] for k in (1, 2, 3)]
    assert places[0] == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert places[1] == [-1, -1, -1, -1, 0, 0, 0, 1, 1, 1]
    assert places[2] == [-1, -1, -1, -1, -1, -1, -1, 0, 0, 0]


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ((0, 2), "shard number=0 is not an integer from 1 to 2"),
        ((3, 2), "shard number=3 is not an integer from 1 to 2"),
        ((1, 0), "shards=0"),
        ((1, 3), "shards=3: 25,000 rounds make at most 2"),
    ],
)
def test_shards_that_there_are_not(shard, message):
    with pytest.raises(ValueError, match=message):
        check_shard(Shard(*shard), 25_000, 10_000)


def test_no_shard_is_empty():
    """At every size at which shards are let through, of episodes as long as they may be."""
    for rounds in range(1, 80):
        for of in range(1, rounds // 7 + 1):
            check_shard(Shard(1, of), rounds, 7)
            for number in range(1, of + 1):
                shard = Shard(number, of)
                assert any(shard.place(start, rounds) == 0 for start in range(0, rounds, 7))


@pytest.mark.parametrize(
    ("env", "rounds", "firsts"),
    [("RecSimZipf-v0", 34_000, [0, 20_000, 30_000]), ("RecSimZipfSession-v0", 900, None)],
)
def test_shards_together_are_the_log_bit_for_bit(
    generate, arrays, small_kwargs, env, rounds, firsts
):
    options = {"env": env, "num_rounds": rounds, "seed": 5}
    whole = generate("log-v0", small_kwargs, **options)
    shards = [
        generate(name, small_kwargs, shard=(number, 3), **options)
        for number, name in enumerate(shard_ids("log-v0", 3), start=1)
    ]
    expected, parts = arrays(whole), [arrays(shard) for shard in shards]
    for name, column in expected.items():
        found = np.concatenate([part[name] for part in parts])
        assert found.dtype == column.dtype
        assert found.tobytes() == column.tobytes(), name
    about = [metadata_of(shard)["shard"] for shard in shards]
    sizes = [shard.total_steps for shard in shards]
    assert [one["first_round"] for one in about] == [0, sizes[0], sizes[0] + sizes[1]]
    assert firsts is None or [one["first_round"] for one in about] == firsts
    assert about[1] | {"first_round": 0} == {
        **{"number": 2, "of": 3, "first_round": 0},
        "num_rounds": rounds,
    }
    assert "Shard 2 of 3, from round" in metadata_of(shards[1])["description"]
    assert sum(sizes) == whole.total_steps
    means = [metadata_of(one)["logged_mean_reward"] for one in (*shards, whole)]
    assert np.average(means[:3], weights=sizes) == pytest.approx(means[3], rel=1e-6)


def test_shards_so_many_that_one_would_be_empty(minari_root, small_kwargs):
    with pytest.raises(ValueError, match="shards=3: 25,000 rounds make at most 2"):
        generate_dataset("log-v0", num_rounds=25_000, env_kwargs=small_kwargs, shard=(1, 3))
