"""What users do to datasets with Minari itself, and what our readers then make of them."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType

import gymnasium as gym
import minari
import numpy as np
import pytest
import torch
from gymnasium.wrappers import RescaleAction, TimeLimit
from minari import namespace

from recsim_drpo import generate_dataset, load_transitions, make_world
from recsim_drpo.cli import main
from recsim_drpo.datasets.import_log import import_log
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.items import NoItemsError, resolve_items
from recsim_drpo.ope.logs import read_item_log

BANDIT, SESSIONS = "RecSimZipf-v0", "RecSimZipfSession-v0"
QUICK = ["--steps", "4", "--log-every", "4", "--evaluate-every", "4", "--batch-size", "8"]
pytestmark = pytest.mark.filterwarnings("ignore:.*is set to None:UserWarning")


@pytest.fixture
def collect(minari_root, small_kwargs, monkeypatch):
    """Collects episodes of random actions with Minari's DataCollector.

    Of jax, which it asks for, it uses one function: where jax is missing, torch's is as good.
    """

    def make(env_id, dataset_id, **how):
        with warnings.catch_warnings():
            # It leaves its temporary folders to the garbage collector, which says so.
            warnings.simplefilter("ignore", ResourceWarning)
            return collected(env_id, dataset_id, **how)

    def collected(env_id, dataset_id, *, wrap=lambda env: env, num_episodes=12, **how):
        minari_root.mkdir(exist_ok=True)
        env = minari.DataCollector(wrap(gym.make(env_id, **small_kwargs)), **how)
        env.action_space.seed(0)
        steps = []
        with monkeypatch.context() as patch:
            _lend_tree_map(patch)
            for _ in range(num_episodes):
                observation, _ = env.reset()  # by a seed of 64 bits, which it draws
                over = False
                while not over:
                    action = env.action_space.sample()
                    following, reward, terminated, truncated, info = env.step(action)
                    steps.append((observation, action, reward, following, terminated, info))
                    observation, over = following, terminated or truncated
            dataset = env.create_dataset(dataset_id)
        env.close()
        return dataset, steps

    return make


def _lend_tree_map(patch):
    try:
        import jax.tree_util  # noqa: F401
    except ImportError:
        lent = ModuleType("jax")
        lent.tree_util = ModuleType("jax.tree_util")
        lent.tree_util.tree_map = torch.utils._pytree.tree_map
        patch.setitem(sys.modules, "jax", lent)
        patch.setitem(sys.modules, "jax.tree_util", lent.tree_util)


@pytest.fixture
def generate(minari_root, small_kwargs):
    """Makes a dataset of 200 rounds, without a card."""

    def make(dataset_id, kwargs=small_kwargs, **options):
        options = {"num_rounds": 200, "card": False, "progress": False, **options}
        return generate_dataset(dataset_id, env_kwargs=kwargs, **options)

    return make


def train(dataset_id, out):
    return main(["train", "--dataset", dataset_id, "--agent", "bc", "--out", str(out), *QUICK])


@pytest.mark.parametrize("env_id", [BANDIT, SESSIONS])
@pytest.mark.parametrize("record_infos", [False, True])
def test_what_was_collected_is_what_is_read(collect, env_id, record_infos, small_kwargs):
    dataset, steps = collect(env_id, "collected/log-v0", record_infos=record_infos)
    columns = ["item_id", "latent_reward"] if record_infos else []
    found = load_transitions(dataset, infos=columns).as_batch()
    observations, actions, rewards, following, terminations, infos = zip(*steps, strict=True)
    np.testing.assert_array_equal(found.observations, np.stack(observations))
    np.testing.assert_array_equal(found.actions, np.stack(actions))
    np.testing.assert_array_equal(found.next_observations, np.stack(following))
    np.testing.assert_array_equal(found.rewards, np.float32(rewards))
    np.testing.assert_array_equal(found.terminations, terminations)
    for name in columns:
        np.testing.assert_array_equal(found.infos[name], [info[name] for info in infos])
    assert resolve_items(dataset).checksum == make_world(**small_kwargs).catalogue.checksum
    if record_infos:  # row 0 belongs to no action, as in datasets of our own
        first = next(iter(dataset.iterate_episodes())).infos
        assert first["item_id"][0] == -1
        assert np.isnan(first["oracle_reward"][0])
    else:
        with pytest.raises(ValueError, match="Unknown info column of dataset 'collected/log-v0'"):
            load_transitions(dataset, infos=["item_id"])


@pytest.mark.parametrize("env_id", [BANDIT, SESSIONS])
def test_a_collected_log_is_learnt_from_and_measured(collect, env_id, tmp_path, capsys):
    collect(env_id, "collected/log-v0")
    assert train("collected/log-v0", tmp_path / "run") == 0
    assert main(["evaluate", str(tmp_path / "run"), "--num-users", "20"]) == 0
    printed = capsys.readouterr().out
    assert "| random " in printed
    assert "| logger " not in printed  # which is not known
    assert "recsim-drpo evaluate" in (tmp_path / "run/seed-0/README.md").read_text()


def test_the_items_of_collected_actions_are_those_they_are_decoded_to(collect, tmp_path, capsys):
    dataset, steps = collect(BANDIT, "collected/log-v0", record_infos=True, num_episodes=30)
    log = read_item_log(dataset)
    assert log.items.tolist() == [step[-1]["item_id"] for step in steps]
    assert log.propensities is None
    assert train("collected/log-v0", tmp_path / "run") == 0
    assert main(["ope", str(tmp_path / "run"), "--dataset", "collected/log-v0"]) == 0
    assert "The log has no propensities; --estimate-propensities" in capsys.readouterr().out

    collect(BANDIT, "collected/bare-v0")
    assert main(["ope", str(tmp_path / "run"), "--dataset", "collected/bare-v0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'collected/bare-v0' has no infos" in line
    assert "record_infos=True" in line


@pytest.mark.filterwarnings("ignore:.*precision lowered by casting:UserWarning")
def test_what_was_collected_through_another_action_space_is_not_measured_as_if_it_were_not(
    collect, small_kwargs, tmp_path, capsys
):
    def shifted(env):
        return RescaleAction(env, 0.0, 1.0)

    dataset, _ = collect(BANDIT, "shifted/log-v0", wrap=shifted, record_infos=True)
    assert train("shifted/log-v0", tmp_path / "run") == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "through RescaleAction, which changes what a policy sees or does" in line
    with pytest.raises(NoItemsError, match="names no catalogue"):
        resolve_items(dataset)
    np.save(tmp_path / "items.npy", make_world(**small_kwargs).catalogue.embeddings)
    with pytest.raises(ValueError, match="nor is decoded to it"):
        read_item_log(dataset, embeddings=tmp_path / "items.npy")


def test_a_time_limit_changes_no_world(collect, small_kwargs):
    dataset, steps = collect(SESSIONS, "short/log-v0", wrap=lambda env: TimeLimit(env, 2))
    assert len(steps) == int(dataset.total_steps)
    ends = load_transitions(dataset).episode_ends
    lengths = torch.diff(ends.nonzero().squeeze(1), prepend=torch.tensor([-1]))
    assert lengths.max() == 2
    assert resolve_items(dataset).num_items == small_kwargs["num_items"]


def test_combined_logs_of_one_world_are_one_log(generate, tmp_path, capsys):
    one = generate("parts/one-v0", scenario="medium")
    two = generate("parts/two-v0", scenario="extreme", seed=1, num_rounds=300)
    both = minari.combine_datasets([one, two], "parts/both-v0")
    columns = ["item_id", "propensity"]
    parts = [load_transitions(part, infos=columns).as_batch() for part in (one, two)]
    whole = load_transitions("parts/both-v0", infos=columns).as_batch()
    for name in ("observations", "actions", "rewards"):
        found, expected = getattr(whole, name), [getattr(part, name) for part in parts]
        torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=0)
    for name in columns:
        expected = torch.cat([part.infos[name] for part in parts])
        torch.testing.assert_close(whole.infos[name], expected, rtol=0, atol=0)
    assert resolve_items(both).checksum == resolve_items(one).checksum
    assert len(read_item_log(both)) == 500
    assert train("parts/both-v0", tmp_path / "run") == 0
    assert main(["evaluate", str(tmp_path / "run"), "--num-users", "20"]) == 0
    capsys.readouterr()
    assert main(["ope", str(tmp_path / "run"), "--dataset", "parts/both-v0"]) == 0
    assert "learnt from this very log" in capsys.readouterr().out


def test_logs_of_different_catalogues_are_not_combined(generate, small_kwargs):
    one = generate("parts/one-v0")
    other = generate("parts/other-v0", {**small_kwargs, "catalogue_seed": 7})
    with pytest.raises(ValueError, match="different values for `env_spec`"):
        minari.combine_datasets([one, other], "parts/both-v0")


def _imported(dataset_id, path, seed):
    draws = np.random.default_rng(seed)
    vectors = draws.normal(size=(5, 4))
    rows = [f"{item},1,0.5,{item}" for item in draws.integers(5, size=40)]
    path.write_text("item_id,reward,propensity,x\n" + "\n".join(rows) + "\n")
    unit = np.float32(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return import_log(
        dataset_id, path, (unit, np.arange(5)), Columns(numbers=["x"]), progress=False
    )


def test_imported_logs_put_together_by_minari_are_refused(minari_root, tmp_path, capsys):
    minari_root.mkdir()
    parts = [_imported(f"own/part-{i}-v0", tmp_path / f"{i}.csv", i) for i in range(2)]
    both = minari.combine_datasets(parts, "own/both-v0")
    for read in (load_transitions, read_item_log):
        with pytest.raises(ValueError, match="combined of imported logs such as 'own/part-0-v0'"):
            read(both)
    assert train("own/both-v0", tmp_path / "run") == 2
    assert "or with --append" in capsys.readouterr().err
    for part in parts:
        minari.delete_dataset(part.id)
    # What they were nobody knows any more, but item 0 of the one is not item 0 of the other.
    with pytest.raises(ValueError, match=r"shows item \d by actions of different directions"):
        read_item_log(both)


def test_parts_of_a_dataset_are_read_alone(generate):
    whole = generate("parts/whole-v0", env=SESSIONS, num_rounds=60)
    lengths = [len(episode.rewards) for episode in whole.iterate_episodes()]
    rewards = load_transitions(whole).rewards.split(lengths)
    for part in minari.split_dataset(whole, [2, 3], seed=0):
        expected = torch.cat([rewards[i] for i in part.episode_indices])
        assert torch.equal(load_transitions(part).rewards, expected)
        assert resolve_items(part).checksum == resolve_items(whole).checksum
    longer = whole.filter_episodes(lambda episode: len(episode.rewards) > 4)
    expected = torch.cat([part for part in rewards if len(part) > 4])
    assert torch.equal(load_transitions(longer).rewards, expected)
    with pytest.raises(ValueError, match="has no transitions"):
        load_transitions(whole.filter_episodes(lambda episode: False))


def test_packs_of_rounds_are_split_too(generate):
    whole = generate("parts/packs-v0", num_rounds=20_001)
    assert whole.total_episodes == 3
    (last,) = minari.split_dataset(whole.filter_episodes(lambda pack: len(pack) < 10_000), [1])
    log, part = read_item_log(whole), read_item_log(last)
    assert len(part) == 1
    assert part.items[0] == log.items[-1]
    assert part.rewards[0] == log.rewards[-1]


def test_an_id_is_free_again_when_its_dataset_is_deleted(generate):
    before = load_transitions(generate("shop/log-v0", seed=3)).rewards
    with pytest.raises(ValueError, match=r"delete it with minari\.delete_dataset\('shop/log-v0'\)"):
        generate("shop/log-v0")
    minari.delete_dataset("shop/log-v0")
    assert minari.list_local_datasets() == {}
    with pytest.raises(FileNotFoundError, match="no local dataset 'shop/log-v0'"):
        load_transitions("shop/log-v0")
    assert torch.equal(load_transitions(generate("shop/log-v0", seed=3)).rewards, before)


def test_what_a_namespace_says_of_itself_stays(generate, minari_root):
    minari_root.mkdir()
    namespace.create_namespace("shop", description="our logs", owner="us")
    generate("shop/log-v0")
    generate("shop/deep/er/log-v0")
    assert namespace.get_namespace_metadata("shop") == {"description": "our logs", "owner": "us"}
    assert namespace.list_local_namespaces() == ["shop", "shop/deep", "shop/deep/er"]
    assert list(minari.list_local_datasets(prefix="shop")) == ["shop/log-v0", "shop/deep/er/log-v0"]
    minari.delete_dataset("shop/deep/er/log-v0")
    namespace.delete_namespace("shop/deep/er")
    assert namespace.list_local_namespaces() == ["shop", "shop/deep"]
