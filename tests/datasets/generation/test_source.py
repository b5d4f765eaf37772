"""Of how many users a card's means are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recsim_drpo.datasets.generation import sessions, source
from recsim_drpo.datasets.generation.source import sampled_users


@pytest.mark.parametrize(
    ("usual", "num_items", "expected"),
    [
        (10_000, 1, 10_000),
        (10_000, 100_000, 10_000),
        (10_000, 200_000, 5_000),
        (10_000, 1_000_000, 1_000),
        (10_000, 10**9, 50),  # 50 at least
        (500, 5_000, 500),
        (500, 1_000_000, 50),
        (20, 10**9, 20),  # nor more than usual
    ],
)
def test_users_of_a_sample(usual, num_items, expected):
    assert sampled_users(usual, num_items) == expected


@pytest.mark.parametrize("env", ["RecSimZipf-v0", "RecSimZipfSession-v0"])
def test_what_is_of_a_sample_says_so(
    generate, arrays, small_kwargs, monkeypatch, usual_reference_users, env
):
    monkeypatch.setattr(sessions, "_REFERENCE_USERS", usual_reference_users)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # cards without their pictures
    kwargs = {**small_kwargs, **({"max_steps": 5} if env == "RecSimZipfSession-v0" else {})}
    whole = generate("whole-v0", kwargs, env=env, card=True)
    usual = whole.storage.metadata
    monkeypatch.setattr(source, "_MANY_ITEMS", small_kwargs["num_items"] // 2)
    sampled = generate("sampled-v0", kwargs, env=env, card=True)
    metadata = sampled.storage.metadata
    users = int(usual["num_episodes_average_score"]) // 2
    assert metadata["num_episodes_average_score"] == users
    assert f" on a sample of {users:,} test users: " in metadata["reference_scores"]
    assert " on test users: " in usual["reference_scores"]
    assert metadata["ref_max_score"] == pytest.approx(usual["ref_max_score"], rel=0.15)
    card, usual_card = (
        (Path(dataset.spec.data_path).parent / "README.md").read_text(encoding="utf-8")
        for dataset in (sampled, whole)
    )
    assert "The mean over 250 users, a sample" in card
    assert "What is expected is the mean over" in card
    assert "a sample" not in usual_card
    # The rounds are not of a sample.
    ours, theirs = arrays(sampled), arrays(whole)
    for name, column in theirs.items():
        assert (ours[name].tobytes()) == column.tobytes(), name
