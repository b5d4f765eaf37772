from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import minari
import numpy as np
import pytest
import torch

from recsim_drpo import (
    generate_dataset,
    load_transitions,
    make_world,
    simulate_transitions,
)
from recsim_drpo.reporting.statistics import zipf_exponent


def test_seeds_differ_and_catalogue_seed_keeps_the_users(generate, arrays, small_kwargs):
    base = arrays(generate("base-v0", small_kwargs))
    other = arrays(generate("other-v0", small_kwargs, seed=1))
    world = arrays(generate("world-v0", {**small_kwargs, "catalogue_seed": 1}))
    assert not np.array_equal(base["observations"], other["observations"])
    np.testing.assert_array_equal(base["observations"], world["observations"])
    assert not np.array_equal(base["actions"], world["actions"])


def test_metadata_says_what_it_is(generate, small_kwargs):
    dataset = generate("space/meta-v3", small_kwargs, scenario="extreme", seed=4, author="Ann")
    metadata = dataset.storage.metadata
    assert metadata["author"] == {"Ann"}
    assert "terminations=True" in metadata["description"]
    assert "infos[k][t + 1]" in metadata["description"]
    assert metadata["packing"]["rounds_per_episode"] == 10_000
    assert metadata["weights"] == {"random": 0.9, "popularity": 0.05, "expert": 0.05}
    assert metadata["catalogue_checksum"] == make_world(**small_kwargs).catalogue.checksum
    assert "LoggingAgent" in metadata["algorithm_name"]
    assert metadata["requirements"] == ["recsim-drpo>=0.1.0"]
    assert metadata["code_permalink"]
    assert 0 < metadata["ref_min_score"] < metadata["ref_max_score"] < 1
    normalized = minari.get_normalized_score(dataset, np.array([metadata["ref_max_score"]]))
    assert normalized == pytest.approx(1.0)
    local = minari.list_local_datasets()
    assert list(local) == ["space/meta-v3"]


