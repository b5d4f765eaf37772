"""Several datasets that are read as one log."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo import load_transitions
from recsim_drpo.datasets.shards import shard_ids
from recsim_drpo.runs.folder import source_of


def assert_same_batches(one, other):
    for ours, theirs in zip(one.as_batch()[:-1], other.as_batch()[:-1], strict=True):
        assert ours.numpy().tobytes() == theirs.numpy().tobytes()


def test_shards_are_read_as_the_log(generate, small_kwargs):
    options = {"num_rounds": 21_000, "seed": 3}
    whole = load_transitions(generate("log-v0", small_kwargs, **options), infos=["item_id"])
    names = shard_ids("log-v0", 2)
    for number, name in enumerate(names, start=1):
        generate(name, small_kwargs, shard=(number, 2), **options)
    together = load_transitions(names, infos=["item_id"])
    assert together.compact
    assert_same_batches(together, whole)
    assert torch.equal(together.infos["item_id"], whole.infos["item_id"])
    assert together.episode_ends.equal(whole.episode_ends)
    assert_same_batches(load_transitions(names, compact=False), whole)


def test_datasets_are_read_in_order(generate, small_kwargs):
    a, b = (generate(f"{x}-v0", small_kwargs, seed=seed) for seed, x in enumerate("ab"))
    parts = [load_transitions(one).rewards for one in (b, a)]
    assert torch.equal(load_transitions(["b-v0", a]).rewards, torch.cat(parts))


def test_datasets_of_different_worlds_are_refused_with_both_named(generate, small_kwargs):
    generate("a-v0", small_kwargs)
    generate("wide-v0", {**small_kwargs, "embedding_dim": 8})
    generate("sessions-v0", small_kwargs, env="RecSimZipfSession-v0")
    generate("default-v0", {"embedding_dim": 16, "num_topics": 5})
    for other, difference in (
        ("wide-v0", "embedding_dim is 16 in the first and 8 in the second"),
        ("sessions-v0", "environment is 'RecSimZipf-v0' in the first and 'RecSimZipfSession-v0'"),
        ("default-v0", "num_items is 300 in the first and not given in the second"),
    ):
        message = f"'a-v0' and '{other}' are of different worlds: {difference}"
        with pytest.raises(ValueError, match=message):
            load_transitions(["a-v0", other])


def test_what_cannot_be_one_log_is_refused(generate, small_kwargs, shop, tmp_path):
    generate("a-v0", small_kwargs)
    with pytest.raises(ValueError, match="'a-v0' is named twice"):
        load_transitions(["a-v0", "a-v0"])
    with pytest.raises(ValueError, match="No dataset is named"):
        load_transitions([])
    with pytest.raises(FileNotFoundError, match="'b-v0'"):
        load_transitions(["a-v0", "b-v0"])
    rows = [f"{10 + k % 4},{k % 2},0.5,{k},{'ab'[k % 2]},{k:08}" for k in range(4)]
    imported = shop.load(shop.write(tmp_path / "log.csv", rows))
    with pytest.raises(ValueError, match=r"was imported: put logs together by recsim-drpo import"):
        load_transitions(["a-v0", imported])


def test_numbers_that_are_not_finite_are_counted_of_their_dataset(
    generate, small_kwargs, minari_root
):
    import h5py

    generate("a-v0", small_kwargs)
    generate("b-v0", small_kwargs, seed=1)
    with h5py.File(minari_root / "b-v0/data/main_data.hdf5", "r+") as file:
        file["episode_0/rewards"][:3] = np.nan
    with pytest.raises(ValueError, match="'b-v0' has 3 rewards that are NaN or infinite, of 500"):
        load_transitions(["a-v0", "b-v0"])


def test_a_source_names_all_and_keeps_what_they_share(generate, small_kwargs):
    logs = [
        generate(f"{name}-v0", small_kwargs, scenario=name, num_rounds=50)
        for name in ("medium", "extreme")
    ]
    source = source_of(*logs)
    assert source["dataset"] == "medium-v0"
    assert source["datasets"] == ["medium-v0", "extreme-v0"]
    assert source["scenario"] is None
    assert source["weights"] is None
    one = source_of(logs[0])
    for name in ("env_spec", "catalogue_checksum", "logging_config"):
        assert source[name] == one[name] is not None
    assert "datasets" not in one
