from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recsim_drpo.agents.registry import ALGORITHMS
from recsim_drpo.benchmarks.speed.contenders import (
    QUICK,
    Contender,
    Setting,
    own_fleet,
    own_learner,
    search,
    take_turns,
)

CPU = torch.device("cpu")


def test_search_returns_the_quickest_two_and_all_times(monkeypatch):
    monkeypatch.setattr(Contender, "milliseconds", lambda self: float(self.updates))
    made = {name: Contender(lambda: None, n, CPU) for name, n in {"a": 3, "b": 1, "c": 2}.items()}
    best, times = search({name: lambda one=one: one for name, one in made.items()}, turns=2)
    assert best == ["b", "c"]
    assert times == {"a": [3.0, 3.0], "b": [1.0, 1.0], "c": [2.0, 2.0]}


def test_sides_take_turns():
    order: list[str] = []
    sides = {name: lambda name=name: float(len(order.append(name) or order)) for name in "ab"}
    assert take_turns(sides, 3) == {"a": [1.0, 3.0, 5.0], "b": [2.0, 4.0, 6.0]}
    assert order == list("ababab")


def test_a_call_of_our_contenders_is_as_many_updates_as_it_says():
    setting = Setting(QUICK, CPU)
    assert own_fleet(setting, "bc", 4, "eager", 10).updates == 8
    assert own_fleet(setting, "bc", 4, "eager", 2).updates == 4
    contender = own_learner(setting, "bc", "eager", 3)
    assert contender.updates == 3
    assert contender.milliseconds() > 0.0


@pytest.mark.parametrize("agent", ALGORITHMS)
def test_every_agent_trains_on_the_log_that_it_is_timed_with(agent):
    setting = Setting(replace(QUICK, transitions=400), CPU)
    own_fleet(setting, agent, 2, "eager", 2).run()
