from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from recsim_drpo.cli import main
from recsim_drpo.serving.exploration import Exploration, explore
from recsim_drpo.serving.ranking import Cap, Ranker
from recsim_drpo.serving.recommender import load_recommender
from recsim_drpo.serving.rules import AllowedItems, Lists
from recsim_drpo.simulator.decoder import NO_ITEM


def greedy(scores, allowed, groups, limit, k):
    """From the best on, an item at a time, as a list of rows."""
    chosen, counts = [], {}
    for item in sorted(allowed, key=lambda i: (-scores[i], i)):
        group = groups[item]
        if len(chosen) < k and (group < 0 or counts.get(group, 0) < limit):
            chosen.append(item)
            counts[group] = counts.get(group, 0) + 1
    return chosen


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    num_items=st.integers(1, 120),
    num_groups=st.integers(1, 6),
    limit=st.integers(1, 4),
    data=st.data(),
)
def test_ranking_under_rules_is_that_of_brute_force(seed, num_items, num_groups, limit, data):
    k = data.draw(st.integers(1, num_items))
    generator = np.random.default_rng(seed)
    items = generator.integers(-3, 4, size=(num_items, 3)) + np.array([0, 0, 7])  # with ties
    items = (items / np.linalg.norm(items, axis=1, keepdims=True)).astype(np.float32)
    actions = generator.normal(size=(9, 3)).astype(np.float32)
    groups = generator.integers(-1, num_groups, size=num_items)
    everywhere = generator.random(num_items) < 0.8
    only = [generator.integers(num_items, size=generator.integers(30)) for _ in range(9)]
    seen = [generator.integers(num_items, size=generator.integers(9)) for _ in range(4)]
    whose = generator.integers(4, size=9)

    def lists(rows):
        offsets = np.cumsum([0, *map(len, rows)])
        return Lists(torch.from_numpy(offsets), torch.from_numpy(np.concatenate(rows)))

    rules = AllowedItems(
        torch.from_numpy(everywhere), lists(only), lists(seen), torch.from_numpy(whose)
    )
    cap = Cap(torch.from_numpy(groups), limit)
    scores, rows = Ranker(torch.from_numpy(items)).top(torch.from_numpy(actions), k, rules, cap)
    unit = actions.astype(np.float64) / np.linalg.norm(actions.astype(np.float64), axis=1)[:, None]
    expected = (unit @ items.T.astype(np.float64)).astype(np.float32)
    for i in range(9):
        allowed = {int(j) for j in only[i] if everywhere[j]} - set(seen[whose[i]].tolist())
        best = greedy(expected[i], allowed, groups, limit, k)
        assert rows[i].tolist() == best + [NO_ITEM] * (k - len(best))
        assert scores[i, : len(best)].tolist() == expected[i, best].tolist()
        assert (scores[i, len(best) :] == -torch.inf).all()


ITEMS = np.array([[1, 0], [0.96, 0.28], [0.8, 0.6], [0.6, 0.8], [0, 1]], dtype=np.float32)
GROUPS = [0, 0, 0, 1, -1]


@pytest.mark.parametrize("exploration", [Exploration(epsilon=0.6), Exploration(temperature=0.5)])
def test_exploring_within_a_cap(exploration):
    """At most 1 of the group 0, 1, 2: frequencies of rankings are the product of propensities."""
    count = 40_000
    cap = Cap(torch.tensor(GROUPS), 1)
    actions = torch.tensor([[1.0, 0.0]]).expand(count, 2)
    ranker = Ranker(torch.from_numpy(ITEMS))
    shown = explore(ranker, actions, 4, exploration, torch.arange(count), None, cap)
    orders, inverse, counts = np.unique(
        shown.rows.numpy(), axis=0, return_inverse=True, return_counts=True
    )
    total = 0.0
    for j, order in enumerate(orders.tolist()):
        items = [item for item in order if item != NO_ITEM]
        groups = [GROUPS[item] for item in items if GROUPS[item] >= 0]
        assert len(set(groups)) == len(groups)
        assert len(items) == 3  # one of each group and the free one, then nothing is left
        steps = shown.propensities[torch.from_numpy(inverse.ravel() == j)][:, :3]
        assert (steps == steps[0]).all()
        chance = math.prod(steps[0].tolist())
        total += chance
        assert abs(counts[j] - count * chance) < 5 * math.sqrt(count * chance)
    assert total == pytest.approx(1.0)
    if exploration.epsilon is not None:  # by hand: 0 first, then 3, for the best of what is left
        first = shown.rows[:, 0] == 0
        assert shown.propensities[first][0, 0] == pytest.approx(0.6 / 5 + 0.4)
        second = shown.propensities[first & (shown.rows[:, 1] == 4)][0, 1]
        assert second == pytest.approx(0.6 / 2)  # of 3 and 4 alone; 3 is the better


