from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from recsim_drpo import (
    load_transitions,
    make_world,
)
from recsim_drpo.reporting import paper_figures
from recsim_drpo.reporting.statistics import zipf_exponent


def test_card(generate, small_kwargs):
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


def test_card_without_the_extra_has_its_tables(generate, small_kwargs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    dataset = generate("plain-v0", small_kwargs, card=True)
    folder = Path(dataset.spec.data_path).parent
    text = re.sub(" +", " ", (folder / "README.md").read_text(encoding="utf-8"))
    assert 'pip install "recsim-drpo[plots]"' in text
    assert "![" not in text
    assert "| expert |" in text


def test_a_failing_card_leaves_nothing(nothing_is_left, generate, small_kwargs, monkeypatch):
    def fail(*_):
        raise RuntimeError("no picture today")

    monkeypatch.setattr(paper_figures, "value_by_rank", fail)
    with pytest.raises(RuntimeError, match="no picture today"):
        generate("a-v0", small_kwargs, card=True)
    assert nothing_is_left()