def test_environment_is_recovered_by_a_process_that_knows_only_minari(generate, small_kwargs):
    kwargs = {**small_kwargs, "delta": 0.31}
    generate("recover-v0", kwargs)
    script = """
import json, minari
dataset = minari.load_dataset("recover-v0")
env, test = dataset.recover_environment(), dataset.recover_environment(eval_env=True)
first, other = env.reset(seed=0)[0], test.reset(seed=0)[0]
world = env.unwrapped.world
print(json.dumps([type(env.unwrapped).__name__, env.unwrapped.split, test.unwrapped.split,
    world.config.delta, world.num_items, first.tolist(), other.tolist(),
    dataset[0].observations[0].tolist()]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    name, split, other_split, delta, num_items, first, other, logged = json.loads(done.stdout)
    assert (name, split, other_split) == ("RecSimZipfEnv", "train", "test")
    assert (delta, num_items) == (0.31, 300)
    assert first == logged
    assert first != other


def test_real_embeddings_are_recovered_by_path_and_watched_by_checksum(
    generate, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # a card without its pictures
    path = tmp_path / "vectors.npy"
    vectors = np.random.default_rng(0).normal(size=(60, 12)).astype(np.float32)
    np.save(path, vectors)
    dataset = generate("real-v0", {"embeddings": str(path), "normalize": True, "num_topics": 6})
    env = dataset.recover_environment()
    assert env.unwrapped.world.num_items == 60
    assert not (Path(dataset.spec.data_path).parent / "item_ids.npy").exists()  # no card, no ids
    text = tmp_path / "vectors.csv"
    rows = [",".join([f"sku{i}", *map(str, v)]) for i, v in enumerate(vectors.tolist())]
    header = ",".join(["item_id", *(f"d{k}" for k in range(12))])
    text.write_text("\n".join([header, *rows]) + "\n")
    kwargs = {"embeddings": str(text), "normalize": True, "num_topics": 6}
    named = generate("named-v0", kwargs, card=True)
    ids = np.load(Path(named.spec.data_path).parent / "item_ids.npy")
    assert ids.tolist() == [f"sku{i}" for i in range(60)]
    assert ids.tolist() == named.recover_environment().unwrapped.world.catalogue.item_ids.tolist()
    np.save(path, vectors[::-1])
    with pytest.raises(ValueError, match="has checksum"):
        dataset.recover_environment()
    with pytest.raises(ValueError, match="must be a path"):
        generate("array-v0", {"embeddings": vectors})


def test_logged_popularity_is_zipfian(generate):
    """H.2, for the registered world: the exponent of both scenarios, on the true ranks."""
    world = make_world()
    order = np.argsort(-world.catalogue.popularity, kind="stable")
    for scenario, expected in (("medium", 0.905), ("extreme", 0.970)):
        dataset = generate(f"{scenario}-v0", None, scenario=scenario, num_rounds=20_000)
        items = load_transitions(dataset, infos=["item_id"]).infos["item_id"]
        counts = np.bincount(items, minlength=world.num_items)[order]
        assert zipf_exponent(counts) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("dataset_id", "options", "message"),
    [
        ("no version", {}, "is not a Minari id"),
        ("noversion", {}, "is not a Minari id"),
        ("../escape-v0", {}, "is not a Minari id"),
        (7, {}, "is not a Minari id"),
        ("a-v0", {"scenario": "medum"}, "Did you mean 'medium'"),
        ("a-v0", {"scenario": {"expert": 0.5}}, "sum to 0.5"),
        ("a-v0", {"scenario": {"expert": 1.5, "random": -0.5}}, "weight of 'expert'=1.5"),
        ("a-v0", {"scenario": {"expret": 1.0}}, "Did you mean 'expert'"),
        ("a-v0", {"num_rounds": 0}, "num_rounds=0"),
        ("a-v0", {"num_rounds": 2.5}, "num_rounds=2.5"),
        ("a-v0", {"seed": -1}, "seed=-1"),
        ("a-v0", {"device": "cuda:55"}, "device='cuda:55'"),
        ("a-v0", {"kwargs": {"delta": -1.0}}, "delta=-1.0"),
        ("a-v0", {"kwargs": {"detla": 1.0}}, "Did you mean 'delta'"),
        ("a-v0", {"kwargs": {"split": "test"}}, "'split' is not part of it"),
        ("a-v0", {"kwargs": {"embeddings": "missing.npy"}}, "no embeddings file"),
    ],
)
def test_bad_arguments_leave_nothing(
    nothing_is_left, generate, small_kwargs, dataset_id, options, message
):
    kwargs = options.pop("kwargs", small_kwargs)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        generate(dataset_id, kwargs, **options)
    assert nothing_is_left()


@pytest.mark.parametrize("env", ["RecSimZipf-v0", "RecSimZipfSession-v0"])
def test_simulated_transitions_are_those_of_the_dataset(minari_root, small_kwargs, env):
    arguments = {
        "env": env,
        "scenario": "extreme",
        "num_rounds": 1_200,
        "seed": 5,
        "env_kwargs": dict(small_kwargs),
    }
    dataset = generate_dataset("t-v0", **arguments, card=False, progress=False)
    kept = load_transitions(dataset, infos=["item_id", "propensity"]).as_batch()
    simulated = simulate_transitions(**arguments, infos=["item_id", "propensity"]).as_batch()
    for name in kept._fields[:5]:
        assert torch.equal(getattr(kept, name), getattr(simulated, name)), name
    for name, column in kept.infos.items():
        assert torch.equal(column, simulated.infos[name]), name


def test_same_seed_same_bytes_whatever_the_number_of_threads(generate, arrays, small_kwargs):
    before = torch.get_num_threads()
    expected = arrays(generate("one-v0", small_kwargs, num_rounds=42_000, seed=5))
    for threads in (1, 2, 3):
        try:
            torch.set_num_threads(threads)
            again = generate(f"of-{threads}-v0", small_kwargs, num_rounds=42_000, seed=5)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        actual = arrays(again)
        for name, values in expected.items():
            assert values.tobytes() == actual[name].tobytes(), (threads, name)


def test_a_longer_log_begins_with_the_shorter_one(generate, small_kwargs):
    """Rounds are functions of (seed, counter): nothing depends on how many there are."""
    short = load_transitions(generate("short-v0", small_kwargs, num_rounds=10_000)).as_batch()
    long = load_transitions(generate("long-v0", small_kwargs, num_rounds=20_000)).as_batch()
    for name in ("observations", "actions", "rewards"):
        assert torch.equal(getattr(long, name)[:10_000], getattr(short, name)), name
