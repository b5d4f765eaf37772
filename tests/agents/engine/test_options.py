from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from recsim_drpo import Fleet, make_agent
from recsim_drpo.agents.engine.options import EngineOptions


def test_the_defaults_are_float32_on_the_cpu():
    options = EngineOptions()
    assert options == EngineOptions("cpu", torch.float32, "float32", "auto")
    assert options.checked_device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda:77"}, "device='cuda:77' cannot be used here"),
        ({"precision": "fp8"}, "Unknown precision 'fp8'"),
        ({"precision": "tf32"}, "precision='tf32' is arithmetic of CUDA devices, not of 'cpu'"),
        ({"dtype": torch.float16}, r"dtype=torch.float16 is neither torch.float32 nor"),
        ({"execution": "eagr"}, "Did you mean 'eager'"),
        ({"execution": "graph"}, "execution='graph' needs a CUDA device, not 'cpu'"),
    ],
)
def test_options_that_the_device_does_not_have(options, message):
    with pytest.raises(ValueError, match=message):
        EngineOptions(**options).checked_device()
    dims = {"observation_dim": 3, "action_dim": 2}
    with pytest.raises(ValueError, match=message):
        make_agent("bc", **dims, **options)
    with pytest.raises(ValueError, match=message):
        Fleet("bc", **dims, seeds=[0], **options)


def test_an_option_that_there_is_not():
    for make in (
        lambda: EngineOptions(threads=2),
        lambda: Fleet("bc", observation_dim=3, action_dim=2, seeds=[0], threads=2),
    ):
        with pytest.raises(TypeError, match="threads"):
            make()


def test_the_command_line_learns_the_options_without_torch():
    code = "import sys, recsim_drpo.agents.engine.options; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
