"""A disk that is full, a folder that nobody may write into, and two that write the same at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.core.test_workers import is_alive, wait_until
from tests.faults.conftest import scaled
from tests.faults.sandbox import COLUMNS, SMALL, WORLD, Sandbox, is_below

pytestmark = pytest.mark.faults

NOBODY = 65534
TRAIN = ["train", "--dataset", "kt/log-v0", "--agent", "bc", *SMALL, "--out", "new"]
WRITING = {
    "generate": ["generate", "kt/new-v0", "--rounds", "900", "--no-card", *WORLD],
    "import": ["import", "shop/new-v0", "first.csv", "--items", "items.npz", *COLUMNS],
    "append": ["import", "shop/log-v0", "second.csv", "--append"],
    "train": TRAIN,
    "checkpoints": [*TRAIN, "--checkpoint-every", "3"],
    "evaluate": ["evaluate", "runs", "--num-users", "200", "--out", "new"],
    "ope": ["ope", "shop", "--dataset", "shop/log-v0", "--out", "new"],
    "compare": ["compare", "shop/log-v0", "shop/later-v0", "--out", "new"],
    "recommend": ["recommend", "shop", "-k", "2", "--contexts", "contexts.csv", "--out", "new.csv"],
    "export": ["export", "shop", "--out", "new"],
    "report": ["report", "--results", "results", "--out", "new.html"],
}


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    env = os.environ | {
        "MINARI_DATASETS_PATH": str(folder / "minari"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [sys.executable, "-m", "recsim_drpo.cli", *words]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_one_line(status: int, said: str, *words: str) -> None:
    lines = said.replace("\r", "\n").splitlines()
    errors = [line for line in lines if line.startswith("recsim-drpo: error: ")]
    assert (status, len(errors)) == (2, 1), said
    assert "Traceback" not in said, said
    assert any(word in errors[0] for word in words), errors


def fill(file: Path) -> None:
    """Let a file take all that is free."""
    with file.open("wb", buffering=0) as taken, suppress(OSError):
        while taken.write(bytes(2**12)):
            pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "recsim", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a disk cannot be mounted here: {error}")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("name", WRITING)
def test_a_disk_that_fills_up(name, sandbox, small_disk):
    size = sum(path.stat().st_size for path in sandbox.template.rglob("*") if path.is_file())
    disk = Sandbox(small_disk(2 * size + 2**26))
    shutil.copytree(sandbox.template, disk.folder)
    fill(disk.folder / "filler")
    before = disk.seen()
    process = start(disk.folder, *WRITING[name])
    said = process.communicate()[1]
    assert_one_line(process.returncode, said, "space", "are free at", "write")
    kept = {path: one for path, one in disk.seen().items() if not is_below(path, ("new",))}
    assert kept == before
    words = WRITING[name]
    if (disk.folder / "new").exists():  # checkpoints that were whole before it was full
        assert [path.name for path in (disk.folder / "new").iterdir()] == ["unfinished"]
        assert name == "checkpoints"
        words = ["train", "--resume", "new"]
    assert disk.staged() == []
    (disk.folder / "filler").unlink()
    process = start(disk.folder, *words)
    said = process.communicate()[1]
    assert process.returncode == 0, said


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="root alone may change")
@pytest.mark.parametrize("name", WRITING)
def test_a_folder_that_one_may_not_write_into(name, warm, sandbox):
    sandbox.reset()
    for folder in (sandbox.folder, *sandbox.folder.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    answer = warm(WRITING[name], sandbox.folder, learn=True)  # what is imported root alone may read
    assert answer["status"] == 0, answer["said"]
    sandbox.reset()
    before = sandbox.seen()
    answer = warm(WRITING[name], sandbox.folder, user=NOBODY)
    assert_one_line(answer["status"], answer["said"], "writ", "ermission")
    assert sandbox.seen() == before
    assert sandbox.staged() == []


@pytest.mark.parametrize("name", ["generate", "import", "append", "train", "checkpoints"])
def test_two_that_make_the_same(name, sandbox):
    for _ in range(scaled(3)):
        sandbox.reset()
        both = [start(sandbox.folder, *WRITING[name]) for _ in range(2)]
        said = [process.communicate()[1] for process in both]
        statuses = sorted(process.returncode for process in both)
        if name == "append":  # one after the other both are right
            assert statuses in ([0, 0], [0, 2]), said
        else:
            assert statuses == [0, 2], said
        for process, text in zip(both, said, strict=True):
            assert "Traceback" not in text
            if process.returncode:
                reasons = ("Another process is", "already", "is not done")
                assert any(reason in text for reason in reasons), text
        assert sandbox.staged() == []
        assert len(sandbox.datasets()) == 3 + (name in ("generate", "import"))


def test_two_that_reproduce_into_one_folder(sandbox):
    script = (
        "import sys; from pathlib import Path;"
        "from recsim_drpo.benchmarks.reproduce import runner;"
        "from tests.benchmarks.reproduce.small import tiny;"
        "runner.reproduce(['table2'], tiny(Path('new'), num_seeds=1))"
    )
    sandbox.reset()
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script], cwd=sandbox.folder, env=env, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    seen = sandbox.seen()
    assert sandbox.staged() == []
    alone = {
        path.removeprefix("results/"): one
        for path, one in seen.items()
        if path.startswith("results/") and "/records/" in path
    }
    assert alone == {
        path.removeprefix("new/"): one
        for path, one in seen.items()
        if path.startswith("new/") and "/records/" in path
    }


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_goes_on_without_its_parent(number, sandbox):
    sandbox.reset()
    words = ["reproduce", "table2", "--quick", "--processes", "2", "--out", "new"]
    process = start(sandbox.folder, *words)
    workers = f"/proc/{process.pid}/task/{process.pid}/children"
    if not Path(workers).exists():
        process.kill()
        process.communicate()
        pytest.skip("the system does not tell a process's children")
    wait_until(lambda: len(Path(workers).read_text().split()) >= 3)  # and a tracker
    time.sleep(5.0)  # they work
    pids = [int(pid) for pid in Path(workers).read_text().split()]
    started = time.monotonic()
    process.send_signal(number)
    process.communicate()
    assert process.returncode in (-number, 128 + number)
    wait_until(lambda: not any(map(is_alive, pids)), 30)
    assert time.monotonic() - started < 60
