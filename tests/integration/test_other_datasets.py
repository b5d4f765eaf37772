"""The well-known top-level package `datasets`, of Hugging Face, installed beside ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
import recsim_drpo
from recsim_drpo.datasets.load import load_transitions
recsim_drpo.generate_dataset(
    "beside-v0", env_kwargs={"num_items": 30, "embedding_dim": 4, "num_topics": 2}, num_rounds=9,
    card=False, progress=False,
)
assert len(load_transitions("beside-v0")) == 9
assert "datasets" not in sys.modules  # nothing of ours imports it by that name
import datasets
print(datasets.WHOSE, recsim_drpo.datasets is datasets)
"""


@pytest.mark.parametrize("theirs_first", [True, False])
def test_each_has_its_own_name(tmp_path, theirs_first):
    theirs = tmp_path / "site-packages"
    (theirs / "datasets").mkdir(parents=True)
    (theirs / "datasets/__init__.py").write_text("WHOSE = 'theirs'\n")
    paths = [str(theirs), str(ROOT)] if theirs_first else [str(ROOT), str(theirs)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "MINARI_DATASETS_PATH": str(tmp_path / "minari"),
    }
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "theirs False\n"), done.stderr
