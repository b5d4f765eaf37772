"""Logs of more rounds than are held in memory: the same numbers, in memory that does not grow."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from recsim_drpo import generate_dataset
from recsim_drpo.core import scratch
from recsim_drpo.ope.evaluator import OffPolicyEvaluator
from recsim_drpo.ope.logs import ItemLog, read_item_log
from recsim_drpo.ope.standardize import Standardizer


def logged(num_rounds, positions=False):
    """A log of eight items that pay by the context, of requests of up to three rounds."""
    generator = torch.Generator().manual_seed(0)
    contexts = torch.randn(num_rounds, 8, generator=generator)
    chances = torch.softmax(0.5 * contexts.double(), dim=1)
    items = torch.multinomial(chances, 1, generator=generator)
    rewards = (torch.rand(num_rounds, generator=generator) < 0.5).float()
    places = torch.arange(num_rounds, dtype=torch.float64) % 3
    return ItemLog(
        contexts,
        items.squeeze(1),
        rewards,
        chances.gather(1, items).squeeze(1),
        torch.eye(8),
        np.arange(8),
        (0.0, 1.0),
        requests=torch.arange(num_rounds) // 3,
        positions=places if positions else None,
    )


class ShowsTheLargest:
    def act(self, observations):
        return observations


def flat(found):
    """The numbers of an evaluation, by name."""
    numbers = {}
    for name, value in found.items():
        if isinstance(value, dict):
            numbers |= {f"{name}.{key}": each for key, each in flat(value).items()}
        elif isinstance(value, list):
            numbers |= flat({f"{name}.{k}": each for k, each in enumerate(value)})
        elif isinstance(value, (int, float)):
            numbers[name] = value
    return numbers


@pytest.mark.parametrize("estimate", [False, True])
def test_blocks_change_no_number(monkeypatch, estimate):
    log, found = logged(2_000, positions=estimate), []
    for block in (10_000, 300):
        monkeypatch.setattr(scratch, "BLOCK", block)
        evaluator = OffPolicyEvaluator(log, num_clusters=3, estimate=estimate)
        found.append(flat(evaluator(ShowsTheLargest()).as_dict()))
    assert found[0].keys() == found[1].keys()
    assert len(found[0]) > 20
    # The scale of a column of many rows is rounded otherwise, and so are the models on it.
    assert found[1] == pytest.approx(found[0], rel=1e-3, nan_ok=True)


def test_what_is_wrong_is_found_in_every_block(monkeypatch):
    log = logged(100)
    monkeypatch.setattr(scratch, "BLOCK", 30)
    items, propensities, contexts = log.items.clone(), log.propensities.clone(), log.contexts + 0.0
    items[[40, 90]], propensities[[65, 95]], contexts[99, 3] = 8, 0.0, torch.nan
    with pytest.raises(ValueError, match=r"2 rounds show .* \(first: round 40, item 8\)"):
        dataclasses.replace(log, items=items)
    with pytest.raises(ValueError, match=r"2 of 100 propensities .* round 65, 0"):
        dataclasses.replace(log, propensities=propensities)
    with pytest.raises(ValueError, match=r"1 contexts of the log are NaN"):
        dataclasses.replace(log, contexts=contexts)


@pytest.mark.parametrize("chosen", [None, torch.arange(0, 500, 2)])
def test_scales_of_columns_are_those_of_the_whole(monkeypatch, chosen):
    rows = torch.randn(500, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[:, 1], rows[:, 2], rows[20:, 3] = 3.0, (rows[:, 2] > 0) * 2.0 + 1.0, 0.5
    whole = Standardizer(rows, chosen)(rows)
    monkeypatch.setattr(scratch, "BLOCK", 100)
    torch.testing.assert_close(Standardizer(rows, chosen)(rows), whole)
    assert Standardizer(torch.zeros(300, 0), chosen)(torch.zeros(2, 0)).shape == (2, 0)


def test_a_dataset_is_read_in_blocks(monkeypatch, minari_root, small_kwargs):
    options = {"env_kwargs": small_kwargs, "card": False, "progress": False}
    dataset = generate_dataset("log-v0", num_rounds=2_000, **options)
    whole = read_item_log(dataset)
    monkeypatch.setattr(scratch, "BLOCK", 700)
    blocked = read_item_log(dataset)
    for name in ("contexts", "items", "rewards", "propensities"):
        assert torch.equal(getattr(blocked, name), getattr(whole, name)), name
    assert scratch._mapped


MEMORY = """
import sys, threading, time
import numpy as np, torch
from recsim_drpo import generate_dataset
from recsim_drpo.core import scratch
from recsim_drpo.ope.evaluator import OffPolicyEvaluator
from recsim_drpo.ope.logs import ItemLog

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

scratch.BLOCK, n = 2**15, int(sys.argv[1])
columns = [scratch.room(shape, kind) for shape, kind in (
    ((n, 4), "float32"), ((n,), "int64"), ((n,), "float32"), ((n,), "float64"))]
generator = np.random.default_rng(0)
for rows in scratch.blocks(n):
    m = rows.stop - rows.start
    columns[0][rows] = generator.normal(size=(m, 4))
    columns[1][rows], columns[3][rows] = generator.integers(0, 4, m), 0.25
    columns[2][rows] = columns[0][rows, 0] > 0
contexts, items, rewards, propensities = map(torch.from_numpy, columns)

class Policy:
    def act(self, observations):
        return observations

peak, done = [anonymous()], threading.Event()
def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], anonymous())
thread = threading.Thread(target=watch)
thread.start()
log = ItemLog(contexts, items, rewards, propensities, torch.eye(4), np.arange(4), (0.0, 1.0))
found = OffPolicyEvaluator(log, num_clusters=2)(Policy())
done.set()
thread.join()
print(peak[0] // 1024, found.num_rounds, found.estimates[0].value.value)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_rounds():
    """Four times the rounds: all columns together are 100 bytes a round, 90 MB of growth."""
    peaks = []
    for rounds in (300_000, 1_200_000):
        words = [sys.executable, "-c", MEMORY, str(rounds)]
        output = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        assert int(output[1]) == rounds
        assert float(output[2]) == pytest.approx(0.5, abs=0.01)
        peaks.append(int(output[0]))
    assert peaks[1] - peaks[0] < 25, peaks
