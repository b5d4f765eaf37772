"""Pieces of an experiment on the disk."""

from __future__ import annotations

import pytest

from recsim_drpo.benchmarks.reproduce.framework.store import Store, differences


def test_a_piece_is_made_once_and_kept(tmp_path):
    store = Store(tmp_path, {"seed": 1})
    made = []

    def make():
        made.append("piece")
        return {"value": 0.1}

    assert not store.has("a")
    with pytest.raises(KeyError):
        store.get("a")
    assert store.kept("a", make) == store.kept("a", make) == store.get("a") == {"value": 0.1}
    assert made == ["piece"]
    assert Store(tmp_path, {"seed": 1}).has("a")


def test_a_folder_holds_pieces_of_one_plan(tmp_path):
    Store(tmp_path, {"seed": 1})
    with pytest.raises(ValueError, match="seed: 1, now 2"):
        Store(tmp_path, {"seed": 2})


def test_differences_of_plans_are_lines():
    assert list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "d": 3})) == [
        "a.c: 2, now not there",
        "d: not there, now 3",
    ]
