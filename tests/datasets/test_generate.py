from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import namedtuple
from pathlib import Path

import gymnasium as gym
import minari
import numpy as np
import pytest
import torch
from minari import MinariDataset
from minari.data_collector import EpisodeBuffer

from recsim_drpo import (
    LoggingConfig,
    generate_dataset,
    load_transitions,
    make_world,
    simulate_transitions,
)
from recsim_drpo.datasets.generation import card as card_module, rounds as rounds_module
from recsim_drpo.datasets.generation.statistics import LogStatistics
from recsim_drpo.reporting.statistics import zipf_exponent

COLUMNS = {
    "item_id": np.int64,
    "policy": np.int8,
    "propensity": np.float64,
    "latent_reward": np.float32,
    "oracle_reward": np.float32,
}


def generate(dataset_id, kwargs, **options) -> MinariDataset:
    options = {"card": False, "progress": False, "num_rounds": 500, **options}
    return generate_dataset(dataset_id, env_kwargs=kwargs, **options)


def arrays(dataset):
    found = {}
    for episode in dataset.iterate_episodes():
        for name in ("observations", "actions", "rewards", "terminations", "truncations"):
            found.setdefault(name, []).append(getattr(episode, name))
        for name, column in episode.infos.items():
            found.setdefault(name, []).append(column)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def assert_nothing_left(root: Path) -> None:
    assert minari.list_local_datasets() == {}
    left = [p for p in root.rglob("*") if p.is_file() and p.suffix not in (".lock", "")]
    assert [p for p in left if p.name != "namespace_metadata.json"] == []


def test_packing(minari_root, small_kwargs, monkeypatch):
    monkeypatch.setattr(rounds_module, "ROUNDS_PER_EPISODE", 200)
    dataset = generate("recsim/packed-v0", small_kwargs, num_rounds=500)
    assert dataset.total_steps == 500
    assert [len(episode) for episode in dataset.iterate_episodes()] == [200, 200, 100]
    for episode in dataset.iterate_episodes():
        size = len(episode)
        assert episode.observations.shape == (size + 1, 10)
        assert episode.actions.shape == (size, 16)
        assert episode.terminations.all()
        assert not episode.truncations.any()
        for name, dtype in COLUMNS.items():
            assert episode.infos[name].shape == (size + 1,)
            assert episode.infos[name].dtype == dtype
        for name in ("item_id", "policy"):
            assert episode.infos[name][0] == -1
        for name in ("propensity", "latent_reward", "oracle_reward"):
            assert np.isnan(episode.infos[name][0])
    first, second, _ = dataset.iterate_episodes()
    # The observation after an episode's last round is the next user's context.
    np.testing.assert_array_equal(first.observations[-1], second.observations[0])


def test_every_logged_round_is_what_the_world_says(minari_root, small_kwargs):
    kwargs = {**small_kwargs, "delta": 0.3, "reward_noise": 0.1}
    dataset = generate("check-v0", kwargs, scenario="medium", num_rounds=800, seed=3)
    world = make_world(**kwargs)
    transitions = load_transitions(dataset, infos=list(COLUMNS))
    batch = transitions.as_batch()
    users = world.users("train", 3, torch.arange(800))
    torch.testing.assert_close(batch.observations, users.contexts, atol=0, rtol=0)
    items = batch.infos["item_id"]
    torch.testing.assert_close(batch.actions, world.embeddings[items], atol=0, rtol=0)
    cosines = (users.interests @ world.embeddings.T).to(torch.float64)
    latent = torch.exp(-(1 - cosines) / (2 * 0.3**2))
    mine = latent.gather(1, items[:, None])[:, 0]
    np.testing.assert_allclose(batch.infos["latent_reward"], mine, atol=1e-5)
    np.testing.assert_allclose(batch.infos["oracle_reward"], latent.max(1).values, atol=1e-5)
    observed = (batch.infos["latent_reward"] + 0.1 * users.reward_noise).clamp(0, 1)
    torch.testing.assert_close(batch.rewards, observed, atol=1e-7, rtol=0)
    config = LoggingConfig()
    popularity = torch.from_numpy(world.catalogue.popularity)
    expert = torch.softmax(cosines / config.expert_temperature, dim=1)
    popular = torch.softmax(cosines / config.popularity_temperature + popularity.log(), dim=1)
    mixture = 0.1 * expert + 0.6 * popular + 0.3 * popularity
    expected = mixture.gather(1, items[:, None])[:, 0]
    np.testing.assert_allclose(batch.infos["propensity"], expected, rtol=5e-5)
    shares = np.bincount(batch.infos["policy"], minlength=3) / 800
    np.testing.assert_allclose(shares, [0.3, 0.6, 0.1], atol=0.06)
    assert bool(batch.terminations.all())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_seed_same_bytes_whatever_the_number_of_threads(
    minari_root, small_kwargs, monkeypatch, threads
):
    monkeypatch.setattr(rounds_module, "ROUNDS_PER_EPISODE", 400)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = arrays(generate("one-v0", small_kwargs, num_rounds=1700, seed=5))
        torch.set_num_threads(threads)
        two = arrays(generate("two-v0", small_kwargs, num_rounds=1700, seed=5))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for name, values in one.items():
        assert values.tobytes() == two[name].tobytes(), name


