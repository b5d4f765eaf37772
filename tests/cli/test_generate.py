from __future__ import annotations

import minari
import numpy as np


def test_weights_embeddings_and_card(run, minari_root, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(80, 8)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    assert (
        run(
            "generate",
            "own-v0",
            "--weights",
            "expert=0.5",
            "random=0.5",
            "--rounds",
            300,
            "--embeddings",
            tmp_path / "v.npy",
            "--normalize",
        )
        == 0
    )
    dataset = minari.load_dataset("own-v0")
    assert dataset.action_space.shape == (8,)
    assert dataset.storage.metadata["weights"]["expert"] == 0.5
    assert (minari_root / "own-v0" / "README.md").exists()


def test_shards_are_datasets_of_their_own(run, minari_root, capsys):
    small = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5", "--no-card"]
    words = ["generate", "ns/log-v0", "--rounds", 21_000, "--shards", 2, *small]
    assert run(*words) == 0
    sizes = [minari.load_dataset(f"ns/log-{k}-of-2-v0").total_steps for k in (1, 2)]
    assert sizes == [20_000, 1_000]
    assert run(*words) == 2
    assert "There is a dataset 'ns/log-1-of-2-v0' already" in capsys.readouterr().err