@pytest.fixture
def table(service, run, tmp_path):
    """40 contexts with ids and a column of candidates, and what is recommended without rules."""
    contexts = np.random.default_rng(0).uniform(-1, 1, (40, service.DIM)).astype(np.float32)
    generator = np.random.default_rng(1)
    candidates = [generator.choice(60, size=8, replace=False).tolist() for _ in range(40)]
    path = tmp_path / "in.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", *service.NAMES, "pool"])
        for i in range(40):
            cell = json.dumps(candidates[i]) if i % 2 else " ".join(map(str, candidates[i]))
            writer.writerow([f"u{i}", *contexts[i].tolist(), cell])
    _, rows = load_recommender(run).top(contexts, 60)
    order = {f"u{i}": rows[i].tolist() for i in range(40)}
    return path, contexts, candidates, order


def served(service, path, out, run, *words):
    command = ["recommend", run, "--contexts", path, "--out", out, "--id-column", "user", *words]
    assert main([str(word) for word in command]) == 0
    found = {}
    for row in service.read_results(out):
        found.setdefault(row["user"], []).append(int(row["item_id"]))
        assert int(row["rank"]) == len(found[row["user"]])
    return found


def test_the_command_obeys_every_rule_at_once(service, run, tmp_path, table, capsys):
    path, _, candidates, order = table
    (tmp_path / "allow.txt").write_text("\n".join(map(str, range(50))))
    (tmp_path / "deny.txt").write_text("3\n4\n5\n")
    seen = {f"u{i}": candidates[i][:2] for i in range(0, 40, 3)}
    rows = [(user, item) for user, items in seen.items() for item in items]
    rows += [("stranger", 7), ("u1", 1_000)]  # who is not served, and what is no longer there
    with (tmp_path / "seen.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("user", "item_id"), *rows])
    with (tmp_path / "kinds.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("item_id", "kind"), *((i, i % 4) for i in range(55))])
    words = ["-k", 4, "--candidates", "pool", "--allow", tmp_path / "allow.txt"]
    words += ["--deny", tmp_path / "deny.txt", "--exclude-seen", tmp_path / "seen.csv"]
    words += ["--max-per", f"{tmp_path / 'kinds.csv'}=1"]
    found = served(service, path, tmp_path / "out.csv", run, *words)
    short = 0
    for i in range(40):
        user = f"u{i}"
        allowed = set(candidates[i]) & set(range(50)) - {3, 4, 5} - set(seen.get(user, []))
        place = {item: -position for position, item in enumerate(order[user])}
        best = greedy(place, allowed, [j % 4 if j < 55 else -1 for j in range(60)], 1, 4)
        assert found.get(user, []) == best
        short += len(best) < 4
    assert 0 < short < 40
    assert f"{short} of 40 contexts have fewer than 4 items" in capsys.readouterr().err
    explored = ["--explore", "epsilon=0.5"]
    drawn = served(service, path, tmp_path / "drawn.jsonl", run, *words, *explored)
    assert drawn != found
    assert all(set(items) <= set(candidates[int(user[1:])]) for user, items in drawn.items())
    assert {user: len(items) for user, items in drawn.items()} == {
        user: len(items) for user, items in found.items()
    }


def test_propensities_are_those_among_what_is_allowed(service, run, tmp_path, table):
    path, _, candidates, order = table
    words = ["-k", "1", "--candidates", "pool", "--explore", "epsilon=0.5", "--id-column", "user"]
    out = tmp_path / "out.jsonl"
    assert main(["recommend", str(run), "--contexts", str(path), "--out", str(out), *words]) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    greedy_share = 0
    for i, row in enumerate(found):
        best = next(item for item in order[f"u{i}"] if item in candidates[i])
        assert row["propensity"] == pytest.approx(0.5 / 8 + 0.5 * (row["item_id"] == best))
        greedy_share += row["item_id"] == best
    assert 12 < greedy_share < 34  # 22.5 expected


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_formats_of_seen_and_candidates_agree(service, run, tmp_path, suffix):
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    contexts = np.random.default_rng(0).uniform(-1, 1, (3, service.DIM)).astype(np.float32)
    pools, ids = [[1, 2, 3], [], [5, 4]], [7, 8, 9]
    columns = {"user": ids, "pool": pools}
    columns |= {name: contexts[:, i].tolist() for i, name in enumerate(service.NAMES)}
    seen = {"user": [7, 9], "item_id": [2, 4]}
    for name, values in (("in", columns), ("seen", seen)):
        path = tmp_path / f"{name}{suffix}"
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        if suffix == ".parquet":
            arrow.parquet.write_table(arrow.table(values), path)
        elif suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(values))
                writer.writeheader()
                writer.writerows(rows)
    words = ["-k", 3, "--candidates", "pool", "--exclude-seen", tmp_path / f"seen{suffix}"]
    found = served(service, tmp_path / f"in{suffix}", tmp_path / f"out{suffix}", run, *words)
    assert {int(user): set(items) for user, items in found.items()} == {7: {1, 3}, 9: {5}}
    # Nobody has anything left: a table without rows.
    (tmp_path / "none.txt").write_text("59")
    words = [*words, "--allow", tmp_path / "none.txt"]
    assert served(service, tmp_path / f"in{suffix}", tmp_path / f"no{suffix}", run, *words) == {}


@pytest.mark.parametrize(
    ("files", "words", "message"),
    [
        ({"a.txt": "1\n99\n98\n"}, ["--allow", "a.txt"], "catalogue has no item '99', '98'"),
        ({"a.txt": "\n".join(map(str, range(59, 70)))}, ["--deny", "a.txt"], "'64', … (10)"),
        ({}, ["--deny", "a.txt"], "no file of item ids"),
        ({}, ["--candidates", "pol"], "Did you mean 'pool'"),
        ({}, ["--candidates", "bad"], "the column 'bad', the catalogue has no item 'shoe'"),
        ({"s.csv": "user,item_id\nu1,99\n"}, ["--exclude-seen", "s.csv"], "none of its items"),
        ({"s.csv": "usr,item_id\nu1,9\n"}, ["--exclude-seen", "s.csv"], "Did you mean 'usr'"),
        ({"s.csv": "user,item_id\nu1\n"}, ["--exclude-seen", "s.csv"], "'s.csv', row 1: 1 cells"),
        ({}, ["--exclude-seen", "s.csv"], "no file at"),
        ({"c.csv": "item_id,kind\n1,a\n99,a\n"}, ["--max-per", "c.csv=2"], "no item '99'"),
        ({"c.csv": "item_id,kind\n1,a\n1,b\n"}, ["--max-per", "c.csv=2"], "names an item twice"),
        ({"c.csv": "item_id,a,b\n1,a,b\n"}, ["--max-per", "c.csv=2"], "take item_id and one more"),
        ({}, ["--max-per", "c.csv"], "is not of the form FILE=K"),
        ({}, ["--max-per", "c.csv=0"], "max_per=0 is not an integer at least 1"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_one_line(
    service, run, tmp_path, monkeypatch, capsys, files, words, message
):
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    header = f"user,{service.HEADER},pool,bad\n"
    (tmp_path / "in.csv").write_text(header + f"u1,{service.ROW},1 2,shoe\n")
    command = ["recommend", str(run), "--contexts", "in.csv", "--out", "out.csv", "-k", "2"]
    assert main([*command, "--id-column", "user", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out.csv").exists()


def test_what_was_seen_needs_names(service, run, tmp_path, capsys):
    (tmp_path / "seen.csv").write_text("user,item_id\n1,2\n")
    (tmp_path / "in.csv").write_text(f"{service.HEADER}\n{service.ROW}\n")
    command = ["recommend", run, "--contexts", tmp_path / "in.csv", "-k", 2]
    assert main([str(w) for w in [*command, "--exclude-seen", tmp_path / "seen.csv"]]) == 2
    assert "say by --id-column" in capsys.readouterr().err
