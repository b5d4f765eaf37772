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
