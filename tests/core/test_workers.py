"""Processes that work for another end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recsim_drpo.core.workers import workers

SCRIPT = """
import sys
from pathlib import Path
from tests.core.test_workers import work
from recsim_drpo.core.workers import workers
if __name__ == "__main__":
    with workers(2) as pool:
        for future in [pool.submit(work, folder) for folder in [sys.argv[1]] * 2]:
            future.result()
"""


def work(folder: str) -> None:
    """Leave the process's number, and go on and on."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # one that nobody has waited for yet is dead all the same
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_none_goes_on_when_their_parent_is_gone(tmp_path, number):
    (tmp_path / "script.py").write_text(SCRIPT)
    here = tmp_path / "pids"
    here.mkdir()
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", here],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(list(here.iterdir())) == 2)
    pids = [int(path.name) for path in here.iterdir()]
    assert all(map(is_alive, pids))
    process.send_signal(number)
    process.wait(60)
    wait_until(lambda: not any(map(is_alive, pids)), 30)


def test_what_they_return_comes_back():
    with workers(1) as pool:
        assert pool.submit(abs, -3).result() == 3
