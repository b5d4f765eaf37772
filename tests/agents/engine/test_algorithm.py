from __future__ import annotations

import dataclasses

import pytest

from recsim_drpo.agents.algorithms.bc import BC
from recsim_drpo.agents.algorithms.iql import IQL
from recsim_drpo.agents.engine.algorithm import Algorithm, no_update


def count(parameters, state, config):
    return {name: tensor + 1 for name, tensor in state.items()}


FIELDS = {"name": "mine", "summary": "one line", "config": BC.config, "loss": BC.loss}


def test_the_former_keyword_settle_is_update_targets():
    mine = Algorithm(**FIELDS, settle=count)
    assert mine == Algorithm(**FIELDS, update_targets=count)
    assert mine.update_targets is mine.settle is count
    borrowed = Algorithm(**FIELDS, settle=IQL.settle)
    assert borrowed.update_targets is IQL.update_targets


def test_the_former_keyword_replaces_and_is_replaced():
    assert dataclasses.replace(IQL, settle=count).update_targets is count
    assert dataclasses.replace(IQL, update_targets=count).settle is count
    assert dataclasses.replace(IQL, name="mine").update_targets is IQL.update_targets


def test_an_algorithm_without_targets_keeps_its_state():
    assert Algorithm(**FIELDS).update_targets is no_update
    with pytest.raises(TypeError, match="setle"):
        Algorithm(**FIELDS, setle=count)