def test_a_longer_log_begins_with_the_shorter_one(minari_root, small_kwargs, monkeypatch):
    """Rounds are functions of (seed, counter): nothing depends on how many there are."""
    monkeypatch.setattr(rounds_module, "ROUNDS_PER_EPISODE", 256)
    short = load_transitions(generate("short-v0", small_kwargs, num_rounds=512)).as_batch()
    long = load_transitions(generate("long-v0", small_kwargs, num_rounds=1024)).as_batch()
    for name in ("observations", "actions", "rewards"):
        assert torch.equal(getattr(long, name)[:512], getattr(short, name)), name


def test_seeds_differ_and_catalogue_seed_keeps_the_users(minari_root, small_kwargs):
    base = arrays(generate("base-v0", small_kwargs))
    other = arrays(generate("other-v0", small_kwargs, seed=1))
    world = arrays(generate("world-v0", {**small_kwargs, "catalogue_seed": 1}))
    assert not np.array_equal(base["observations"], other["observations"])
    np.testing.assert_array_equal(base["observations"], world["observations"])
    assert not np.array_equal(base["actions"], world["actions"])


def test_metadata_says_what_it_is(minari_root, small_kwargs):
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


def test_environment_is_recovered_by_a_process_that_knows_only_minari(minari_root, small_kwargs):
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


def test_real_embeddings_are_recovered_by_path_and_watched_by_checksum(minari_root, tmp_path):
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


def test_card(minari_root, small_kwargs):
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    dataset = generate("card-v0", small_kwargs, scenario="medium", num_rounds=3000, card=True)
    folder = Path(dataset.spec.data_path).parent
    text = re.sub(" +", " ", (folder / "README.md").read_text(encoding="utf-8"))
    pictures = {p.name for p in folder.glob("*.png")}
    expected = {"item_frequencies", "reward_deciles", "value_by_rank", "item_map"}
    assert pictures == {f"{name}.png" for name in expected}
    for name in pictures:
        assert f"({name})" in text
        assert (folder / name).stat().st_size > 5_000
    batch = load_transitions(dataset, infos=["policy", "latent_reward", "item_id"]).as_batch()
    latent, policy = batch.infos["latent_reward"].double(), batch.infos["policy"]
    for code, component in enumerate(("random", "popularity", "expert")):
        mine = latent[policy == code]
        assert f"| {component} | " in text
        assert f"| {len(mine):,} | {mine.mean():.3f} | {5 * mine.mean():.2f} |" in text
    counts = np.bincount(batch.infos["item_id"], minlength=300)
    popularity = make_world(**small_kwargs).catalogue.popularity
    exponent = zipf_exponent(counts[np.argsort(-popularity, kind="stable")])
    assert f"| all | {exponent:.3f} [" in text
    assert dataset.storage.metadata["catalogue_checksum"] in text


