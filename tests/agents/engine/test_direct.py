"""Programs that run from their text: what they may need, and whose they are."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch

from recsim_drpo.agents.engine import direct

GENERATED = """
import torch._inductor.what_the_compiler_needs

class Runner:
    def __init__(self, partitions):
        self.partitions = partitions

    def call(self, args):
        left, right = args
        args.clear()
        out = empty_strided_cpu((2, 2), (2, 1), torch.float32)
        extern_kernels.mm(left, right, out=out)
        return ({result}, )
"""


def module_of(folder, result):
    file = folder / "generated.py"
    file.write_text(GENERATED.replace("{result}", result))
    return SimpleNamespace(__file__=str(file), constant=torch.ones(2))


def test_the_text_of_a_generated_module_computes_what_its_method_says(tmp_path):
    kept = tmp_path / "kept.py"
    kept.write_text(direct.text_of(module_of(tmp_path, "out")))
    run = direct.load(kept)
    left, right = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    for _ in range(2):
        assert run(left, right)[0].tolist() == [[2.0, 1.0], [4.0, 3.0]]


@pytest.mark.parametrize("needed", ["constant", "unheard_of"])
def test_a_program_that_needs_more_than_machine_code_is_not_kept(tmp_path, needed):
    with pytest.raises(ValueError, match=f"needs '{needed}'"):
        direct.text_of(module_of(tmp_path, f"out + {needed}"))


def test_machine_code_that_is_gone_or_changed_is_not_run(tmp_path):
    library, kept = tmp_path / "library.so", tmp_path / "kept.py"
    kept.write_text(f"KERNELS = {{'kernel': ({str(library)!r}, 3)}}\n")
    with pytest.raises(FileNotFoundError):
        direct.load(kept)
    library.write_bytes(b"four")
    with pytest.raises(ValueError, match="another size"):
        direct.load(kept)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users have no numbers here")
def test_what_another_user_wrote_is_not_run(monkeypatch, tmp_path):
    kept = tmp_path / "kept.py"
    kept.write_text(direct.text_of(module_of(tmp_path, "out")))
    monkeypatch.setattr(os, "getuid", lambda: kept.stat().st_uid + 1)
    with pytest.raises(ValueError, match="another user"):
        direct.load(kept)
