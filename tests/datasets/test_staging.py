from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import namedtuple
from contextlib import suppress

import minari
import numpy as np
import pytest
from minari.storage.datasets_root_dir import get_dataset_path

from recsim_drpo.datasets import staging
from recsim_drpo.datasets.generation.statistics import LogStatistics


def test_an_existing_dataset_is_kept(generate, arrays, small_kwargs):
    before = arrays(generate("kept-v0", small_kwargs))
    with pytest.raises(ValueError, match="There is a dataset 'kept-v0' already"):
        generate("kept-v0", small_kwargs, seed=9)
    with pytest.raises(ValueError, match="lies inside the dataset"):
        generate("kept-v0/inner-v0", small_kwargs)
    after = arrays(minari.load_dataset("kept-v0"))
    np.testing.assert_array_equal(before["rewards"], after["rewards"])


def test_a_full_disk_is_seen_before_any_work(nothing_is_left, generate, small_kwargs, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    with pytest.raises(OSError, match=r"rounds need about .* GB and 0\.00 GB are free") as caught:
        generate("full-v0", small_kwargs)
    assert caught.value.errno == errno.ENOSPC
    assert nothing_is_left()


def test_a_disk_that_fills_up_leaves_nothing(nothing_is_left, generate, small_kwargs, monkeypatch):
    add, calls = LogStatistics.add, []

    def fill_up(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, *arguments)

    monkeypatch.setattr(LogStatistics, "add", fill_up)
    with pytest.raises(OSError, match=r"No space left on device\. Nothing was left behind"):
        generate("ns/full-v0", small_kwargs, num_rounds=30_000)
    assert nothing_is_left()
    monkeypatch.setattr(LogStatistics, "add", add)
    assert generate("ns/full-v0", small_kwargs).total_steps == 500


def test_a_folder_that_cannot_be_written(generate, tmp_path, small_kwargs, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(blocked))
    with pytest.raises(OSError, match="file"):
        generate("a-v0", small_kwargs)
    assert blocked.read_text() == ""


@pytest.mark.parametrize("moment", ["data", "late"])
def test_killed_at_any_moment_nothing_is_listed_and_a_rerun_works(
    generate, minari_root, small_kwargs, moment
):
    script = f"""
import recsim_drpo
recsim_drpo.generate_dataset("ns/killed-v0", env_kwargs={dict(small_kwargs)!r},
    num_rounds=3_000_000, progress=False, card=False)
"""
    process = subprocess.Popen([sys.executable, "-c", script], env=dict(os.environ))
    staged = minari_root / ".recsim-drpo" / "ns__killed-v0.partial" / "data" / "main_data.hdf5"
    least = 1 if moment == "data" else 20_000_000
    deadline = time.monotonic() + 120
    while not (staged.exists() and staged.stat().st_size >= least):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert minari.list_local_datasets() == {}
    with pytest.raises(RuntimeError, match="Another process is generating 'ns/killed-v0'"):
        generate("ns/killed-v0", small_kwargs)
    assert generate("ns/other-v0", small_kwargs).total_steps == 500
    assert staged.exists()  # a living process's is left alone
    minari.delete_dataset("ns/other-v0")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert minari.list_local_datasets() == {}
    if moment == "late":  # a dataset of another id takes away what is dead
        generate("ns/other-v0", small_kwargs)
        minari.delete_dataset("ns/other-v0")
        assert not staged.parent.parent.exists()
    assert generate("ns/killed-v0", small_kwargs).total_steps == 500
    assert list(minari.list_local_datasets()) == ["ns/killed-v0"]
    assert not (minari_root / ".recsim-drpo").exists()


@pytest.mark.parametrize("before", [None, "elsewhere"])
def test_minaris_folder_is_put_back(tmp_path, monkeypatch, before):
    if before is None:
        monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    else:
        monkeypatch.setenv("MINARI_DATASETS_PATH", before)
    with staging.minari_root(tmp_path / "here"):
        assert get_dataset_path() == tmp_path / "here"
    assert os.environ.get("MINARI_DATASETS_PATH") == before
    with suppress(KeyboardInterrupt), staging.minari_root(tmp_path / "here"):
        raise KeyboardInterrupt
    assert os.environ.get("MINARI_DATASETS_PATH") == before
