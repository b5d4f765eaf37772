from __future__ import annotations

import pytest
import torch

from recsim_drpo.benchmarks.speed import d3rlpy_peer
from recsim_drpo.benchmarks.speed.measuring import random_transitions

needs_d3rlpy = pytest.mark.skipif(not d3rlpy_peer.available(), reason="d3rlpy is not installed")


@needs_d3rlpy
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("agent", ["bc", "iql"])
def test_d3rlpy_trains_networks_of_our_size_in_fit(agent):
    peer = d3rlpy_peer.D3rlpyTraining(
        agent, random_transitions(400, torch.device("cpu")).as_batch(), 320, steps=2
    )
    peer.run()
    modules = peer._agent.impl.modules
    policy = modules.imitator if agent == "bc" else modules.policy
    before = [parameter.detach().clone() for parameter in policy.parameters()]
    assert [tuple(p.shape) for p in before if p.ndim == 2 and p.shape[0] > 1][:3] in (
        [(128, 10), (128, 128), (128, 128)],
    )
    peer.run()
    peer.run_without_drawing()
    changed = [not torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True)]
    assert any(changed)
    assert peer._batch.observations.shape == (320, 10)
    assert peer._batch.terminals.min() == 1.0