def test_card_without_the_extra_has_its_tables(minari_root, small_kwargs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    dataset = generate("plain-v0", small_kwargs, card=True)
    folder = Path(dataset.spec.data_path).parent
    text = re.sub(" +", " ", (folder / "README.md").read_text(encoding="utf-8"))
    assert 'pip install "recsim-drpo[plots]"' in text
    assert "![" not in text
    assert "| expert |" in text


def test_log_statistics_of_deciles():
    statistics = LogStatistics(3)
    latent = np.linspace(0, 1, 1001, dtype=np.float32)
    infos = {
        "policy": np.zeros(1001, np.int8),
        "item_id": np.zeros(1001, np.int64),
        "latent_reward": latent,
        "oracle_reward": np.ones(1001, np.float32),
    }
    statistics.add(latent / 2, infos)
    np.testing.assert_allclose(statistics.deciles(), np.linspace(0.9, 0.1, 9), atol=2e-3)
    assert statistics.mean_latent_reward == pytest.approx(0.5)
    assert statistics.mean_reward == pytest.approx(0.25)
    assert statistics.mean_oracle_reward == 1.0
    assert statistics.counts.tolist() == [[1001, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_logged_popularity_is_zipfian(minari_root):
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
def test_bad_arguments_leave_nothing(minari_root, small_kwargs, dataset_id, options, message):
    kwargs = options.pop("kwargs", small_kwargs)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        generate(dataset_id, kwargs, **options)
    minari_root.mkdir(exist_ok=True)
    assert_nothing_left(minari_root)


def test_an_existing_dataset_is_kept(minari_root, small_kwargs):
    before = arrays(generate("kept-v0", small_kwargs))
    with pytest.raises(ValueError, match="There is a dataset 'kept-v0' already"):
        generate("kept-v0", small_kwargs, seed=9)
    with pytest.raises(ValueError, match="lies inside the dataset"):
        generate("kept-v0/inner-v0", small_kwargs)
    after = arrays(minari.load_dataset("kept-v0"))
    np.testing.assert_array_equal(before["rewards"], after["rewards"])


def test_a_full_disk_is_seen_before_any_work(minari_root, small_kwargs, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    with pytest.raises(OSError, match=r"rounds need about .* GB and 0\.00 GB are free") as caught:
        generate("full-v0", small_kwargs)
    assert caught.value.errno == errno.ENOSPC
    assert_nothing_left(minari_root)


def test_a_disk_that_fills_up_leaves_nothing(minari_root, small_kwargs, monkeypatch):
    monkeypatch.setattr(rounds_module, "ROUNDS_PER_EPISODE", 100)
    add, calls = LogStatistics.add, []

    def fill_up(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, *arguments)

    monkeypatch.setattr(LogStatistics, "add", fill_up)
    with pytest.raises(OSError, match=r"No space left on device\. Nothing was left behind"):
        generate("ns/full-v0", small_kwargs)
    assert_nothing_left(minari_root)
    monkeypatch.setattr(LogStatistics, "add", add)
    assert generate("ns/full-v0", small_kwargs).total_steps == 500


def test_a_folder_that_cannot_be_written(tmp_path, small_kwargs, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(blocked))
    with pytest.raises(OSError, match="file"):
        generate("a-v0", small_kwargs)
    assert blocked.read_text() == ""


def test_a_failing_card_leaves_nothing(minari_root, small_kwargs, monkeypatch):
    def fail(*_):
        raise RuntimeError("no picture today")

    monkeypatch.setattr(card_module.paper_figures, "value_by_rank", fail)
    with pytest.raises(RuntimeError, match="no picture today"):
        generate("a-v0", small_kwargs, card=True)
    assert_nothing_left(minari_root)


@pytest.mark.parametrize("moment", ["data", "late"])
def test_killed_at_any_moment_nothing_is_listed_and_a_rerun_works(
    minari_root, small_kwargs, moment
):
    script = f"""
import recsim_drpo
recsim_drpo.generate_dataset("ns/killed-v0", env_kwargs={dict(small_kwargs)!r},
    num_rounds=3_000_000, progress=False, card=False)
"""
    process = subprocess.Popen([sys.executable, "-c", script], env=dict(os.environ))
    staged = minari_root / ".recsim-drpo" / "ns__killed-v0" / "data" / "main_data.hdf5"
    least = 1 if moment == "data" else 20_000_000
    deadline = time.monotonic() + 120
    while not (staged.exists() and staged.stat().st_size >= least):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert minari.list_local_datasets() == {}
    with pytest.raises(RuntimeError, match="Another process is generating 'ns/killed-v0'"):
        generate("ns/killed-v0", small_kwargs)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert minari.list_local_datasets() == {}
    assert generate("ns/killed-v0", small_kwargs).total_steps == 500
    assert list(minari.list_local_datasets()) == ["ns/killed-v0"]
    assert not staged.parent.parent.exists()


def foreign_dataset(minari_root, episodes, observation_space=None, action_space=None, **extra):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return minari.create_dataset_from_buffers(
            dataset_id="foreign-v0",
            buffer=episodes,
            observation_space=observation_space or gym.spaces.Box(-9, 9, (2, 2), np.float64),
            action_space=action_space or gym.spaces.Box(-9, 9, (3,), np.float64),
            **extra,
        )


def episode_of(length, offset=0.0, infos=None, **changes):
    observations = (np.arange((length + 1) * 4.0) + offset).reshape(length + 1, 2, 2) / 100
    fields = {
        "observations": observations,
        "actions": np.arange(length * 3.0).reshape(length, 3) / 100 + offset,
        "rewards": np.arange(length) + offset,
        "terminations": np.arange(length) == length - 1,
        "truncations": np.zeros(length, bool),
        "infos": infos or {},
        **changes,
    }
    return EpisodeBuffer(**fields)


def test_any_minari_dataset_of_boxes_is_read(minari_root):
    """Next observations stay within their episode, and info row t + 1 belongs to action t."""
    infos = [{"k": np.arange(n + 1) * 10 + e} for e, n in enumerate((3, 2))]
    dataset = foreign_dataset(
        minari_root, [episode_of(3, infos=infos[0]), episode_of(2, 100.0, infos=infos[1])]
    )
    batch = load_transitions(dataset, infos=["k"]).as_batch()
    for e, (start, length, offset) in enumerate([(0, 3, 0.0), (3, 2, 100.0)]):
        rows = (np.arange((length + 1) * 4.0) + offset).reshape(length + 1, 4) / 100
        here = slice(start, start + length)
        np.testing.assert_allclose(batch.observations[here], rows[:-1], rtol=1e-6)
        np.testing.assert_allclose(batch.next_observations[here], rows[1:], rtol=1e-6)
        assert batch.terminations[here].tolist() == [False] * (length - 1) + [True]
        assert batch.infos["k"][here].tolist() == [10 * (t + 1) + e for t in range(length)]
    assert batch.rewards.tolist() == [0, 1, 2, 100, 101]
    assert batch.observations.dtype == batch.actions.dtype == batch.rewards.dtype == torch.float32
    second = minari.load_dataset("foreign-v0").filter_episodes(lambda e: e.id == 1)
    assert load_transitions(second).rewards.tolist() == [100, 101]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rewards": np.array([0.0, np.nan, np.inf])},
            "has 2 rewards that are NaN or infinite, of 3",
        ),
        ({"actions": np.full((3, 3), np.nan)}, "has 9 actions"),
        ({"observations": np.full((4, 2, 2), np.inf)}, "has 16 observations"),
        ({"observations": np.zeros((3, 2, 2))}, "3 rewards and 3 observations"),
    ],
)
def test_damaged_datasets_are_refused_with_counts(minari_root, changes, message):
    dataset = foreign_dataset(minari_root, [episode_of(3, **changes)])
    with pytest.raises(ValueError, match=message):
        load_transitions(dataset)


def test_datasets_that_do_not_fit_are_refused(minari_root):
    episode = episode_of(2, actions=np.array([0, 1]))
    dataset = foreign_dataset(minari_root, [episode], action_space=gym.spaces.Discrete(2))
    with pytest.raises(ValueError, match="action space is Discrete"):
        load_transitions(dataset)
    minari.delete_dataset("foreign-v0")
    dataset = foreign_dataset(minari_root, [episode_of(2, infos={"score": np.zeros(3)})])
    with pytest.raises(ValueError, match="Did you mean 'score'"):
        load_transitions(dataset, infos=["scores"])
    with pytest.raises(FileNotFoundError, match="missing-v0"):
        load_transitions("missing-v0")
    with pytest.raises(ValueError, match="device='cuda:33'"):
        load_transitions(dataset, device="cuda:33")


def test_sampling_is_seeded_uniform_and_aligned(minari_root, small_kwargs):
    transitions = load_transitions(generate("s-v0", small_kwargs, num_rounds=50), infos=["item_id"])
    full = transitions.as_batch()

    def draw(seed, size=64):
        return transitions.sample(size, torch.Generator().manual_seed(seed))

    assert torch.equal(draw(0).rewards, draw(0).rewards)
    assert not torch.equal(draw(0).rewards, draw(1).rewards)
    big = draw(2, 50_000)
    keys = {tuple(row.tolist()): k for k, row in enumerate(full.observations)}
    found = torch.tensor([keys[tuple(row.tolist())] for row in big.observations])
    for name in ("actions", "rewards", "next_observations"):
        assert torch.equal(getattr(big, name), getattr(full, name)[found])
    assert torch.equal(big.infos["item_id"], full.infos["item_id"][found])
    counts = torch.bincount(found, minlength=50).double()
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 95  # χ² of 49 degrees: p < 1e-4
    with pytest.raises(ValueError, match="batch_size=0"):
        draw(0, 0)


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
