"""The main job at its full size: minutes, hence marked slow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recsim_drpo.benchmarks.speed.measuring import peak_memory
from recsim_drpo.cli.demo import AGENTS, REFERENCE_ROWS

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def peak_of_generating(root: str, num_rounds: int) -> int:
    from recsim_drpo import generate_dataset

    os.environ["MINARI_DATASETS_PATH"] = root
    generate_dataset("peak-v0", scenario="extreme", num_rounds=num_rounds, card=False)
    return peak_memory()


def test_memory_does_not_grow_with_the_number_of_rounds(tmp_path):
    script = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('job', {str(Path(__file__))!r})\n"
        "job = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(job)\n"
        "print(job.peak_of_generating(sys.argv[1], int(sys.argv[2])))\n"
    )
    peaks = []
    # What glibc keeps of freed memory in the arenas of threads differs by a tenth from run to run.
    frugal = os.environ | {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**18)}
    for num_rounds in (200_000, 1_000_000):
        arguments = [sys.executable, "-c", script, str(tmp_path / str(num_rounds)), str(num_rounds)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=frugal)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.5e9
    assert peaks[1] < 1.1 * peaks[0]


def test_the_demo_prints_what_the_readme_says(tmp_path):
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "recsim_drpo.cli", "demo", "--out", str(out)]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    results = json.loads((out / "results.json").read_text())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme[
        readme.index("## What the demo prints") : readme.index("The same on a catalogue")
    ]
    published = {
        name: float(value)
        for name, value in re.findall(r"^\| ([\w-]+) +\| +([\d.]+) \|", table, re.MULTILINE)
    }
    assert set(published) == {*REFERENCE_ROWS, *AGENTS, "oracle"}
    for name, value in published.items():
        if name in results["references"]:
            # Another processor may round another way and draw another item here and there.
            assert results["references"][name]["ecpm"]["value"] == pytest.approx(value, abs=0.02)
        else:
            values = [one["ecpm"]["value"] for one in results["agents"][name]]
            assert sum(values) / len(values) == pytest.approx(value, abs=0.12), name
