from __future__ import annotations

import errno
import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from recsim_drpo import (
    make_agent,
)
from recsim_drpo.runs import checkpoints
from recsim_drpo.runs.checkpoints import load_state, save_state
from tests.agents.conftest import (
    DIMS,
    assert_same,
)


def test_a_nested_state_round_trips_exactly(tmp_path):
    module = torch.nn.Linear(2, 3)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    base = torch.arange(6.0)
    state = {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ordered": OrderedDict(b=1, a=2),
        "plain": [None, True, 1, 0.1, -0.0, math.inf, math.nan, 2**70, "ü", "tensor"],
        "nested": ((), [], {}, ([torch.tensor(3)],), {"tensor": "x"}, {"list": [1]}),
        "views": [base[:2], base[1:3], base.view(2, 3).T, base],
        "kinds": [torch.ones(2, dtype=kind) for kind in (torch.bool, torch.uint8, torch.bfloat16)],
        "empty": torch.empty(0, 3),
        "a.b": torch.zeros(1),
        "a": {"b": torch.ones(1)},
        "": {"": torch.full((1,), 2.0)},
        "__metadata__": torch.full((1,), 3.0),
        1: torch.full((1,), 4.0),
        "1": torch.full((1,), 5.0),
        "generator": torch.Generator().manual_seed(0).get_state(),
    }
    save_state(tmp_path / "state", state, "any")
    assert_same(state, load_state(tmp_path / "state"))


def test_a_flat_state_keeps_its_names(tmp_path):
    state = make_agent("drpo", **DIMS).state_dict()
    save_state(tmp_path / "state", state, "drpo")
    with safe_open(tmp_path / "state", framework="pt") as file:
        assert set(file.keys()) == set(state)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": [1, torch.float32]}}, "value of 'a.b.1' .* cannot be kept: it is a dtype"),
        ({"a": np.ones(2)}, "value of 'a' .* it is a ndarray"),
        ({"a": np.float64(2)}, "value of 'a' .* it is a float64"),
        ({"a": {1, 2}}, "value of 'a' .* it is a set"),
        ({"a": lambda: 0}, "value of 'a' .* it is a function"),
        ({"a": {0.5: 1}}, "key 0.5 in 'a' of the state .* of type float"),
        ({None: 1}, "key None of the state cannot be kept"),
        ({"a": torch.eye(2).to_sparse()}, "'a' .* Tensor of torch.float32, torch.sparse_coo"),
        ({"a": torch.ones(1, dtype=torch.complex64)}, "'a' .* Tensor of torch.complex64"),
        ([torch.ones(1)], "The state is a list; a dictionary is needed"),
    ],
)
def test_states_that_cannot_be_kept(state, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_state(tmp_path / "state", state, "any")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "description", ["{", '{"tensor": "y"}', '{"set": []}', '{"a": 1, "b": 2}', '{"dict": [1]}']
)
def test_damaged_descriptions(description, tmp_path):
    metadata = {"format": "recsim_drpo.agent/2", "state": description}
    save_file({"x": torch.zeros(1)}, tmp_path / "state", metadata=metadata)
    with pytest.raises(ValueError, match="does not describe its tensors"):
        load_state(tmp_path / "state")


def test_whoever_may_read_the_folder_may_read_the_checkpoint(tmp_path):
    (tmp_path / "other").touch()
    save_state(tmp_path / "state", {"a": torch.zeros(1)}, "any")
    assert (tmp_path / "state").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_full_disk_is_an_error_of_the_system(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise SafetensorError("Error while serializing: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_state(tmp_path / "state", {"a": torch.zeros(1)}, "any")
    assert caught.value.errno == errno.ENOSPC
