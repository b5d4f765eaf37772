from __future__ import annotations

import dataclasses

import minari
import numpy as np
import pytest
import torch

from recsim_drpo import generate_dataset, make_world
from recsim_drpo.ope.logs import ItemLog, read_item_log

KWARGS = {"num_items": 60, "embedding_dim": 8, "num_topics": 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"propensities": torch.tensor([0.5, 1.5], dtype=torch.float64)},
            "1 of 2 propensities are",
        ),
        ({"propensities": torch.zeros(2, dtype=torch.float64)}, r"outside \(0, 1\] \(first: round"),
        ({"items": torch.tensor([0, 3])}, "1 rounds show an item outside the catalogue of 3"),
        ({"rewards": torch.tensor([0.0, torch.nan])}, "1 rewards of the log are NaN"),
        ({"contexts": torch.zeros(3, 1)}, "3 contexts for 2 items"),
        (
            {"rewards": torch.tensor([0.5, 2.0]), "reward_range": (0.0, 1.0)},
            "from 0.5 to 2, outside",
        ),
        ({"items": torch.zeros(0, dtype=torch.int64)}, "no rounds"),
    ],
)
def test_a_wrong_log_is_one_error(change, message):
    columns = {
        "contexts": torch.zeros(2, 1),
        "items": torch.tensor([0, 1]),
        "rewards": torch.zeros(2),
        "propensities": torch.full((2,), 0.5, dtype=torch.float64),
        "embeddings": torch.eye(3),
        "item_ids": np.arange(3),
    }
    with pytest.raises(ValueError, match=message):
        ItemLog(**(columns | change))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Minari's, of metadata that is left out
def test_a_dataset_is_read_with_or_without_its_catalogue(minari_root, tmp_path):
    # Two packed episodes, so that rows of the second are not shifted.
    dataset = generate_dataset(
        "ope/small-v0", num_rounds=10_500, env_kwargs=KWARGS, card=False, progress=False
    )
    log = read_item_log(dataset)
    first, second = dataset.iterate_episodes()
    assert log.items[10_000:].tolist() == second.infos["item_id"][1:].tolist()
    assert log.propensities[:10_000].tolist() == first.infos["propensity"][1:].tolist()
    assert np.array_equal(log.contexts[10_000:].numpy(), second.observations[:-1])
    assert log.bounds == log.reward_range == (0.0, 1.0)
    world = make_world(**KWARGS)
    assert torch.equal(log.embeddings, world.embeddings)

    spaces = {key: getattr(dataset, key) for key in ("observation_space", "action_space")}
    # Of an action only the direction counts.
    buffers = [dataclasses.replace(_buffer(first, 500), actions=3.0 * first.actions[:500])]
    outside = minari.create_dataset_from_buffers("ope/outside-v0", buffers, **spaces)
    bare = read_item_log(outside)
    assert bare.reward_range is None
    assert bare.bounds == (float(bare.rewards.min()), float(bare.rewards.max()))
    assert bare.item_ids.tolist() == sorted(set(first.infos["item_id"][1:501].tolist()))
    assert bare.item_ids[bare.items].tolist() == first.infos["item_id"][1:501].tolist()
    shown = world.embeddings[torch.from_numpy(bare.item_ids)]
    assert torch.allclose(bare.embeddings, shown, atol=1e-7)
    np.save(tmp_path / "mine.npy", 2.0 * world.catalogue.embeddings)
    given = read_item_log(outside, embeddings=tmp_path / "mine.npy", normalize=True)
    assert given.items.tolist() == first.infos["item_id"][1:501].tolist()
    np.savez(minari_root / "ope/outside-v0/items.npz", embeddings=world.catalogue.embeddings)
    assert torch.equal(read_item_log(outside).embeddings, world.embeddings)
    np.save(tmp_path / "other.npy", world.catalogue.embeddings[::-1])
    with pytest.raises(ValueError, match="embeddings are of another catalogue"):
        read_item_log(outside, embeddings=tmp_path / "other.npy")

    asked = [_buffer(first, 500), _buffer(second, 500)]
    for number, buffer in enumerate(asked):
        # Row t + 1 belongs to round t; the second episode goes on with the last request.
        buffer.infos["request"] = np.concatenate([[0], 900 + (np.arange(500) + 499 * number) // 3])
    together = minari.create_dataset_from_buffers("ope/requests-v0", asked, **spaces)
    expected = [*(np.arange(500) // 3), *((np.arange(500) + 499) // 3)]
    assert read_item_log(together).requests.tolist() == expected
    assert log.requests is None

    buffers = [_buffer(first, 500, alone=False)]
    sessions = minari.create_dataset_from_buffers("ope/sessions-v0", buffers, **spaces)
    with pytest.raises(ValueError, match="rounds that stand alone"):
        read_item_log(sessions)


def _buffer(episode, length, alone=True):
    return minari.data_collector.EpisodeBuffer(
        observations=episode.observations[: length + 1],
        actions=episode.actions[:length],
        rewards=episode.rewards[:length],
        terminations=np.full(length, alone),
        truncations=episode.truncations[:length],
        infos={name: column[: length + 1] for name, column in episode.infos.items()},
    )
