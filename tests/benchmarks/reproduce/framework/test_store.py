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


def test_names_of_agents_are_no_part_of_a_path(tmp_path):
    """``module:Class`` is no file's name on Windows, and a name with a slash would be a folder."""
    store = Store(tmp_path, {})
    for number, key in enumerate(["000-mine:Agent", "000-mine-Agent", "000-team/agent", "../a"]):
        store.put(key, number)
        assert store.get(key) == number
    names = sorted(path.name for path in (tmp_path / "records").iterdir())
    assert names == [
        "..%2Fa.json",
        "000-mine%3AAgent.json",
        "000-mine-Agent.json",
        "000-team%2Fagent.json",
    ]


def test_a_piece_by_its_former_name_is_finished(tmp_path):
    store = Store(tmp_path, {})
    (tmp_path / "records" / "000-mine:Agent.json").write_text("[1]", encoding="utf-8")
    assert store.has("000-mine:Agent")
    assert store.get("000-mine:Agent") == [1]


def test_a_folder_holds_pieces_of_one_plan(tmp_path):
    Store(tmp_path, {"seed": 1})
    with pytest.raises(ValueError, match="seed: 1, now 2"):
        Store(tmp_path, {"seed": 2})


def test_differences_of_plans_are_lines():
    assert list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "d": 3})) == [
        "a.c: 2, now not there",
        "d: not there, now 3",
    ]
